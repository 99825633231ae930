"""Systems: which branches see an image of which modality, and whose cells count."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from mosaicell.answers.branches import Prediction
from mosaicell.answers.quality import DOUBTFUL_F1, HOPELESS_F1, Judges, Sizes, prefers_omnipose
from mosaicell.answers.scale_search import answer_at, find_answer
from mosaicell.answers.slide import Slide
from mosaicell.postprocess.cells import median_size


@dataclass
class Choice:
    """A system's answer for one image.

    Attributes
    ----------
    branch
        Name of the model that gave most cells of the answer; of two that gave as many, the AWF model.
    cells
        How many cells each branch that ran gave to the answer, by model name.
    confidences
        Of every branch that ran, by model name; on a mosaic where the image is not held whole.
    predicted_f1
        What the judges expect; None without judges or cells.
    seconds
        Wall time by stage, summed over the branches; "sample" is what was looked at before bands.
    """

    labels: np.ndarray
    branch: str
    cells: dict[str, int]
    confidences: dict[str, float]
    predicted_f1: float | None
    seconds: dict[str, float]
    scale: float

    @property
    def doubtful(self) -> bool:
        """The judges expect most of the answer to be wrong; never so where they say nothing."""
        return self.predicted_f1 is not None and self.predicted_f1 < DOUBTFUL_F1


class Case(Protocol):
    """The image at hand."""

    @property
    def picture(self) -> np.ndarray | None:
        """Pixels (y, x, c) of the image, None where they are not held whole."""

    def holds(self, scale: float) -> bool:
        """Say whether `segment` sees the whole image at a scale, not a mosaic of windows."""

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Segment what is looked at of the image.

        Parameters
        ----------
        name
            Of the model.
        scale
            With None the model chooses.
        tta
            Use test-time augmentation.
        """

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Segment all of the image band by band.

        Parameters
        ----------
        names, scale, tta
            Of one model, or of the two whose cells the judges merge; otherwise as in `segment`.
        sizes
            Of the cells that each branch found in what was looked at, at that scale.
        judges
            None for one model.
        """


#: a system's answer for an image of a modality
Rule = Callable[[str, Case], Choice]


def cell_segmenter(modality: str, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
    """Cell Segmenter: one AWF model per modality and the Omnipose-style branch (section 2.3).

    Parameters
    ----------
    modality
        Of the image, as `analyse_modality` says.
    case
        The image. The Omnipose-style branch works at the scale that AWF found: only AWF has boxes that tell a good
        scale.
    judges
        Both branches run, at several scales where the answer is doubtful, and the better cells of both are kept. With
        None the paper's rule decides by the branches' confidences; images that are not grey see their AWF model only.
    tta
        Run what counts again, with test-time augmentation. The scale is found without: its rule is fitted to that.

    Notes
    -----
    By the paper's rule an Omnipose-style answer without cells is never preferred to one with cells.

    Where the image is not held whole, what is chosen for a mosaic of its windows is applied to it band by band.
    """
    name = f"awf-{modality}"
    if judges:
        return _leave_out_hopeless(_keep_better_cells(name, case, judges, tta=tta))
    started_s = time.perf_counter()
    awf = case.segment(name, None)
    runs = [awf]
    predictions = {name: awf}
    chosen = name
    if modality == "grey":
        omnipose = predictions["omnipose"] = case.segment("omnipose", awf.scale)
        runs.append(omnipose)
        has_cells = omnipose.labels.any() or not awf.labels.any()
        if has_cells and prefers_omnipose(awf.confidence, omnipose.confidence):
            chosen = "omnipose"
    answer = predictions[chosen]
    confidences = {branch: prediction.confidence for branch, prediction in predictions.items()}
    if not case.holds(answer.scale):
        sizes = Sizes(answer.least_px, median_size(answer.map_labels))
        looked_s = time.perf_counter() - started_s
        slide = case.segment_bands([chosen], answer.scale, [sizes], None, tta=tta)
        return _choose_slide(slide, [chosen], confidences, answer.scale, looked_s)
    if tta:
        answer = case.segment(chosen, answer.scale, tta=True)
        runs.append(answer)
    return Choice(
        labels=answer.labels,
        branch=chosen,
        cells={chosen: int(answer.labels.max(initial=0))},
        confidences=confidences,
        predicted_f1=None,
        seconds=_sum_seconds([run.seconds for run in runs]),
        scale=answer.scale,
    )


def _keep_better_cells(name: str, case: Case, judges: Judges, *, tta: bool) -> Choice:
    """Return the better cells of the AWF branch of this name and of the Omnipose-style one, at the better scale."""
    names = (name, "omnipose")
    spent: list[dict[str, float]] = []
    started_s = time.perf_counter()

    def segment_both(scale: float | None, *, tta: bool = False) -> tuple[Prediction, Prediction]:
        awf = case.segment(names[0], scale, tta=tta)
        omnipose = case.segment(names[1], awf.scale, tta=tta)
        spent.extend((awf.seconds, omnipose.seconds))
        return awf, omnipose

    search = find_answer(segment_both, judges, case.holds, case.picture)
    answer, whole = search.best, search.whole
    if not case.holds(answer.scale):
        confidences = dict(zip(names, answer.confidences, strict=True))
        looked_s = time.perf_counter() - started_s
        slide = case.segment_bands(names, answer.scale, answer.merged.sizes, judges, tta=tta)
        if whole is None or (slide.predicted_f1 or 0.0) >= (whole.merged.predicted_f1 or 0.0):
            return _choose_slide(slide, names, confidences, answer.scale, looked_s)
        spent.append(slide.seconds)
        answer = whole
    if tta:
        answer = answer_at(partial(segment_both, tta=True), answer.scale, judges, case.picture)
    merged = answer.merged
    cells = dict(zip(names, merged.cells, strict=True))
    seconds = _sum_seconds(spent)
    # what the branches did not take went into judging and merging
    seconds["decode"] = time.perf_counter() - started_s - seconds.get("network", 0.0)
    return Choice(
        labels=merged.labels,
        branch=max(cells, key=cells.__getitem__),
        cells=cells,
        confidences=dict(zip(names, answer.confidences, strict=True)),
        predicted_f1=merged.predicted_f1,
        seconds=seconds,
        scale=answer.scale,
    )


def glance(modality: str, case: Case, judges: Judges | None) -> Choice:
    """Answer as `cell_segmenter` does for what is looked at of an image, without trying other scales.

    Without judges the AWF branch alone answers.
    """
    name = f"awf-{modality}"
    awf = case.segment(name, None)
    if not judges:
        cells = {name: int(awf.labels.max(initial=0))}
        return Choice(awf.labels, name, cells, {name: awf.confidence}, None, awf.seconds, awf.scale)
    omnipose = case.segment("omnipose", awf.scale)
    answer = answer_at(lambda scale: (awf, omnipose), awf.scale, judges, case.picture)
    names = (name, "omnipose")
    cells = dict(zip(names, answer.merged.cells, strict=True))
    confidences = dict(zip(names, answer.confidences, strict=True))
    seconds = _sum_seconds([awf.seconds, omnipose.seconds])
    return Choice(answer.merged.labels, name, cells, confidences, answer.merged.predicted_f1, seconds, awf.scale)


def _leave_out_hopeless(choice: Choice) -> Choice:
    """Return an answer without the cells of which nearly none is expected to be right, as noise gives them."""
    if choice.predicted_f1 is None or choice.predicted_f1 >= HOPELESS_F1:
        return choice
    return replace(choice, labels=np.zeros_like(choice.labels), cells=dict.fromkeys(choice.cells, 0))


def _choose_slide(
    slide: Slide, names: Sequence[str], confidences: dict[str, float], scale: float, looked_s: float
) -> Choice:
    """Return the answer that was found band by band, after so many seconds of looking at parts of the image."""
    cells = dict(zip(names, slide.cells, strict=True))
    return Choice(
        labels=slide.labels,
        branch=max(cells, key=cells.__getitem__),
        cells=cells,
        confidences=confidences,
        predicted_f1=slide.predicted_f1,
        seconds={"sample": looked_s, **slide.seconds},
        scale=scale,
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


#: what a system answers at a glance, by the same name
GLANCES = {"cell-segmenter": glance}


def make_rule(system: str, judges: Judges | None, *, tta: bool) -> Rule:
    """Return a system's rule, which keeps the better cells of its branches or, with None, chooses as published."""
    return partial(SYSTEMS[system], judges=judges, tta=tta)
