"""sribdmed: a classifier sorts images by low-level cues, and each class has a model of its own (paper section 2)."""

from __future__ import annotations

import time

import numpy as np

from mosaicell.answers.judges import Judges
from mosaicell.systems import JUDGED_WAY, Case, Choice
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one

CLASSIFIER, HOVER = "image-classifier", "hover"
#: the StarDist model of each class, in the order of the classifier's: the general one where a class has none of its own
STARDIST = ("stardist", "stardist", "stardist", "stardist-3")
#: the class that HoVer-Net segments (paper section 2.2)
GREY = 1


class Sribdmed:
    """Both heads see every image and the better cells of both are kept; or one model answers, as published.

    As published the class of an image decides: HoVer-Net for grey images, a StarDist model for the others. HoVer-Net
    works at the scale that StarDist found, whose polygons tell a good one.
    """

    models = (CLASSIFIER, *dict.fromkeys(STARDIST), HOVER)
    models_at_once = 3
    ways = (JUDGED_WAY, "class")
    judged = ("stardist", "hover")

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Keep the better cells or, without judges, take the model of the image's class."""
        if judges:
            # a search for the scale takes time and wins nothing: 66 labelled images have 0.820 with it and without
            return keep_better_cells(self.branches(case), case, judges, tta=tta, sure_f1=0)
        started_s = time.perf_counter()
        image_class = self._classify(case)
        chosen = STARDIST[image_class]
        predictions = {chosen: case.segment(chosen, None)}
        if image_class == GREY:
            predictions[HOVER] = case.segment(HOVER, predictions[chosen].scale)
            chosen = HOVER
        return take_one(chosen, predictions, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name the StarDist model of the most likely class, and HoVer-Net."""
        return STARDIST[self._classify(case)], HOVER

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment at StarDist's own first scale."""
        return glance_at(self.branches(case), case, judges)

    def _classify(self, case: Case) -> int:
        return int(np.argmax(case.classify(CLASSIFIER)))


SYSTEM = Sribdmed()
