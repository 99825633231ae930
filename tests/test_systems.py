"""Systems: which branches see an image, at which scale, and whose cells count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference import scale_search
from inference.branches import Prediction
from inference.options import DEFAULT_SYSTEM, SYSTEM_NAMES
from inference.quality import Judges, Merged
from inference.systems import SYSTEM_MODELS, SYSTEMS, cell_segmenter, make_rule

Asked = list[tuple[str, float | None, bool]]
#: what `merge_branches` is asked with where it is replaced
JUDGES: Judges = {"awf": None, "omnipose": None}  # type: ignore[dict-item]


def answering(*empty: str, **confidences: float) -> tuple[Any, Asked]:
    """Answer for each branch with a label image that holds the branch's number."""
    asked: Asked = []

    def segment_with(name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        asked.append((name, scale, tta))
        key = name.replace("-", "_")
        labels = np.full((2, 2), 0 if key in empty else list(confidences).index(key) + 1, np.uint32)
        return Prediction(labels, confidences[key], 0.5, 0.7, {"network": 1.0, "decode": 0.5})

    return segment_with, asked


@pytest.mark.parametrize("modality", ["fluorescence", "brightfield"])
def test_as_published_other_modalities_run_their_awf_model_only(modality: str) -> None:
    segment_with, asked = answering(**{f"awf_{modality}": 0.1})
    choice = cell_segmenter(modality, segment_with, None, tta=False)
    assert asked == [(f"awf-{modality}", None, False)]
    assert choice.branch == f"awf-{modality}"
    assert choice.predicted_f1 is None


def test_as_published_grey_images_take_the_branch_that_the_rule_prefers() -> None:
    segment_with, asked = answering(awf_grey=0.9, omnipose=0.92)
    choice = cell_segmenter("grey", segment_with, None, tta=False)
    assert asked == [("awf-grey", None, False), ("omnipose", 0.7, False)]
    assert choice.branch == "awf-grey"
    assert (choice.labels == 1).all()
    segment_with, _ = answering(awf_grey=0.7, omnipose=0.6)
    choice = cell_segmenter("grey", segment_with, None, tta=False)
    assert choice.branch == "omnipose"
    assert (choice.labels == 2).all()
    assert choice.confidences == {"awf-grey": 0.7, "omnipose": 0.6}
    assert choice.seconds == {"network": 2.0, "decode": 1.0}


def test_an_answer_without_cells_is_not_preferred() -> None:
    segment_with, _ = answering("omnipose", awf_grey=0.7, omnipose=0.9)
    assert cell_segmenter("grey", segment_with, None, tta=False).branch == "awf-grey"
    segment_with, _ = answering("omnipose", "awf_grey", awf_grey=0.7, omnipose=0.9)
    assert cell_segmenter("grey", segment_with, None, tta=False).branch == "omnipose"


@pytest.mark.parametrize(("omnipose", "branch"), [(0.92, "awf-grey"), (0.99, "omnipose")])
def test_as_published_the_answer_that_counts_is_augmented(omnipose: float, branch: str) -> None:
    segment_with, asked = answering(awf_grey=0.9, omnipose=omnipose)
    choice = cell_segmenter("grey", segment_with, None, tta=True)
    assert asked[2:] == [(branch, 0.7, True)]
    assert choice.branch == branch
    assert choice.seconds == {"network": 3.0, "decode": 1.5}


def merging(
    monkeypatch: pytest.MonkeyPatch,
    *predicted: float,
    alone_f1: tuple[float, float] = (0.6, 0.7),
    cells: tuple[int, int] = (1, 2),
) -> list[tuple[Prediction, Prediction]]:
    """Merge with these predicted F1 in turn, the last one again and again; return what is merged."""
    given: list[tuple[Prediction, Prediction]] = []

    def merge(awf: Prediction, omnipose: Prediction, judges: Judges) -> Merged:
        assert judges is JUDGES
        given.append((awf, omnipose))
        f1 = predicted[min(len(given), len(predicted)) - 1]
        return Merged(np.full((2, 2), len(given), np.uint32), *cells, alone_f1, None, f1)

    monkeypatch.setattr(scale_search, "merge_branches", merge)
    return given


@pytest.mark.parametrize("modality", ["grey", "fluorescence", "brightfield"])
@pytest.mark.parametrize("tta", [False, True])
def test_with_judges_every_image_sees_both_branches_at_one_scale(
    modality: str, tta: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment_with, asked = answering(**{f"awf_{modality}": 0.5, "omnipose": 0.9})
    given = merging(monkeypatch, 0.75, 0.7)
    choice = make_rule(DEFAULT_SYSTEM, JUDGES, tta=tta)(modality, segment_with)
    name = f"awf-{modality}"
    again = [(name, 0.7, True), ("omnipose", 0.7, True)] if tta else []
    assert asked == [(name, None, False), ("omnipose", 0.7, False), *again]
    for awf, omnipose in given:
        assert (awf.confidence, omnipose.confidence) == (0.5, 0.9)
    assert (choice.labels == (2 if tta else 1)).all()
    assert choice.cells == {name: 1, "omnipose": 2}
    assert choice.branch == "omnipose"
    assert choice.predicted_f1 == pytest.approx(0.7 if tta else 0.75)
    assert choice.seconds["network"] == len(asked)
    assert choice.scale == 0.7


@pytest.mark.parametrize(
    ("alone_f1", "branch"), [((0.6, 0.7), "omnipose"), ((0.7, 0.6), "awf-grey"), ((0.6, 0.6), "awf-grey")]
)
def test_the_branch_that_does_better_alone_need_not_be_the_one_that_gave_most_cells(
    alone_f1: tuple[float, float], branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where both found a cell, chance decides whose it is."""
    segment_with, _ = answering(awf_grey=0.5, omnipose=0.9)
    merging(monkeypatch, 0.75, alone_f1=alone_f1)
    assert make_rule(DEFAULT_SYSTEM, JUDGES, tta=False)("grey", segment_with).best_alone == branch


@pytest.mark.parametrize(
    ("cells", "branch"), [((1, 2), "omnipose"), ((2, 1), "awf-grey"), ((2, 2), "awf-grey"), ((0, 0), "awf-grey")]
)
def test_the_branch_of_an_answer_is_the_one_that_gave_most_cells(
    cells: tuple[int, int], branch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment_with, _ = answering(awf_grey=0.5, omnipose=0.9)
    for alone_f1 in ((0.6, 0.7), (0.7, 0.6)):
        merging(monkeypatch, 0.75, alone_f1=alone_f1, cells=cells)
        assert make_rule(DEFAULT_SYSTEM, JUDGES, tta=False)("grey", segment_with).branch == branch


def test_a_doubtful_image_is_augmented_at_the_scale_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    segment_with, asked = answering(awf_grey=0.5, omnipose=0.9)

    def segment_at(name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        prediction = segment_with(name, scale, tta=tta)
        return replace(prediction, scale=scale or 0.7)

    merging(monkeypatch, 0.3, 0.6, 0.5)
    choice = make_rule(DEFAULT_SYSTEM, JUDGES, tta=True)("grey", segment_at)
    assert asked[-2:] == [("awf-grey", 1.4, True), ("omnipose", 1.4, True)]
    assert choice.scale == 1.4
    assert choice.seconds["network"] == len(asked)


def test_command_line_offers_every_system() -> None:
    assert set(SYSTEM_NAMES) == set(SYSTEMS) == set(SYSTEM_MODELS)
    assert DEFAULT_SYSTEM in SYSTEMS
