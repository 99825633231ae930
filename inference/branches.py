"""Branches: one model, its tiling and its decoder, from a normalised image to labels with a confidence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from inference.manifest import Card
from inference.scale import mean_diameter, resize_image, resize_labels, resize_map
from inference.tiling import plan_tiles, run_tiles
from postprocess.boxes import drop_contained, suppress_boxes
from postprocess.flows import segment_flows
from postprocess.objects import clean_labels, remove_debris, split_disconnected
from postprocess.watershed import two_step_watershed

#: an enlarged image has at most this many pixels
MAX_ENLARGED_PX = 4_000_000
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
    """

    labels: np.ndarray
    confidence: float
    box_score: float = 0.0
    scale: float = 1.0
    seconds: dict[str, float] = field(default_factory=dict)
    maps: np.ndarray = field(default_factory=lambda: np.zeros((2, 0, 0), np.float32))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 5), np.float32))


def segment(
    image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float | None = None
) -> Prediction:
    """Segment a normalised image float32 (3, y, x).

    Parameters
    ----------
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
        return _segment_at(image, card, run_model, batch_size, scale or 1.0)
    passes = [_segment_at(image, card, run_model, batch_size, 1.0)]
    full = best = passes[0]
    for coarse in COARSE_SCALES:
        if min(image.shape[1:]) * coarse >= MIN_COARSE_PX:
            found = _segment_at(image, card, run_model, batch_size, coarse)
            passes.append(found)
            surer = found.box_score > max(best.box_score, full.box_score + MIN_SCORE_GAIN)
            if surer and found.labels.max() >= MIN_COARSE_CELLS:
                best = found
    scale = choose_scale(mean_diameter(best.labels), (image.shape[1], image.shape[2]), card)
    if scale == 1.0:
        best = full
    else:
        passes.append(_segment_at(image, card, run_model, batch_size, scale))
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

    A large image is enlarged no further than to 4 MP: more would cost more than the time tolerance has.
    """
    low, high = card.diameter_range_px
    if math.isnan(diameter_px):
        return EMPTY_SCALE if min(shape_px) * EMPTY_SCALE >= card.stride_px else 1.0
    if low <= diameter_px <= high:
        return 1.0
    scale = min(max(card.diameter_target_px / diameter_px, SCALE_RANGE[0]), SCALE_RANGE[1])
    affordable = math.sqrt(MAX_ENLARGED_PX / (shape_px[0] * shape_px[1]))
    return scale if scale < 1 else max(1.0, min(scale, affordable))


def _segment_at(image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float) -> Prediction:
    start_s = time.perf_counter()
    maps, boxes = predict_maps(image, card, run_model, batch_size, scale)
    network_s = time.perf_counter()
    boxes = boxes[keep_boxes(boxes, card)]
    labels = decode_maps(maps, boxes, card, (image.shape[1], image.shape[2]))
    confidence = foreground_confidence(maps[0])
    seconds = {"network": network_s - start_s, "decode": time.perf_counter() - network_s}
    box_score = float(boxes[:, 4].mean()) if len(boxes) else 0.0
    # the flows are not needed any more
    kept = maps if len(maps) == 2 else maps[:2].copy()
    return Prediction(labels, confidence, box_score, scale, seconds, kept, boxes)


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


def decode_maps(maps: np.ndarray, boxes: np.ndarray, card: Card, shape_px: tuple[int, int]) -> np.ndarray:
    """Decode the maps and the boxes left by `keep_boxes` into labels uint32 of the image's own shape (y, x)."""
    labels = remove_debris(decode_local(maps, boxes, card), card.decoder["min_size_fraction"])
    if labels.shape == shape_px:
        return labels
    # nearest neighbour leaves steps at the outline; the enlarged foreground cuts them off smoothly
    inside = resize_map(maps[0], shape_px) > card.decoder["foreground_threshold"]
    return split_disconnected(resize_labels(labels, shape_px) * inside, card.decoder["min_cell_px"])


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
