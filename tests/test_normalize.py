from __future__ import annotations

import cv2
import numpy as np
import pytest

from mosaicell.contrast.modality import analyse_modality
from mosaicell.contrast.normalize import measure_contrast, normalize, show_content, stretch
from mosaicell.contrast.sample import take_sample
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.training.synthesis import draw_scene


def smooth(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Draw bumps of 0 to 120, int64 (y, x, c), whose noise is low."""
    bumps = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 3).reshape(shape)
    low, high = bumps.min(axis=(0, 1)), bumps.max(axis=(0, 1))
    return np.rint((bumps - low) / (high - low) * 120).astype(np.int64)


def draw(kind: str, side: int = 300, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return draw_scene(kind, (side, side), np.random.default_rng(seed))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_result_ignores_offset_free_gain_and_dtype(dtype: type, rng: np.random.Generator) -> None:
    pixels = smooth(rng, (50, 60, 3)) + 1
    expected = normalize(pixels.astype(np.uint8))
    assert expected.shape == (3, 50, 60)
    assert expected.dtype == np.float32
    assert np.allclose(normalize((pixels * 2).astype(dtype)), expected, atol=1e-5)
    assert expected.min() == 0
    assert expected.max() == 1


def test_grey_becomes_three_equal_planes(rng: np.random.Generator) -> None:
    planes = normalize(smooth(rng, (90, 70, 1)).astype(np.uint8))
    assert np.array_equal(planes[0], planes[1])
    assert np.array_equal(planes[0], planes[2])
    assert planes.max() == 1


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_images_become_zero(value: int) -> None:
    assert not normalize(np.full((8, 8, 1), value, np.uint8)).any()


def test_binary_image_keeps_its_contrast() -> None:
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[2:5] = 255
    assert np.array_equal(normalize(pixels)[0], pixels[..., 0] / 255)


def test_percentiles_are_those_of_the_pixels_above_zero(rng: np.random.Generator) -> None:
    cells = (smooth(rng, (40, 40, 1)) + 100).astype(np.uint8)
    padded = np.zeros((400, 400, 1), np.uint8)
    padded[180:220, 180:220] = cells
    assert np.array_equal(normalize(padded)[:, 180:220, 180:220], normalize(cells))


def test_nearly_empty_channel_is_not_blown_up(rng: np.random.Generator) -> None:
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[..., 1] = smooth(rng, (50, 50, 1))[..., 0] + 1
    pixels[..., 0] = rng.integers(1, 4, (50, 50))
    planes = normalize(pixels)
    assert planes[1].max() == 1
    assert planes[0].max() < 0.2


@pytest.mark.parametrize("gain", [3e38, 1e-39])
def test_extreme_floats_keep_their_contrast(gain: float, rng: np.random.Generator) -> None:
    values = smooth(rng, (60, 60, 1)) / 60 - 1
    assert np.allclose(normalize((values * gain).astype(np.float32)), normalize(values.astype(np.float32)), atol=1e-3)


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        normalize(np.zeros((5, 5), np.uint8))


@pytest.mark.parametrize(("dtype", "level"), [(np.uint8, 2), (np.uint16, 30), (np.float32, 0.01)])
def test_noise_alone_is_not_stretched_to_the_whole_range(dtype: type, level: float, rng: np.random.Generator) -> None:
    noise: np.ndarray = (100 * level + rng.normal(0, level, (200, 200, 1))).astype(dtype)
    plane = normalize(noise)[0]
    assert plane.std() < 0.12
    assert plane.max() < 0.8


def test_a_dim_channel_is_seen_beside_a_bright_one(rng: np.random.Generator) -> None:
    nuclei, labels = draw("fluorescence_nuclei")
    others = draw("fluorescence_cells", seed=2)[0][..., :1].astype(np.uint16)
    dim = nuclei[..., :1].astype(np.uint16)
    pixels = np.concatenate((others * 200, dim * 2, np.zeros_like(dim)), axis=2)
    planes = normalize(pixels)
    assert planes[1][labels > 0].mean() > planes[1][labels == 0].mean() + 0.3
    assert np.corrcoef(planes[1].ravel(), normalize(dim)[0].ravel())[0, 1] > 0.99
    assert not planes[2].any()


@pytest.mark.parametrize("kind", ["fluorescence_nuclei", "phase_rods"])
def test_few_cells_in_a_wide_field_are_not_all_saturated(kind: str, rng: np.random.Generator) -> None:
    cells, labels = draw(kind, 120)
    grey = cells[..., 0].astype(np.float32)
    wide = np.median(grey[labels == 0]) + rng.normal(0, max(1.0, float(grey[labels == 0].std()) / 8), (1500, 1500))
    wide[700:820, 700:820] = grey
    assert np.count_nonzero(labels) < 0.005 * wide.size
    seen = normalize(wide[..., None].clip(1).astype(np.uint16))[0][700:820, 700:820]
    inside = seen[labels > 0]
    # neither end swallows the cells' own contrast
    assert np.mean((inside == 0) | (inside == 1)) < 0.75
    assert seen.std() > 0.1


@pytest.mark.parametrize(("times", "copies"), [(16, 1), (40, 1), (40, 7)])
@pytest.mark.parametrize("upwards", [True, False])
def test_one_blob_does_not_set_the_contrast_of_the_cells(times: int, copies: int, upwards: bool) -> None:
    cells, labels = draw("fluorescence_nuclei", 300, 3)
    # of a larger image every other pixel is looked at
    cells, labels = np.tile(cells, (copies, copies, 1)), np.tile(labels, (copies, copies))
    grey = cells[..., :1].astype(np.int32) * 10
    height = int(np.median(grey[labels > 0]) - np.median(grey[labels == 0]))
    marred = grey + 50_000 if not upwards else grey.copy()
    clean = marred.copy()
    free = np.argwhere(np.lib.stride_tricks.sliding_window_view(labels[:300, :300], (24, 24)).max(axis=(2, 3)) == 0)
    y, x = free[0]
    marred[y : y + 24, x : x + 24] += times * height if upwards else -times * height
    cell = labels > 0
    before, after = (normalize(one.astype(np.uint16))[0] for one in (clean, marred))
    assert np.abs(before - after)[cell].mean() < 0.05


def test_three_bright_nuclei_are_no_debris(rng: np.random.Generator) -> None:
    wide = rng.normal(100, 3, (400, 400))
    for y, x in ((50, 50), (300, 120), (200, 330)):
        wide[y : y + 20, x : x + 20] += 900
    plane = normalize(wide[..., None].astype(np.uint16))[0]
    assert plane[60, 60] > 0.95
    assert plane[:40].max() < 0.2


@pytest.mark.parametrize("grain_px", [0.7, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("height", [-80, 130])
def test_a_few_cells_that_touch_are_no_debris_on_a_grainy_field(grain_px: float, height: int) -> None:
    # drawn anew for each: whatever the tint and the chance of the grain, the contrast is that of the cells
    for seed in range(3):
        grain = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (300, 300)), (0, 0), grain_px)
        field = 100 + 4 * grain / grain.std()
        for x in (100, 112, 124):
            cv2.line(field, (x, 80), (x + 60, 200), 100 + height, 8)
        seen = normalize(np.rint(field[..., None] * (1, 0.93, 0.85)).astype(np.uint8))
        background = seen[:, 220:]
        assert background.std(axis=(1, 2)).max() < 0.08
        assert np.abs(background - background[0]).mean() < 0.02


@pytest.mark.parametrize("value", [-9999, 0, 120, 255, 4000])
@pytest.mark.parametrize("kind", ["phase_rods", "fluorescence_nuclei", "brightfield_tissue"])
def test_a_frame_changes_neither_contrast_nor_modality(kind: str, value: int) -> None:
    pixels = draw(kind)[0].astype(np.int16).clip(1)
    framed = np.full((420, 420, pixels.shape[2]), value, np.int16)
    framed[60:-60, 60:-60] = pixels
    framed, pixels = framed.astype(np.float32), pixels.astype(np.float32)
    assert analyse_modality(framed) == analyse_modality(pixels)
    inside = normalize(framed)[:, 60:-60, 60:-60]
    assert np.abs(inside - normalize(pixels)).mean() < 0.02


@pytest.mark.parametrize("kind", ["phase_rods", "brightfield_tissue"])
def test_surroundings_are_shown_as_what_lies_beside_them(kind: str) -> None:
    pixels = draw(kind)[0].clip(1)
    framed = np.pad(pixels, ((50, 50), (50, 50), (0, 0)))
    planes = normalize(framed)
    beside = np.concatenate([planes[:, 52, 50:-50], planes[:, 50:-50, 52]], axis=1)
    assert np.allclose(planes[:, 10, 10], np.median(beside, axis=1), atol=0.12)
    assert np.unique(planes[:, :50].reshape(3, -1), axis=1).shape[1] == 1


def test_parts_are_stretched_as_the_whole_is() -> None:
    pixels = np.pad(draw("phase_rods")[0], ((50, 50), (50, 50), (0, 0)))
    contrast = measure_contrast(take_sample(ArrayPixels(pixels)), (1.0, 99.0))
    whole = stretch(pixels, contrast, (0, 0))
    for y0, x0, y1, x1 in ((0, 0, 70, 400), (33, 41, 222, 333), (390, 390, 400, 400)):
        assert np.array_equal(stretch(pixels[y0:y1, x0:x1], contrast, (y0, x0)), whole[:, y0:y1, x0:x1])


def test_content_is_even_where_nothing_counts(rng: np.random.Generator) -> None:
    wide = rng.normal(100, 4, (900, 1000))
    wide[400:420, 300:330] += 800
    sample = take_sample(ArrayPixels(wide[..., None].astype(np.uint16)))
    content = show_content(sample, measure_contrast(sample, (1.0, 99.0)))
    assert content.shape == (900, 1000)
    assert content[410, 310] > 0.9
    assert len(np.unique(content[:300])) == 1
    assert len(np.unique(content[480:])) == 1


@pytest.mark.parametrize("width", [4, 10, 16])
def test_a_picture_as_narrow_as_its_rims_is_seen(width: int, rng: np.random.Generator) -> None:
    pixels = np.zeros((60, 60, 1), np.uint8)
    pixels[:, 30 : 30 + width] = rng.integers(90, 250, (60, width, 1))
    plane = normalize(pixels)[0]
    assert plane[:, 30 : 30 + width].std() > 0.1
    assert len(np.unique(plane[:, :25])) == 1
