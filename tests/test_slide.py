from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference import slide as module
from inference.branches import segment
from inference.manifest import Card, read_card
from inference.normalize import measure_contrast, normalize, sampling_step
from inference.options import DEFAULT_SYSTEM, WEIGHTS_FOLDER
from inference.pixels import ArrayPixels
from inference.session import Session
from inference.slide import segment_as_slide, segment_bands
from inference.systems import Choice, SegmentWith, make_rule
from tests.test_blocks import same_objects
from tests.toys import draw_discs as draw_toys
from tests.toys import write_weights
from training.synthesis import draw_scene

Bounds = tuple[int, int, int, int]
RULE = make_rule(DEFAULT_SYSTEM, None, tta=False)


class CountedPixels(ArrayPixels):
    """Remembers the largest part that was read, in px."""

    largest = 0

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read as the parent does."""
        part = super().read(bounds)
        type(self).largest = max(type(self).largest, part.shape[0] * part.shape[1])
        return part


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an image of 1 MP a slide: blocks of 200 px, as many as a real slide has."""
    monkeypatch.setattr(module, "CORE_PX", (150, 200))
    monkeypatch.setattr(module, "MAX_CORE_PX", (300, 400))
    monkeypatch.setattr(module, "STRIP_PX", 450)
    monkeypatch.setattr(module, "MARGIN_PX", 64)
    monkeypatch.setattr(module, "MAX_MARGIN_PX", 128)


def load(name: str) -> tuple[Card, Session]:
    card = read_card(name, WEIGHTS_FOLDER)
    return card, Session(card.path, "cpu", 1, 1.0)


def bands_of(
    array: np.ndarray, card: Card, session: Session, scale: float, batch: int = 1, workers: int = 2
) -> np.ndarray:
    step = sampling_step((array.shape[0], array.shape[1]))
    contrast = measure_contrast(array[::step, ::step], card.percentiles)
    return segment_bands(ArrayPixels(array), contrast, card, session.run, batch, scale, workers, skip_empty=False)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("fluorescence_nuclei", "awf-fluorescence"),
        ("brightfield_tissue", "awf-brightfield"),
        ("phase_round", "omnipose"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_bands_equal_whole(kind: str, name: str) -> None:
    """Drawn scenes of every modality, the shipped weights: the same cells in blocks as from whole maps."""
    array, _ = draw_scene(kind, (600, 800), np.random.default_rng(5), diameter_px=30)
    card, session = load(name)
    whole = segment(normalize(array, card.percentiles), card, session.run, 1, 1.0).labels
    assert whole.max() > 100
    found = bands_of(array, card, session, 1.0)
    assert same_objects(found, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_reduced_bands_nearly_equal_whole() -> None:
    """Where the image is reduced the two ways resample a pixel's fraction apart."""
    array, _ = draw_scene("fluorescence_nuclei", (900, 1000), np.random.default_rng(5), diameter_px=45)
    card, session = load("awf-fluorescence")
    whole = segment(normalize(array, card.percentiles), card, session.run, 1, 0.6).labels
    found = bands_of(array, card, session, 0.6)
    assert whole.max() > 100
    assert abs(int(found.max()) - int(whole.max())) <= 1
    assert ((found > 0) != (whole > 0)).mean() < 1e-3


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_batch_and_threads_do_not_change_the_result() -> None:
    array, _ = draw_scene("fluorescence_nuclei", (700, 700), np.random.default_rng(6), diameter_px=30)
    card, session = load("awf-fluorescence")
    results = [bands_of(array, card, session, 1.0, batch, workers) for batch, workers in ((1, 1), (3, 2), (1, 4))]
    assert results[0].max() > 100
    for one, two in itertools.pairwise(results):
        assert np.array_equal(one, two)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_a_slide_is_read_in_bands() -> None:
    tile, _ = draw_scene("fluorescence_nuclei", (500, 500), np.random.default_rng(6), diameter_px=30)
    array = np.tile(tile, (6, 1, 1))
    cards = {name: load(name) for name in ("awf-fluorescence",)}
    CountedPixels.largest = 0
    modality, choice = segment_as_slide(CountedPixels(array), RULE, cards.__getitem__, 1, 2, skip_empty=True)
    assert (modality, choice.branch) == ("fluorescence", "awf-fluorescence")
    assert choice.labels.shape == array.shape[:2]
    assert np.array_equal(np.unique(choice.labels), np.arange(choice.labels.max() + 1))
    assert choice.labels.max() > 300
    assert set(choice.seconds) == {"sample", "network", "decode"}
    assert CountedPixels.largest < 0.25 * array.shape[0] * array.shape[1]


@pytest.mark.parametrize("shape", [(33, 3000), (3000, 33), (1, 1)])
def test_extreme_shapes_have_masks(shape: tuple[int, int], tmp_path: Path) -> None:
    array = np.zeros((*shape, 1), np.uint8)
    cv2.circle(array, (shape[1] // 2, shape[0] // 2), 12, 200, -1)
    cards = {name: load(name) for name in ("awf-fluorescence", "awf-grey", "omnipose")}
    _, choice = segment_as_slide(ArrayPixels(array), RULE, cards.__getitem__, 1, 1, skip_empty=True)
    assert choice.labels.shape == shape


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_skipping_empty_tiles_loses_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells on one side, noise of a camera on the other: the same cells, and the network sees less."""
    monkeypatch.setattr(module, "STRIP_PX", 10_000)
    card, session = load("awf-fluorescence")
    scene, _ = draw_scene("fluorescence_nuclei", (640, 640), np.random.default_rng(8), diameter_px=30)
    glass = np.random.default_rng(9).normal(float(np.median(scene)), 0.3, (640, 3 * 640, 3)).round().astype(np.uint8)
    pixels = ArrayPixels(np.concatenate([np.broadcast_to(scene, (640, 640, 3)), glass], axis=1))
    contrast = measure_contrast(pixels.sample(1), card.percentiles)
    results, calls = [], []
    for skip_empty in (False, True):
        seen: list[int] = []

        def spy(batch: np.ndarray, seen: list[int] = seen) -> tuple[np.ndarray, ...]:
            seen.append(len(batch))
            return session.run(batch)

        results.append(segment_bands(pixels, contrast, card, spy, 1, 1.0, 2, skip_empty=skip_empty)[0])
        calls.append(sum(seen))
    assert results[0].max() > 50
    assert same_objects(results[0], results[1])
    assert calls[1] <= calls[0] / 2


def test_the_rest_is_done_by_the_branch_that_does_better_alone(tmp_path: Path) -> None:
    """Whichever gave most cells to the answer for the mosaic."""
    weights = write_weights(tmp_path / "weights")

    def rule(modality: str, segment_with: SegmentWith) -> Choice:
        return replace(RULE(modality, segment_with), branch="awf-grey", best_alone="omnipose")

    def get_model(name: str) -> tuple[Card, Session]:
        card = read_card(name, weights)
        return card, Session(card.path, "cpu", 1, 1.0)

    kept: list[str] = []
    _, choice = segment_as_slide(
        ArrayPixels(draw_toys(3)[..., None]), rule, get_model, 1, 1, skip_empty=True, keep_only=kept.append
    )
    assert kept == ["omnipose"]
    assert (choice.branch, choice.cells) == ("omnipose", {"omnipose": 3})
