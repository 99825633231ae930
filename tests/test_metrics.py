"""The challenge's metric: its rules read directly, its borders, its empty cases, its size limit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from mosaicell.evaluation import metrics
from mosaicell.evaluation.metrics import Scores, f1_score, score_image

THRESHOLDS = (0.3, 0.5, 0.6, 0.9)


def draw_cells(rng: np.random.Generator, shape: tuple[int, int], n_cells: int) -> np.ndarray:
    """Draw discs with random ids, some of them cut by the border of the image or by later discs."""
    labels = np.zeros(shape, dtype=np.uint32)
    rows, columns = np.indices(shape)
    ids = rng.choice(np.arange(1, 10 * n_cells), n_cells, replace=False)
    for cell_id in ids:
        centre_y, centre_x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        radius = rng.uniform(1, 5)
        labels[(rows - centre_y) ** 2 + (columns - centre_x) ** 2 <= radius**2] = cell_id
    return labels


def direct_counts(truth: np.ndarray, prediction: np.ndarray, threshold: float) -> np.ndarray:
    """Count true, predicted and matched instances of one region with masks and the dense assignment."""
    masks = []
    for labels in (truth, prediction):
        inner = np.zeros(labels.shape, dtype=bool)
        inner[2:-2, 2:-2] = True
        ids = np.setdiff1d(labels, np.append(labels[~inner], 0))
        masks.append([labels == cell_id for cell_id in ids])
    ious = np.array([[(a & b).sum() / (a | b).sum() for b in masks[1]] for a in masks[0]])
    n_matched = 0
    if ious.size:
        chosen = linear_sum_assignment(-(ious >= threshold).astype(float) - ious / (2 * min(ious.shape)))
        n_matched = int((ious[chosen] >= threshold).sum())
    return np.array([len(masks[0]), len(masks[1]), n_matched])


def counts(scores: Scores) -> list[int]:
    return [scores.n_truth, scores.n_prediction, scores.n_matched]


@pytest.fixture
def small_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images of 400 pixels count as large, and cut them into regions of 20 x 20."""
    monkeypatch.setattr(metrics, "LARGE_IMAGE_PX", 400)
    monkeypatch.setattr(metrics, "REGION_PX", 20)


@pytest.mark.parametrize("seed", range(15))
def test_counts_equal_the_rules_read_directly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = draw_cells(rng, (40, 55), 25)
    prediction = np.roll(truth, 1, axis=seed % 2)
    prediction[prediction == prediction.max()] = 0
    for scores in score_image(truth, prediction, THRESHOLDS):
        assert counts(scores) == direct_counts(truth, prediction, scores.threshold).tolist()


@pytest.mark.parametrize("shape", [(20, 20), (40, 60), (41, 63), (25, 39), (21, 58), (59, 21)])
@pytest.mark.usefixtures("small_regions")
def test_regions_of_a_large_image_equal_the_padded_ones(shape: tuple[int, int]) -> None:
    """The organisers pad to whole regions with zeros, so the right and bottom edges remove nothing there."""
    rng = np.random.default_rng(shape[0])
    truth = draw_cells(rng, shape, 30)
    prediction = np.roll(truth, 1, axis=0)
    padding = [(0, -size % 20) for size in shape]
    true_padded, predicted_padded = np.pad(truth, padding), np.pad(prediction, padding)
    for scores in score_image(truth, prediction, THRESHOLDS):
        expected = np.zeros(3, dtype=int)
        for top in range(0, true_padded.shape[0], 20):
            for left in range(0, true_padded.shape[1], 20):
                region = (slice(top, top + 20), slice(left, left + 20))
                expected += direct_counts(true_padded[region], predicted_padded[region], scores.threshold)
        assert counts(scores) == expected.tolist()


@pytest.mark.parametrize(
    ("cell", "below_limit", "at_limit"),
    [
        pytest.param((slice(100, 110), slice(1995, 2005)), 1, 0, id="on the seam at x = 2000"),
        pytest.param((slice(4980, 5000), slice(4980, 4999)), 0, 1, id="at the bottom edge"),
        pytest.param((slice(100, 110), slice(0, 10)), 0, 0, id="at the left edge"),
        pytest.param((slice(100, 110), slice(300, 310)), 1, 1, id="away from all"),
    ],
)
def test_regions_begin_at_exactly_25_megapixels(cell: tuple[slice, slice], below_limit: int, at_limit: int) -> None:
    labels = np.zeros((5000, 5000), dtype=np.uint8)
    labels[cell] = 1
    assert counts(score_image(labels[:, :-1], labels[:, :-1])[0]) == [below_limit] * 3
    assert counts(score_image(labels, labels)[0]) == [at_limit] * 3


