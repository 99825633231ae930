"""Smears and sections: covered parts of cells and the territories of nuclei."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mosaicell.training.drawing.smears import cover_again
from mosaicell.training.drawing.stained import find_territories


def disc(shape_px: tuple[int, int], centre: tuple[int, int], radius_px: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[: shape_px[0], : shape_px[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius_px**2


@pytest.mark.parametrize("oval", [True, False])
def test_the_covered_part_of_a_cell_is_found_under_its_neighbour(oval: bool) -> None:
    labels = np.zeros((90, 120), np.uint32)
    hidden, cover = disc(labels.shape, (45, 40), 25), disc(labels.shape, (45, 75), 25)
    labels[hidden] = 1
    labels[cover] = 2
    layers = cover_again(labels, oval=oval)
    assert not layers[labels == 0].any()
    # A hull runs up to a pixel outside a round cell.
    assert np.count_nonzero(layers[(labels == 1) & ~cover]) < 20
    both = hidden & cover
    if oval:
        assert np.count_nonzero((layers > 0) & both) > 0.9 * np.count_nonzero(both)
        assert np.count_nonzero(layers) < 1.1 * np.count_nonzero(both)
    alone = np.where(labels == 1, 1, 0).astype(np.uint32)
    assert not cover_again(alone, oval=oval).any()


def test_territories_belong_to_the_nearest_nucleus() -> None:
    labels = np.zeros((40, 60), np.uint32)
    labels[18:22, 8:12], labels[18:22, 48:52] = 1, 2
    owner, away_px = find_territories(labels)
    assert np.all(owner[:, :29] == 1)
    assert np.all(owner[:, 31:] == 2)
    assert np.all((away_px == 0) == (labels > 0))
