from __future__ import annotations

import numpy as np
import pytest

from inference.normalize import normalize


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_result_ignores_offset_free_gain_and_dtype(dtype: type, rng: np.random.Generator) -> None:
    pixels = rng.integers(1, 120, (50, 60, 3))
    expected = normalize(pixels.astype(np.uint8))
    assert expected.shape == (3, 50, 60)
    assert expected.dtype == np.float32
    assert np.allclose(normalize((pixels * 2).astype(dtype)), expected, atol=1e-5)
    assert expected.min() == 0
    assert expected.max() == 1


def test_grey_becomes_three_equal_planes(rng: np.random.Generator) -> None:
    planes = normalize(rng.integers(0, 255, (9, 7, 1), np.uint8))
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
    cells = rng.integers(100, 200, (40, 40, 1), np.uint8)
    padded = np.zeros((400, 400, 1), np.uint8)
    padded[:40, :40] = cells
    assert np.array_equal(normalize(padded)[:, :40, :40], normalize(cells))


def test_nearly_empty_channel_is_not_blown_up(rng: np.random.Generator) -> None:
    pixels = np.zeros((50, 50, 3), np.uint8)
    pixels[..., 1] = rng.integers(1, 250, (50, 50))
    pixels[..., 0] = rng.integers(1, 4, (50, 50))
    planes = normalize(pixels)
    assert planes[1].max() == 1
    assert planes[0].max() < 0.15


@pytest.mark.parametrize("gain", [3e38, 1e-39])
def test_extreme_floats_keep_their_contrast(gain: float, rng: np.random.Generator) -> None:
    values = rng.uniform(-1, 1, (20, 20, 1))
    assert np.allclose(normalize((values * gain).astype(np.float32)), normalize(values.astype(np.float32)), atol=1e-3)


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        normalize(np.zeros((5, 5), np.uint8))
