from __future__ import annotations

import numpy as np
import pytest

from inference.mosaic import MOSAIC_WINDOWS, WINDOW_PX, draw_mosaic
from inference.pixels import ArrayPixels


def mosaic_of(array: np.ndarray, step: int = 8) -> np.ndarray:
    pixels = ArrayPixels(array)
    return draw_mosaic(pixels, pixels.sample(step))


def test_background_is_left_out(rng: np.random.Generator) -> None:
    """Content covers one of sixteen windows: the mosaic shows nothing else."""
    array = np.full((4 * WINDOW_PX, 4 * WINDOW_PX, 3), 20, np.uint8)
    content = rng.integers(0, 255, (WINDOW_PX, WINDOW_PX, 3), np.uint8)
    array[WINDOW_PX : 2 * WINDOW_PX, 2 * WINDOW_PX : 3 * WINDOW_PX] = content
    assert np.array_equal(mosaic_of(array), content)


def test_windows_range_from_dense_to_sparse(rng: np.random.Generator) -> None:
    array = np.zeros((6 * WINDOW_PX, 6 * WINDOW_PX, 1), np.uint8)
    for index in range(36):
        y, x = divmod(index, 6)
        window = rng.random((WINDOW_PX, WINDOW_PX, 1)) < 0.5
        array[y * WINDOW_PX :, x * WINDOW_PX :][:WINDOW_PX, :WINDOW_PX] = window * (80 + 4 * index)
    mosaic = mosaic_of(array)
    assert mosaic.shape == (3 * WINDOW_PX, 3 * WINDOW_PX, 1)
    peaks = mosaic.reshape(3, WINDOW_PX, 3, WINDOW_PX).max(axis=(1, 3)).ravel()
    assert len(set(peaks.tolist())) == MOSAIC_WINDOWS
    assert (peaks[0], peaks[-1]) == (80 + 4 * 35, 80)


@pytest.mark.parametrize("shape", [(100, 5000), (5000, 100), (700, 700), (50, 50)])
def test_any_shape_gives_whole_windows(shape: tuple[int, int], rng: np.random.Generator) -> None:
    array = rng.integers(0, 255, (*shape, 3), np.uint8)
    mosaic = mosaic_of(array, 4)
    height, width = (min(side, WINDOW_PX) for side in shape)
    assert mosaic.shape[0] % height == 0
    assert mosaic.shape[1] % width == 0
    assert mosaic.size


def test_an_image_of_one_value_gives_a_mosaic_too() -> None:
    assert (mosaic_of(np.full((2000, 2000, 1), 7, np.uint16)) == 7).all()
