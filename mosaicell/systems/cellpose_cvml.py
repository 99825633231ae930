"""Cellpose as cvml ran it: one network for all images, at the scale that their style tells (paper section 2.3)."""

from __future__ import annotations

import time

from mosaicell.answers.judges import Judges
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

CELLPOSE = "cellpose-awf"
#: by so much more the judge has to expect of the answer at full size than of that at the scale of the size model: it
#: lifts the F1 of 66 validation images from 0.820 to 0.824, and that of 80 drawn scenes with an earlier size model from
#: 0.694 to 0.719. A search over all scales loses (0.813)
FULL_SIZE_LEAD = 0.06


class CellposeCvml:
    """One model answers for every image; the rule in its card finds the scale, by a size model where it has one.

    A judge leaves out cells that are hardly right, and predicts how good an answer is.
    """

    models = (CELLPOSE,)
    models_at_once = 1
    ways = (JUDGED_WAY, "style")
    judged = ("cellpose",)

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment an image at the scale of the model's rule."""
        if judges:
            return keep_better_cells(self.models, case, judges, tta=tta, sure_f1=0, full_size_lead=FULL_SIZE_LEAD)
        started_s = time.perf_counter()
        return take_one(CELLPOSE, {CELLPOSE: case.segment(CELLPOSE, None)}, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name the one model."""
        return self.models

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment what is looked at."""
        return glance_at(self.models, case, judges)


SYSTEM = CellposeCvml()
