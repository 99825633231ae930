"""Values of cells against scikit-image, read part by part."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops_table

from mosaicell.postprocess import values as module
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.values import measure_values
from tests.cells import draw_cells


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("read_px", [(512, 16384), (17, 50)])
def test_values_are_those_of_regionprops(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, dtype: type, read_px: tuple[int, int]
) -> None:
    monkeypatch.setattr(module, "READ_PX", read_px)
    labels = draw_cells(rng)
    pixels: np.ndarray = (rng.random((*labels.shape, 3)) * 250).astype(dtype)
    if dtype == np.uint16:
        pixels *= 250
    found = measure_values(labels, lambda bounds: cut(pixels, bounds), int(labels.max()))
    names = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")
    expected = regionprops_table(labels.astype(np.int32), pixels.astype(np.float64), properties=names)
    for name, values in zip(names, found, strict=True):
        for channel in range(3):
            np.testing.assert_allclose(values[channel], expected[f"{name}-{channel}"], atol=1e-9)


def cut(pixels: np.ndarray, bounds: Bounds) -> np.ndarray:
    y0, x0, y1, x1 = bounds
    return pixels[y0:y1, x0:x1]


def test_a_small_spread_on_a_bright_ground_is_kept(rng: np.random.Generator) -> None:
    labels = np.ones((700, 900), np.uint32)
    pixels = 1e7 + rng.random((700, 900, 1))
    found = measure_values(labels, lambda bounds: cut(pixels, bounds), 1)
    assert found.deviations[0, 0] == pytest.approx(pixels.std(), rel=1e-7)
    assert found.means[0, 0] == pytest.approx(pixels.mean(), rel=1e-14)


def test_nothing_is_read_where_no_cell_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_PX", (10, 10))
    labels = np.zeros((30, 30), np.uint32)
    labels[12:14, 22:24] = 1
    asked: list[Bounds] = []

    def read(bounds: Bounds) -> np.ndarray:
        asked.append(bounds)
        return np.full((10, 10, 1), 3, np.uint8)

    assert measure_values(labels, read, 1).means.tolist() == [[3]]
    assert asked == [(10, 20, 20, 30)]
    assert measure_values(np.zeros((5, 5), np.uint32), read, 0).means.shape == (0, 0)
