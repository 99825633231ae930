"""sribdmed: which model sees an image of which class, and at which scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges, read_judges
from mosaicell.answers.merging import Sizes
from mosaicell.answers.slide import Slide
from mosaicell.evaluation.metrics import score_image
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.systems import load_system
from mosaicell.systems.sribdmed import CLASSIFIER, GREY, HOVER, STARDIST, SYSTEM
from mosaicell.training.image_classes import CLASSES
from mosaicell.training.quality import Branches
from mosaicell.training.synthesis import draw_scene


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
    assert len(STARDIST) == len(CLASSES)
    assert CLASSES[GREY] == "grey"
    assert set(SYSTEM.models) == {CLASSIFIER, HOVER, *STARDIST}


@pytest.mark.parametrize(("image_class", "star"), list(enumerate(STARDIST)))
@pytest.mark.parametrize("tta", [False, True])
def test_as_published_the_model_of_the_class_answers(image_class: int, star: str, tta: bool) -> None:
    case: Any = Answers(image_class)
    choice = SYSTEM.answer(case, None, tta=tta)
    looked: list[tuple[str, float | None, bool]] = [(star, None, False)]
    chosen = star
    if image_class == GREY:
        # at the scale that StarDist found
        looked.append((HOVER, 0.6, False))
        chosen = HOVER
    assert case.asked == [*looked, (chosen, 0.6, True)][: len(looked) + tta]
    assert (choice.branch, choice.cells, choice.scale) == (chosen, {chosen: 1}, 0.6)
    assert choice.predicted_f1 is None


@pytest.mark.parametrize(("image_class", "name"), [(3, "stardist-3"), (GREY, HOVER)])
def test_slides_are_segmented_band_by_band_with_the_model_of_their_mosaic(image_class: int, name: str) -> None:
    case: Any = Answers(image_class, whole=False)
    choice = SYSTEM.answer(case, None, tta=True)
    assert case.applied == [([name], 0.6, None, True)]
    assert choice.cells == {name: 5}
    assert choice.seconds["network"] == 7.0


@pytest.mark.parametrize("image_class", range(len(CLASSES)))
def test_judges_see_both_heads(image_class: int) -> None:
    case: Any = Answers(image_class)
    assert SYSTEM.branches(case) == (STARDIST[image_class], HOVER)


@pytest.mark.slow
def test_the_better_cells_of_both_heads_are_kept_at_the_scale_of_stardist() -> None:
    """Nuclei, as the shipped models and their judges see them."""
    pixels, truth = draw_scene("fluorescence_nuclei", (256, 256), np.random.default_rng(4), diameter_px=24)
    models = Branches(load_system("sribdmed"), WEIGHTS_FOLDER)
    judges = read_judges(WEIGHTS_FOLDER, "sribdmed", SYSTEM.judged)
    choice = SYSTEM.answer(models.open(pixels), judges, tta=False)
    star, hover = models.segment(pixels)
    assert choice.scale == star.scale == hover.scale
    assert set(choice.cells) == {"stardist", HOVER}
    assert sum(choice.cells.values()) == choice.labels.max()
    assert choice.predicted_f1 is not None
    assert score_image(truth, choice.labels, [0.5])[0].f1 > 0.9


def test_a_glance_without_judges_asks_stardist_once() -> None:
    case: Any = Answers(2)
    assert SYSTEM.glance(case, None).branch == STARDIST[2]
    assert case.asked == [(STARDIST[2], None, False)]