@pytest.mark.parametrize("distance_px", range(4))
@pytest.mark.parametrize("side", range(4))
def test_a_cell_within_two_pixels_of_the_border_is_left_out(distance_px: int, side: int) -> None:
    labels = np.zeros((20, 30), dtype=np.uint32)
    labels[8:12, distance_px : distance_px + 5] = 4
    labels[8:12, 12:17] = 9
    labels = np.rot90(labels, side)
    (scores,) = score_image(labels, labels)
    expected = 1 if distance_px < 2 else 2
    assert counts(scores) == [expected] * 3


def test_truth_and_prediction_lose_their_border_cells_independently() -> None:
    """A true cell whose prediction reaches the frame stays, and is missed."""
    truth = np.zeros((20, 20), dtype=np.uint32)
    truth[2:12, 5:15] = 1
    prediction = np.zeros_like(truth)
    prediction[1:12, 5:15] = 1
    (scores,) = score_image(truth, prediction)
    assert counts(scores) == [1, 0, 0]
    assert (scores.f1, scores.n_missed, scores.n_wrong) == (0.0, 1, 0)
    assert scores.dice == pytest.approx(2 * 100 / 210)


@pytest.mark.parametrize("seed", range(5))
def test_an_image_scores_one_against_itself_and_the_scores_fall_with_the_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = draw_cells(rng, (60, 60), 20)
    assert [scores.f1 for scores in score_image(truth, truth, THRESHOLDS)] == [1.0] * len(THRESHOLDS)
    shifted = score_image(truth, np.roll(truth, 2, axis=1), THRESHOLDS)
    assert shifted == sorted(shifted, key=lambda scores: -scores.f1)
    assert shifted[0].f1 > shifted[-1].f1


def test_renumbering_and_flipping_change_nothing() -> None:
    rng = np.random.default_rng(11)
    truth = draw_cells(rng, (50, 70), 40)
    prediction = np.roll(truth, 1, axis=1)
    expected = score_image(truth, prediction, THRESHOLDS)
    new_ids = np.concatenate(([0], 70_000 + rng.permutation(truth.max()))).astype(np.uint32)
    assert score_image(truth, new_ids[prediction], THRESHOLDS) == expected
    assert score_image(truth[::-1], prediction[::-1], THRESHOLDS) == expected
    assert score_image(truth.T, prediction.T, THRESHOLDS) == expected


@pytest.mark.parametrize(
    ("true_cells", "predicted_cells", "dice"), [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0), ("frame", 1, None)]
)
def test_empty_cases_score_zero_as_the_organisers_score_them(
    true_cells: int | str, predicted_cells: int, dice: float | None
) -> None:
    truth, prediction = np.zeros((2, 30, 30), dtype=np.uint32)
    truth[10:20, 0 if true_cells == "frame" else 10 : 20] = true_cells != 0
    prediction[10:20, 10:20] = predicted_cells
    (scores,) = score_image(truth, prediction)
    assert (scores.f1, scores.precision, scores.recall) == (0.0, 0.0, 0.0)
    assert counts(scores) == [int(true_cells == 1), predicted_cells, 0]
    assert dice is None or scores.dice == dice


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3), (4, 90)])
def test_an_image_that_is_all_frame_has_no_cells(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, dtype=np.uint32)
    (scores,) = score_image(labels, labels)
    assert (counts(scores), scores.f1, scores.dice) == ([0, 0, 0], 0.0, 1.0)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    scores = Scores(0.5, n_truth=10, n_prediction=16, n_matched=8, dice=0.9)
    assert (scores.precision, scores.recall) == (0.5, 0.8)
    assert scores.f1 == pytest.approx(2 / (1 / 0.5 + 1 / 0.8))
    assert (scores.n_missed, scores.n_wrong) == (2, 8)
    assert f1_score(0, 0, 0) == f1_score(5, 5, 0) == 0.0
    assert f1_score(5, 5, 5) == 1.0


def test_ids_above_the_range_of_uint16_count_like_others() -> None:
    truth = np.zeros((300, 1200), dtype=np.uint32)
    truth[2:-2, 2:-2] = np.arange(1, 296 * 1196 + 1).reshape(296, 1196)
    (scores,) = score_image(truth, truth)
    assert counts(scores) == [296 * 1196] * 3


def test_a_prediction_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"\(30, 20\).*\(20, 30\)"):
        score_image(np.zeros((20, 30), int), np.zeros((30, 20), int))
