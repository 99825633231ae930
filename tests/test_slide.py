"""Slides: what is found band by band, in blocks, is what is found in one piece."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mosaicell.answers import slide as module
from mosaicell.answers.branches import Prediction, segment
from mosaicell.answers.judges import Judges, read_judges
from mosaicell.answers.merging import Merged, Sizes, merge_branches
from mosaicell.answers.slide import Branch, Slide, segment_bands
from mosaicell.contrast.normalize import normalize
from mosaicell.networks.manifest import Card, read_card
from mosaicell.networks.session import Session
from mosaicell.networks.views import Views
from mosaicell.options import DEFAULT_SYSTEM, WEIGHTS_FOLDER
from mosaicell.postprocess.cells import median_size
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.systems import load_system
from mosaicell.training.synthesis import draw_scene
from tests.test_blocks import same_objects

Models = list[tuple[Card, Session]]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an image of 1 MP a slide: blocks of 200 px, as many as a real slide has."""
    monkeypatch.setattr(module, "CORE_PX", (150, 200))
    monkeypatch.setattr(module, "MAX_CORE_PX", (300, 400))
    monkeypatch.setattr(module, "STRIP_PX", 450)
    monkeypatch.setattr(module, "MARGIN_PX", 64)
    monkeypatch.setattr(module, "MAX_MARGIN_PX", 128)


def shipped_judges() -> Judges:
    return read_judges(WEIGHTS_FOLDER, DEFAULT_SYSTEM, load_system(DEFAULT_SYSTEM).judged)


def load(*names: str) -> Models:
    cards = [read_card(name, WEIGHTS_FOLDER) for name in names]
    return [(card, Session(card.path, "cpu", 1, 1.0)) for card in cards]


def whole_of(array: np.ndarray, models: Models, scale: float) -> list[Prediction]:
    return [segment(normalize(array, card.percentiles), card, session.run, 1, scale) for card, session in models]


def bands_of(
    array: np.ndarray, models: Models, sizes: tuple[Sizes, ...], scale: float, batch: int = 1, workers: int = 2
) -> Slide:
    pixels = ArrayPixels(array)
    views = Views(pixels)
    branches = [
        Branch(card, session.run, views.contrast(card.percentiles), size)
        for (card, session), size in zip(models, sizes, strict=True)
    ]
    judges = shipped_judges() if len(branches) > 1 else None
    return segment_bands(pixels, branches, scale, judges, batch, workers, skip_empty=False)


