"""The Cell Segmenter: which branches see an image, at which scale, and whose cells count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mosaicell.answers import scale_search
from mosaicell.answers.artefacts import Scene
from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Merged, Sizes
from mosaicell.answers.slide import Slide
from mosaicell.systems import Choice
from mosaicell.systems.cell_segmenter import SYSTEM, prefers_omnipose

Asked = list[tuple[str, float | None, bool]]
#: what `merge_branches` is asked with where it is replaced
SIZES = (Sizes(1, 2.0), Sizes(3, 4.0))
JUDGES: Judges = {"awf": None, "omnipose": None}  # type: ignore[dict-item]


class Answers:
    """Answers for each branch with a label image that holds the branch's number, up to a scale for the whole image.

    Attributes
    ----------
    asked, applied
        What was asked of the branches, and what was applied band by band.
    """

    scene = Scene(None)
    modality = "grey"
    largest_scale = 3.0

    def __init__(self, *empty: str, largest: float = 9.0, keep_scale: bool = True, **confidences: float) -> None:
        self._empty, self._largest, self._keep_scale, self._confidences = empty, largest, keep_scale, confidences
        self.asked: Asked = []
        self.applied: list[tuple[Any, ...]] = []

    def holds(self, scale: float) -> bool:
        """Say whether the whole image is seen."""
        return scale <= self._largest

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Answer for one branch, whatever is asked at scale 0.7."""
        self.asked.append((name, scale, tta))
        key = name.replace("-", "_")
        labels = np.full((2, 2), 0 if key in self._empty else list(self._confidences).index(key) + 1, np.uint32)
        scale = 0.7 if self._keep_scale or scale is None else scale
        seconds = {"network": 1.0, "decode": 0.5}
        return Prediction(labels, self._confidences[key], 0.5, scale, seconds, map_labels=labels, least_px=3)

    def classify(self, name: str) -> np.ndarray:
        """Refuse: this system asks for no classes."""
        raise AssertionError(name)

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Answer for all of the image."""
        self.applied.append((list(names), scale, list(sizes), judges, tta))
        return Slide(np.full((9, 9), 5, np.uint32), [4, 6][: len(names)], 0.4 if judges else None, {"network": 7.0})


def answer(modality: str, case: Any, judges: Judges | None, *, tta: bool) -> Choice:
    case.modality = modality
    return SYSTEM.answer(case, judges, tta=tta)


def answering(*empty: str, **confidences: float) -> tuple[Any, Asked]:
    """Return what answers for each branch, and what is asked of it."""
    case = Answers(*empty, **confidences)  # type: ignore[arg-type]
    return case, case.asked


@pytest.mark.parametrize("modality", ["fluorescence", "brightfield"])
def test_as_published_other_modalities_run_their_awf_model_only(modality: str) -> None:
    case, asked = answering(**{f"awf_{modality}": 0.1})
    choice = answer(modality, case, None, tta=False)
    assert asked == [(f"awf-{modality}", None, False)]
    assert choice.branch == f"awf-{modality}"
    assert choice.predicted_f1 is None


def test_as_published_grey_images_take_the_branch_that_the_rule_prefers() -> None:
    case, asked = answering(awf_grey=0.9, omnipose_grey=0.92)
    choice = answer("grey", case, None, tta=False)
    assert asked == [("awf-grey", None, False), ("omnipose-grey", 0.7, False)]
    assert choice.branch == "awf-grey"
    assert (choice.labels == 1).all()
    case, _ = answering(awf_grey=0.7, omnipose_grey=0.6)
    choice = answer("grey", case, None, tta=False)
    assert choice.branch == "omnipose-grey"
    assert (choice.labels == 2).all()
    assert choice.confidences == {"awf-grey": 0.7, "omnipose-grey": 0.6}
    assert choice.seconds == {"network": 2.0, "decode": 1.0}


def test_an_answer_without_cells_is_not_preferred() -> None:
    case, _ = answering("omnipose_grey", awf_grey=0.7, omnipose_grey=0.9)
    assert answer("grey", case, None, tta=False).branch == "awf-grey"
    case, _ = answering("omnipose_grey", "awf_grey", awf_grey=0.7, omnipose_grey=0.9)
    assert answer("grey", case, None, tta=False).branch == "omnipose-grey"


@pytest.mark.parametrize(("omnipose", "branch"), [(0.92, "awf-grey"), (0.99, "omnipose-grey")])
def test_as_published_the_answer_that_counts_is_augmented(omnipose: float, branch: str) -> None:
    case, asked = answering(awf_grey=0.9, omnipose_grey=omnipose)
    choice = answer("grey", case, None, tta=True)
    assert asked[2:] == [(branch, 0.7, True)]
    assert choice.branch == branch
    assert choice.seconds == {"network": 3.0, "decode": 1.5}


def merging(
    monkeypatch: pytest.MonkeyPatch,
    *predicted: float,
    cells: tuple[int, int] = (1, 2),
) -> list[Sequence[Prediction]]:
    """Merge with these predicted F1 in turn, the last one again and again; return what is merged."""
    given: list[Sequence[Prediction]] = []

    def merge(predictions: Sequence[Prediction], judges: Judges) -> Merged:
        assert judges is JUDGES
        given.append(predictions)
        f1 = predicted[min(len(given), len(predicted)) - 1]
        return Merged(np.full((2, 2), len(given), np.uint32), cells, SIZES, None, f1)

    monkeypatch.setattr(scale_search, "merge_branches", merge)
    return given


def test_bands_that_show_blocks_of_jpeg_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((9, 9), np.uint32)
    labels[3:6, 3:6] = 1

    def segment(contrast: int) -> np.ndarray:
        case = Answers(largest=1.0, keep_scale=False, awf_grey=0.5, omnipose_grey=0.9, omnipose=0.8)
        case.scene = Scene((100 + contrast * labels[..., None]).astype(np.uint8), is_blocky=True)
        monkeypatch.setattr(case, "segment_bands", lambda *_, **__: Slide(labels, [1, 0], 0.4, {"network": 7.0}))
        merging(monkeypatch, 0.3, 0.2, 0.6, 0.2)
        return answer("grey", case, JUDGES, tta=False).labels

    assert np.array_equal(segment(20), labels)
    # the whole image, which promised less than the bands, counts
    assert segment(3).shape == (2, 2)


@pytest.mark.parametrize("modality", ["grey", "fluorescence", "brightfield"])
@pytest.mark.parametrize("tta", [False, True])
def test_with_judges_every_image_sees_both_branches_at_one_scale(
    modality: str, tta: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = "omnipose-grey" if modality == "grey" else "omnipose"
    case, asked = answering(**{f"awf_{modality}": 0.5, beside.replace("-", "_"): 0.9})
    given = merging(monkeypatch, 0.75, 0.7)
    choice = answer(modality, case, JUDGES, tta=tta)
    name = f"awf-{modality}"
    again = [(name, 0.7, True), (beside, 0.7, True)] if tta else []
    assert asked == [(name, None, False), (beside, 0.7, False), *again]
    for awf, omnipose in given:
        assert (awf.confidence, omnipose.confidence) == (0.5, 0.9)
    assert (choice.labels == (2 if tta else 1)).all()
    assert choice.cells == {name: 1, beside: 2}
    assert choice.branch == beside
    assert choice.predicted_f1 == pytest.approx(0.7 if tta else 0.75)
    assert choice.seconds["network"] == len(asked)
    assert choice.scale == 0.7


@pytest.mark.parametrize(
    ("cells", "branch"), [((1, 2), "omnipose-grey"), ((2, 1), "awf-grey"), ((2, 2), "awf-grey"), ((0, 0), "awf-grey")]
)
def test_the_branch_of_an_answer_is_the_one_that_gave_most_cells(
    cells: tuple[int, int], branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, _ = answering(awf_grey=0.5, omnipose_grey=0.9)
    merging(monkeypatch, 0.75, cells=cells)
    assert answer("grey", case, JUDGES, tta=False).branch == branch


def test_a_doubtful_image_is_augmented_at_the_scale_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Answers(keep_scale=False, awf_grey=0.5, omnipose_grey=0.9)
    asked = case.asked
    merging(monkeypatch, 0.55, 0.6, 0.5)
    choice = answer("grey", case, JUDGES, tta=True)
    assert asked[-2:] == [("awf-grey", 1.4, True), ("omnipose-grey", 1.4, True)]
    assert choice.scale == 1.4
    assert choice.seconds["network"] == len(asked)


@pytest.mark.parametrize("tta", [False, True])
def test_a_scale_at_which_the_image_is_not_held_is_applied_band_by_band(
    tta: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Answers(largest=1.0, keep_scale=False, awf_grey=0.5, omnipose_grey=0.9, omnipose=0.8)
    merging(monkeypatch, 0.3, 0.2, 0.6, 0.5)
    choice = answer("grey", case, JUDGES, tta=tta)
    # the views are those of the bands alone
    assert not any(augmented for _, _, augmented in case.asked)
    assert case.applied == [(["awf-grey", "omnipose-grey"], 1.4, list(SIZES), JUDGES, tta)]
    assert choice.labels.shape == (9, 9)
    assert (choice.branch, choice.cells) == ("omnipose-grey", {"awf-grey": 4, "omnipose-grey": 6})
    assert (choice.predicted_f1, choice.scale) == (0.4, 1.4)
    assert choice.confidences == {"awf-grey": 0.5, "omnipose-grey": 0.9}
    assert set(choice.seconds) == {"sample", "network"}


@pytest.mark.parametrize("tta", [False, True])
def test_bands_that_are_worse_than_the_whole_image_was_do_not_count(tta: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mosaic promises 0.6, the bands keep 0.4, and the whole image had 0.5 at the first scale."""
    case = Answers(largest=1.0, keep_scale=False, awf_grey=0.5, omnipose_grey=0.9)
    merging(monkeypatch, 0.5, 0.6, 0.45)
    choice = answer("grey", case, JUDGES, tta=tta)
    assert len(case.applied) == 1
    assert (choice.scale, choice.predicted_f1) == (0.7, 0.45 if tta else 0.5)
    assert choice.labels.shape == (2, 2)
    again = [("awf-grey", 0.7, True), ("omnipose-grey", 0.7, True)] if tta else []
    assert case.asked[6:] == again
    # the seconds of the bands were spent all the same
    assert choice.seconds["network"] == 7.0 + len(case.asked)


