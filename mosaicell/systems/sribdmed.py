"""sribdmed: a classifier sorts images by low-level cues, and each class has a model of its own (paper section 2)."""

from __future__ import annotations

import time

import numpy as np

from mosaicell.answers.judges import Judges
from mosaicell.systems import Case, Choice
from mosaicell.systems._answers import glance_at, take_one

CLASSIFIER = "image-classifier"
#: the model of each class, in the order of the classifier's: StarDist for round cells, HoVer-Net for grey images
MODELS = ("stardist-0", "hover-1", "stardist-2", "stardist-3")
#: a HoVer model has no candidates that tell a good scale: this one finds it
SCALE_MODEL = "stardist-0"


class Sribdmed:
    """The model of the most likely class answers alone, as published."""

    models = (CLASSIFIER, *MODELS)
    models_at_once = 3
    ways = ("class",)
    judged = ()

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment with the model of the image's class, at the scale that a StarDist model finds."""
        started_s = time.perf_counter()
        (name,) = self.branches(case)
        predictions = {}
        if name.startswith("hover"):
            predictions[SCALE_MODEL] = case.segment(SCALE_MODEL, None)
            predictions[name] = case.segment(name, predictions[SCALE_MODEL].scale)
        else:
            predictions[name] = case.segment(name, None)
        return take_one(name, predictions, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name the model of the most likely class."""
        return (MODELS[int(np.argmax(case.classify(CLASSIFIER)))],)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with the model of the image's class, at its own first scale."""
        return glance_at(self.branches(case), case, None)


SYSTEM = Sribdmed()
