"""Weighted boxes fusion against a loop over all boxes, its scores, and detectors that found nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.peers import fuse_one_by_one
from mosaicell.postprocess import box_fusion
from mosaicell.postprocess.box_fusion import box_ious, fuse_boxes

WEIGHTS = [2.0, 3.0, 3.0, 1.0]
NOTHING = (np.zeros((0, 4)), np.zeros(0))


def draw_models(
    rng: np.random.Generator, spots: int, size_px: float, spread: float, models: int = 4
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw what detectors find at the same spots, some of it missing, some twice, with many equal scores."""
    centres = rng.uniform(0, 20 * spots**0.5, (spots, 2))
    sides = size_px * rng.lognormal(0, 0.5, (spots, 2))
    boxes, scores = [], []
    for _ in range(models):
        seen = rng.integers(0, spots, spots)
        middles = centres[seen] + spread * rng.normal(0, 1, (spots, 2)) * sides[seen]
        lengths = sides[seen] * rng.lognormal(0, spread, (spots, 2))
        boxes.append(np.concatenate([middles - lengths / 2, middles + lengths / 2], axis=1).astype(np.float32))
        scores.append(rng.integers(0, 40, spots) / 40)
    return boxes, scores


def assert_equals_loop(
    boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray], weights: Sequence[float], iou: float, least: float
) -> int:
    fused, sure = fuse_boxes(boxes, scores, weights, iou_threshold=iou, least_score=least)
    expected, expected_sure = fuse_one_by_one(boxes, scores, weights, iou, least)
    np.testing.assert_array_equal(fused, expected)
    np.testing.assert_array_equal(sure, expected_sure)
    return len(fused)


@pytest.mark.parametrize(("spots", "size_px", "spread"), [(1, 20, 0.05), (40, 20, 0.2), (200, 30, 0.1), (200, 9, 0.3)])
@pytest.mark.parametrize("iou", [0.25, 0.5, 0.6, 0.9])
def test_it_equals_a_loop_exactly(spots: int, size_px: float, spread: float, iou: float) -> None:
    rng = np.random.default_rng(spots)
    boxes, scores = draw_models(rng, spots, size_px, spread)
    count = assert_equals_loop(boxes, scores, WEIGHTS, iou, 0.01)
    assert 0 < count <= 4 * spots


@pytest.mark.parametrize("sizes", [(1, 1), (3, 50), (64, 8192)])
def test_it_does_not_depend_on_how_many_are_taken_at_once(
    sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(box_fusion, "_FIRST_BLOCK", sizes[0])
    monkeypatch.setattr(box_fusion, "_LARGEST_BLOCK", sizes[1])
    boxes, scores = draw_models(rng, 150, 25, 0.15)
    assert_equals_loop(boxes, scores, WEIGHTS, 0.6, 0.01)


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.6])
def test_fused_boxes_that_wander_are_followed(iou: float, rng: np.random.Generator) -> None:
    """Each box lies a little further along than the one before, and falling scores take them in that order."""
    steps = np.arange(120)
    boxes = np.stack([np.zeros(120), 2.0 * steps, np.full(120, 20.0), 2.0 * steps + 20], axis=1)
    strays, sure = draw_models(rng, 30, 20, 0.3, models=1)
    count = assert_equals_loop([boxes, *strays], [0.9 - 1e-6 * steps, *sure], [1.0, 1.0], iou, 0.0)
    assert count < 100


def test_box_and_score_are_the_published_means() -> None:
    """By hand: the weights 2 * 0.9 and 3 * 0.4 of two boxes of 10 x 10, one moved by 1 px."""
    boxes = [np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 1, 10, 11]])]
    scores = [np.array([0.9]), np.array([0.4])]
    fused, sure = fuse_boxes(boxes, scores, [2, 3])
    np.testing.assert_allclose(fused, [[0, 0.4, 10, 10.4]])
    np.testing.assert_allclose(sure, [(1.8 + 1.2) / 5])
    fused, sure = fuse_boxes([*boxes, *NOTHING[:1]], [*scores, *NOTHING[1:]], [2, 3, 5])
    np.testing.assert_allclose(fused, [[0, 0.4, 10, 10.4]])
    np.testing.assert_allclose(sure, [3.0 / 10])


