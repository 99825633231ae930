"""Answers of systems: what the branches that saw an image come to, one of them or several together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from mosaicell.answers.artefacts import shows_artefacts
from mosaicell.answers.branches import Prediction
from mosaicell.answers.features import score_cells
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import measure_sizes
from mosaicell.answers.scale_search import SURE_F1, Answer, answer_at, find_answer
from mosaicell.answers.slide import Slide
from mosaicell.systems import HOPELESS_F1, Case, Choice


def take_one(chosen: str, predictions: Mapping[str, Prediction], case: Case, started_s: float, *, tta: bool) -> Choice:
    """Return the answer of one of the branches that looked at an image.

    Parameters
    ----------
    chosen
        Its name.
    predictions
        Of all branches that looked at the image, by name.
    case
        The image. Where it is not held whole, the scale of the chosen branch is applied to it band by band.
    started_s
        When the first branch began, as `time.perf_counter` says.
    tta
        Segment the image again, with test-time augmentation.
    """
    answer = predictions[chosen]
    confidences = {name: prediction.confidence for name, prediction in predictions.items()}
    if not case.holds(answer.scale):
        looked_s = time.perf_counter() - started_s
        slide = case.segment_bands([chosen], answer.scale, [measure_sizes(answer)], None, tta=tta)
        return _take_slide(slide, [chosen], confidences, answer.scale, looked_s)
    spent = [prediction.seconds for prediction in predictions.values()]
    if tta:
        answer = case.segment(chosen, answer.scale, tta=True)
        spent.append(answer.seconds)
    return Choice(
        labels=answer.labels,
        branch=chosen,
        cells={chosen: int(answer.labels.max(initial=0))},
        confidences=confidences,
        predicted_f1=None,
        seconds=_sum_seconds(spent),
        scale=answer.scale,
        likelihoods=score_cells(answer),
    )


def keep_better_cells(
    names: Sequence[str],
    case: Case,
    judges: Judges,
    *,
    tta: bool,
    sure_f1: float = SURE_F1,
    first: Prediction | None = None,
    full_size_lead: float | None = None,
    others: Sequence[str] = (),
) -> Choice:
    """Return the better cells of all branches, at the better scale.

    Parameters
    ----------
    names
        Of the branches; the first finds the scale, at which the others work too, where `first` does not tell it.
    case
        The image. Where it is not held whole, what is chosen for a mosaic of its windows is applied to it band by band.
    judges
        Of the branches' cells.
    tta
        Run what counts again, with test-time augmentation. The scale is found without: its rule is fitted to that.
    sure_f1
        Other scales are tried below this predicted F1; with 0 never.
    first
        What a model beside the branches answered, which found the scale.
    full_size_lead
        As in `find_answer`.
    others
        Branches that take the place of `names` where these are doubtful and they are less so; the first is the same.
    """
    spent = [first.seconds] if first else list[dict[str, float]]()
    # what the first branch answered when it found the scale, for the others; one answer at most, as its maps are large
    kept: list[Prediction] = []
    started_s = time.perf_counter() - sum(_sum_seconds(spent).values())

    def segment_by(names: Sequence[str], scale: float | None, *, tta: bool = False) -> list[Prediction]:
        known = [one for one in kept if names is others and one.scale == scale]
        kept.clear()
        predictions = _segment_all(names, case, scale or (first.scale if first else None), known, tta=tta)
        spent.extend(prediction.seconds for prediction in predictions[len(known) :])
        if others and scale is None:
            kept.append(predictions[0])
        return predictions

    search = find_answer(
        partial(segment_by, names),
        judges,
        case.holds,
        case.scene,
        sure_f1,
        full_size_lead,
        segment_by_others=partial(segment_by, others) if others else None,
        largest_scale=case.largest_scale,
    )
    kept.clear()
    answer, whole = search.best, search.whole
    names = others if search.by_others else names
    if not case.holds(answer.scale):
        confidences = dict(zip(names, answer.confidences, strict=True))
        looked_s = time.perf_counter() - started_s
        slide = case.segment_bands(names, answer.scale, answer.merged.sizes, judges, tta=tta)
        if shows_artefacts(slide.labels, answer.scale, case.scene):
            slide = replace(slide, predicted_f1=0.0)
        if whole is None or (slide.predicted_f1 or 0.0) >= (whole.merged.predicted_f1 or 0.0):
            return _leave_out_hopeless(_take_slide(slide, names, confidences, answer.scale, looked_s))
        spent.append(slide.seconds)
        answer = whole
    if tta:
        answer = answer_at(partial(segment_by, names, tta=True), answer.scale, judges, case.scene)
    seconds = _sum_seconds(spent)
    # what the branches did not take went into judging and merging
    seconds["decode"] = time.perf_counter() - started_s - seconds.get("network", 0.0)
    return _leave_out_hopeless(_take_merged(answer, names, seconds))


def glance_at(names: Sequence[str], case: Case, judges: Judges | None) -> Choice:
    """Answer for what is looked at of an image, without trying other scales; without judges the first branch alone."""
    if not judges:
        prediction = case.segment(names[0], None)
        cells = {names[0]: int(prediction.labels.max(initial=0))}
        confidences = {names[0]: prediction.confidence}
        return Choice(prediction.labels, names[0], cells, confidences, None, prediction.seconds, prediction.scale)
    predictions = _segment_all(names, case, None)
    answer = answer_at(lambda scale: predictions, None, judges, case.scene)
    return _take_merged(answer, names, _sum_seconds([prediction.seconds for prediction in predictions]))


def _segment_all(
    names: Sequence[str], case: Case, scale: float | None, known: Sequence[Prediction] = (), *, tta: bool = False
) -> list[Prediction]:
    """Segment an image with all branches, at the scale that the first finds where none is given.

    `known` holds what the first branches answer, of which that is known.
    """
    predictions = list(known) or [case.segment(names[0], scale, tta=tta)]
    found_at = predictions[0].scale
    return [*predictions, *(case.segment(name, found_at, tta=tta) for name in names[len(predictions) :])]


def _leave_out_hopeless(choice: Choice) -> Choice:
    """Return an answer without the cells of which nearly none is expected to be right, as noise gives them."""
    if choice.predicted_f1 is None or choice.predicted_f1 >= HOPELESS_F1:
        return choice
    return replace(
        choice,
        labels=np.zeros_like(choice.labels),
        cells=dict.fromkeys(choice.cells, 0),
        sources=None,
        likelihoods=None,
    )


def _take_merged(answer: Answer, names: Sequence[str], seconds: dict[str, float]) -> Choice:
    cells = dict(zip(names, answer.merged.cells, strict=True))
    return Choice(
        labels=answer.merged.labels,
        branch=max(cells, key=cells.__getitem__),
        cells=cells,
        confidences=dict(zip(names, answer.confidences, strict=True)),
        predicted_f1=answer.merged.predicted_f1,
        seconds=seconds,
        scale=answer.scale,
        sources=answer.merged.sources,
        likelihoods=answer.merged.likelihoods,
    )


def _take_slide(
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
        sources=slide.sources,
        likelihoods=slide.likelihoods,
    )


def _sum_seconds(spent: Sequence[dict[str, float]]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for run in spent:
        for stage, value in run.items():
            seconds[stage] = seconds.get(stage, 0.0) + value
    return seconds
