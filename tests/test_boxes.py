"""Suppression against a plain implementation, its tie rule and its scale; markers and where they may lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mosaicell.postprocess.boxes import box_markers, drop_contained, suppress_boxes


def f32(values: ArrayLike) -> np.ndarray:
    return np.asarray(values, np.float32)


def random_boxes(rng: np.random.Generator, count: int, spots: int, size_px: float, spread: float) -> np.ndarray:
    """Draw boxes of very different sizes that crowd around a few spots of a 1000 px image."""
    centres = rng.uniform(0, 1000, (spots, 2))[rng.integers(0, spots, count)]
    sides = rng.lognormal(np.log(size_px), 0.7, (count, 2))
    centres = centres + rng.normal(0, spread, (count, 2)) * sides
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)


def shared_areas(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)


def areas_of(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def plain_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    boxes, areas = boxes.astype(np.float64), areas_of(boxes.astype(np.float64))
    chosen: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        shared = shared_areas(boxes[index], boxes[chosen])
        if not (shared > threshold * (areas[chosen] + areas[index] - shared)).any():
            chosen.append(index)
    return chosen


def plain_containment(boxes: np.ndarray, scores: np.ndarray, fraction: float) -> list[int]:
    boxes, areas = boxes.astype(np.float64), areas_of(boxes.astype(np.float64))
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-areas[i], -scores[i], i)):
        if not (shared_areas(boxes[index], boxes[kept]) > fraction * areas[index]).any():
            kept.append(index)
    return sorted(kept)


CROWDS = [(1, 40.0, 0.02), (60, 30.0, 0.1), (3000, 12.0, 0.3), (200, 300.0, 0.3), (900, 0.3, 5.0)]


@pytest.mark.parametrize(("spots", "size_px", "spread"), CROWDS)
@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.7, 1.0])
def test_suppression_equals_the_plain_one(spots: int, size_px: float, spread: float, threshold: float) -> None:
    rng = np.random.default_rng(spots)
    boxes = random_boxes(rng, 1800, spots, size_px, spread)
    scores = f32(rng.integers(0, 500, len(boxes)) / 500)  # many ties
    chosen = suppress_boxes(boxes, scores, threshold)
    assert chosen.tolist() == plain_suppression(boxes, scores, threshold)


@pytest.mark.parametrize(("spots", "size_px", "spread"), CROWDS)
@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_containment_equals_the_plain_one(spots: int, size_px: float, spread: float, fraction: float) -> None:
    rng = np.random.default_rng(spots)
    boxes = np.round(random_boxes(rng, 1500, spots, size_px, spread))  # many equal areas
    scores = f32(rng.integers(0, 50, len(boxes)) / 50)
    assert drop_contained(boxes, scores, fraction).tolist() == plain_containment(boxes, scores, fraction)


def test_chosen_boxes_do_not_overlap_and_choosing_again_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    boxes, scores = random_boxes(rng, 30_000, 4000, 12, 0.2), rng.random(30_000)
    chosen = suppress_boxes(boxes, scores, 0.3)
    assert (np.diff(scores[chosen]) <= 0).all()
    assert suppress_boxes(boxes[chosen], scores[chosen], 0.3).tolist() == [*range(len(chosen))]
    assert 1000 < len(chosen) < 50_000
    moved = boxes.astype(np.float64) + np.array([4096, -512, 4096, -512])
    assert np.array_equal(suppress_boxes(moved, scores, 0.3), chosen)


def test_order_of_boxes_does_not_matter_when_scores_differ() -> None:
    rng = np.random.default_rng(4)
    boxes, scores = random_boxes(rng, 3000, 100, 30, 0.2), rng.permutation(3000) / 3000
    shuffle = rng.permutation(3000)
    again = shuffle[suppress_boxes(boxes[shuffle], scores[shuffle], 0.4)]
    assert np.array_equal(again, suppress_boxes(boxes, scores, 0.4))


def test_first_of_equal_boxes_wins() -> None:
    boxes = np.tile(f32([[10, 10, 30, 30]]), (4, 1))
    assert suppress_boxes(boxes, f32([0.5, 0.9, 0.9, 0.1]), 0.5).tolist() == [1]
    assert drop_contained(boxes, f32([0.5, 0.9, 0.9, 0.1]), 0.8).tolist() == [1]


def test_touching_and_empty_boxes_overlap_nothing() -> None:
    boxes = f32([[0, 0, 10, 10], [0, 10, 10, 20], [5, 5, 5, 9], [5, 5, 5, 9]])
    assert suppress_boxes(boxes, f32([1, 0.9, 0.8, 0.7]), 0.0).tolist() == [0, 1, 2, 3]


def test_larger_box_stays_whatever_its_score() -> None:
    boxes = f32([[0, 0, 100, 100], [80, 80, 100, 110], [90, 90, 110, 110]])
    assert drop_contained(boxes, f32([0.1, 0.9, 0.9]), 0.6).tolist() == [0, 2]


@pytest.mark.parametrize("choose", [suppress_boxes, drop_contained])
def test_no_boxes_and_refused_boxes(choose: Callable[..., np.ndarray]) -> None:
    assert choose(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).size == 0
    good = f32([[0, 0, 4, 4], [1, 1, 5, 5]])
    for boxes, scores, threshold in [
        (good, f32([1]), 0.5),
        (good[:, :3], f32([1, 1]), 0.5),
        (good * f32([[np.nan], [1.0]]), f32([1, 1]), 0.5),
        (good, f32([1.0, np.inf]), 0.5),
        (good[:, [2, 3, 0, 1]], f32([1, 1]), 0.5),
        (good, f32([1, 1]), 1.5),
    ]:
        with pytest.raises(ValueError, match="boxes"):
            choose(boxes, scores, threshold)


def test_markers_lie_at_the_centres_in_order_of_score() -> None:
    boxes = f32([[0, 0, 9, 9], [20, 30, 31, 41], [20, 0, 21, 1]])
    markers = box_markers(boxes, f32([0.2, 0.9, 0.5]), np.ones((40, 50), bool))
    expected = np.zeros((40, 50), np.int32)
    expected[25, 35], expected[20, 0], expected[4, 4] = 1, 2, 3
    assert markers.dtype == np.int32
    assert np.array_equal(markers, expected)


def test_more_markers_than_sixteen_bits_hold() -> None:
    y, x = np.mgrid[0:270, 0:270].reshape(2, -1)
    boxes = np.stack([y, x, y + 1, x + 1], axis=1).astype(np.float32)
    markers = box_markers(boxes, np.ones(len(boxes), np.float32), np.ones((270, 270), bool))
    assert np.array_equal(markers.ravel(), np.arange(1, 270 * 270 + 1))


def test_marker_of_a_bent_cell_moves_into_the_cell() -> None:
    y, x = np.mgrid[0:60, 0:60]
    radius = np.hypot(y - 30, x - 30)
    crescent = (np.abs(radius - 20) < 4) & (x < 34)
    inside_y, inside_x = np.nonzero(crescent)
    box = f32([[inside_y.min(), inside_x.min(), inside_y.max() + 1, inside_x.max() + 1]])
    centre = tuple(np.floor((box[0, :2] + box[0, 2:]) / 2).astype(int))
    assert not crescent[centre]
    markers = box_markers(box, f32([1]), crescent)
    assert np.count_nonzero(markers) == 1
    assert np.count_nonzero(markers[crescent]) == 1
    # Far from the centre a place says nothing about this box any more.
    assert not box_markers(box, f32([1]), crescent & (np.hypot(y - 30, x - 22) > 15)).any()


def test_a_second_box_on_one_centre_gives_no_marker_but_small_neighbours_do() -> None:
    allowed = np.ones((60, 60), bool)
    nested = f32([[0, 0, 40, 40], [19, 18, 22, 21]])
    assert box_markers(nested, f32([0.9, 0.5]), allowed).max() == 1
    neighbours = f32([[10, 10, 12, 12], [10, 12, 12, 14], [12, 10, 14, 12]])
    assert box_markers(neighbours, f32([0.9, 0.5, 0.1]), allowed).max() == 3


def test_boxes_at_and_beyond_the_border() -> None:
    boxes = f32([[-20, -20, 10, 10], [-30, -30, -5, -5], [90, 90, 140, 140], [30, 120, 40, 130]])
    markers = box_markers(boxes, f32([0.9, 0.8, 0.7, 0.6]), np.ones((100, 100), bool))
    assert np.argwhere(markers).tolist() == [[5, 5], [95, 95]]


def test_nowhere_to_mark() -> None:
    box, score = f32([[0, 0, 4, 4]]), f32([1])
    assert not box_markers(box, score, np.zeros((8, 8), bool)).any()
    assert not box_markers(box[:0], score[:0], np.ones((8, 8), bool)).any()
    assert box_markers(box, score, np.ones((1, 1), bool)).tolist() == [[1]]
    assert box_markers(box, score, np.ones((0, 5), bool)).shape == (0, 5)