def both_ways(array: np.ndarray, models: Models, scale: float) -> tuple[Merged, Slide]:
    """Segment with two branches in one piece, and in bands with the sizes of cells that this found."""
    merged = merge_branches(whole_of(array, models, scale), shipped_judges())
    return merged, bands_of(array, models, merged.sizes, scale)


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
    models = load(name)
    (whole,) = whole_of(array, models, 1.0)
    assert whole.labels.max() > 100
    found = bands_of(array, models, (Sizes(whole.least_px, median_size(whole.map_labels)),), 1.0)
    assert same_objects(found.labels, whole.labels)
    assert found.cells == [whole.labels.max()]
    assert (found.sources, found.likelihoods) == (None, None)
    assert found.predicted_f1 is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "scale", "diameter_px"),
    [
        ("fluorescence_nuclei", "awf-fluorescence", 1.0, 30),
        ("fluorescence_nuclei", "awf-fluorescence", 0.6, 45),
        ("brightfield_tissue", "awf-brightfield", 1.0, 30),
        ("phase_rods", "awf-grey", 1.6, 16),
        ("phase_rods", "awf-grey", 3.0, 12),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_merged_cells_in_bands_equal_those_of_the_whole(kind: str, name: str, scale: float, diameter_px: float) -> None:
    """Reduced, as it is and enlarged: each block decodes, judges and merges the cells of both branches."""
    sides = (600, 500) if scale < 2 else (260, 330)
    array, _ = draw_scene(kind, sides, np.random.default_rng(5), diameter_px=diameter_px)
    merged, slide = both_ways(array, load(name, "omnipose"), scale)
    assert merged.labels.max() > 40
    assert same_objects(slide.labels, merged.labels)
    assert slide.cells == list(merged.cells)
    assert slide.sources is not None
    assert slide.likelihoods is not None
    assert merged.sources is not None
    assert merged.likelihoods is not None
    ids = np.zeros(int(merged.labels.max()), int)
    ids[merged.labels[merged.labels > 0] - 1] = slide.labels[merged.labels > 0]
    assert slide.sources[ids - 1].tolist() == merged.sources.tolist()
    np.testing.assert_allclose(slide.likelihoods[ids - 1], merged.likelihoods, atol=1e-4)
    assert slide.predicted_f1 == pytest.approx(merged.predicted_f1, abs=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_a_margin_grows_until_it_holds_what_cells_hang_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a margin narrower than a cell at first, and one that cannot grow: conflicts of cells are cut off."""
    array, _ = draw_scene("phase_spread", (420, 500), np.random.default_rng(7), diameter_px=40)
    models = load("awf-grey", "omnipose")
    merged = merge_branches(whole_of(array, models, 1.0), shipped_judges())
    same = []
    for margins_px in ((40, 160), (40, 40)):
        monkeypatch.setattr(module, "MARGIN_PX", margins_px[0])
        monkeypatch.setattr(module, "MAX_MARGIN_PX", margins_px[1])
        same.append(same_objects(bands_of(array, models, merged.sizes, 1.0).labels, merged.labels))
    assert same == [True, False]


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_batch_and_threads_do_not_change_the_result() -> None:
    array, _ = draw_scene("fluorescence_nuclei", (500, 600), np.random.default_rng(6), diameter_px=30)
    models = load("awf-fluorescence", "omnipose")
    sizes = (Sizes(1, 6.5), Sizes(20, 6.5))
    results = [bands_of(array, models, sizes, 1.0, batch, workers) for batch, workers in ((1, 1), (3, 2), (1, 4))]
    assert results[0].labels.max() > 60
    for one, two in itertools.pairwise(results):
        assert np.array_equal(one.labels, two.labels)
        assert (one.cells, one.predicted_f1) == (two.cells, two.predicted_f1)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_cells_smaller_than_the_size_given_are_debris() -> None:
    array, _ = draw_scene("fluorescence_nuclei", (400, 300), np.random.default_rng(6), diameter_px=30)
    models = load("awf-fluorescence")
    areas = [
        np.bincount(bands_of(array, models, (Sizes(least_px, 0.0),), 1.0).labels.ravel())[1:]
        for least_px in (1, 500, 10**6)
    ]
    assert sorted(areas[1]) == sorted(areas[0][areas[0] >= 500])
    assert 0 < areas[1].size < areas[0].size
    assert areas[2].size == 0


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_each_part_is_read_once_for_all_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRIP_PX", 10_000)
    array, _ = draw_scene("fluorescence_nuclei", (500, 300), np.random.default_rng(6), diameter_px=30)
    read_px: list[int] = []

    class CountedPixels(ArrayPixels):
        def read(self, bounds: tuple[int, int, int, int]) -> np.ndarray:
            part = super().read(bounds)
            read_px.append(part.shape[0] * part.shape[1])
            return part

    models = [
        (replace(card, window_px=128, settings={**card.settings, "min_size_fraction": 0.0}), session)
        for card, session in load("awf-fluorescence", "omnipose")
    ]
    pixels = CountedPixels(array)
    contrast = Views(ArrayPixels(array)).contrast((1.0, 99.0))
    branches = [Branch(card, session.run, contrast, Sizes(1, 6.5)) for card, session in models]
    found = segment_bands(pixels, branches, 1.0, shipped_judges(), 1, 2, skip_empty=False)
    assert found.labels.max() > 30
    # rows of tiles overlap by an eighth
    assert sum(read_px) < 1.3 * 500 * 300
    assert max(read_px) == 128 * 300


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_skipping_empty_tiles_loses_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells on one side, noise of a camera on the other: the same cells, and the networks see less."""
    monkeypatch.setattr(module, "STRIP_PX", 10_000)
    models = load("awf-fluorescence", "omnipose")
    scene, _ = draw_scene("fluorescence_nuclei", (640, 640), np.random.default_rng(8), diameter_px=30)
    glass = np.random.default_rng(9).normal(float(np.median(scene)), 0.3, (640, 3 * 640, 3)).round().astype(np.uint8)
    pixels = ArrayPixels(np.concatenate([np.broadcast_to(scene, (640, 640, 3)), glass], axis=1))
    contrast = Views(pixels).contrast((1.0, 99.0))
    results, calls = [], []
    for skip_empty in (False, True):
        seen: list[int] = []

        def spy(batch: np.ndarray, session: Session, seen: list[int] = seen) -> tuple[np.ndarray, ...]:
            seen.append(len(batch))
            return session.run(batch)

        branches = [Branch(card, partial(spy, session=session), contrast, Sizes(1, 6.5)) for card, session in models]
        judges = shipped_judges()
        results.append(segment_bands(pixels, branches, 1.0, judges, 1, 2, skip_empty=skip_empty).labels)
        calls.append(sum(seen))
    assert results[0].max() > 50
    assert same_objects(results[0], results[1])
    assert calls[1] <= calls[0] / 2
