"""Branches: one model, its tiling and its decoder, from a normalised image to labels with a confidence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from inference.grid import Grid
from inference.manifest import Card
from inference.scale import mean_diameter, resize_image
from inference.tiling import plan_tiles, run_tiles
from postprocess.blocks import Bounds
from postprocess.boxes import drop_contained, suppress_boxes
from postprocess.flows import segment_flows
from postprocess.objects import Labels, clean_labels, debris_px, remove_small, split_disconnected
from postprocess.watershed import two_step_watershed

#: smallest and largest factor: what is smaller or larger than that allows for is no cell
SCALE_RANGE = (0.1, 3.0)
#: factor when a first pass finds nothing: cells several times larger than the trained ones leave no trace at full size
EMPTY_SCALE = 0.35
#: scales of the coarse passes, the smallest side that an image may have there, and how many cells it must show
COARSE_SCALES, MIN_COARSE_PX, MIN_COARSE_CELLS = (0.25, 0.125), 80, 3
#: by so much the mean score of the boxes of a coarse pass must exceed that at full size
MIN_SCORE_GAIN = 0.1
#: a resized pass counts unless it has no box, or the mean score of its boxes is lower by more than this
MAX_SCORE_LOSS = 0.05

RunModel = Callable[[np.ndarray], tuple[np.ndarray, ...]]
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
        Mean score of the boxes that became markers; 0 without boxes.
    scale
        Factor by which the image was resized before the network saw it.
    seconds
        Wall time by stage: "network", "decode".
    maps
        float32 (2, y, x) in px of the resized image: foreground probability, then energy of kind "awf", boundary
        probability of kind "omnipose".
    boxes
        float32 (n, 5) as (y0, x0, y1, x1, score) in px of the resized image, those that became markers.
    map_labels
        uint32 (y, x): `labels` in px of the resized image.
    least_px
        Cells of fewer px of the resized image were dropped as debris.
    """

    labels: np.ndarray
    confidence: float
    box_score: float = 0.0
    scale: float = 1.0
    seconds: dict[str, float] = field(default_factory=dict)
    maps: np.ndarray = field(default_factory=lambda: np.zeros((2, 0, 0), np.float32))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.float32))
    map_labels: Labels = field(default_factory=lambda: np.zeros((0, 0), np.uint32))
    least_px: int = 1


def segment(
    image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float | None = None
) -> Prediction:
    """Segment a normalised image float32 (3, y, x), held whole at every scale; otherwise as `segment_view`."""
    return segment_view(lambda _: image, card, run_model, batch_size, scale)


