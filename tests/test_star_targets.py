"""Star-convex targets: against slow references, unchanged by new ids, coarser grids and transposition.

Time for 507 cells on one core, at most 20 ms each (processor time; 16 and 5 ms on a busy AMD EPYC):

    OMP_NUM_THREADS=1 python -m timeit -p -s "import numpy as np; from training.synthesis import draw_scene
    from mosaicell.training.star_targets import object_probability, star_distances
    _, labels = draw_scene('fluorescence_layer', (512, 512), np.random.default_rng(0), diameter_px=22)" \
    "star_distances(labels)"    # likewise object_probability
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mosaicell.training.star_targets import object_probability, star_distances

SHAPES = [(48, 64), (57, 33), (41, 41)]


def draw_touching(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Cells around random centres that touch, cut by the edges, some of one pixel; ids with gaps."""
    rng = np.random.default_rng(seed)
    count = 14
    centres = rng.uniform((0, 0), shape, (count, 2))
    radii = rng.uniform(3, 12, count)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    away = np.hypot(rows[..., None] - centres[:, 0], columns[..., None] - centres[:, 1])
    nearest = away.argmin(-1)
    ids = rng.choice(60_000, count + 3, replace=False) + 1
    labels = np.where(away.min(-1) < radii[nearest], ids[nearest], 0)
    labels[rng.integers(shape[0]), rng.integers(shape[1])] = ids[-1]
    labels[0, 0], labels[-1, -1] = ids[-2], ids[-3]
    return labels.astype(np.int64)


def walk_rays(labels: np.ndarray, grid_px: int, rays: int, step_px: float) -> np.ndarray:
    """Walk each exact ray until the nearest pixel is not of the cell: the reference."""
    height, width = labels.shape
    framed = np.pad(labels, 1)
    ys, xs = np.mgrid[0:height:grid_px, 0:width:grid_px]
    lengths = np.zeros((rays, *ys.shape), np.float32)
    for ray in range(rays):
        dy, dx = math.sin(2 * math.pi * ray / rays), math.cos(2 * math.pi * ray / rays)
        going = labels[ys, xs] > 0
        length_px = step_px / 2
        while going.any():
            y = np.floor(ys + length_px * dy + 0.5).clip(-1, height).astype(int)
            x = np.floor(xs + length_px * dx + 0.5).clip(-1, width).astype(int)
            going &= framed[y + 1, x + 1] == labels[ys, xs]
            lengths[ray][going] = length_px + step_px / 2
            length_px += step_px
    return lengths


def step_straight(labels: np.ndarray, y: int, x: int, dy: int, dx: int) -> float:
    steps = 0
    while (
        0 <= y + (steps + 1) * dy < labels.shape[0]
        and 0 <= x + (steps + 1) * dx < labels.shape[1]
        and labels[y + (steps + 1) * dy, x + (steps + 1) * dx] == labels[y, x]
    ):
        steps += 1
    return (steps + 0.5) * math.hypot(dy, dx)


@pytest.mark.parametrize("shape", SHAPES)
def test_probability_is_the_share_of_the_largest_distance_to_the_outside(shape: tuple[int, int]) -> None:
    labels = draw_touching(shape, 1)
    probability = object_probability(labels)
    assert probability.dtype == np.float32
    assert not probability[labels == 0].any()
    for cell in np.unique(labels[labels > 0]):
        inside, outside = np.argwhere(labels == cell), np.argwhere(labels != cell)
        distances = np.hypot(*(inside[:, None] - outside[None]).transpose(2, 0, 1)).min(1)
        np.testing.assert_allclose(probability[labels == cell], distances / distances.max(), rtol=1e-5)


