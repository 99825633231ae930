"""Pixels of an image and of its maps: parts are brought from one to the other as the whole is."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.networks.grid import Grid
from mosaicell.networks.scale import resize_labels, resize_map

SHAPES = [(60, 80), (23, 31), (157, 211), (61, 80), (1, 3)]


@pytest.mark.parametrize("map_px", SHAPES)
def test_the_whole_is_resized_by_nearest_pixels(map_px: tuple[int, int], rng: np.random.Generator) -> None:
    grid = Grid((60, 80), map_px)
    assert grid.is_one == (map_px == (60, 80))
    assert grid.map_bounds(grid.whole) == (0, 0, *map_px)
    labels = rng.integers(0, 99, (60, 80)).astype(np.uint32)
    maps = rng.integers(0, 99, map_px).astype(np.uint32)
    assert np.array_equal(grid.to_maps(labels, grid.whole), resize_labels(labels, map_px))
    assert np.array_equal(grid.to_image(maps, grid.whole), resize_labels(maps, (60, 80)))


@pytest.mark.parametrize("map_px", SHAPES)
@pytest.mark.parametrize("bounds", [(0, 0, 20, 30), (13, 17, 44, 59), (30, 41, 60, 80), (59, 0, 60, 80)])
def test_parts_are_those_of_the_whole(
    map_px: tuple[int, int], bounds: tuple[int, int, int, int], rng: np.random.Generator
) -> None:
    grid = Grid((60, 80), map_px)
    y0, x0, y1, x1 = bounds
    top, left, bottom, right = grid.map_bounds(bounds)
    maps = rng.integers(0, 99, map_px).astype(np.uint32)
    part = grid.to_image(maps[top:bottom, left:right], bounds)
    assert np.array_equal(part, grid.to_image(maps, grid.whole)[y0:y1, x0:x1])
    labels = rng.integers(0, 99, (60, 80)).astype(np.uint32)
    whole, part = grid.to_maps(labels, grid.whole)[top:bottom, left:right], grid.to_maps(labels[y0:y1, x0:x1], bounds)
    # px of the maps on the border of the part can lie nearest to a pixel beyond it
    assert part.shape == whole.shape
    assert np.array_equal(part[1:-1, 1:-1], whole[1:-1, 1:-1])
    plane = rng.random(map_px, np.float32)
    near = grid.resize_map(plane[top:bottom, left:right], bounds)
    assert near.shape == (y1 - y0, x1 - x0)
    margin = max(1, int(2 * 60 / map_px[0]), int(2 * 80 / map_px[1]))
    inner = np.s_[margin:-margin, margin:-margin]
    assert np.allclose(near[inner], resize_map(plane, (60, 80))[y0:y1, x0:x1][inner], atol=1e-5)
