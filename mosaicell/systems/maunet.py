"""MAUNet: the mean of two networks, at one scale or, as published, at three (MAUNet paper, section 4.1)."""

from __future__ import annotations

import math
import time

from mosaicell.answers.judges import Judges
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

#: both networks, at the scales of the first one's card
ENSEMBLE = "maunet"
#: both networks at one scale: more scales lose
PAIR = "maunet-pair"
#: what answers alone, and finds the scale for both
SINGLE = "maunet-awf"
#: images from here on see one network in any case (published: both of them, at one scale)
LARGE_PX = 25_000_000
PUBLISHED_WAY = "published"
#: what answers, by the way to choose
NETWORKS = {JUDGED_WAY: PAIR, "single": SINGLE, PUBLISHED_WAY: ENSEMBLE}


class Maunet:
    """The mean of two networks answers; one alone, or both at three scales as published, where that is asked for.

    One network finds by how much an image is resized: that costs half of what it would cost with both, and fits no
    worse. In the judged way a judge leaves out cells that are hardly right, and predicts how good an answer is.
    """

    models = (ENSEMBLE, PAIR, SINGLE, "maunet-star")
    models_at_once = 3
    ways = tuple(NETWORKS)
    judged = ("maunet",)

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment in the way asked for, as far as the image's size allows for it."""
        (name,) = self.branches(case)
        if judges and name == SINGLE:
            return keep_better_cells((name,), case, judges, tta=tta, sure_f1=0)
        started_s = time.perf_counter()
        first = case.segment(SINGLE, None)
        if judges:
            return keep_better_cells((name,), case, judges, tta=tta, sure_f1=0, first=first)
        if name == SINGLE or not case.holds(first.scale):
            # what one network saw of a mosaic tells scale and sizes for the bands of all
            return take_one(name, {name: first}, case, started_s, tta=tta)
        predictions = {SINGLE: first, name: case.segment(name, first.scale)}
        return take_one(name, predictions, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name what segments an image of this size."""
        return (NETWORKS[case.way or JUDGED_WAY] if math.prod(case.shape_px) < LARGE_PX else SINGLE,)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with one network."""
        return glance_at((SINGLE,), case, judges)


SYSTEM = Maunet()