def test_a_cell_that_fills_the_image_has_probability_1_and_rays_to_its_edge() -> None:
    labels = np.full((6, 11), 7)
    np.testing.assert_array_equal(object_probability(labels), 1)
    right, down, left, up = star_distances(labels, 1, 4)
    np.testing.assert_array_equal(right, np.broadcast_to(10.5 - np.arange(11), (6, 11)))
    np.testing.assert_array_equal(left, np.broadcast_to(0.5 + np.arange(11), (6, 11)))
    np.testing.assert_array_equal(down, np.broadcast_to(5.5 - np.arange(6)[:, None], (6, 11)))
    np.testing.assert_array_equal(up, np.broadcast_to(0.5 + np.arange(6)[:, None], (6, 11)))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_straight_and_diagonal_rays_are_exact(shape: tuple[int, int], seed: int) -> None:
    labels = draw_touching(shape, seed)
    distances = star_distances(labels, 2, 8)
    for ray, (dy, dx) in enumerate([(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]):
        for y, x in np.argwhere(labels[::2, ::2] > 0):
            expected = step_straight(labels, 2 * y, 2 * x, dy, dx)
            assert distances[ray, y, x] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("grid_px", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_lengths_are_those_of_the_exact_rays(shape: tuple[int, int], grid_px: int) -> None:
    labels = draw_touching(shape, 3)
    distances = star_distances(labels, grid_px, 32)
    expected = walk_rays(labels, grid_px, 32, 0.05)
    assert distances.shape == expected.shape
    assert distances.dtype == np.float32
    inside = labels[::grid_px, ::grid_px] > 0
    assert not distances[:, ~inside].any()
    assert distances[:, inside].min() >= 0.5
    errors = distances[:, inside] - expected[:, inside]
    assert abs(errors.mean()) < 0.1
    assert np.abs(errors).mean() < 0.25
    assert (np.abs(errors) < 1.05).mean() > 0.9
    # no direction is worse than the others: none is mirrored or turned
    assert np.abs(errors).mean(1).max() < 0.4


@pytest.mark.parametrize("rays", [1, 6, 7, 12, 64])
def test_any_number_of_rays_reaches_the_outline_of_a_disc(rays: int) -> None:
    y, x = np.mgrid[:81, :81] - 40
    labels = (np.hypot(y, x) < 30).astype(np.uint8)
    distances = star_distances(labels, 1, rays)[:, 40, 40]
    np.testing.assert_allclose(distances, 30, atol=0.9)
    off_centre = star_distances(labels, 1, rays)[:, 40, 60]
    angles = 2 * np.pi * np.arange(rays) / rays
    exact = -20 * np.cos(angles) + np.sqrt(900 - (20 * np.sin(angles)) ** 2)
    np.testing.assert_allclose(off_centre, exact, atol=1.3)


def test_a_cell_of_one_pixel_ends_half_a_step_away() -> None:
    labels = np.zeros((9, 9), np.uint16)
    labels[4, 4] = 3
    angles = 2 * np.pi * np.arange(32) / 32
    half_steps = 0.5 / np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))
    np.testing.assert_allclose(star_distances(labels)[:, 2, 2], half_steps, rtol=1e-6)
    assert np.count_nonzero(star_distances(labels)) == 32
    assert object_probability(labels)[4, 4] == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_coarser_grid_measures_from_fewer_pixels(shape: tuple[int, int]) -> None:
    labels = draw_touching(shape, 4)
    every = star_distances(labels, 1)
    for grid_px in (2, 3, 5):
        np.testing.assert_array_equal(star_distances(labels, grid_px), every[:, ::grid_px, ::grid_px])


@pytest.mark.parametrize("shape", SHAPES)
def test_axes_are_alike(shape: tuple[int, int]) -> None:
    labels = draw_touching(shape, 5)
    turned = star_distances(np.ascontiguousarray(labels.T))
    as_seen = (8 - np.arange(32)) % 32
    np.testing.assert_allclose(turned[as_seen].transpose(0, 2, 1), star_distances(labels), rtol=1e-6)
    np.testing.assert_array_equal(object_probability(labels.T).T, object_probability(labels))


def test_new_ids_change_nothing() -> None:
    labels = draw_touching((57, 33), 6)
    ids, dense = np.unique(labels, return_inverse=True)
    table = np.random.default_rng(0).permutation(ids.size - 1) * 100_003 + 1
    renumbered = np.concatenate([[0], table])[dense.reshape(labels.shape)].astype(np.uint32)
    np.testing.assert_array_equal(star_distances(renumbered), star_distances(labels))
    np.testing.assert_array_equal(object_probability(renumbered), object_probability(labels))


def test_a_call_leaves_nothing_behind_for_the_next() -> None:
    small, large = draw_touching((41, 41), 7), draw_touching((57, 64), 8)
    first = star_distances(small).copy()
    star_distances(large)
    np.testing.assert_array_equal(star_distances(small), first)


@pytest.mark.parametrize("shape", [(16, 24), (7, 5), (1, 1), (0, 4)])
def test_an_image_without_cells_has_empty_targets(shape: tuple[int, int]) -> None:
    labels = np.zeros(shape, np.int32)
    assert object_probability(labels).shape == shape
    assert not object_probability(labels).any()
    distances = star_distances(labels)
    assert distances.shape == (32, -(-shape[0] // 2), -(-shape[1] // 2))
    assert not distances.any()


@pytest.mark.parametrize("grid_px", [1, 2, 7, 80])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (40, 2), (3, 90)])
def test_narrow_images_have_targets(shape: tuple[int, int], grid_px: int) -> None:
    labels = np.ones(shape, np.uint8)
    distances = star_distances(labels, grid_px)
    to_the_right = np.broadcast_to(shape[1] - 0.5 - np.arange(shape[1]), shape)
    np.testing.assert_allclose(distances[0], to_the_right[::grid_px, ::grid_px], rtol=1e-6)
    assert distances.min() >= 0.5
    assert distances.max() <= sum(shape)
    np.testing.assert_array_equal(object_probability(labels), 1)


@pytest.mark.parametrize(("grid_px", "rays"), [(0, 32), (2, 0)])
def test_senseless_grids_and_rays_are_refused(grid_px: int, rays: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        star_distances(np.ones((4, 4), np.uint8), grid_px, rays)


def test_what_is_no_label_image_is_refused() -> None:
    wrong: list[Any] = [np.ones((3, 4, 4), np.uint8), np.ones((4, 4), np.float32), -np.ones((4, 4), np.int8)]
    for labels in wrong:
        with pytest.raises(ValueError, match="label"):
            star_distances(labels)
        with pytest.raises(ValueError, match="label"):
            object_probability(labels)
    with pytest.raises(ValueError, match="px a side"):
        star_distances(np.zeros((1, 40_000), np.uint8))
