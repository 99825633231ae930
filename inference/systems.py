"""Systems: which branches see an image of which modality, and whose answer counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from inference.branches import Prediction
from inference.features import agreement
from inference.quality import Predictor, prefers_omnipose

#: runs one branch, by its model's name, on the image at hand; at a given scale or, with None, the model's choice
SegmentWith = Callable[[str, float | None], Prediction]
#: what predicts the F1 of a branch, by kind of model
Predictors = Mapping[str, Predictor]
#: a system's answer for an image of a modality, with what runs its branches
Rule = Callable[[str, SegmentWith], "Choice"]


@dataclass
class Choice:
    """A system's answer for one image.

    Attributes
    ----------
    branch
        Name of the model whose labels were taken.
    confidences
        Of every branch that ran, by model name.
    predicted_f1
        F1 at IoU 0.5 that the quality predictor expects of them, by model name; empty without a predictor.
    seconds
        Wall time by stage, summed over the branches.
    """

    labels: np.ndarray
    branch: str
    confidences: dict[str, float]
    predicted_f1: dict[str, float]
    seconds: dict[str, float]
    scale: float


def cell_segmenter(modality: str, segment_with: SegmentWith, predictors: Predictors | None = None) -> Choice:
    """Cell Segmenter: one AWF model per modality and the Omnipose-style branch (section 2.3).

    Parameters
    ----------
    modality
        Of the image, as `analyse_modality` says.
    segment_with
        Runs a branch. The Omnipose-style one works at the scale that AWF found: only AWF has boxes that tell a good
        scale.
    predictors
        Both branches run, and the one with the higher predicted F1 is taken. With None the paper's rule decides, by the
        branches' confidences, and images that are not grey see their AWF model only.

    Notes
    -----
    An Omnipose-style answer without cells is never preferred to one with cells.
    """
    chosen = f"awf-{modality}"
    predictions = {chosen: segment_with(chosen, None)}
    predicted: dict[str, float] = {}
    if modality == "grey" or predictors:
        awf = predictions[chosen]
        omnipose = predictions["omnipose"] = segment_with("omnipose", awf.scale)
        if predictors:
            agreed = agreement(awf.labels, omnipose.labels)
            predicted = {
                chosen: predictors["awf"].predict(np.append(awf.features, agreed)),
                "omnipose": predictors["omnipose"].predict(np.append(omnipose.features, agreed)),
            }
            preferred = predicted["omnipose"] > predicted[chosen]
        else:
            preferred = prefers_omnipose(awf.confidence, omnipose.confidence)
        if preferred and (omnipose.labels.any() or not awf.labels.any()):
            chosen = "omnipose"
    seconds: dict[str, float] = {}
    for prediction in predictions.values():
        for stage, value in prediction.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    return Choice(
        labels=predictions[chosen].labels,
        branch=chosen,
        confidences={name: p.confidence for name, p in predictions.items()},
        predicted_f1=predicted,
        seconds=seconds,
        scale=predictions[chosen].scale,
    )


#: models that a system may ask for
SYSTEM_MODELS: dict[str, tuple[str, ...]] = {
    "cell-segmenter": ("awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"),
}
#: every system, by the name `--system` takes
_SYSTEMS = {"cell-segmenter": cell_segmenter}
SYSTEMS: tuple[str, ...] = tuple(_SYSTEMS)


def make_rule(system: str, predictors: Predictors | None) -> Rule:
    """Return a system's rule, which chooses between branches by predicted F1, or with None as published."""
    return partial(_SYSTEMS[system], predictors=predictors)
