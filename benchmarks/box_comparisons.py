"""Suppression and fusion of boxes timed against plain loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.comparison import Row, compare_arrays, time_call
from mosaicell.postprocess.box_fusion import fuse_boxes
from mosaicell.postprocess.boxes import suppress_boxes

Boxes = NDArray[np.float32]
Scores = NDArray[np.float32]

BOXES, BOX_SIDE_PX, BOXES_PER_SPOT = 100_000, 30.0, 10
BOX_IOU = 0.3
#: of MDE-CellMask's four detectors, and the most boxes that one detector after the other is fused for
FUSION_WEIGHTS, FUSION_IOU, LEAST_SCORE, LOOPED_BOXES = [2.0, 3.0, 3.0, 1.0], 0.6, 0.01, 8_000
FUSION_MOST_S = 2.0
SEED = 5


def compare_suppression(count: int) -> Row:
    """Time non-maximum suppression of boxes that crowd ten to a spot."""
    rng = np.random.default_rng(SEED)
    spots = rng.uniform(0, BOX_SIDE_PX * (count / BOXES_PER_SPOT) ** 0.5, (count // BOXES_PER_SPOT, 2))
    centres = spots[rng.integers(0, len(spots), count)] + rng.normal(0, 0.1 * BOX_SIDE_PX, (count, 2))
    sides = BOX_SIDE_PX * rng.lognormal(0, 0.2, (count, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)
    scores = rng.random(count, np.float32)
    return compare_arrays(
        "suppression of boxes",
        f"{count:,} boxes",
        lambda: suppress_boxes(boxes, scores, BOX_IOU),
        "numpy, one by one",
        lambda: peers.suppress_one_by_one(boxes, scores, BOX_IOU),
    )


def compare_fusion(count: int, looped: int) -> list[Row]:
    """Time the fusion of what four detectors find at the same spots, and of as many as a loop takes in short time."""
    task, peer = "weighted boxes fusion", "numpy, one by one"
    few = draw_detections(min(count, looped), len(FUSION_WEIGHTS))
    ours, seconds = time_call(lambda: _fuse(*few))
    theirs, peer_seconds = time_call(lambda: peers.fuse_one_by_one(*few, FUSION_WEIGHTS, FUSION_IOU, LEAST_SCORE))
    equal = all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    small = Row(task, _describe(few[0]), seconds, peer, peer_seconds, "equal" if equal else "not equal", equal)
    many = draw_detections(count, len(FUSION_WEIGHTS))
    (fused, _), seconds = time_call(lambda: _fuse(*many))
    note = f"{len(fused):,} boxes"
    return [small, Row(task, _describe(many[0]), seconds, peer, None, note, most_s=FUSION_MOST_S)]


def _fuse(boxes: list[Boxes], scores: list[Scores]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return fuse_boxes(boxes, scores, FUSION_WEIGHTS, iou_threshold=FUSION_IOU, least_score=LEAST_SCORE)


def _describe(boxes: list[Boxes]) -> str:
    return f"{sum(map(len, boxes)):,} boxes of {len(boxes)} detectors"


def draw_detections(count: int, models: int) -> tuple[list[Boxes], list[Scores]]:
    """Draw boxes and scores of several detectors, of each as many: cells side by side, each seen a little differently.

    Parameters
    ----------
    count : int
        Boxes of all detectors.
    models : int
    """
    rng = np.random.default_rng(SEED)
    cells = count // models
    centres = rng.uniform(0, BOX_SIDE_PX * cells**0.5, (cells, 2))
    sides = BOX_SIDE_PX * rng.lognormal(0, 0.4, (cells, 2))
    boxes, scores = [], []
    for _ in range(models):
        middles = centres + rng.normal(0, 0.08, (cells, 2)) * sides
        lengths = sides * rng.lognormal(0, 0.1, (cells, 2))
        boxes.append(np.concatenate([middles - lengths / 2, middles + lengths / 2], axis=1).astype(np.float32))
        scores.append(rng.uniform(0, 1, cells).astype(np.float32))
    return boxes, scores
