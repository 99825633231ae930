"""Training images: the challenge's folders, the cache, the shares of the sources, and batches of crops."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cc3d
import cv2
import numpy as np
import pytest

from mosaicell.contrast.normalize import normalize
from mosaicell.errors import OptionError
from mosaicell.training import dataset
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.dataset import (
    draw_crop,
    load_samples,
    synthetic_sample,
)
from mosaicell.training.folder import read_pair
from mosaicell.training.image_classes import low_level_class
from mosaicell.training.recipe import read_recipe
from mosaicell.training.synthesis import draw_scene
from mosaicell.training.targets import Targets
from mosaicell.writing.masks import write_labels
from tests.samples import draw_grid, make_sample


def make_targets(labels: np.ndarray, areas: np.ndarray) -> Targets:
    return read_recipe("awf-grey").make_targets(labels, areas)


MANIFEST = "image,source,modality\nnuclei.png,plate7,fluorescence\n"
#: crops in their own size and grey levels, up to gain and gamma
PLAIN = AugmentOptions(
    light_probability=0,
    haze_probability=0,
    coarse_probability=0,
    crop_px=96,
    free_scale_fraction=0,
    scale_jitter=1,
    invert_probability=0,
    noise_probability=0,
    blur_probability=0,
)


def write_image(root: Path, name: str, pixels: np.ndarray, labels: np.ndarray) -> None:
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(root / "images" / f"{name}.png"), pixels[..., ::-1]):
        raise OSError(f"{name} was not written")
    write_labels(root / "labels" / f"{name}_label.tiff", labels)


def write_data(root: Path) -> dict[str, np.ndarray]:
    """Write two drawn images in the challenge's layout; return their pixels."""
    images = {}
    for seed, (name, kind) in enumerate({"blood": "brightfield_blood", "nuclei": "fluorescence_nuclei"}.items()):
        images[name], labels = draw_scene(kind, (96, 130), np.random.default_rng(seed))
        write_image(root, name, images[name], labels)
    return images


def test_images_come_normalised_whole_with_their_cells(tmp_path: Path) -> None:
    images = write_data(tmp_path / "train")
    samples = load_samples(tmp_path / "train", tmp_path / "cache")
    for (name, pixels), sample in zip(images.items(), samples, strict=True):
        expected = np.rint(normalize(pixels).transpose(1, 2, 0) * 255)
        np.testing.assert_array_equal(np.broadcast_to(sample.image, expected.shape), expected, name)
        assert (sample.image.dtype, sample.labels.dtype) == (np.uint8, np.uint16)
        assert sample.low_level_class == low_level_class(pixels, sample.labels), name
        assert len(sample.areas) == len(sample.boxes) + 1 == sample.labels.max() + 1 > 1
        for cell, box in enumerate(sample.boxes, start=1):
            inside = sample.labels == cell
            rows, columns = inside.any(1).nonzero()[0], inside.any(0).nonzero()[0]
            assert box.tolist() == [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            assert sample.areas[cell] == inside.sum()
        assert sample.diameter_px == pytest.approx(np.median(np.sqrt(4 / np.pi * sample.areas[1:])))
    assert samples[0].image.shape == (96, 130, 3)


def test_a_grey_image_is_kept_with_one_channel(tmp_path: Path, rng: np.random.Generator) -> None:
    grey = np.repeat(rng.integers(0, 256, (40, 40, 1), np.uint8), 3, 2)
    write_image(tmp_path, "grey", grey, draw_grid(40, 20, 6))
    (sample,) = load_samples(tmp_path, tmp_path / "cache")
    assert sample.image.shape == (40, 40, 1)


def test_without_a_manifest_the_source_is_the_modality(tmp_path: Path) -> None:
    write_data(tmp_path / "train")
    samples = load_samples(tmp_path / "train", tmp_path / "cache")
    assert [sample.source for sample in samples] == ["brightfield", "fluorescence"]
    assert [sample.modality for sample in samples] == ["brightfield", "fluorescence"]


@pytest.mark.parametrize("place", ["train", "."])
def test_a_manifest_beside_or_above_names_the_sources(tmp_path: Path, place: str) -> None:
    write_data(tmp_path / "train")
    (tmp_path / place / "manifest.csv").write_text(MANIFEST, encoding="utf-8")
    samples = load_samples(tmp_path / "train", tmp_path / "cache")
    # the manifest does not name the first image
    assert [sample.source for sample in samples] == ["brightfield", "plate7/fluorescence"]


def test_the_cache_is_used_until_a_file_or_the_preparation_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "train")
    read: list[str] = []

    def note_and_read(root: Path, path: Path) -> tuple[np.ndarray, np.ndarray]:
        read.append(path.stem)
        return read_pair(root, path)

    monkeypatch.setattr(dataset, "read_pair", note_and_read)
    first = load_samples(tmp_path / "train", tmp_path / "cache")
    assert read == ["blood", "nuclei"]
    again = load_samples(tmp_path / "train", tmp_path / "cache")
    assert read == ["blood", "nuclei"]
    for one, two in zip(first, again, strict=True):
        np.testing.assert_equal(vars(one), vars(two))
    os.utime(tmp_path / "train" / "labels" / "nuclei_label.tiff", ns=(0, 0))
    load_samples(tmp_path / "train", tmp_path / "cache")
    assert read == ["blood", "nuclei", "nuclei"]
    monkeypatch.setattr(dataset, "CACHE_VERSION", dataset.CACHE_VERSION + 1)
    load_samples(tmp_path / "train", tmp_path / "cache")
    assert read[3:] == ["blood", "nuclei"]


