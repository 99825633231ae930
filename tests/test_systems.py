from __future__ import annotations

import numpy as np
import pytest

from inference.branches import Prediction
from inference.options import DEFAULT_SYSTEM, SYSTEM_NAMES
from inference.quality import INPUTS, Predictor
from inference.systems import SYSTEM_MODELS, SYSTEMS, cell_segmenter, make_rule


def predictor(*empty: str, **confidences: float):  # type: ignore[no-untyped-def]
    """Answer for each branch with a label image that holds the branch's number."""
    asked = []

    def segment_with(name: str, scale: float | None) -> Prediction:
        asked.append((name, scale))
        key = name.replace("-", "_")
        labels = np.full((2, 2), 0 if key in empty else list(confidences).index(key) + 1, np.uint32)
        return Prediction(labels, confidences[key], 0.5, 0.7, {"network": 1.0, "decode": 0.5})

    return segment_with, asked


@pytest.mark.parametrize("modality", ["fluorescence", "brightfield"])
def test_other_modalities_run_their_awf_model_only(modality: str) -> None:
    segment_with, asked = predictor(**{f"awf_{modality}": 0.1})
    choice = cell_segmenter(modality, segment_with)
    assert asked == [(f"awf-{modality}", None)]
    assert choice.branch == f"awf-{modality}"


def test_grey_images_take_the_branch_that_the_rule_prefers() -> None:
    segment_with, asked = predictor(awf_grey=0.9, omnipose=0.92)
    choice = cell_segmenter("grey", segment_with)
    assert asked == [("awf-grey", None), ("omnipose", 0.7)]
    assert choice.branch == "awf-grey"
    assert (choice.labels == 1).all()
    segment_with, _ = predictor(awf_grey=0.7, omnipose=0.6)
    choice = cell_segmenter("grey", segment_with)
    assert choice.branch == "omnipose"
    assert (choice.labels == 2).all()
    assert choice.confidences == {"awf-grey": 0.7, "omnipose": 0.6}
    assert choice.seconds == {"network": 2.0, "decode": 1.0}


def test_an_answer_without_cells_is_not_preferred() -> None:
    segment_with, _ = predictor("omnipose", awf_grey=0.7, omnipose=0.9)
    assert cell_segmenter("grey", segment_with).branch == "awf-grey"
    segment_with, _ = predictor("omnipose", "awf_grey", awf_grey=0.7, omnipose=0.9)
    assert cell_segmenter("grey", segment_with).branch == "omnipose"


def constant(f1: float) -> Predictor:
    nothing = np.zeros(len(INPUTS))
    return Predictor(nothing, nothing + 1, nothing, float(np.log(f1 / (1 - f1))))


@pytest.mark.parametrize("modality", ["grey", "fluorescence"])
@pytest.mark.parametrize(("awf", "omnipose", "branch"), [(0.8, 0.7, "awf"), (0.6, 0.7, "omnipose")])
def test_with_predictors_every_image_takes_the_branch_of_the_higher_f1(
    modality: str, awf: float, omnipose: float, branch: str
) -> None:
    segment_with, asked = predictor(**{f"awf_{modality}": 0.5, "omnipose": 0.9})
    rule = make_rule(DEFAULT_SYSTEM, {"awf": constant(awf), "omnipose": constant(omnipose)})
    choice = rule(modality, segment_with)
    assert asked == [(f"awf-{modality}", None), ("omnipose", 0.7)]
    assert choice.branch == ("omnipose" if branch == "omnipose" else f"awf-{modality}")
    assert choice.predicted_f1 == pytest.approx({f"awf-{modality}": awf, "omnipose": omnipose})


def test_the_predictors_see_how_far_the_branches_agree() -> None:
    seen = []

    class Spy(Predictor):
        def predict(self, inputs: np.ndarray) -> float:
            seen.append(inputs)
            return 0.5

    nothing = np.zeros(len(INPUTS))
    spies = {kind: Spy(nothing, nothing, nothing, 0.0) for kind in ("awf", "omnipose")}
    for empty, agreed in (((), 1.0), (("omnipose",), 0.0)):
        segment_with, _ = predictor(*empty, awf_grey=0.9, omnipose=0.9)
        both = {name: segment_with(name, None) for name in ("awf-grey", "omnipose")}
        both["awf-grey"].labels[:] = 1
        both["omnipose"].labels[both["omnipose"].labels > 0] = 1
        cell_segmenter("grey", lambda name, scale, both=both: both[name], spies)  # type: ignore[misc]
        assert [inputs.shape for inputs in seen[-2:]] == [(len(INPUTS),)] * 2
        assert [inputs[-1] for inputs in seen[-2:]] == [agreed] * 2


def test_an_answer_without_cells_is_not_preferred_by_its_predicted_f1_either() -> None:
    segment_with, _ = predictor("omnipose", awf_grey=0.7, omnipose=0.9)
    predictors = {"awf": constant(0.1), "omnipose": constant(0.9)}
    assert cell_segmenter("grey", segment_with, predictors).branch == "awf-grey"


def test_command_line_offers_every_system() -> None:
    assert set(SYSTEM_NAMES) == set(SYSTEMS) == set(SYSTEM_MODELS)
    assert DEFAULT_SYSTEM in SYSTEMS
