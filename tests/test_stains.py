"""Stains: a section in brown and blue is known, and nuclei paler than the brown around them are found."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from mosaicell.answers.case import ImageCase
from mosaicell.answers.slide import divide_slide
from mosaicell.contrast import stains
from mosaicell.contrast.stains import BROWN, HAEMATOXYLIN, CounterstainPixels, find_glass, keep_haematoxylin
from mosaicell.evaluation.metrics import score_image
from mosaicell.options import DEFAULT_SYSTEM, Options
from mosaicell.postprocess.blocks import Owned
from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.pixels import ArrayPixels, read_all
from mosaicell.runs import segmentation as module
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.slide_division import divide_rows
from mosaicell.segmenter import Segmenter
from mosaicell.systems import choose_way
from mosaicell.training.drawing.layouts import noise_field

EOSIN = (0.07, 0.99, 0.11)
GLASS = (250.0, 240.0, 230.0)


def stain(amounts: list[np.ndarray], colours: list[tuple[float, ...]]) -> np.ndarray:
    """Return what passes through stains, uint8 (y, x, 3), whose amounts are (y, x)."""
    units = [np.array(colour) / np.linalg.norm(colour) for colour in colours]
    absorbed = sum(amount[..., None] * unit for amount, unit in zip(amounts, units, strict=True))
    return np.rint(np.array(GLASS) * np.exp(-absorbed)).astype(np.uint8)


def draw_section(brown: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw pale blue nuclei in tissue of this brown, beside bare glass; return pixels (y, x, 3) and labels."""
    rng = np.random.default_rng(5)
    shape = (384, 384)
    labels = np.zeros(shape, np.int32)
    for number in range(64):
        y, x = divmod(number, 8)
        centre = np.array([x * 44 + 34, y * 44 + 34]) + rng.integers(-7, 8, 2)
        axes = (int(rng.integers(8, 12)), int(rng.integers(12, 16)))
        cv2.ellipse(labels, centre.tolist(), axes, float(rng.uniform(0, 180)), 0, 360, number + 1, -1)
    inside = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 1)
    tissue = np.ones(shape, np.float32)
    tissue[:, 360:] = 0
    rough = 1 + 0.15 * noise_field(shape, 3, rng)
    blue = (0.06 + 0.4 * inside * (1 + 0.15 * noise_field(shape, 2, rng))) * tissue
    return stain([blue, brown * (1 - 0.75 * inside) * rough * tissue], [HAEMATOXYLIN, BROWN]), labels.astype(np.uint32)


def test_what_is_left_is_the_haematoxylin() -> None:
    blue, brown = np.meshgrid(np.linspace(0, 1.2, 25), np.linspace(0, 2, 30))
    shown = keep_haematoxylin(stain([blue, brown], [HAEMATOXYLIN, BROWN]), GLASS)
    alone = 255 * np.exp(-blue[..., None] * np.array(HAEMATOXYLIN) / np.linalg.norm(HAEMATOXYLIN))
    # values of 8 bits say little of what hardly lets light through
    assert shown.dtype == np.uint8
    assert np.abs(shown - alone).max() < 12
    assert np.abs(shown - alone).mean() < 2


def test_colours_beyond_what_stains_can_make_are_white_or_dark() -> None:
    extremes = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]], np.uint8)
    shown = keep_haematoxylin(extremes, GLASS)
    assert shown[0, 1].tolist() == [255, 255, 255]
    assert shown.shape == extremes.shape
    wide = keep_haematoxylin((extremes.astype(np.uint16) * 257), tuple(value * 257 for value in GLASS))  # type: ignore[arg-type]
    np.testing.assert_array_equal(wide, shown)


def test_a_section_in_brown_and_blue_is_known_by_its_colours() -> None:
    section, _ = draw_section(1.2)
    glass = find_glass(ArrayPixels(section))
    assert glass is not None
    np.testing.assert_allclose(glass, GLASS, atol=3)
    blue, pink = np.meshgrid(np.linspace(0, 1.2, 60), np.linspace(0, 1.2, 60))
    others = {
        "H&E": stain([blue, pink], [HAEMATOXYLIN, EOSIN]),
        "blue alone": stain([blue], [HAEMATOXYLIN]),
        "brown alone": stain([pink], [BROWN]),
        "grey": np.repeat(section[..., :1], 3, axis=2),
        "one channel": section[..., :1],
        "black": np.zeros_like(section),
    }
    assert {name: find_glass(ArrayPixels(pixels)) for name, pixels in others.items()} == dict.fromkeys(others)


