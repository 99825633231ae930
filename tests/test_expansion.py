"""Expansion against distances measured pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from mosaicell.postprocess import bands
from mosaicell.postprocess.expansion import expand_labels
from tests.cells import draw_cells


def expand_each(labels: np.ndarray, distance_px: int) -> np.ndarray:
    """Give each pixel the lowest of the ids that are nearest, by the distance to every cell."""
    away = np.stack([distance_transform_edt(labels != cell) ** 2 for cell in range(1, int(labels.max()) + 1)]).round()
    nearest = away.argmin(axis=0) + 1
    return np.where(away.min(axis=0) <= distance_px**2, nearest, 0)


@pytest.mark.parametrize("distance_px", [1, 2, 5, 40, 300])
@pytest.mark.parametrize("band_px", [2**18, 230])
def test_cells_take_what_is_nearest(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, distance_px: int, band_px: int
) -> None:
    monkeypatch.setattr(bands, "BAND_PX", band_px)
    labels = draw_cells(rng, (90, 120), 8, 9)
    expected = expand_each(labels, distance_px)
    before = labels.copy()
    expanded = expand_labels(labels, distance_px)
    # in place: a slide has no second label image
    assert expanded is labels
    np.testing.assert_array_equal(expanded, expected)
    assert (expanded[before > 0] == before[before > 0]).all()


def test_no_distance_and_no_cell_change_nothing(rng: np.random.Generator) -> None:
    labels = draw_cells(rng, (50, 60), 5)
    np.testing.assert_array_equal(expand_labels(labels.copy(), 0), labels)
    assert not expand_labels(np.zeros((20, 20), np.uint32), 5).any()
