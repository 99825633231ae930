"""Cell Segmenter: one AWF model per modality and Omnipose-style models (paper section 2.3)."""

from __future__ import annotations

import time

from mosaicell.answers.judges import Judges
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

#: the Omnipose-style models: of coloured and of dark images, and of grey ones
OMNIPOSE, OMNIPOSE_GREY = "omnipose", "omnipose-grey"
#: below this confidence of AWF the Omnipose-style branch is taken (paper)
MIN_CONFIDENCE = 0.8
#: the Omnipose-style branch is taken when it is more confident by this much (paper)
MIN_ADVANTAGE = 0.05


def prefers_omnipose(awf: float, omnipose: float) -> bool:
    """Choose the Omnipose-style branch when AWF is unsure, or clearly less sure (section 2.2.3).

    An empty Omnipose-style prediction (confidence 0) is never preferred: there is nothing to choose.
    """
    return omnipose > 0 and (awf < MIN_CONFIDENCE or omnipose - awf > MIN_ADVANTAGE)


class CellSegmenter:
    """Both branches see every image and the better cells of both are kept; or the paper's rule chooses one answer.

    The Omnipose-style branch works at the scale that AWF found: only AWF has boxes that tell a good scale. Where the
    answer for a grey image is doubtful the general Omnipose-style model is asked too: it finds filaments, which the
    model of grey images lost for spread cells.
    """

    models = ("awf-grey", "awf-fluorescence", "awf-brightfield", OMNIPOSE, OMNIPOSE_GREY)
    models_at_once = 3
    ways = (JUDGED_WAY, "confidence")
    judged = ("awf", "omnipose")

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Keep the better cells or, without judges, choose by the branches' confidences."""
        if judges:
            names = self.branches(case)
            others = (names[0], OMNIPOSE) if OMNIPOSE_GREY in names else ()
            return keep_better_cells(names, case, judges, tta=tta, others=others)
        return self._choose_by_confidence(case, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name the AWF model of the image's modality, and the Omnipose-style model that sees it beside."""
        return f"awf-{case.modality}", OMNIPOSE_GREY if case.modality == "grey" else OMNIPOSE

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Keep the better cells at the first scale; without judges the AWF branch alone answers."""
        return glance_at(self.branches(case), case, judges)

    def _choose_by_confidence(self, case: Case, *, tta: bool) -> Choice:
        """Choose as published; images that are not grey see their AWF model only.

        By the paper's rule an Omnipose-style answer without cells is never preferred to one with cells.
        """
        name, beside = self.branches(case)
        started_s = time.perf_counter()
        awf = case.segment(name, None)
        predictions = {name: awf}
        chosen = name
        if case.modality == "grey":
            omnipose = predictions[beside] = case.segment(beside, awf.scale)
            has_cells = omnipose.labels.any() or not awf.labels.any()
            if has_cells and prefers_omnipose(awf.confidence, omnipose.confidence):
                chosen = beside
        return take_one(chosen, predictions, case, started_s, tta=tta)


SYSTEM = CellSegmenter()
