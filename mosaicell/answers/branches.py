"""Branches: one model, its tiling and its decoder, from a normalised image to labels with a confidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from mosaicell.answers.scale_rules import SCALE_RANGE, SCALE_RULES
from mosaicell.decoders import Settings
from mosaicell.networks.grid import Grid
from mosaicell.networks.manifest import Card
from mosaicell.networks.raw import Raw, Run, RunModel, no_candidates
from mosaicell.networks.scale import resize_image
from mosaicell.networks.tiling import plan_tiles, run_tiles
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.objects import Labels, debris_px, remove_small, split_disconnected

#: maps a scale to what is looked at there, before it is resized: a normalised image float32 (3, y, x), or parts of it
View = Callable[[float], np.ndarray]


@dataclass
class Prediction:
    """What a branch answers for one image.

    Attributes
    ----------
    labels
        uint32 (y, x), 0 = background, 1..n without gaps.
    confidence
        Mean foreground probability of equation 6, 0..1.
    box_score
        Mean score of the candidates that were kept; 0 without any.
    scale
        Factor by which the image was resized before the network saw it.
    seconds
        Wall time by stage: "network", "decode".
    raw
        What the networks said, in px of the resized image: the maps that the decoder calls judged, the candidates that
        it kept, and the summary.
    map_labels
        uint32 (y, x): `labels` in px of the resized image.
    least_px
        Cells of fewer px of the resized image were dropped as debris.
    kind
        Of the model, as in its card.
    measured
        As `Decoder.measure` gives it.
    """

    labels: np.ndarray
    confidence: float
    box_score: float = 0.0
    scale: float = 1.0
    seconds: dict[str, float] = field(default_factory=dict)
    raw: Raw = field(default_factory=lambda: Raw(np.zeros((2, 0, 0), np.float32), no_candidates()))
    map_labels: Labels = field(default_factory=lambda: np.zeros((0, 0), np.uint32))
    least_px: int = 1
    kind: str = ""
    measured: Settings = field(default_factory=dict)


def segment(
    image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float | None = None
) -> Prediction:
    """Segment a normalised image float32 (3, y, x), held whole at every scale; otherwise as `segment_view`."""
    return segment_view(lambda _: image, card, run_model, batch_size, scale)


def segment_view(
    view: View,
    card: Card,
    run_model: RunModel,
    batch_size: int,
    scale: float | None = None,
    largest_scale: float = SCALE_RANGE[1],
) -> Prediction:
    """Segment what is looked at of an image.

    Parameters
    ----------
    view
        Asked for every scale that is looked at.
    card
        The model's card.
    run_model
        Maps a batch float32 (b, 3, h, w) to the model's outputs.
    batch_size
        Tiles per network call; the result does not depend on it.
    scale
        Factor by which the image is resized for the network. With None the card's rule decides.
    largest_scale
        Takes the place of any larger one.

    Returns
    -------
    Prediction
        Of the pass that counts, with the seconds of all.
    """

    def segment_at(scale: float) -> Prediction:
        return _segment_at(view, card, run_model, batch_size, min(scale, largest_scale))

    return SCALE_RULES[card.scale_rule](segment_at, card) if scale is None else segment_at(scale)


def foreground_confidence(foreground: np.ndarray) -> float:
    """Mean foreground probability over the pixels above 0.5 (equation 6); 0 when there is none."""
    chosen = foreground > 0.5
    count = int(np.count_nonzero(chosen))
    return float(foreground[chosen].mean(dtype=np.float64)) if count else 0.0


def _segment_at(view: View, card: Card, run_model: RunModel, batch_size: int, scale: float) -> Prediction:
    start_s = time.perf_counter()
    image = view(scale)
    raw = predict_raw(image, card, run_model, batch_size, scale)
    network_s = time.perf_counter()
    decoder = card.decoder
    candidates = raw.candidates[decoder.keep(raw.candidates, card.settings)]
    found = decode_raw(Raw(raw.maps, candidates), card, (image.shape[1], image.shape[2]))
    foreground, _ = decoder.foreground(raw.maps, card.settings)
    seconds = {"network": network_s - start_s, "decode": time.perf_counter() - network_s}
    score = float(candidates[:, 4].mean()) if len(candidates) else 0.0
    # the other maps are not needed any more
    kept = raw.maps if len(raw.maps) == decoder.judged_maps else raw.maps[: decoder.judged_maps].copy()
    return replace(
        found,
        confidence=foreground_confidence(foreground),
        box_score=score,
        scale=scale,
        seconds=seconds,
        raw=Raw(kept, candidates, raw.summary),
    )


def read_with(card: Card, run_model: RunModel) -> Run:
    """Return what runs a model and reads its outputs."""
    return lambda batch: card.decoder.read(run_model(batch), card.settings)


def predict_raw(image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float) -> Raw:
    """Run the model over all tiles of the image, resized by `scale`; the result is in px of the resized image."""
    resized = image if scale == 1.0 else resize_image(image, scale)
    tiles = plan_tiles((resized.shape[1], resized.shape[2]), card.window_px, card.overlap_fraction, card.stride_px)
    return run_tiles(resized, tiles, read_with(card, run_model), batch_size, card.keep, card.decoder.slack_px)


def decode_raw(raw: Raw, card: Card, shape_px: tuple[int, int]) -> Prediction:
    """Decode what a network says of an image of this height and width, with candidates that the decoder kept."""
    grid = Grid(shape_px, (raw.maps.shape[1], raw.maps.shape[2]))
    measured = card.decoder.measure(raw, card.settings)
    found = decode_part(raw, replace(card, settings={**card.settings, **measured}), grid, grid.whole)
    return replace(found, measured=measured)


def decode_part(raw: Raw, card: Card, grid: Grid, bounds: Bounds, least_px: int | None = None) -> Prediction:
    """Decode part of an image.

    Parameters
    ----------
    raw
        Maps within `grid.map_bounds(bounds)`, and candidates in px of that, as the decoder keeps them.
    bounds
        The part, in px of the image.
    least_px
        Cells of fewer px of the maps are dropped; with None those that are small against the mean cell of the part.

    Returns
    -------
    Labels of the part, with all of `raw`; without confidence.
    """
    found = card.decoder.decode(raw, card.settings)
    if least_px is None:
        least_px = debris_px(found, card.settings["min_size_fraction"])
    found = remove_small(found, least_px)
    if grid.is_one:
        return Prediction(found, 0.0, raw=raw, map_labels=found, least_px=least_px, kind=card.kind)
    # nearest neighbour leaves steps at the outline; the enlarged foreground cuts them off smoothly
    foreground, threshold = card.decoder.foreground(raw.maps, card.settings)
    inside = grid.resize_map(foreground, bounds) > threshold
    labels = split_disconnected(grid.to_image(found, bounds) * inside, card.settings["min_cell_px"])
    map_labels = grid.to_maps(labels, bounds)
    return Prediction(labels, 0.0, raw=raw, map_labels=map_labels, least_px=least_px, kind=card.kind)
