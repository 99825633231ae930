"""sribdmed: a classifier sorts images by low-level cues, and each class has a model of its own (paper section 2)."""

from __future__ import annotations

import time

import numpy as np

from mosaicell.answers.judges import Judges
from mosaicell.systems import Case, Choice
from mosaicell.systems._answers import glance_at, take_one

CLASSIFIER = "image-classifier"
#: the model of each class, in the order of the classifier's; classes without one of their own have the general one
MODELS = ("stardist", "stardist", "stardist", "stardist-3")


class Sribdmed:
    """The model of the most likely class answers alone, as published."""

    models = (CLASSIFIER, *dict.fromkeys(MODELS))
    models_at_once = 2
    ways = ("class",)
    judged = ()

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment with the model of the image's class."""
        started_s = time.perf_counter()
        (name,) = self.branches(case)
        return take_one(name, {name: case.segment(name, None)}, case, started_s, tta=tta)

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name the model of the most likely class."""
        return (MODELS[int(np.argmax(case.classify(CLASSIFIER)))],)

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Segment with the model of the image's class, at its own first scale."""
        return glance_at(self.branches(case), case, None)


SYSTEM = Sribdmed()
