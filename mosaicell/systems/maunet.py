"""MAUNet: two networks at three scales; one at its own scale where an image is large (MAUNet paper, section 4.1)."""

from __future__ import annotations

import math
import time

from mosaicell.answers.judges import Judges
from mosaicell.systems import Case, Choice
from mosaicell.systems._answers import glance_at, take_one

#: both networks, at the scales of the first one's card
ENSEMBLE = "maunet"
#: what answers alone for large images: three scales of two networks take ten times as long
SINGLE = "maunet-awf"
#: images from here on see one network (published: both of them, at one scale)
LARGE_PX = 25_000_000


class Maunet:
    """The mean of both networks over the scales answers; that of a large image is one network's.

    One network finds by how much an image is resized, so that this costs a tenth of what it would cost with all.
    """

    models = (ENSEMBLE, SINGLE, "maunet-residual")
    models_at_once = 3
    ways = ("size",)
    judged = ()

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment with what the image's size allows for."""
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
        return (SINGLE if math.prod(case.shape_px) >= LARGE_PX else ENSEMBLE,)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with one network."""
        return glance_at((SINGLE,), case, None)


SYSTEM = Maunet()