def test_parts_are_those_of_the_whole() -> None:
    section, _ = draw_section(1.2)
    pixels = CounterstainPixels(ArrayPixels(section), GLASS)
    whole = read_all(pixels)
    np.testing.assert_array_equal(pixels.read((30, 50, 90, 170)), whole[30:90, 50:170])
    np.testing.assert_array_equal(pixels.sample(3), whole[::3, ::3])
    assert pixels.shape_px == section.shape[:2]


@pytest.mark.slow
def test_nuclei_that_are_paler_than_the_brown_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    section, truth = draw_section(1.2)
    segmenter = Segmenter(device="cpu", threads=1)
    found = segmenter.segment(section, "YXS")
    assert (found.modality, found._choice.counterstain) == ("brightfield", True)
    assert score_image(truth, found.labels, [0.5])[0].f1 > 0.9
    monkeypatch.setattr(module, "find_glass", lambda pixels: None)
    without = segmenter.segment(section, "YXS")
    assert not without._choice.counterstain
    assert score_image(truth, without.labels, [0.5])[0].f1 < 0.6


@pytest.mark.slow
def test_the_brown_stays_where_more_is_expected_with_it(tmp_path: Path) -> None:
    # brown and blue nuclei: without the brown ones half would be missed
    _, truth = draw_section(0)
    inside = cv2.GaussianBlur((truth > 0).astype(np.float32), (0, 0), 1)
    is_brown = cv2.GaussianBlur(((truth > 0) & (truth % 3 > 0)).astype(np.float32), (0, 0), 1)
    section = stain([0.9 * np.maximum(inside - is_brown, 0) + 0.05, 1.4 * is_brown], [HAEMATOXYLIN, BROWN])
    assert stains.find_glass(ArrayPixels(section)) is not None
    found = Segmenter(device="cpu", threads=1).segment(section, "YXS")
    assert not found._choice.counterstain
    assert score_image(truth, found.labels, [0.5])[0].f1 > 0.9


@pytest.mark.slow
def test_a_slide_that_is_split_is_seen_without_the_brown_too() -> None:
    section, truth = draw_section(1.2)
    pixels = ArrayPixels(np.tile(section, (8, 8, 1)))
    segmentation = Segmentation(
        Options(Path(), Path(), device="cpu", threads=1, choose_by=choose_way(DEFAULT_SYSTEM, ""))
    )
    limits = segmentation.measure_limits()
    modality, choice, plan = segmentation.plan(pixels, limits, tta=False)
    assert (modality, choice.counterstain) == ("brightfield", True)
    assert plan.glass == find_glass(pixels)
    division = divide_slide(pixels.shape_px, plan.scale)
    found = np.zeros(pixels.shape_px, np.uint32)

    def take(core: Bounds, owned: Owned) -> None:
        y0, x0, y1, x1 = owned.bounds
        ids = np.where(owned.labels > 0, owned.labels + found.max(), 0)
        found[y0:y1, x0:x1] = np.where(found[y0:y1, x0:x1] > 0, found[y0:y1, x0:x1], ids)

    for rows in divide_rows(division):
        segmentation.segment_rows(pixels, plan, division, rows.blocks, limits, take)
    numbers = np.kron(np.arange(64).reshape(8, 8), np.ones(section.shape[:2], int)) * int(truth.max())
    everything = np.where(np.tile(truth, (8, 8)) > 0, np.tile(truth, (8, 8)) + numbers, 0).astype(np.uint32)
    assert score_image(everything, found, [0.5])[0].f1 > 0.9


@pytest.mark.slow
def test_glands_that_judges_are_sure_of_are_no_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    # nine sections of scikit-image side by side: reduced, whole glands look like cells
    pixels = ArrayPixels(np.tile(data.immunohistochemistry(), (3, 3, 1)))
    segmentation = Segmentation(
        Options(Path(), Path(), device="cpu", threads=1, choose_by=choose_way(DEFAULT_SYSTEM, ""))
    )
    limits = segmentation.measure_limits()
    choose = partial(segmentation._choose_stains, pixels=pixels, limits=limits)
    case = segmentation._make_case(pixels, limits, ImageCase)
    assert choose(case)[1] == find_glass(pixels)
    monkeypatch.setattr(module, "GLAND_SIZE", np.inf)
    assert choose(case) == (case, None)
