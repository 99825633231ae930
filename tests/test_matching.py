"""Matching: counts against a brute force over all pairs, invariances, and size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mosaicell.evaluation.matching import Matching, count_overlaps, drop_instances, match_overlaps

THRESHOLDS = (0.05, 0.2, 0.3, 0.5, 0.51, 0.75, 1.0)


def scribble(rng: np.random.Generator, shape: tuple[int, int], n_ids: int) -> np.ndarray:
    """Draw overlapping random rectangles, then speckle: instances of all sizes, many with several parts."""
    labels = np.zeros(shape, dtype=np.uint32)
    for index in range(1, n_ids + 1):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        labels[y : y + rng.integers(1, 6), x : x + rng.integers(1, 6)] = index
    speckle = rng.random(shape) < 0.05
    labels[speckle] = rng.integers(0, n_ids + 1, speckle.sum())
    return labels


def disturb(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Shift, split and erase some instances, so that IoU of every size occurs."""
    moved = np.roll(labels, rng.integers(-1, 2, size=2), axis=(0, 1))
    splits = rng.random(labels.max() + 1) < 0.4
    left = np.arange(labels.shape[1]) % 2 == 0
    return np.where(splits[moved] & left & (moved > 0), moved + labels.max(), moved)


def match_instances(truth: np.ndarray, prediction: np.ndarray, thresholds: Sequence[float]) -> list[Matching]:
    overlaps = count_overlaps(truth, prediction)
    return [match_overlaps(overlaps, threshold) for threshold in thresholds]


