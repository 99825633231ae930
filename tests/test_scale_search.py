"""Search for a scale: sure answers stay, doubtful ones are compared with others, and the cost is bounded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from mosaicell.answers import scale_search as module
from mosaicell.answers.branches import Prediction
from mosaicell.answers.quality import Judges, Merged, Sizes
from mosaicell.answers.scale_rules import MIN_COARSE_PX, SCALE_RANGE
from mosaicell.answers.scale_search import MIN_STEP, SURE_F1, answer_at, find_answer, scales_around, shows_specks
from tests.test_cells import draw_discs
from tests.test_quality import judge_by, predict

SHAPE = (200, 300)
SIZES = (Sizes(1, 0.0), Sizes(1, 0.0))
JUDGES: Judges = {"awf": None, "omnipose": None}  # type: ignore[dict-item]


def search(
    monkeypatch: pytest.MonkeyPatch, predicted: Mapping[float, float | None], first: float = 1.0
) -> tuple[float, list[float]]:
    """Search among scales with these predicted F1; return the scale that counts and those looked at."""
    tried: list[float] = []

    def segment_both(scale: float | None) -> tuple[Prediction, Prediction]:
        tried.append(first if scale is None else scale)
        answer = Prediction(np.zeros(SHAPE, np.uint32), 0.5, scale=first if scale is None else scale)
        return answer, answer

    def merge(awf: Prediction, omnipose: Prediction, judges: Judges) -> Merged:
        assert judges is JUDGES
        assert awf.scale == omnipose.scale
        return Merged(awf.labels, (0, 0), SIZES, None, predicted[awf.scale])

    monkeypatch.setattr(module, "merge_branches", merge)
    return find_answer(segment_both, JUDGES, lambda _: True, None).best.scale, tried


@pytest.mark.parametrize("predicted", [SURE_F1, 0.95, None])
def test_sure_and_empty_answers_stay(predicted: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, {1.0: predicted}) == (1.0, [1.0])


@pytest.mark.parametrize("best", [1.0, 2.0, 3.0, 0.5])
def test_of_the_scales_around_the_best_counts(best: float, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = {scale: 0.6 if scale == best else 0.3 for scale in (1.0, 2.0, 3.0, 0.5)}
    assert search(monkeypatch, predicted) == (best, [1.0, 2.0, 3.0, 0.5])


@pytest.mark.parametrize(("best", "whole"), [(1.0, 1.0), (0.5, 0.5), (3.0, 1.0)])
def test_the_best_answer_for_the_whole_image_is_kept(
    best: float, whole: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = {scale: 0.6 if scale == best else 0.3 for scale in (1.0, 2.0, 3.0, 0.5)}
    search(monkeypatch, predicted)

    def segment_both(scale: float | None) -> tuple[Prediction, Prediction]:
        answer = Prediction(np.zeros(SHAPE, np.uint32), 0.5, scale=scale or 1.0)
        return answer, answer

    found = find_answer(segment_both, JUDGES, lambda scale: scale <= 1, None)
    assert found.best.scale == best
    assert found.whole is not None
    assert found.whole.scale == whole
    assert find_answer(segment_both, JUDGES, lambda scale: False, None).whole is None


def draw_specks(count: int, side: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Return squares in a row."""
    labels = np.zeros(shape, np.uint32)
    for index in range(count):
        labels[10 : 10 + side, 14 * index : 14 * index + side] = index + 1
    return labels


@pytest.mark.parametrize(
    ("count", "side", "scale", "specks"),
    [
        (5, 6, 2.0, True),
        (5, 6, 1.0, False),
        (10, 7, 1.1, False),
        (7, 7, 1.1, True),
        (1, 9, 3.0, False),
        (0, 6, 3.0, False),
    ],
)
def test_few_specks_in_an_enlarged_image_are_no_cells(count: int, side: int, scale: float, specks: bool) -> None:
    assert shows_specks(draw_specks(count, side), scale) is specks


def test_an_answer_of_specks_does_not_count() -> None:
    labels = draw_specks(5, 6)
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}

    def segment_both(scale: float | None) -> tuple[Prediction, Prediction]:
        return predict(labels, True, scale or 1.0), predict(labels, False, scale or 1.0)

    found = answer_at(segment_both, 1.0, judges, None).merged.predicted_f1
    assert found is not None
    assert found > SURE_F1
    assert answer_at(segment_both, 2.0, judges, None).merged.predicted_f1 == 0.0


def test_of_equal_answers_and_of_empty_ones_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, {1.0: 0.4, 2.0: 0.4, 3.0: None, 0.5: 0.4})[0] == 1.0


@pytest.mark.parametrize("shape", [(50, 60), (97, 3000), (500, 700), (1000, 1000), (4000, 4000)])
@pytest.mark.parametrize("scale", [0.1, 0.25, 0.7, 1.0, 2.5, 3.0])
def test_scales_are_bounded(shape: tuple[int, int], scale: float) -> None:
    found = scales_around(scale, shape)
    assert scale not in found
    assert len(set(found)) == len(found) <= 3
    for one in found:
        assert SCALE_RANGE[0] <= one <= SCALE_RANGE[1]
        if one > scale:
            assert one >= scale * MIN_STEP
        else:
            assert min(shape) * one >= MIN_COARSE_PX


@pytest.mark.parametrize(
    ("scale", "larger"), [(0.5, [1.0, 2.0]), (1.0, [2.0, 3.0]), (1.2, [2.4]), (2.0, [3.0]), (2.5, [])]
)
def test_small_cells_are_looked_for_up_to_the_largest_scale_in_images_of_any_size(
    scale: float, larger: list[float]
) -> None:
    for shape in ((100, 100), (40_000, 40_000)):
        assert [one for one in scales_around(scale, shape) if one > scale] == larger


def test_a_search_on_real_maps_merges_what_both_branches_say() -> None:
    labels = draw_discs()
    fragments = np.where(labels > 6, 0, labels).astype(np.uint32)

    def segment_both(scale: float | None) -> tuple[Prediction, Prediction]:
        # at the first scale the branches disagree
        found = fragments if scale is None else labels
        return predict(labels, True, scale or 1.0), predict(found, False, scale or 1.0)

    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    first = answer_at(segment_both, None, judges, None)
    assert first.scale == 1.0
    assert first.merged.predicted_f1 is not None
    assert first.merged.predicted_f1 < SURE_F1
    answer = find_answer(segment_both, judges, lambda _: True, None).best
    assert answer.merged.labels.max() == labels.max()
    assert answer.confidences == (0.9, 0.9)
    assert answer.scale != 1.0
