"""Search for a better scale where the answer at the first one is doubtful.

The boxes that tell the first scale are unsure of themselves on cells unlike the trained ones: packed rods look like one
large cell to them. The judge of answers knows better, so doubtful images are looked at once more, larger and smaller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mosaicell.answers.branches import Prediction
from mosaicell.answers.focus import is_out_of_focus
from mosaicell.answers.quality import Judges, Merged, merge_branches
from mosaicell.answers.scale_rules import MIN_COARSE_PX, SCALE_RANGE
from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.objects import Labels

#: an answer with a higher predicted F1 is taken as it is
SURE_F1 = 0.7
#: factors from one scale to the next: so many larger ones are tried, and one smaller one
STEP, LARGER = 2.0, 2
#: no image is enlarged by less than this factor for a search
MIN_STEP = 1.3
#: what is found in an enlarged image is specks, dust or blocks of compression, where the median one has fewer pixels
#: and all together cover less of the image: of 1,006 labelled images all show larger cells or 0.7 % of them
SPECK_PX, SPECK_COVER = 64, 0.006

#: segments the image at hand with both branches, at a scale or, with None, at one of the AWF branch's choice
SegmentBoth = Callable[[float | None], tuple[Prediction, Prediction]]


@dataclass(frozen=True)
class Answer:
    """The better cells of both branches at one scale, and the confidences of the AWF and the Omnipose-style branch.

    They are those of what the branches saw there, which may be a mosaic of windows.
    """

    scale: float
    confidences: tuple[float, float]
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
    """

    best: Answer
    whole: Answer | None


def find_answer(
    segment_both: SegmentBoth, judges: Judges, holds: Callable[[float], bool], picture: np.ndarray | None
) -> Search:
    """Segment an image at the scale that the AWF branch finds, or at a better one.

    Where the predicted F1 is below `SURE_F1`, the scales around are tried too, and the answer of the highest predicted
    F1 counts. An image in which nothing was found stays as it is.

    Parameters
    ----------
    segment_both
        Runs both branches.
    judges
        By what they judge.
    holds
        Says whether the branches see the whole image at a scale, not a mosaic.
    picture
        Pixels (y, x, c) of the image, None where they are not held whole.
    """
    best = answer_at(segment_both, None, judges, picture)
    best_f1 = best.merged.predicted_f1
    whole = best if holds(best.scale) else None
    if best_f1 is None or best_f1 >= SURE_F1:
        return Search(best, whole)
    for scale in scales_around(best.scale, best.merged.labels.shape):
        found = answer_at(segment_both, scale, judges, picture)
        found_f1 = found.merged.predicted_f1
        if found_f1 is not None and found_f1 > best_f1:
            best, best_f1 = found, found_f1
            whole = best if holds(scale) else whole
    return Search(best, whole)


def answer_at(segment_both: SegmentBoth, scale: float | None, judges: Judges, picture: np.ndarray | None) -> Answer:
    """Segment an image at one scale; the maps, which are large, are let go of.

    Of specks in an enlarged image, and of spots without edges in a reduced one, nothing is expected to be right.
    """
    awf, omnipose = segment_both(scale)
    merged = merge_branches(awf, omnipose, judges)
    blurred = awf.scale < 1 and picture is not None and is_out_of_focus(picture, merged.labels)
    if blurred or shows_specks(merged.labels, awf.scale):
        merged = replace(merged, predicted_f1=0.0)
    return Answer(awf.scale, (awf.confidence, omnipose.confidence), merged)


def shows_specks(labels: Labels, scale: float) -> bool:
    """Say whether what was found (y, x) in an image that was enlarged by a factor is too small and sparse for cells."""
    areas = count_pixels(labels)[1:]
    return (
        scale > 1
        and areas.size > 0
        and float(np.median(areas)) < SPECK_PX
        and int(areas.sum()) < SPECK_COVER * labels.size
    )


def scales_around(scale: float, shape_px: tuple[int, ...]) -> list[float]:
    """Return the scales to try for an image of this shape (y, x) beside this one."""
    found = []
    larger = scale
    for _ in range(LARGER):
        if min(larger * STEP, SCALE_RANGE[1]) >= larger * MIN_STEP:
            larger = min(larger * STEP, SCALE_RANGE[1])
            found.append(larger)
    smaller = scale / STEP
    if smaller >= SCALE_RANGE[0] and min(shape_px) * smaller >= MIN_COARSE_PX:
        found.append(smaller)
    return found
