"""Search for a scale: sure answers stay, doubtful ones are compared with others, and the cost is bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pytest

from mosaicell.answers import scale_search as module
from mosaicell.answers.artefacts import Scene
from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Merged, Sizes
from mosaicell.answers.scale_rules import EMPTY_SCALE, MIN_COARSE_CELLS, MIN_COARSE_PX, SCALE_RANGE
from mosaicell.answers.scale_search import MIN_STEP, SMALLEST_TRIED, SURE_F1, answer_at, find_answer, scales_around
from tests.test_artefacts import draw_squares
from tests.test_cells import draw_discs
from tests.test_features import predict
from tests.test_merging import judge_by

SHAPE = (200, 300)
SIZES = (Sizes(1, 0.0), Sizes(1, 0.0))
#: an image of which no pixels are held
UNSEEN = Scene(None)
JUDGES: Judges = {"awf": None, "omnipose": None}  # type: ignore[dict-item]


def search(
    monkeypatch: pytest.MonkeyPatch,
    predicted: Mapping[float, float | None],
    first: float = 1.0,
    cells: Mapping[float, int] | None = None,
    sure_f1: float = SURE_F1,
    full_size_lead: float | None = None,
    largest_scale: float = SCALE_RANGE[1],
) -> tuple[float, list[float]]:
    """Search among scales with these predicted F1 and cells; return the scale that counts and those looked at."""
    tried: list[float] = []

    def segment_all(scale: float | None) -> list[Prediction]:
        tried.append(first if scale is None else scale)
        labels = np.zeros(SHAPE, np.uint32)
        labels[:] = (cells or {}).get(tried[-1], 0)
        answer = Prediction(labels, 0.5, scale=tried[-1])
        return [answer, answer]

    def merge(predictions: Sequence[Prediction], judges: Judges) -> Merged:
        assert judges is JUDGES
        (one,) = {prediction.scale for prediction in predictions}
        return Merged(predictions[0].labels, (0, 0), SIZES, None, predicted[one])

    monkeypatch.setattr(module, "merge_branches", merge)
    found = find_answer(
        segment_all, JUDGES, lambda _: True, UNSEEN, sure_f1, full_size_lead, largest_scale=largest_scale
    )
    assert found.whole is found.best
    return found.best.scale, tried


@pytest.mark.parametrize("predicted", [SURE_F1, 0.95, None])
def test_sure_and_empty_answers_stay(predicted: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, {1.0: predicted}) == (1.0, [1.0])


def test_what_is_sure_is_up_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = {1.0: 0.3, 2.0: 0.6, 3.0: 0.2, 0.5: 0.2}
    assert search(monkeypatch, predicted, sure_f1=0.0) == (1.0, [1.0])
    assert search(monkeypatch, predicted, sure_f1=0.31)[0] == 2.0


@pytest.mark.parametrize(
    ("first", "predicted", "best"),
    [(0.5, {0.5: 0.8, 1.0: 0.84}, 0.5), (0.5, {0.5: 0.8, 1.0: 0.86}, 1.0), (2.0, {2.0: None, 1.0: 0.5}, 1.0)],
)
def test_full_size_counts_where_it_leads(
    first: float, predicted: dict[float, float | None], best: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search(monkeypatch, predicted, first, sure_f1=0.0, full_size_lead=0.05) == (best, [first, 1.0])


@pytest.mark.parametrize("first", [0.8, 1.0, 1.2])
def test_what_is_nearly_at_full_size_is_not_looked_at_again(first: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, {first: 0.1}, first, sure_f1=0.0, full_size_lead=0.05) == (first, [first])


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

    def segment_all(scale: float | None) -> list[Prediction]:
        answer = Prediction(np.zeros(SHAPE, np.uint32), 0.5, scale=scale or 1.0)
        return [answer, answer]

    found = find_answer(segment_all, JUDGES, lambda scale: scale <= 1, UNSEEN)
    assert found.best.scale == best
    assert found.whole is not None
    assert found.whole.scale == whole
    assert find_answer(segment_all, JUDGES, lambda scale: False, UNSEEN).whole is None


@pytest.mark.parametrize(
    ("first", "others", "tried", "best"),
    [
        (0.5, 0.9, ["own 1.0", "own 2.0", "own 3.0", "own 0.5"], "own 1.0"),
        (None, 0.9, ["own 1.0"], "own 1.0"),
        (0.49, 0.49, ["own 1.0", "others 1.0", "own 2.0", "own 3.0", "own 0.5"], "own 1.0"),
        (0.49, 0.5, ["own 1.0", "others 1.0", "others 2.0", "others 3.0", "others 0.5"], "others 1.0"),
        (0.49, 0.71, ["own 1.0", "others 1.0"], "others 1.0"),
        (0.0, 0.3, ["own 1.0", "others 1.0", "others 2.0", "others 3.0", "others 0.5"], "others 2.0"),
    ],
)
def test_other_branches_take_the_place_of_doubtful_ones(
    first: float | None, others: float, tried: list[str], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = {"own 1.0": first, "others 1.0": others, "own 2.0": 0.4, "others 2.0": 0.4}
    asked: list[str] = []

    def segment_by(name: str, scale: float | None) -> list[Prediction]:
        asked.append(f"{name} {scale or 1.0}")
        answer = Prediction(np.zeros(SHAPE, np.uint32), len(asked) / 9, scale=scale or 1.0)
        return [answer, answer]

    def merge(predictions: Sequence[Prediction], judges: Judges) -> Merged:
        return Merged(predictions[0].labels, (0, 0), SIZES, None, predicted.get(asked[-1], 0.2))

    monkeypatch.setattr(module, "merge_branches", merge)
    found = find_answer(
        partial(segment_by, "own"), JUDGES, lambda _: True, UNSEEN, segment_by_others=partial(segment_by, "others")
    )
    assert asked == tried
    # every answer has a confidence of its own
    assert found.best.confidences[0] == (tried.index(best) + 1) / 9
    assert found.by_others is best.startswith("others")
    assert found.whole is found.best


@pytest.mark.parametrize(
    ("first", "largest", "predicted", "tried"),
    [
        (0.4, 3.0, {0.8: 0.2, 1.6: 0.3}, [0.4, 0.8, 1.6, 3.0]),
        (0.4, 2.0, {0.8: 0.2, 1.6: 0.3}, [0.4, 0.8, 1.6, 2.0]),
        (0.4, 3.0, {0.8: 0.3, 1.6: 0.2}, [0.4, 0.8, 1.6]),
        (0.2, 3.0, {0.4: 0.2, 0.8: 0.3, 1.6: 0.2}, [0.2, 0.4, 0.8, 1.6]),
        (0.2, 3.0, {0.4: 0.2, 0.8: 0.3, 1.6: 0.4, 3.0: 0.5}, [0.2, 0.4, 0.8, 1.6, 3.0]),
        (1.0, 2.0, {2.0: 0.3}, [1.0, 2.0, 0.5]),
        (1.0, 2.0, {0.5: 0.3}, [1.0, 2.0, 0.5]),
        (3.0, 3.0, {1.5: 0.3}, [3.0, 1.5, 0.75, 0.5]),
    ],
)
def test_an_image_is_enlarged_as_long_as_that_helps(
    first: float, largest: float, predicted: dict[float, float], tried: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {**dict.fromkeys(tried, 0.1), **predicted}
    assert search(monkeypatch, found, first, largest_scale=largest)[1] == tried


def test_an_image_of_which_no_other_scale_can_be_tried_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_COARSE_PX", 1000)
    assert search(monkeypatch, {3.0: 0.1}, 3.0) == (3.0, [3.0])


def test_an_answer_that_is_sure_ends_the_enlarging(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = {0.4: 0.1, 0.8: 0.2, 1.6: SURE_F1}
    assert search(monkeypatch, predicted, 0.4, cells={1.6: 3})[1] == [0.4, 0.8, 1.6]


def test_an_answer_of_specks_does_not_count() -> None:
    labels = draw_squares(5, 6, SHAPE)
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}

    def segment_all(scale: float | None) -> list[Prediction]:
        return [predict(labels, kind, scale or 1.0) for kind in ("awf", "omnipose")]

    found = answer_at(segment_all, 1.0, judges, UNSEEN).merged.predicted_f1
    assert found is not None
    assert found > SURE_F1
    assert answer_at(segment_all, 2.0, judges, UNSEEN).merged.predicted_f1 == 0.0


@pytest.mark.parametrize("scale", [EMPTY_SCALE, 0.1])
def test_one_or_two_objects_in_a_strongly_reduced_image_have_to_be_sure(scale: float) -> None:
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}

    def predicted(count: int, shift: int, scale: float) -> float:
        labels = draw_squares(count, 30, (200, 300))
        both = [predict(labels, "awf", scale), predict(np.roll(labels, shift, axis=0), "omnipose", scale)]
        found = answer_at(lambda _: both, scale, judges, UNSEEN)
        assert found.merged.labels.max() == count
        assert found.merged.predicted_f1 is not None
        return found.merged.predicted_f1

    few = MIN_COARSE_CELLS - 1
    assert predicted(few, 0, scale) >= SURE_F1
    # branches that agree by half are not sure
    assert 0 < predicted(few, 10, 0.5) < SURE_F1
    assert predicted(few, 10, scale) == 0.0
    assert predicted(MIN_COARSE_CELLS, 10, scale) > 0


@pytest.mark.parametrize(
    ("many_f1", "few", "best"),
    [
        (SURE_F1, MIN_COARSE_CELLS - 1, 3.0),
        (SURE_F1, MIN_COARSE_CELLS, 0.5),
        (SURE_F1 - 0.01, MIN_COARSE_CELLS - 1, 0.5),
    ],
)
def test_a_clump_does_not_count_before_the_cells_that_it_is_made_of(
    many_f1: float, few: int, best: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = {1.0: 0.1, 2.0: 0.3, 3.0: many_f1, 0.5: 0.95}
    cells = {1.0: 24, 2.0: 50, 3.0: 76, 0.5: few}
    assert search(monkeypatch, predicted, cells=cells) == (best, [1.0, 2.0, 3.0, 0.5])


def test_what_the_pixels_speak_against_does_not_count() -> None:
    labels = draw_squares(5, 12, SHAPE)
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    pixels = np.where(labels > 0, 93, 90).astype(np.uint8)[..., None]

    def predicted(scene: Scene) -> float | None:
        both = [predict(labels, kind, 1.0) for kind in ("awf", "omnipose")]
        return answer_at(lambda _: both, None, judges, scene).merged.predicted_f1

    assert predicted(Scene(pixels)) == predicted(UNSEEN) != 0.0
    assert predicted(Scene(pixels, is_blocky=True)) == 0.0


def test_of_equal_answers_and_of_empty_ones_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(monkeypatch, {1.0: 0.4, 2.0: 0.4, 3.0: None, 0.5: 0.4})[0] == 1.0


@pytest.mark.parametrize("shape", [(50, 60), (97, 3000), (500, 700), (1000, 1000), (4000, 4000)])
@pytest.mark.parametrize("scale", [0.1, 0.25, 0.7, 1.0, 2.5, 3.0])
def test_scales_are_bounded(shape: tuple[int, int], scale: float) -> None:
    found = scales_around(scale, shape)
    assert scale not in found
    assert len(set(found)) == len(found) <= 4
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
        assert max(scale, *scales_around(scale, shape, 2.0)) <= max(scale, 2.0)


@pytest.mark.parametrize(
    ("scale", "smaller"),
    [
        (0.4, [0.2]),
        (0.5, [0.25]),
        (0.6, [0.3]),
        (0.7, [0.5]),
        (1.0, [0.5]),
        (1.2, [0.6, 0.5]),
        (2.5, [1.25, 0.625, 0.5]),
        (3.0, [1.5, 0.75, 0.5]),
    ],
)
def test_an_enlarged_image_is_also_looked_at_reduced(scale: float, smaller: list[float]) -> None:
    assert [one for one in scales_around(scale, (1000, 1000)) if one < scale] == smaller
    assert smaller[-1] <= SMALLEST_TRIED
    # but not where too little of it would be left
    assert all(one >= 0.5 for one in scales_around(scale, (160, 160)) if one < scale)


def test_a_branch_alone_is_judged_at_several_scales() -> None:
    labels = draw_discs()

    def segment_all(scale: float | None) -> list[Prediction]:
        found = predict(labels, "awf", scale or 1.0)
        found.raw.maps[0] *= 1.0 if scale == 2.0 else 0.45
        return [found]

    found = find_answer(segment_all, {"awf": judge_by("awf.foreground")}, lambda _: True, UNSEEN).best
    assert found.scale == 2.0
    assert found.merged.cells == (12,)
    assert found.confidences == (0.9,)


def test_a_search_on_real_maps_merges_what_both_branches_say() -> None:
    labels = draw_discs()
    fragments = np.where(labels > 6, 0, labels).astype(np.uint32)

    def segment_all(scale: float | None) -> list[Prediction]:
        # at the first scale the branches disagree
        found = fragments if scale is None else labels
        return [predict(labels, "awf", scale or 1.0), predict(found, "omnipose", scale or 1.0)]

    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    first = answer_at(segment_all, None, judges, UNSEEN)
    assert first.scale == 1.0
    assert first.merged.predicted_f1 is not None
    assert first.merged.predicted_f1 < SURE_F1
    answer = find_answer(segment_all, judges, lambda _: True, UNSEEN).best
    assert answer.merged.labels.max() == labels.max()
    assert answer.confidences == (0.9, 0.9)
    assert answer.scale != 1.0
