"""sribdmed: which model sees an image of which class, and at which scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Sizes
from mosaicell.answers.slide import Slide
from mosaicell.systems.sribdmed import CLASSIFIER, MODELS, SYSTEM
from mosaicell.training.image_classes import CLASSES


class Answers:
    """An image of a class, of which every model finds one cell at scale 0.6."""

    def __init__(self, image_class: int, *, whole: bool = True) -> None:
        self._class, self._whole = image_class, whole
        self.asked: list[tuple[str, float | None, bool]] = []
        self.applied: list[tuple[Any, ...]] = []

    def classify(self, name: str) -> np.ndarray:
        """Return the probabilities of the classes."""
        assert name == CLASSIFIER
        return np.where(np.arange(len(CLASSES)) == self._class, 0.4, 0.2).astype(np.float32)

    def holds(self, scale: float) -> bool:
        """Say whether the whole image is seen."""
        return self._whole

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Answer for one model."""
        self.asked.append((name, scale, tta))
        labels = np.ones((2, 2), np.uint32)
        return Prediction(labels, 0.8, 0.5, scale or 0.6, {"network": 1.0}, map_labels=labels, least_px=3)

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Answer for all of the image."""
        self.applied.append((list(names), scale, judges, tta))
        return Slide(np.full((9, 9), 5, np.uint32), [5], None, {"network": 7.0})


def test_every_class_has_a_model() -> None:
    assert len(MODELS) == len(CLASSES)
    assert set(SYSTEM.models) == {CLASSIFIER, *MODELS}


@pytest.mark.parametrize(("image_class", "name"), list(enumerate(MODELS)))
@pytest.mark.parametrize("tta", [False, True])
def test_the_model_of_the_class_answers(image_class: int, name: str, tta: bool) -> None:
    case: Any = Answers(image_class)
    choice = SYSTEM.answer(case, None, tta=tta)
    assert case.asked == [(name, None, False), (name, 0.6, True)][: 1 + tta]
    assert (choice.branch, choice.cells, choice.scale) == (name, {name: 1}, 0.6)
    assert choice.predicted_f1 is None


def test_slides_are_segmented_band_by_band_with_the_model_of_their_mosaic() -> None:
    case: Any = Answers(3, whole=False)
    choice = SYSTEM.answer(case, None, tta=True)
    assert case.applied == [(["stardist-3"], 0.6, None, True)]
    assert choice.cells == {"stardist-3": 5}
    assert choice.seconds["network"] == 7.0


def test_a_glance_asks_one_model_once() -> None:
    case: Any = Answers(2)
    assert SYSTEM.glance(case, None).branch == MODELS[2]
    assert case.asked == [(MODELS[2], None, False)]