def segment_view(
    view: View, card: Card, run_model: RunModel, batch_size: int, scale: float | None = None
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
        Factor by which the image is resized for the network. With None a model without boxes, which cannot judge a
        scale, takes 1, and one with boxes decides.

    Returns
    -------
    Prediction
        Of the pass that counts, with the seconds of all.

    Notes
    -----
    The scale is found in passes: one at full size, and coarse ones that cost little and show cells far larger than the
    trained ones, of which the full size shows fragments. The one with the surest boxes tells the cells' diameter. Is
    that outside the card's range, a further pass brings the cells to the card's target size, and counts unless its
    boxes are less sure.
    """
    if scale is not None or card.kind != "awf":
        return _segment_at(view, card, run_model, batch_size, scale or 1.0)
    passes = [_segment_at(view, card, run_model, batch_size, 1.0)]
    full = best = passes[0]
    shape_px = (full.labels.shape[0], full.labels.shape[1])
    for coarse in COARSE_SCALES:
        if min(shape_px) * coarse >= MIN_COARSE_PX:
            found = _segment_at(view, card, run_model, batch_size, coarse)
            passes.append(found)
            surer = found.box_score > max(best.box_score, full.box_score + MIN_SCORE_GAIN)
            if surer and found.labels.max() >= MIN_COARSE_CELLS:
                best = found
    scale = choose_scale(mean_diameter(best.labels), shape_px, card)
    if scale == 1.0:
        best = full
    else:
        passes.append(_segment_at(view, card, run_model, batch_size, scale))
        if passes[-1].box_score > max(0.0, best.box_score - MAX_SCORE_LOSS):
            best = passes[-1]
    return replace(best, seconds={stage: sum(p.seconds[stage] for p in passes) for stage in best.seconds})


def foreground_confidence(foreground: np.ndarray) -> float:
    """Mean foreground probability over the pixels above 0.5 (equation 6); 0 when there is none."""
    chosen = foreground > 0.5
    count = int(np.count_nonzero(chosen))
    return float(foreground[chosen].mean(dtype=np.float64)) if count else 0.0


def choose_scale(diameter_px: float, shape_px: tuple[int, int], card: Card) -> float:
    """Return the factor that brings cells of this diameter to the card's target, 1 when they are within its range.

    Without any cell (NaN) a small image stays as it is, and any other is looked at once more, reduced.
    """
    low, high = card.diameter_range_px
    if math.isnan(diameter_px):
        return EMPTY_SCALE if min(shape_px) * EMPTY_SCALE >= card.stride_px else 1.0
    if low <= diameter_px <= high:
        return 1.0
    return min(max(card.diameter_target_px / diameter_px, SCALE_RANGE[0]), SCALE_RANGE[1])


def _segment_at(view: View, card: Card, run_model: RunModel, batch_size: int, scale: float) -> Prediction:
    start_s = time.perf_counter()
    image = view(scale)
    maps, boxes = predict_maps(image, card, run_model, batch_size, scale)
    network_s = time.perf_counter()
    boxes = boxes[keep_boxes(boxes, card)]
    found = decode_maps(maps, boxes, card, (image.shape[1], image.shape[2]))
    confidence = foreground_confidence(maps[0])
    seconds = {"network": network_s - start_s, "decode": time.perf_counter() - network_s}
    box_score = float(boxes[:, 4].mean()) if len(boxes) else 0.0
    # the flows are not needed any more
    kept = maps if len(maps) == 2 else maps[:2].copy()
    return replace(found, confidence=confidence, box_score=box_score, scale=scale, seconds=seconds, maps=kept)


def predict_maps(
    image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Run the model over all tiles of the image, resized by `scale`.

    Returns
    -------
    maps float32 (m, y, x) and boxes float32 (n, 5) as (y0, x0, y1, x1, score), both in px of the resized image.
    """
    resized = image if scale == 1.0 else resize_image(image, scale)
    tiles = plan_tiles((resized.shape[1], resized.shape[2]), card.window_px, card.overlap_fraction, card.stride_px)
    return run_tiles(resized, tiles, run_model, batch_size, lambda found: keep_boxes(found, card))


def decode_maps(maps: np.ndarray, boxes: np.ndarray, card: Card, shape_px: tuple[int, int]) -> Prediction:
    """Decode maps of an image of this height and width, and the boxes left by `keep_boxes`; confidence is left out."""
    grid = Grid(shape_px, (maps.shape[1], maps.shape[2]))
    return decode_part(maps, boxes, card, grid, grid.whole)


def decode_part(
    maps: np.ndarray, boxes: np.ndarray, card: Card, grid: Grid, bounds: Bounds, least_px: int | None = None
) -> Prediction:
    """Decode part of an image.

    Parameters
    ----------
    maps, boxes
        (m, y, x) within `grid.map_bounds(bounds)`, and boxes in px of that, as `keep_boxes` leaves them.
    bounds
        The part, in px of the image.
    least_px
        Cells of fewer px of the maps are dropped; with None those that are small against the mean cell of the part.

    Returns
    -------
    Labels of the part, with its maps and boxes; the flows among the maps are kept too.
    """
    found = decode_local(maps, boxes, card)
    if least_px is None:
        least_px = debris_px(found, card.decoder["min_size_fraction"])
    found = remove_small(found, least_px)
    if grid.is_one:
        return Prediction(found, 0.0, maps=maps, boxes=boxes, map_labels=found, least_px=least_px)
    # nearest neighbour leaves steps at the outline; the enlarged foreground cuts them off smoothly
    inside = grid.resize_map(maps[0], bounds) > card.decoder["foreground_threshold"]
    labels = split_disconnected(grid.to_image(found, bounds) * inside, card.decoder["min_cell_px"])
    map_labels = grid.to_maps(labels, bounds)
    return Prediction(labels, 0.0, maps=maps, boxes=boxes, map_labels=map_labels, least_px=least_px)


def keep_boxes(boxes: np.ndarray, card: Card) -> np.ndarray:
    """Return the indices of the boxes (n, 5) that pass the score threshold and non-maximum suppression."""
    if not len(boxes):
        return np.zeros(0, np.intp)
    sure = np.flatnonzero(boxes[:, 4] > card.decoder["score_threshold"])
    return sure[suppress_boxes(boxes[sure, :4], boxes[sure, 4], card.decoder["box_iou_threshold"])]


def decode_local(maps: np.ndarray, boxes: np.ndarray, card: Card) -> np.ndarray:
    """Decode maps and boxes into labels uint32 (y, x), without the steps that compare cells over the whole image."""
    settings = card.decoder
    if card.kind == "omnipose":
        return segment_flows(
            maps[0],
            maps[1],
            maps[2:],
            foreground_threshold=settings["foreground_threshold"],
            boundary_threshold=settings["boundary_threshold"],
            flow_threshold=settings["flow_threshold"],
            min_size_px=settings["min_cell_px"],
            min_size_fraction=0.0,
        )
    boxes = boxes[drop_contained(boxes[:, :4], boxes[:, 4], settings["contained_fraction"])]
    labels = two_step_watershed(
        maps[0],
        maps[1],
        boxes[:, :4],
        boxes[:, 4],
        e1=settings["e1"],
        e2=settings["e2"],
        foreground_threshold=settings["foreground_threshold"],
        min_marker_px=settings["min_marker_px"],
        min_unmarked_px=settings["min_unmarked_px"],
    )
    return clean_labels(
        labels,
        maps[1],
        min_px=settings["min_cell_px"],
        max_hole_fraction=settings["max_hole_fraction"],
        max_energy_error=settings["max_energy_error"],
    )