def test_labels_are_cleaned(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.uint32)
    labels[2:10, 2:10] = 7
    labels[20:30, 20:30] = 7
    labels[35, 2:6] = 3
    write_image(tmp_path, "cells", np.full((40, 40, 3), 9, np.uint8), labels)
    (sample,) = load_samples(tmp_path, tmp_path / "cache")
    assert sample.areas.tolist() == [40 * 40 - 164, 64, 100]
    assert not sample.labels[35].any()


def test_an_image_without_cells_is_kept(tmp_path: Path) -> None:
    write_image(tmp_path, "empty", np.full((40, 40, 3), 9, np.uint8), np.zeros((40, 40), np.uint32))
    (sample,) = load_samples(tmp_path, tmp_path / "cache")
    assert sample.boxes.shape == (0, 4)
    assert sample.diameter_px == 30
    image, targets = draw_crop(sample, AugmentOptions(crop_px=32), make_targets, np.random.default_rng(0))
    assert np.isfinite(image).all()
    assert not targets["pixels"].any()
    assert targets["boxes"].shape == (0, 4)


def test_what_cannot_be_trained_on_is_refused_by_name(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    (tmp_path / "none" / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"none.*holds no image"):
        load_samples(tmp_path / "none", tmp_path / "cache")
    write_image(tmp_path / "other_shape", "cell", pixels, np.ones((40, 41), np.uint32))
    with pytest.raises(ValueError, match=r"cell_label.tiff has shape \(40, 41\), its image \(40, 40\)"):
        load_samples(tmp_path / "other_shape", tmp_path / "cache")
    write_image(tmp_path / "no_label", "cell", pixels, np.ones((40, 40), np.uint32))
    (tmp_path / "no_label" / "labels" / "cell_label.tiff").unlink()
    with pytest.raises(OptionError, match=r"cell_label\.tiff, the labels of cell\.png, is missing"):
        load_samples(tmp_path / "no_label", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_more_cells_than_the_cache_can_number_are_refused(tmp_path: Path) -> None:
    labels = np.zeros((512, 256 * 6), np.uint32)
    labels[::2].reshape(256, 256, 6)[..., :5] = np.arange(1, 2**16 + 1).reshape(256, 256, 1)
    write_image(tmp_path, "dense", np.zeros((*labels.shape, 3), np.uint8), labels)
    with pytest.raises(ValueError, match=r"dense_label\.tiff holds more than 65,535 cells"):
        load_samples(tmp_path, tmp_path / "cache")


def test_a_crop_shows_the_cells_of_its_targets() -> None:
    sample = make_sample(draw_grid())
    for seed in range(5):
        image, targets = draw_crop(sample, PLAIN, make_targets, np.random.default_rng(seed))
        pixels, boxes = targets["pixels"], targets["boxes"]
        assert (image.shape, pixels.shape) == ((3, 96, 96), (2, 96, 96))
        assert image.dtype == pixels.dtype == boxes.dtype == np.float32
        cells = pixels[0] > 0
        middle = (image[0].max() + image[0].min()) / 2
        assert ((image[0] > middle) == cells).mean() > 0.98
        assert len(boxes) > 0
        assert boxes.min() >= 0
        assert boxes.max() <= 96
        for y0, x0, y1, x1 in boxes.astype(int):
            assert cells[y0:y1, x0:x1].any()


@pytest.mark.parametrize("diameter_px", [8.0, 30.0, 100.0])
def test_cells_count_as_cut_by_their_size_in_the_crop(diameter_px: float) -> None:
    sample = replace(make_sample(draw_grid()), diameter_px=30.0)
    options = replace(PLAIN, free_scale_fraction=1, diameter_px=(diameter_px, diameter_px), crop_px=128)
    full_px = float(sample.areas[1]) * (diameter_px / 30) ** 2
    for seed in range(6):
        targets = draw_crop(sample, options, make_targets, np.random.default_rng(seed))[1]
        pixels, boxes = targets["pixels"], targets["boxes"]
        areas = np.bincount(cc3d.connected_components(pixels[0] > 0, connectivity=4).ravel())[1:]
        surely, perhaps = np.count_nonzero(areas > 0.24 * full_px), np.count_nonzero(areas > 0.16 * full_px)
        assert surely <= len(boxes) <= perhaps


def test_a_drawn_scene_becomes_a_sample(rng: np.random.Generator) -> None:
    sample = synthetic_sample("fluorescence_nuclei", 64, rng)
    assert sample.source == "synthetic"
    assert sample.image.shape[:2] == sample.labels.shape == (64, 64)
    assert (sample.image.dtype, sample.labels.dtype) == (np.uint8, np.uint16)
    np.testing.assert_array_equal(sample.areas, np.bincount(sample.labels.ravel()))
    assert len(sample.areas) > 1
