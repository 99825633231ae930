"""The image at hand: whole, on a mosaic or band by band, with the weights of the repository."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.empty_fields import draw_empty_field
from mosaicell.answers import slide
from mosaicell.answers.case import ImageCase
from mosaicell.answers.judges import read_judges
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks import views
from mosaicell.networks.classifier import ClassifierCard
from mosaicell.networks.manifest import CLASSIFIER, Card, ImageClassifier, read_card
from mosaicell.networks.session import Session
from mosaicell.options import DEFAULT_SYSTEM, WEIGHTS_FOLDER
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.systems import Choice, load_system
from mosaicell.training.synthesis import draw_scene

Bounds = tuple[int, int, int, int]


def get_model(name: str) -> tuple[Card, Session]:
    card = read_card(name, WEIGHTS_FOLDER)
    return card, Session(card.path, "cpu", 1, 1.0)


def answer(pixels: ArrayPixels, *, judged: bool = True, kept: list[Collection[str]] | None = None) -> Choice:
    keep = [] if kept is None else kept
    case = ImageCase(pixels, get_model, 1, 2, skip_empty=True, keep_only=keep.append)
    system = load_system(DEFAULT_SYSTEM)
    judges = read_judges(WEIGHTS_FOLDER, DEFAULT_SYSTEM, system.judged) if judged else None
    return system.answer(case, judges, tta=False)


def make_small(monkeypatch: pytest.MonkeyPatch, slide_from_px: int) -> None:
    """Let images of this size be slides, of windows and blocks that fit."""
    monkeypatch.setattr(views, "SLIDE_FROM_PX", slide_from_px)
    monkeypatch.setattr(views, "WINDOW_PX", 200)
    monkeypatch.setattr(slide, "CORE_PX", (300, 400))
    monkeypatch.setattr(slide, "STRIP_PX", 800)


class CountedPixels(ArrayPixels):
    """Remembers the largest part that was read, in px."""

    largest = 0

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read as the parent does."""
        part = super().read(bounds)
        type(self).largest = max(type(self).largest, part.shape[0] * part.shape[1])
        return part


@pytest.mark.slow
@pytest.mark.parametrize("judged", [True, False])
def test_a_slide_is_read_in_bands(judged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the judges, the default, and by the published rule: nearly as good as the image held whole."""
    scene, truth = draw_scene("fluorescence_nuclei", (500, 500), np.random.default_rng(6), diameter_px=30)
    array = np.tile(scene, (6, 1, 1))
    truth = np.concatenate([np.where(truth > 0, truth + index * truth.max(), 0) for index in range(6)])
    whole = answer(ArrayPixels(array), judged=judged)
    make_small(monkeypatch, 1_000_000)
    CountedPixels.largest = 0
    kept: list[Collection[str]] = []
    choice = answer(CountedPixels(array), judged=judged, kept=kept)
    names = ["awf-fluorescence", "omnipose"] if judged else ["awf-fluorescence"]
    assert [list(one) for one in kept] == [names]
    assert list(choice.cells) == names
    assert sum(choice.cells.values()) == choice.labels.max() > 300
    assert choice.branch == max(choice.cells, key=choice.cells.__getitem__)
    assert np.array_equal(np.unique(choice.labels), np.arange(choice.labels.max() + 1))
    assert set(choice.seconds) == {"sample", "network", "decode"}
    assert CountedPixels.largest < 0.4 * array.shape[0] * array.shape[1]
    one, two = (score_image(truth, found.labels, [0.5])[0].f1 for found in (whole, choice))
    assert two > one - 0.005
    if judged:
        assert choice.predicted_f1 == pytest.approx(whole.predicted_f1, abs=0.01)


@pytest.mark.slow
def test_small_cells_are_found_in_images_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enlarged whole, by bands, and as a slide: the scale is the same, and so are the cells, but for few."""
    array, truth = draw_scene("phase_rods", (500, 500), np.random.default_rng(1), diameter_px=12)
    scores, scales = [], []
    for slide_from_px, most_px in ((10**6, 4 * 10**6), (10**6, 10**5), (10**5, 10**5)):
        make_small(monkeypatch, slide_from_px)
        monkeypatch.setattr(views, "MAX_ENLARGED_PX", most_px)
        choice = answer(ArrayPixels(array))
        scores.append(score_image(truth, choice.labels, [0.5])[0].f1)
        scales.append(choice.scale)
        assert ("sample" in choice.seconds) is (most_px < 10**6)
    assert scales[0] > 1.5
    assert scales[1] == pytest.approx(scales[0], rel=0.35)
    assert min(scores) > max(scores) - 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "look", "number"),
    [("dust", "glass", 36), ("dust", "glass", 75), ("blobs", "dark", 50), ("blobs", "grey", 24)],
)
def test_dust_is_no_small_cells_and_a_blur_no_large_one(kind: str, look: str, number: int) -> None:
    """Enlarged three times specks look like cells, and reduced as much what is far out of focus does."""
    pixels = draw_empty_field(kind, look, np.random.default_rng([number, 8]))
    assert answer(ArrayPixels(np.atleast_3d(pixels))).labels.max() == 0


