"""Images for a classifier: cached, reduced, and windows whose class is that of the cells in them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.contrast.normalize import normalize
from mosaicell.networks.classifier import ClassifierCard, cut_windows
from mosaicell.training import class_samples
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.class_samples import (
    LARGE_CELLS,
    SMALL_CELLS,
    ClassSample,
    draw_class_samples,
    draw_window,
    load_class_samples,
    make_class_sample,
)
from mosaicell.training.image_classes import LARGE_CELL_PX, low_level_class
from mosaicell.training.synthesis import SCENES, draw_scene
from tests.test_dataset import MANIFEST, write_data

PLAIN = AugmentOptions(
    gamma=0,
    color_jitter=0,
    grey_probability=0,
    invert_probability=0,
    blur_probability=0,
    noise_probability=0,
    shuffle_probability=0,
    light_probability=0,
    haze_probability=0,
    coarse_probability=0,
)


def make_colour(areas_px: list[float], centres: list[tuple[float, float]], side: int = 100) -> ClassSample:
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0] = 200
    places = np.array(centres, np.float32).reshape(-1, 2)
    return ClassSample("", "", SMALL_CELLS, image, places, np.array(areas_px, np.float32))


def test_samples_are_sorted_normalised_and_reduced(tmp_path: Path) -> None:
    images = write_data(tmp_path)
    (tmp_path / "manifest.csv").write_text(MANIFEST, encoding="utf-8")
    blood, nuclei = load_class_samples(tmp_path, tmp_path / "cache", 2)
    assert (blood.name, blood.source) == ("blood.png", "")
    assert (nuclei.name, nuclei.source) == ("nuclei.png", "plate7/fluorescence")
    assert (blood.label, nuclei.label) == (SMALL_CELLS, 0)
    assert blood.image.shape == (48, 65, 3)
    assert nuclei.image.shape == (48, 65, 1)
    expected = normalize(images["blood"]).reshape(3, 48, 2, 65, 2).mean((2, 4)).transpose(1, 2, 0)
    assert np.abs(blood.image / 255 - expected).max() <= 0.5 / 255 + 1e-6


def test_cells_have_the_places_of_the_reduced_image_and_their_own_areas() -> None:
    pixels, _ = draw_scene("brightfield_blood", (96, 130), np.random.default_rng(0))
    labels = np.zeros((96, 130), np.uint32)
    labels[10:21, 30:51], labels[60:62, 100:101] = 4, 9
    sample = make_class_sample(pixels, labels, 2)
    np.testing.assert_array_equal(sample.areas_px, [231, 2])
    np.testing.assert_allclose(sample.centres, [[7.5, 20], [30.25, 50]])


def test_the_cache_holds_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path)
    first = load_class_samples(tmp_path, tmp_path / "cache", 2)
    entries = set((tmp_path / "cache").iterdir())
    assert len(entries) == 2

    def refuse(*_: object) -> None:
        raise AssertionError("an image was read again")

    with monkeypatch.context() as patch:
        patch.setattr(class_samples, "read_pair", refuse)
        second = load_class_samples(tmp_path, tmp_path / "cache", 2)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, two.image)
        np.testing.assert_array_equal(one.centres, two.centres)
        np.testing.assert_array_equal(one.areas_px, two.areas_px)
        assert one.label == two.label
    os.utime(tmp_path / "images" / "blood.png", ns=(1, 1))
    load_class_samples(tmp_path, tmp_path / "cache", 2)
    assert len(set((tmp_path / "cache").iterdir()) - entries) == 1
    # another reduction is another entry
    load_class_samples(tmp_path, tmp_path / "cache", 4)
    assert len(set((tmp_path / "cache").iterdir()) - entries) == 3


def test_scenes_are_drawn_of_all_kinds(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(class_samples, "SCENE_PX", 64)
    monkeypatch.setattr(class_samples, "SCENES", SCENES[::8])
    samples = draw_class_samples(2, 2, rng)
    assert [sample.name for sample in samples] == [kind for kind in SCENES[::8] for _ in range(2)]
    assert {sample.source for sample in samples} == {"drawn"}
    assert draw_class_samples(0, 2, rng) == []


def test_an_image_without_colour_stays_so(rng: np.random.Generator) -> None:
    pixels, labels = draw_scene("phase_spread", (96, 96), rng)
    sample = make_class_sample(np.repeat(pixels[..., :1], 3, 2), labels, 2)
    assert sample.image.shape[2] == 1
    for _ in range(20):
        window, label = draw_window(sample, 64, rng)
        assert window.shape == (3, 64, 64)
        assert window.dtype == np.float32
        assert 0 <= window.min() <= window.max() <= 1
        np.testing.assert_array_equal(window[0], window[1])
        assert label == 1 == low_level_class(pixels, labels)


def test_the_largest_cell_in_a_window_decides(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(class_samples, "SCALE_JITTER", 1.0)
    monkeypatch.setattr(class_samples, "LIMIT_FRACTION", 0)
    sample = make_colour([100, LARGE_CELL_PX + 1], [(200, 200), (50, 380)], side=400)
    found = [draw_window(sample, 64, rng)[1] for _ in range(300)]
    # a window without a cell has the class of the image
    assert 0 < found.count(SMALL_CELLS) < 60
    monkeypatch.setattr(class_samples, "_window_matrix", lambda *_: np.array([[1.0, 0, 170], [0, 1, 170]]))
    assert draw_window(sample, 64, rng)[1] == SMALL_CELLS
    monkeypatch.setattr(class_samples, "_window_matrix", lambda *_: np.array([[1.0, 0, 330], [0, 1, 20]]))
    assert draw_window(sample, 64, rng)[1] == LARGE_CELLS


@pytest.mark.parametrize("diameter_px", [30, 100, 170])
def test_half_of_the_windows_in_colour_have_cells_about_as_large_as_the_limit(
    diameter_px: float, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(class_samples, "LIMIT_FRACTION", 1)
    sample = make_colour([np.pi / 4 * diameter_px**2, 50], [(50, 50), (20, 20)])
    areas_px = np.array([class_samples._draw_scale(sample, rng) ** 2 for _ in range(300)]) * sample.areas_px[0]
    assert areas_px.min() >= LARGE_CELL_PX / 4.01
    assert areas_px.max() <= LARGE_CELL_PX * 4.01
    assert 0.35 < (areas_px > LARGE_CELL_PX).mean() < 0.65
    # what has no colour keeps its size
    scales = [class_samples._draw_scale(replace(sample, label=1), rng) for _ in range(50)]
    assert max(scales) <= 1.6
    assert min(scales) >= 1 / 1.6


def test_cells_grow_with_the_window(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(class_samples, "LIMIT_FRACTION", 0)
    limit = LARGE_CELL_PX / 1.6**2
    always, never = make_colour([LARGE_CELL_PX * 1.6**2 + 9], [(50, 50)]), make_colour([limit - 9], [(50, 50)])
    between = make_colour([LARGE_CELL_PX], [(50, 50)])
    labels = [[draw_window(sample, 64, rng)[1] for _ in range(40)] for sample in (always, never, between)]
    assert set(labels[0]) == {LARGE_CELLS}
    assert set(labels[1]) == {SMALL_CELLS}
    assert set(labels[2]) == {LARGE_CELLS, SMALL_CELLS}
    assert {draw_window(make_colour([], [], 50), 64, rng)[1]} == {SMALL_CELLS}


def test_windows_of_training_look_like_those_of_the_program(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(class_samples, "SCALE_JITTER", 1.0)
    monkeypatch.setattr(class_samples, "LIMIT_FRACTION", 0)
    monkeypatch.setattr(class_samples, "PHOTOMETRY", PLAIN)
    pixels, labels = draw_scene("brightfield_blood", (128, 128), rng)
    sample = make_class_sample(pixels, labels, 2)
    (expected,) = cut_windows(normalize(pixels), ClassifierCard(64, 2, 9, ()))
    # a whole window, turned by any angle about its middle: the middle and the grey levels stay
    windows = np.stack([draw_window(replace(sample, label=0), 64, rng)[0] for _ in range(8)])
    assert np.abs(windows.mean((2, 3)) - expected.mean((1, 2))).max() < 0.3
    monkeypatch.setattr(class_samples, "_window_matrix", lambda *_: np.array([[1.0, 0, 0], [0, 1, 0]]))
    monkeypatch.setattr(class_samples, "change_photometry", lambda image, *_: image)
    window, _ = draw_window(sample, 64, rng)
    assert np.abs(window - expected).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("shape", [(30, 200), (300, 300), (64, 64)])
def test_windows_stay_in_the_image_where_they_fit(shape: tuple[int, int], rng: np.random.Generator) -> None:
    for _ in range(50):
        matrix = class_samples._window_matrix(shape, 64, 1.0, rng)
        centre = matrix @ np.array([31.5, 31.5, 1])
        for place, length in zip(centre[::-1], shape, strict=True):
            margin = min(32, length / 2)
            assert margin - 0.51 <= place <= length - margin - 0.49
        assert abs(np.linalg.det(matrix[:, :2])) == pytest.approx(1)
