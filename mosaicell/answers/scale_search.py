"""Search for a better scale where the answer at the first one is doubtful.

The boxes that tell the first scale are unsure of themselves on cells unlike the trained ones: packed rods look like one
large cell to them. The judge of answers knows better, so doubtful images are looked at once more, larger and smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mosaicell.answers.artefacts import Scene, shows_artefacts, shows_specks
from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Merged, merge_branches
from mosaicell.answers.scale_rules import EMPTY_SCALE, MIN_COARSE_CELLS, MIN_COARSE_PX, SCALE_RANGE

#: an answer with a higher predicted F1 is taken as it is
SURE_F1 = 0.7
#: below this other branches are asked too, where there are some
OTHERS_F1 = 0.5
#: factor from one scale to the next, and how many larger ones are tried, or more while the last was the best
STEP, LARGER = 2.0, 2
#: smaller scales are tried down to this one, or once below where the first is hardly larger: grains between cells make
#: an image look best enlarged, and its cells are found where it is reduced until the grains are gone
SMALLEST_TRIED = 0.5
#: no image is enlarged, or reduced to `SMALLEST_TRIED`, by less than this factor for a search
MIN_STEP = 1.3

#: segments the image at hand with all branches, at a scale or, with None, at one of the first branch's choice
SegmentAll = Callable[[float | None], Sequence[Prediction]]


@dataclass(frozen=True)
class Answer:
    """The better cells of all branches at one scale, and the confidence of each branch.

    They are those of what the branches saw there, which may be a mosaic of windows.
    """

    scale: float
    confidences: tuple[float, ...]
    merged: Merged


@dataclass(frozen=True)
class Search:
    """What a search for a scale came to.

    Attributes
    ----------
    best
        The answer of the highest predicted F1.
    whole
        The one of those for the whole image; None where there is none. A mosaic shows what an image holds most of, so
        that all of the image may be worse than `best` predicts.
    by_others
        Both are of the other branches.
    """

    best: Answer
    whole: Answer | None
    by_others: bool = False


def find_answer(
    segment_all: SegmentAll,
    judges: Judges,
    holds: Callable[[float], bool],
    scene: Scene,
    sure_f1: float = SURE_F1,
    full_size_lead: float | None = None,
    segment_by_others: SegmentAll | None = None,
    largest_scale: float = SCALE_RANGE[1],
) -> Search:
    """Segment an image at the scale that the first branch finds, or at a better one.

    Where the predicted F1 is below `sure_f1`, the scales around are tried too, and the answer of the highest predicted
    F1 counts, but one that is sure of three cells or more before any other: of a clump of cells all branches make one
    in a reduced image, and are sure of it. Enlarging goes on while it helps. An image in which nothing was found stays
    as it is.

    Parameters
    ----------
    segment_all
        Runs all branches.
    judges
        By what they judge.
    holds
        Says whether the branches see the whole image at a scale, not a mosaic.
    scene
        The image.
    sure_f1
        With 0 no scale around is tried.
    full_size_lead
        The answer at full size, where it is another one, counts if its predicted F1 is higher by more than this; with
        None it is not looked at.
    segment_by_others
        Runs other branches. Where the first answer has a predicted F1 below `OTHERS_F1` theirs at the same scale may be
        better; then they take the place of all branches.
    largest_scale
        At which the image is looked at.
    """
    best = answer_at(segment_all, None, judges, scene)
    if full_size_lead is not None and not 1 / MIN_STEP < best.scale < MIN_STEP:
        full = answer_at(segment_all, 1.0, judges, scene)
        if (full.merged.predicted_f1 or 0.0) > (best.merged.predicted_f1 or 0.0) + full_size_lead:
            best = full
    by_others = False
    if segment_by_others is not None and best.merged.predicted_f1 is not None and best.merged.predicted_f1 < OTHERS_F1:
        others = answer_at(segment_by_others, best.scale, judges, scene)
        by_others = _rank(others) > _rank(best)
        if by_others:
            best, segment_all = others, segment_by_others
    best_f1 = best.merged.predicted_f1
    whole = best if holds(best.scale) else None
    if best_f1 is None or best_f1 >= sure_f1:
        return Search(best, whole, by_others)
    scales = scales_around(best.scale, best.merged.labels.shape, largest_scale)
    largest_tried = max([best.scale, *scales])
    while scales:
        scale = scales.pop(0)
        found = answer_at(segment_all, scale, judges, scene)
        if found.merged.predicted_f1 is not None and _rank(found) > _rank(best):
            best = found
            whole = best if holds(scale) else whole
            # the better the larger: the first branch took packed cells for a few large ones
            if scale == largest_tried < largest_scale and not _rank(best)[0]:
                largest_tried = min(scale * STEP, largest_scale)
                scales.insert(0, largest_tried)
    return Search(best, whole, by_others)


def _rank(answer: Answer) -> tuple[bool, float]:
    """Return what the best answer has the highest of."""
    predicted_f1 = answer.merged.predicted_f1 or 0.0
    return predicted_f1 >= SURE_F1 and int(answer.merged.labels.max(initial=0)) >= MIN_COARSE_CELLS, predicted_f1


def answer_at(segment_all: SegmentAll, scale: float | None, judges: Judges, scene: Scene) -> Answer:
    """Segment an image at one scale; the maps, which are large, are let go of.

    Nothing is expected to be right of specks, of what the pixels speak against, and of one or two large objects that
    are not sure: in a strongly reduced image all branches agree on any clump.
    """
    predictions = segment_all(scale)
    merged = merge_branches(predictions, judges)
    found_at = predictions[0].scale
    labels, predicted_f1 = merged.labels, merged.predicted_f1
    unsure = predicted_f1 is not None and predicted_f1 < SURE_F1
    few = found_at <= EMPTY_SCALE and 0 < int(labels.max(initial=0)) < MIN_COARSE_CELLS
    if (few and unsure) or shows_specks(labels, found_at) or shows_artefacts(labels, found_at, scene):
        merged = replace(merged, predicted_f1=0.0)
    return Answer(found_at, tuple(prediction.confidence for prediction in predictions), merged)


def scales_around(scale: float, shape_px: tuple[int, ...], largest_scale: float = SCALE_RANGE[1]) -> list[float]:
    """Return the scales to try for an image of this shape (y, x) beside this one, up to the largest allowed."""
    found = []
    larger = scale
    for _ in range(LARGER):
        if min(larger * STEP, largest_scale) >= larger * MIN_STEP:
            larger = min(larger * STEP, largest_scale)
            found.append(larger)
    last = SMALLEST_TRIED if scale >= SMALLEST_TRIED * MIN_STEP else 0.0
    smaller = max(scale / STEP, last)
    while smaller >= SCALE_RANGE[0] and min(shape_px) * smaller >= MIN_COARSE_PX:
        found.append(smaller)
        if smaller <= SMALLEST_TRIED:
            break
        smaller = max(smaller / STEP, last)
    return found
