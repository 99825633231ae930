from __future__ import annotations

import numpy as np
import pytest

from mosaicell.networks.mosaic import MOSAIC_WINDOWS, WINDOW_PX, draw_mosaic
from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.pixels import ArrayPixels


def mosaic_of(
    array: np.ndarray, step: int = 8, windows: int = MOSAIC_WINDOWS, window_px: int = WINDOW_PX
) -> np.ndarray:
    """Return the mosaic (y, x, c) of pixels (y, x, c)."""
    pixels = ArrayPixels(array)

    def read(bounds: Bounds) -> np.ndarray:
        return pixels.read(bounds).transpose(2, 0, 1)

    return draw_mosaic(read, pixels.shape_px, pixels.sample(step).mean(axis=2), windows, window_px).transpose(1, 2, 0)


def test_background_is_left_out(rng: np.random.Generator) -> None:
    """Content covers one of sixteen windows: the mosaic shows nothing else."""
    array = np.full((4 * WINDOW_PX, 4 * WINDOW_PX, 3), 20, np.uint8)
    content = rng.integers(0, 255, (WINDOW_PX, WINDOW_PX, 3), np.uint8)
    array[WINDOW_PX : 2 * WINDOW_PX, 2 * WINDOW_PX : 3 * WINDOW_PX] = content
    assert np.array_equal(mosaic_of(array), content)


@pytest.mark.parametrize("corner", [(0, 1950), (1950, 0), (1950, 1950)], ids=["right", "below", "corner"])
def test_content_at_the_far_edges_is_shown(corner: tuple[int, int], rng: np.random.Generator) -> None:
    """Sides are no multiples of a window's: what lies beyond the last whole one counts too."""
    array = np.full((2000, 2000, 1), 20, np.uint8)
    y, x = corner
    array[y : y + 50, x : x + 50] = content = rng.integers(100, 255, (50, 50, 1), np.uint8)
    mosaic = mosaic_of(array)
    assert np.array_equal(np.sort(mosaic[mosaic > 20]), np.sort(content.ravel()))


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


@pytest.mark.parametrize("rows", [2, 3])
def test_windows_of_any_number_and_side_are_taken(rows: int, rng: np.random.Generator) -> None:
    array = rng.integers(0, 255, (700, 900, 1), np.uint8)
    mosaic = mosaic_of(array, 1, rows**2, 100)
    assert mosaic.shape == (100 * rows, 100 * rows, 1)
    corners = [(y, x) for y in range(0, 601, 100) for x in range(0, 801, 100)]
    for y, x in np.ndindex(rows, rows):
        window = mosaic[100 * y : 100 * y + 100, 100 * x : 100 * x + 100]
        assert any(np.array_equal(window, array[top : top + 100, left : left + 100]) for top, left in corners)
