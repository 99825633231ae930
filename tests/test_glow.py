"""Recorded light: brightness between cells, faint cells and the marks of later processing."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.training.drawing import camera
from mosaicell.training.drawing.glow import record_glow, uneven_cells
from mosaicell.training.drawing.layouts import tessellate


def test_uneven_cells_stay_within_the_contrast_asked() -> None:
    labels = tessellate((300, 300), 12.0, np.random.default_rng(0))
    field = uneven_cells(labels, np.random.default_rng(1), 50.0)
    assert field[labels > 0].max() <= 1
    assert 1 / 50 <= field[labels > 0].min() < 1 / 30


@pytest.mark.parametrize("seed", range(12))
def test_the_faintest_cells_survive_exposure(seed: int) -> None:
    """A cell fifty times dimmer than another still differs from the ground by more than one grey level."""
    signal = np.zeros((128, 128), np.float32)
    signal[20:60, 20:60], signal[70:110, 70:110] = 1, 0.02
    image = record_glow(
        [(signal, (0.0, 1.0, 0.0))], np.random.default_rng(seed), grey=True, haze=0, debris=0, faintest=0.02
    ).astype(float)
    assert image[75:105, 75:105].mean() - image[75:105, 20:50].mean() > 1


@pytest.mark.parametrize("depth", [1, 3])
def test_marring_keeps_the_shape_and_most_pixels_in_place(depth: int) -> None:
    pixels = np.full((120, 150, depth), 90, np.uint8)
    pixels[40:80, 50:100] = 180
    changed = 0
    for seed in range(60):
        marred = camera.mar(pixels, np.random.default_rng(seed))
        assert marred.shape == pixels.shape
        assert marred.dtype == np.uint8
        assert np.median(np.abs(marred.astype(int) - pixels)) < 16
        changed += not np.array_equal(marred, pixels)
    assert 5 < changed < 40