@pytest.mark.parametrize("shape", [(33, 3000), (3000, 33), (1, 1)])
@pytest.mark.parametrize("judged", [True, False])
def test_extreme_shapes_have_masks(shape: tuple[int, int], judged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SLIDE_FROM_PX", 0)
    array = np.zeros((*shape, 1), np.uint8)
    cv2.circle(array, (shape[1] // 2, shape[0] // 2), 12, 200, -1)
    choice = answer(ArrayPixels(array), judged=judged)
    assert choice.labels.shape == shape
    assert "network" in choice.seconds


@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
def test_the_class_is_that_of_what_is_looked_at(slide_from_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "SLIDE_FROM_PX", slide_from_px)
    look = ClassifierCard(input_px=32, reduction=2, most_windows=16, classes=("dark", "bright"))
    model = ImageClassifier("look", Path("look.onnx"), "", CLASSIFIER, (0.0, 100.0), look)
    seen: list[np.ndarray] = []

    class Brightness:
        def run(self, batch: np.ndarray) -> tuple[np.ndarray]:
            seen.append(batch)
            bright = batch.mean(axis=(1, 2, 3))
            return (np.stack([1 - bright, bright], axis=1),)

    pixels = np.random.default_rng(2).integers(20, 30, (256, 256, 1), np.uint8)
    pixels[:, 64:] += 180
    case = ImageCase(ArrayPixels(pixels), lambda name: (model, Brightness()), 1, 1, skip_empty=True)  # type: ignore[arg-type, return-value]
    found = case.classify("look")
    assert found.sum() == pytest.approx(1)
    assert found[1] == pytest.approx(0.75, abs=0.1 if slide_from_px > 1000 else 0.25)
    assert all(batch.shape[1:] == (3, 32, 32) for batch in seen)


def test_models_are_asked_for_what_they_can_say() -> None:
    look = ClassifierCard(input_px=32, reduction=2, most_windows=4, classes=("dark", "bright"))
    models = {
        "look": ImageClassifier("look", Path("look.onnx"), "", CLASSIFIER, (0.0, 100.0), look),
        "omnipose": read_card("omnipose", WEIGHTS_FOLDER),
    }
    case = ImageCase(
        ArrayPixels(np.zeros((60, 60, 1), np.uint8)),
        lambda name: (models[name], None),  # type: ignore[arg-type, return-value]
        1,
        1,
        skip_empty=True,
    )
    with pytest.raises(ValueError, match="look is a classifier and segments nothing"):
        case.segment("look", None)
    with pytest.raises(ValueError, match="omnipose is of the kind omnipose and knows no classes"):
        case.classify("omnipose")
