from __future__ import annotations

import numpy as np
import pytest

from inference.branches import Prediction
from inference.options import DEFAULT_SYSTEM, SYSTEM_NAMES
from inference.systems import SYSTEM_MODELS, SYSTEMS, cell_segmenter


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


def test_command_line_offers_every_system() -> None:
    assert set(SYSTEM_NAMES) == set(SYSTEMS) == set(SYSTEM_MODELS)
    assert DEFAULT_SYSTEM in SYSTEMS
