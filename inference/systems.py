"""Systems: which branches see an image of which modality, and whose answer counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from inference.branches import Prediction
from inference.quality import prefers_omnipose

#: runs one branch, by its model's name, on the image at hand; at a given scale or, with None, the model's choice
SegmentWith = Callable[[str, float | None], Prediction]


@dataclass
class Choice:
    """A system's answer for one image.

    Attributes
    ----------
    branch
        Name of the model whose labels were taken.
    confidences
        Of every branch that ran, by model name.
    seconds
        Wall time by stage, summed over the branches.
    """

    labels: np.ndarray
    branch: str
    confidences: dict[str, float]
    seconds: dict[str, float]
    scale: float


def cell_segmenter(modality: str, segment_with: SegmentWith) -> Choice:
    """Cell Segmenter: one AWF model per modality; grey images also see the Omnipose-style branch (section 2.3).

    An Omnipose-style answer without cells is never preferred to one with cells, however sure its foreground.
    The Omnipose-style branch works at the scale that AWF found: only AWF has boxes that tell a good scale.
    """
    chosen = f"awf-{modality}"
    predictions = {chosen: segment_with(chosen, None)}
    if modality == "grey":
        predictions["omnipose"] = segment_with("omnipose", predictions[chosen].scale)
        awf, omnipose = predictions[chosen], predictions["omnipose"]
        has_cells = omnipose.labels.any() or not awf.labels.any()
        if has_cells and prefers_omnipose(awf.confidence, omnipose.confidence):
            chosen = "omnipose"
    return _choose(chosen, predictions)


def _choose(chosen: str, predictions: dict[str, Prediction]) -> Choice:
    seconds: dict[str, float] = {}
    for prediction in predictions.values():
        for stage, value in prediction.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    return Choice(
        labels=predictions[chosen].labels,
        branch=chosen,
        confidences={name: p.confidence for name, p in predictions.items()},
        seconds=seconds,
        scale=predictions[chosen].scale,
    )


#: models that a system may ask for
SYSTEM_MODELS: dict[str, tuple[str, ...]] = {
    "cell-segmenter": ("awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"),
}
#: every system, by the name `--system` takes
SYSTEMS: dict[str, Callable[[str, SegmentWith], Choice]] = {"cell-segmenter": cell_segmenter}
