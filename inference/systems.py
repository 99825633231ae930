"""Systems: which branches see an image of which modality, and whose cells count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from inference.branches import Prediction
from inference.quality import DOUBTFUL_F1, Judges, prefers_omnipose
from inference.scale_search import answer_at, find_answer


@dataclass
class Choice:
    """A system's answer for one image.

    Attributes
    ----------
    branch
        Name of the model that gave most cells of the answer; of two that gave as many, the AWF model.
    best_alone
        Name of the model that is expected to do better than the other one without it.
    cells
        How many cells each branch that ran gave to the answer, by model name.
    confidences
        Of every branch that ran, by model name.
    predicted_f1
        What the judges expect; None without judges or cells.
    seconds
        Wall time by stage, summed over the branches.
    """

    labels: np.ndarray
    branch: str
    best_alone: str
    cells: dict[str, int]
    confidences: dict[str, float]
    predicted_f1: float | None
    seconds: dict[str, float]
    scale: float

    @property
    def doubtful(self) -> bool:
        """The judges expect most of the answer to be wrong; never so where they say nothing."""
        return self.predicted_f1 is not None and self.predicted_f1 < DOUBTFUL_F1


class SegmentWith(Protocol):
    """Runs one branch on the image at hand."""

    def __call__(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Segment with the model of this name, at a scale or, with None, at one of its choice; `tta` as an option."""


#: a system's answer for an image of a modality, with what runs its branches
Rule = Callable[[str, SegmentWith], Choice]


def cell_segmenter(modality: str, segment_with: SegmentWith, judges: Judges | None, *, tta: bool) -> Choice:
    """Cell Segmenter: one AWF model per modality and the Omnipose-style branch (section 2.3).

    Parameters
    ----------
    modality
        Of the image, as `analyse_modality` says.
    segment_with
        Runs a branch. The Omnipose-style one works at the scale that AWF found: only AWF has boxes that tell a good
        scale.
    judges
        Both branches run, at several scales where the answer is doubtful, and the better cells of both are kept. With
        None the paper's rule decides by the branches' confidences; images that are not grey see their AWF model only.
    tta
        Run what counts again, with test-time augmentation. The scale is found without: its rule is fitted to that.

    Notes
    -----
    By the paper's rule an Omnipose-style answer without cells is never preferred to one with cells.
    """
    name = f"awf-{modality}"
    if judges:
        return _keep_better_cells(name, segment_with, judges, tta=tta)
    awf = segment_with(name, None)
    runs = [awf]
    predictions = {name: awf}
    chosen = name
    if modality == "grey":
        omnipose = predictions["omnipose"] = segment_with("omnipose", awf.scale)
        runs.append(omnipose)
        has_cells = omnipose.labels.any() or not awf.labels.any()
        if has_cells and prefers_omnipose(awf.confidence, omnipose.confidence):
            chosen = "omnipose"
    answer = predictions[chosen]
    if tta:
        answer = segment_with(chosen, answer.scale, tta=True)
        runs.append(answer)
    return Choice(
        labels=answer.labels,
        branch=chosen,
        best_alone=chosen,
        cells={chosen: int(answer.labels.max(initial=0))},
        confidences={branch: prediction.confidence for branch, prediction in predictions.items()},
        predicted_f1=None,
        seconds=_sum_seconds([run.seconds for run in runs]),
        scale=answer.scale,
    )


def _keep_better_cells(name: str, segment_with: SegmentWith, judges: Judges, *, tta: bool) -> Choice:
    """Return the better cells of the AWF branch of this name and of the Omnipose-style one, at the better scale."""
    spent: list[dict[str, float]] = []
    started_s = time.perf_counter()

    def segment_both(scale: float | None, *, tta: bool = False) -> tuple[Prediction, Prediction]:
        awf = segment_with(name, scale, tta=tta)
        omnipose = segment_with("omnipose", awf.scale, tta=tta)
        spent.extend((awf.seconds, omnipose.seconds))
        return awf, omnipose

    answer = find_answer(segment_both, judges)
    if tta:
        answer = answer_at(partial(segment_both, tta=True), answer.scale, judges)
    merged = answer.merged
    cells = {name: merged.from_awf, "omnipose": merged.from_omnipose}
    seconds = _sum_seconds(spent)
    # what the branches did not take went into judging and merging
    seconds["decode"] = time.perf_counter() - started_s - seconds.get("network", 0.0)
    return Choice(
        labels=merged.labels,
        branch=max(cells, key=cells.__getitem__),
        best_alone="omnipose" if merged.alone_f1[1] > merged.alone_f1[0] else name,
        cells=cells,
        confidences=dict(zip((name, "omnipose"), answer.confidences, strict=True)),
        predicted_f1=merged.predicted_f1,
        seconds=seconds,
        scale=answer.scale,
    )


def _sum_seconds(spent: list[dict[str, float]]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for run in spent:
        for stage, value in run.items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    return seconds


#: models that a system may ask for
SYSTEM_MODELS: dict[str, tuple[str, ...]] = {
    "cell-segmenter": ("awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"),
}
#: every system, by the name `--system` takes
SYSTEMS = {"cell-segmenter": cell_segmenter}


def make_rule(system: str, judges: Judges | None, *, tta: bool) -> Rule:
    """Return a system's rule, which keeps the better cells of its branches or, with None, chooses as published."""
    return partial(SYSTEMS[system], judges=judges, tta=tta)
