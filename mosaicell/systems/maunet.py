"""MAUNet: the mean of two networks, at one scale or, as published, at three (MAUNet paper, section 4.1)."""

from __future__ import annotations

import math
import time

from mosaicell.answers.judges import Judges
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

#: their mean at the scales of the first one's card
ENSEMBLE = "maunet"
#: their mean at one scale: more scales lose
PAIR = "maunet-pair"
#: what answers alone, and as published finds the scale for both; in grey images another one, whose mean with the second
#: network loses
SINGLE, SINGLE_GREY = "maunet-awf", "maunet-grey"
#: images from here on see one network in any case (published: both of them, at one scale)
LARGE_PX = 25_000_000
PUBLISHED_WAY, SINGLE_WAY = "published", "single"


class Maunet:
    """The mean of two networks answers; one alone, or both at three scales as published, where that is asked for.

    Grey images have a network of their own, which answers alone. In the judged way a judge leaves out cells that are
    hardly right, and predicts how good an answer is. At three scales one network finds by how much an image is resized:
    that costs a sixth of what it would cost with all.
    """

    models = (ENSEMBLE, PAIR, SINGLE, SINGLE_GREY, "maunet-star")
    models_at_once = 3
    ways = (JUDGED_WAY, SINGLE_WAY, PUBLISHED_WAY)
    judged = ("maunet",)

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment in the way asked for, as far as the image's size allows for it."""
        (name,) = self.branches(case)
        if judges:
            return keep_better_cells((name,), case, judges, tta=tta, sure_f1=0)
        started_s = time.perf_counter()
        single = _find_single(case)
        first = case.segment(single, None)
        if name == single or not case.holds(first.scale):
            # what one network saw of a mosaic tells scale and sizes for the bands of all
            return take_one(name, {name: first}, case, started_s, tta=tta)
        predictions = {single: first, name: case.segment(name, first.scale)}
        return take_one(name, predictions, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name what segments an image of this modality and size."""
        single = _find_single(case)
        if single == SINGLE_GREY or case.way == SINGLE_WAY or math.prod(case.shape_px) >= LARGE_PX:
            return (single,)
        return (ENSEMBLE if case.way == PUBLISHED_WAY else PAIR,)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with one network."""
        return glance_at((_find_single(case),), case, judges)


def _find_single(case: Case) -> str:
    return SINGLE_GREY if case.modality == "grey" and case.way != PUBLISHED_WAY else SINGLE


SYSTEM = Maunet()