def test_what_all_find_keeps_its_score_and_what_one_finds_twice_is_not_more_than_sure() -> None:
    box = np.array([[3.0, 4, 20, 30]])
    fused, sure = fuse_boxes([box] * 4, [np.array([0.7])] * 4, WEIGHTS)
    np.testing.assert_allclose(fused, box)
    np.testing.assert_allclose(sure, [0.7])
    _, sure = fuse_boxes([np.repeat(box, 5, axis=0), *[NOTHING[0]] * 3], [np.ones(5), *[NOTHING[1]] * 3], [1] * 4)
    np.testing.assert_allclose(sure, [1.0])


@pytest.mark.parametrize("silent", range(4))
def test_a_detector_without_boxes_drops_nothing(silent: int, rng: np.random.Generator) -> None:
    boxes, scores = draw_models(rng, 50, 20, 0.1)
    boxes[silent], scores[silent] = NOTHING
    fused, _ = fuse_boxes(boxes, scores, WEIGHTS)
    others = [model for model in range(4) if model != silent]
    alone, _ = fuse_boxes([boxes[m] for m in others], [scores[m] for m in others], [WEIGHTS[m] for m in others])
    np.testing.assert_array_equal(np.sort(fused, axis=0), np.sort(alone, axis=0))
    assert_equals_loop(boxes, scores, WEIGHTS, 0.6, 0.01)


def test_nothing_at_all_gives_nothing() -> None:
    fused, sure = fuse_boxes([NOTHING[0]] * 4, [NOTHING[1]] * 4, WEIGHTS)
    assert fused.shape == (0, 4)
    assert sure.shape == (0,)


def test_the_unsure_and_the_empty_are_left_out_before_weights_count() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 90, 95]])
    fused, _ = fuse_boxes([boxes], [np.array([0.009, 0.01, 0.9])], [100.0])
    np.testing.assert_allclose(fused, [[50, 50, 60, 60]])


def test_equal_scores_keep_the_order_of_the_detectors() -> None:
    boxes = [np.array([[0.0, 40, 10, 50], [0, 20, 10, 30]]), np.array([[0.0, 0, 10, 10]])]
    fused, _ = fuse_boxes(boxes, [np.array([0.5, 0.5]), np.array([0.5])], [1, 1])
    assert fused[:, 1].tolist() == [40, 20, 0]


def test_ious_are_those_of_the_pixels() -> None:
    first, second = np.array([[0.0, 0, 4, 4], [0, 0, 2, 2]]), np.array([[2.0, 0, 6, 4], [2, 2, 3, 3]])
    np.testing.assert_allclose(box_ious(first, second), [8 / 24, 0])


@pytest.mark.parametrize(
    ("boxes", "scores", "weights", "message"),
    [
        ([], [], [], "for each of one or more detectors"),
        ([np.zeros((1, 4))], [np.ones(1)], [1, 2], "for each of one or more detectors"),
        ([np.zeros((1, 3))], [np.ones(1)], [1], "expected boxes"),
        ([np.zeros((1, 4))], [np.ones(2)], [1], "expected boxes"),
        ([np.full((1, 4), np.nan)], [np.ones(1)], [1], "finite"),
        ([np.zeros((1, 4))], [np.array([-1.0])], [1], "at least 0"),
        ([np.array([[0.0, 0, -1, 1]])], [np.ones(1)], [1], "negative side"),
        ([np.zeros((1, 4))], [np.ones(1)], [0], "above 0"),
    ],
)
def test_what_does_not_fit_is_refused(
    boxes: list[np.ndarray], scores: list[np.ndarray], weights: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fuse_boxes(boxes, scores, weights)


@pytest.mark.parametrize(("iou", "least"), [(1.5, 0.1), (0.5, -0.1)])
def test_thresholds_out_of_range_are_refused(iou: float, least: float) -> None:
    with pytest.raises(ValueError, match=r"lie in 0\.\.1"):
        fuse_boxes([NOTHING[0]], [NOTHING[1]], [1], iou_threshold=iou, least_score=least)
