"""Distances to the border are those measured from every cell alone, whatever its size, place and neighbours."""

from __future__ import annotations

import edt
import numpy as np
import pytest
from scipy import ndimage

from mosaicell.postprocess import bands, distances
from mosaicell.postprocess.distances import DEEPEST_PX, border_distances


def draw_labels(seed: int, shape: tuple[int, int] = (70, 90)) -> np.ndarray:
    """Draw touching cells of many sizes, in pieces and cut by the image border."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    y, x = np.indices(shape)
    for label in range(1, 30):
        labels[np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])) < rng.uniform(2, 18)] = 3 * label
    labels[rng.random(shape) < 0.01] = 0
    return labels


@pytest.mark.parametrize("seed", range(5))
def test_distances_are_those_of_each_cell_alone(seed: int) -> None:
    labels = draw_labels(seed)
    found = border_distances(labels)
    assert found.dtype == np.float32
    assert (found[labels == 0] == 0).all()
    for label in np.unique(labels)[1:]:
        cell = labels == label
        # beyond the image border the cell goes on
        alone = ndimage.distance_transform_edt(np.pad(cell, 90, mode="edge"))[90:-90, 90:-90]
        np.testing.assert_array_equal(found[cell], alone[cell].astype(np.float32))


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.transpose])
def test_turned_labels_have_turned_distances(turn: type) -> None:
    labels = draw_labels(7)
    np.testing.assert_array_equal(border_distances(turn(labels)), turn(border_distances(labels)))


@pytest.mark.parametrize("band_px", [1, 700])
def test_bands_equal_the_whole(band_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = draw_labels(8)
    whole = border_distances(labels)
    monkeypatch.setattr(bands, "BAND_PX", band_px)
    np.testing.assert_array_equal(border_distances(labels), whole)


@pytest.mark.parametrize("radius", [DEEPEST_PX - 2, DEEPEST_PX - 1, DEEPEST_PX, DEEPEST_PX + 1, DEEPEST_PX + 40])
@pytest.mark.parametrize("stretch", [(1, 0), (0, 1), (1, 1)])
def test_deep_cells_have_the_same_distances_on_either_way(radius: int, stretch: tuple[int, int]) -> None:
    """A band or square about twice the limit wide, with a mark of another cell to one side."""
    size = 2 * radius + 5
    labels = np.zeros((size, size), np.uint8)
    edges = [slice(2, -2) if along else slice(None) for along in stretch]
    labels[tuple(edges)] = 1
    labels[size // 3, :9] = 2
    np.testing.assert_array_equal(border_distances(labels), edt.edt(labels, black_border=False))


def test_shallow_cells_do_not_need_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((300, 500), np.uint32)
    labels[20:250, 30:490] = 1  # 115 px deep
    expected = edt.edt(labels, black_border=False)
    monkeypatch.setattr(distances, "edt", None)
    np.testing.assert_array_equal(border_distances(labels), expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (1, 1), (1, 9), (9, 1), (200, 3)])
def test_empty_tiny_and_full_images(shape: tuple[int, int]) -> None:
    assert np.array_equal(border_distances(np.zeros(shape, np.int64)), np.zeros(shape))
    assert np.isinf(border_distances(np.ones(shape, np.uint8))).all()
    single = np.zeros(shape, np.uint16)
    single[:1, :1] = 9
    assert (border_distances(single)[single > 0] == (1 if single.size > 1 else np.inf)).all()
