"""MAUNet: one network at its own scale or, as published, two networks at three scales (MAUNet paper, section 4.1)."""

from __future__ import annotations

import math
import time

from mosaicell.answers.judges import Judges
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

#: both networks, at the scales of the first one's card
ENSEMBLE = "maunet"
#: what answers alone: as long as the second network is weaker, it validates better than the ensemble
SINGLE = "maunet-awf"
#: the way in which the ensemble answers
PUBLISHED_WAY = "published"
#: images from here on see one network in any case (published: both of them, at one scale)
LARGE_PX = 25_000_000


class Maunet:
    """One network answers or, where that is asked for, the mean of both networks over the scales.

    One network finds by how much an image is resized, so that this costs a tenth of what it would cost with all. Where
    one answers, a judge leaves out cells that are hardly right, and predicts how good an answer is.
    """

    models = (ENSEMBLE, SINGLE, "maunet-residual")
    models_at_once = 3
    ways = (JUDGED_WAY, "single", PUBLISHED_WAY)
    judged = ("maunet",)

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment in the way asked for, as far as the image's size allows for it."""
        if judges:
            return keep_better_cells((SINGLE,), case, judges, tta=tta, sure_f1=0)
        started_s = time.perf_counter()
        (name,) = self.branches(case)
        first = case.segment(SINGLE, None)
        if name == SINGLE or not case.holds(first.scale):
            # what one network saw of a mosaic tells scale and sizes for the bands of all
            return take_one(name, {name: first}, case, started_s, tta=tta)
        predictions = {SINGLE: first, name: case.segment(name, first.scale)}
        return take_one(name, predictions, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name what segments an image of this size."""
        return (ENSEMBLE if case.way == PUBLISHED_WAY and math.prod(case.shape_px) < LARGE_PX else SINGLE,)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with one network."""
        return glance_at((SINGLE,), case, judges)


SYSTEM = Maunet()