@pytest.mark.parametrize("tta", [False, True])
def test_where_the_grey_model_is_doubtful_the_general_one_takes_its_place(
    tta: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, asked = answering(awf_grey=0.5, omnipose_grey=0.9, omnipose=0.8)
    given = merging(monkeypatch, 0.49, 0.75, 0.7)
    choice = answer("grey", case, JUDGES, tta=tta)
    again = [("awf-grey", 0.7, True), ("omnipose", 0.7, True)] if tta else []
    # AWF, which found the scale, is not asked again
    once = [("awf-grey", None, False), ("omnipose-grey", 0.7, False), ("omnipose", 0.7, False)]
    assert asked == [*once, *again]
    assert [prediction.confidence for prediction in given[1]] == [0.5, 0.8]
    assert choice.cells == {"awf-grey": 1, "omnipose": 2}
    assert choice.confidences == {"awf-grey": 0.5, "omnipose": 0.8}
    assert choice.predicted_f1 == pytest.approx(0.7 if tta else 0.75)
    assert choice.seconds["network"] == len(asked)


def test_models_that_took_the_place_of_others_are_applied_band_by_band(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Answers(largest=0.5, awf_grey=0.5, omnipose_grey=0.9, omnipose=0.8)
    merging(monkeypatch, 0.49, 0.75)
    choice = answer("grey", case, JUDGES, tta=False)
    assert case.applied == [(["awf-grey", "omnipose"], 0.7, list(SIZES), JUDGES, False)]
    assert choice.cells == {"awf-grey": 4, "omnipose": 6}


@pytest.mark.parametrize("modality", ["fluorescence", "brightfield"])
def test_other_modalities_have_no_other_model(modality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, asked = answering(**{f"awf_{modality}": 0.5, "omnipose": 0.9})
    merging(monkeypatch, 0.2)
    answer(modality, case, JUDGES, tta=False)
    assert {name for name, _, _ in asked} == {f"awf-{modality}", "omnipose"}


@pytest.mark.parametrize(("omnipose", "branch"), [(0.92, "awf-grey"), (0.99, "omnipose-grey")])
def test_as_published_one_branch_is_applied_band_by_band(omnipose: float, branch: str) -> None:
    case = Answers(largest=0.5, awf_grey=0.9, omnipose_grey=omnipose)
    choice = answer("grey", case, None, tta=True)
    # one cell of four pixels
    ((names, scale, (sizes,), judges, tta),) = case.applied
    assert (names, scale, judges, tta) == ([branch], 0.7, None, True)
    assert (sizes.least_px, sizes.typical) == (3, pytest.approx(math.log(4)))
    assert (choice.branch, choice.cells, choice.predicted_f1) == (branch, {branch: 4}, None)
    assert choice.labels.shape == (9, 9)


def test_a_glance_tries_no_other_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    case, asked = answering(awf_grey=0.5, omnipose_grey=0.9)
    merging(monkeypatch, 0.1)
    choice = SYSTEM.glance(case, JUDGES)
    assert asked == [("awf-grey", None, False), ("omnipose-grey", 0.7, False)]
    assert (choice.predicted_f1, choice.cells) == (0.1, {"awf-grey": 1, "omnipose-grey": 2})
    assert SYSTEM.glance(case, None).cells == {"awf-grey": 1}
    assert asked[2:] == [("awf-grey", None, False)]


@pytest.mark.parametrize(
    ("awf", "omnipose", "expected"),
    [
        (0.95, 0.97, False),
        (0.79, 0.60, True),
        (0.80, 0.86, True),
        (0.80, 0.84, False),
        (0.0, 0.0, False),
        (0.5, 0.0, False),
        (0.0, 0.6, True),
    ],
)
def test_rule_of_the_paper(awf: float, omnipose: float, expected: bool) -> None:
    assert prefers_omnipose(awf, omnipose) is expected