def dense_ious(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the IoU of all pairs, one pair at a time."""
    true_ids, predicted_ids = (np.unique(labels[labels > 0]) for labels in (truth, prediction))
    ious = np.zeros((true_ids.size, predicted_ids.size))
    for (row, true_id), (column, predicted_id) in itertools.product(enumerate(true_ids), enumerate(predicted_ids)):
        true_mask, predicted_mask = truth == true_id, prediction == predicted_id
        ious[row, column] = (true_mask & predicted_mask).sum() / (true_mask | predicted_mask).sum()
    return ious


def dense_match_count(ious: np.ndarray, threshold: float) -> int:
    """Count matches with the assignment over the dense matrix (reference for the sparse one)."""
    if not ious.size:
        return 0
    cost = -(ious >= threshold).astype(float) - ious / (2 * min(ious.shape))
    rows, columns = linear_sum_assignment(cost)
    return int((ious[rows, columns] >= threshold).sum())


@pytest.mark.parametrize("seed", range(30))
def test_counts_equal_the_dense_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = scribble(rng, (24, 30), 25)
    prediction = disturb(rng, truth) if seed % 3 else scribble(rng, truth.shape, 40)
    ious = dense_ious(truth, prediction)
    for matching in match_instances(truth, prediction, THRESHOLDS):
        assert matching.ious.size == dense_match_count(ious, matching.threshold), matching.threshold
        assert (matching.n_truth, matching.n_prediction) == ious.shape


@pytest.mark.parametrize("seed", range(20))
def test_every_iou_of_half_is_found_and_contested_pairs_are_shared_out(seed: int) -> None:
    """Tiny images of one- and two-pixel cells: IoU of exactly 0.5 and 1/3 everywhere, rivals in chains."""
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, 12, (2, 5, 5)).astype(np.uint16)
    ious = dense_ious(truth, prediction)
    for matching in match_instances(truth, prediction, (0.1, 1 / 3, 0.5)):
        assert matching.ious.size == dense_match_count(ious, matching.threshold)


def test_a_greedy_choice_would_lose_a_match() -> None:
    """The best pair of all (IoU 0.6) must give way: only then both predictions find a partner at 0.3."""
    truth = np.array([[1, 1, 1, 1, 1, 2, 2, 0]], dtype=np.uint32)
    prediction = np.array([[5, 5, 9, 9, 9, 9, 9, 0]], dtype=np.uint32)
    # IoU: (1, 5) = 2/5, (1, 9) = 3/7, (2, 9) = 2/5
    (matching,) = match_instances(truth, prediction, [0.3])
    assert sorted(zip(matching.truth_ids, matching.prediction_ids, strict=True)) == [(1, 5), (2, 9)]
    (strict_matching,) = match_instances(truth, prediction, [0.42])
    assert (strict_matching.truth_ids.tolist(), strict_matching.prediction_ids.tolist()) == ([1], [9])


def test_among_largest_matchings_the_sum_of_iou_decides() -> None:
    """A cell split in two unequal parts is matched with the larger part."""
    truth = np.ones((1, 10), dtype=np.uint32)
    prediction = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 2, 2]], dtype=np.uint32)
    (matching,) = match_instances(truth, prediction, [0.3])
    assert matching.prediction_ids.tolist() == [2]
    assert matching.ious.tolist() == [0.6]


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_a_pair_at_exactly_the_threshold_matches(threshold: float) -> None:
    truth = np.ones((1, 10), dtype=np.uint32)
    prediction = (np.arange(10) < round(10 * threshold)).astype(np.uint32)[None]
    (matching,) = match_instances(truth, prediction, [threshold])
    assert matching.ious.size == 1


def test_each_instance_is_matched_at_most_once() -> None:
    rng = np.random.default_rng(3)
    truth = scribble(rng, (60, 60), 120)
    for matching in match_instances(truth, disturb(rng, truth), THRESHOLDS):
        assert np.unique(matching.truth_ids).size == matching.truth_ids.size
        assert np.unique(matching.prediction_ids).size == matching.prediction_ids.size
        assert (matching.ious >= matching.threshold).all()


def test_an_image_matches_itself_fully() -> None:
    truth = scribble(np.random.default_rng(4), (40, 50), 60)
    for matching in match_instances(truth, truth, THRESHOLDS):
        assert matching.ious.tolist() == [1.0] * (np.unique(truth).size - 1)
        assert (matching.truth_ids == matching.prediction_ids).all()


@pytest.mark.parametrize("change", ["renumber", "flip", "transpose", "swap", "dtype"])
def test_counts_do_not_depend_on_ids_orientation_or_dtype(change: str) -> None:
    rng = np.random.default_rng(5)
    truth = scribble(rng, (40, 50), 60)
    prediction = disturb(rng, truth)
    expected = [matching.ious.size for matching in match_instances(truth, prediction, THRESHOLDS)]
    if change == "renumber":
        new_ids = np.concatenate(([0], 1 + rng.permutation(prediction.max()) * 40_000)).astype(np.uint32)
        prediction = new_ids[prediction]
    elif change == "flip":
        truth, prediction = truth[::-1, ::-1], prediction[::-1, ::-1]
    elif change == "transpose":
        truth, prediction = truth.T, prediction.T
    elif change == "swap":
        truth, prediction = prediction, truth
    else:
        truth, prediction = truth.astype(np.int16), prediction.astype(np.uint64)
    assert [matching.ious.size for matching in match_instances(truth, prediction, THRESHOLDS)] == expected


def test_overlaps_are_the_areas_and_shared_pixels() -> None:
    truth = np.array([[7, 7, 0], [7, 3, 3]], dtype=np.uint32)
    prediction = np.array([[2, 0, 2], [2, 2, 9]], dtype=np.uint32)
    overlaps = count_overlaps(truth, prediction)
    assert overlaps.truth_ids.tolist() == [3, 7]
    assert overlaps.truth_areas_px.tolist() == [2, 3]
    assert overlaps.prediction_areas_px.tolist() == [4, 1]
    assert overlaps.pairs.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert overlaps.shared_px.tolist() == [1, 1, 2]
    assert overlaps.ious() == pytest.approx([1 / 5, 1 / 2, 2 / 5])


def test_dropped_instances_become_background_and_the_others_keep_their_areas() -> None:
    rng = np.random.default_rng(6)
    truth = scribble(rng, (30, 30), 20)
    prediction = disturb(rng, truth)
    gone_true, gone_predicted = np.array([2, 5, 999]), np.array([1, 4, 9])
    dropped = drop_instances(count_overlaps(truth, prediction), gone_true, gone_predicted)
    erased = count_overlaps(
        np.where(np.isin(truth, gone_true), 0, truth),
        np.where(np.isin(prediction, gone_predicted), 0, prediction),
    )
    for name in (
        "truth_ids",
        "prediction_ids",
        "truth_areas_px",
        "prediction_areas_px",
        "pairs",
        "shared_px",
    ):
        np.testing.assert_array_equal(getattr(dropped, name), getattr(erased, name), err_msg=name)


@pytest.mark.parametrize("empty_side", ["truth", "prediction", "both"])
def test_nothing_matches_nothing(empty_side: str) -> None:
    cells = scribble(np.random.default_rng(7), (20, 20), 8)
    truth = np.zeros_like(cells) if empty_side != "prediction" else cells
    prediction = np.zeros_like(cells) if empty_side != "truth" else cells
    (matching,) = match_instances(truth, prediction, [0.5])
    assert matching.ious.size == 0
    assert (matching.n_truth > 0) == (empty_side == "prediction")
    assert (matching.n_prediction > 0) == (empty_side == "truth")


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    overlaps = count_overlaps(*np.ones((2, 3, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        match_overlaps(overlaps, threshold)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((3, 4), int), np.zeros((4, 3), int), r"\(4, 3\).*\(3, 4\)"),
        (np.zeros((3, 4, 1), int), np.zeros((3, 4, 1), int), "2-D"),
        (np.zeros((3, 4), float), np.zeros((3, 4), int), "float64"),
        (np.zeros((0, 4), int), np.zeros((0, 4), int), "non-empty"),
        (np.zeros((3, 4), int), np.full((3, 4), -1), "negative, got -1"),
    ],
)
def test_what_is_no_pair_of_label_images_is_refused(truth: np.ndarray, prediction: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_overlaps(truth, prediction)


def test_a_hundred_thousand_cells_need_no_matrix_of_all_pairs() -> None:
    """A dense matrix would hold 10**10 entries; every 16th cell is split into halves that both reach 0.5."""
    index = np.arange(320 * 320, dtype=np.uint32).reshape(320, 320) + 1
    truth = np.kron(index, np.ones((4, 4), dtype=np.uint32))
    right_half = np.arange(truth.shape[1]) % 4 >= 2
    prediction = np.where((truth % 16 == 0) & right_half, truth + truth.max(), truth)
    half, above = match_instances(truth, prediction, [0.5, 0.6])
    assert half.ious.size == 320 * 320
    assert above.ious.size == 320 * 320 * 15 // 16


def test_a_chain_of_rivals_as_long_as_the_image_is_resolved() -> None:
    """Cells shifted by half their width: each has IoU 1/3 with two neighbours, in one chain per row."""
    truth = np.kron(np.arange(1, 4001, dtype=np.uint32).reshape(2, 2000), np.ones((1, 4), dtype=np.uint32))
    half, third = match_instances(truth, np.roll(truth, 2, axis=1), [0.5, 1 / 3])
    assert (half.ious.size, third.ious.size) == (0, 4000)
