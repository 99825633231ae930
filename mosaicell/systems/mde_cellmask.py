"""MDE-CellMask: detectors, their boxes fused, a mask for each box (MDE-CellMask, paper section 4)."""

from __future__ import annotations

import time

from mosaicell.answers.judges import Judges
from mosaicell.contrast.modality import MODALITIES
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

#: the first detector with the other as its companion, and thresholds for each modality (paper: for each type of cell)
ENSEMBLES = tuple(f"mde-cellmask-{modality}" for modality in MODALITIES)
#: what looks at an image first, alone: by how much is it resized?
SINGLE = "cellmask-faster"
#: of the four published ones the two kinds, both on the AWF body
DETECTORS = ("cellmask-cascade", SINGLE)
#: makes the masks
MASKS = "cellmask-crops"


class MdeCellmask:
    """All detectors answer, at the scale that one of them finds.

    A judge leaves out cells that are hardly right, and predicts how good an answer is.
    """

    models = (*ENSEMBLES, *DETECTORS, *(f"{name}-heads" for name in DETECTORS), MASKS)
    models_at_once = len(models) + 1 - len(ENSEMBLES)
    ways = (JUDGED_WAY, "boxes")
    judged = ("cellmask",)

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment with all detectors."""
        started_s = time.perf_counter()
        (name,) = self.branches(case)
        first = case.segment(SINGLE, None)
        if judges:
            return keep_better_cells((name,), case, judges, tta=tta, sure_f1=0, first=first)
        if not case.holds(first.scale):
            # what one detector saw of a mosaic tells the scale for the bands of all
            return take_one(name, {name: first}, case, started_s, tta=tta)
        predictions = {SINGLE: first, name: case.segment(name, first.scale)}
        return take_one(name, predictions, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name what segments an image of this modality."""
        return (f"mde-cellmask-{case.modality}",)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with one detector."""
        return glance_at((SINGLE,), case, judges)


SYSTEM = MdeCellmask()
