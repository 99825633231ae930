"""Shared areas of polygons: those of their triangles, one pair after another, and what must hold for any area."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from mosaicell.postprocess import overlaps
from mosaicell.postprocess.overlaps import shared_polygon_areas
from mosaicell.postprocess.stars import Stars, checked_stars, measure_extents
from tests.test_stars import draw_stars

Point = tuple[float, float]


def clip(polygon: list[Point], start: Point, end: Point) -> list[Point]:
    """Cut off what of a convex polygon lies left of a line."""

    def side(point: Point) -> float:
        return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])

    kept: list[Point] = []
    for one, two in pairwise([*polygon, polygon[0]]) if polygon else ():
        a, b = side(one), side(two)
        if a >= 0:
            kept.append(one)
        if (a >= 0) != (b >= 0):
            share = a / (a - b)
            kept.append((one[0] + share * (two[0] - one[0]), one[1] + share * (two[1] - one[1])))
    return kept


def area_of(polygon: list[Point]) -> float:
    return abs(sum(a[0] * b[1] - a[1] * b[0] for a, b in pairwise([*polygon, *polygon[:1]]))) / 2


def share_triangles(stars: Stars, first: int, second: int) -> float:
    """Sum what the triangles between centre and sides of one polygon share with those of the other."""
    fans = []
    for index in (first, second):
        centre = tuple(stars.centres[index])
        corners = [tuple(corner) for corner in stars.corners()[index]]
        fans.append([[centre, *side] for side in pairwise([*corners, corners[0]])])
    total = 0.0
    for one, other in product(*fans):
        # seen with y as the first number, the corners run the other way round
        part = one[::-1]
        for start, end in pairwise([*other[::-1], other[-1]]):
            part = clip(part, start, end)
        total += area_of(part)
    return total


@pytest.mark.parametrize("rays", [3, 8, 16])
@pytest.mark.parametrize("spread", [0.0, 0.3, 0.8])
def test_areas_are_those_of_the_triangles(rays: int, spread: float, rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 24, rays, spread, side_px=30)
    first, second = np.arange(0, 24, 2), np.arange(1, 24, 2)
    shared = shared_polygon_areas(stars, first, second)
    expected = [share_triangles(stars, one, two) for one, two in zip(first.tolist(), second.tolist(), strict=True)]
    assert sum(area > 1 for area in expected) >= 4
    np.testing.assert_allclose(shared, expected, atol=1e-9)


def test_a_polygon_shares_all_of_itself(rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 300)
    every = np.arange(300)
    np.testing.assert_allclose(shared_polygon_areas(stars, every, every), measure_extents(stars).areas)
    # a smaller copy around the same centre lies inside
    both = Stars(np.tile(stars.centres, (2, 1)), np.concatenate([stars.rays, 0.5 * stars.rays]))
    shared = shared_polygon_areas(both, every, every + 300)
    np.testing.assert_allclose(shared, measure_extents(both).areas[300:])


def test_areas_are_even_and_within_bounds(rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 400, side_px=60)
    first, second = rng.integers(0, 400, (2, 3000))
    shared = shared_polygon_areas(stars, first, second)
    np.testing.assert_allclose(shared, shared_polygon_areas(stars, second, first), atol=1e-9)
    areas = measure_extents(stars).areas
    assert (shared <= np.minimum(areas[first], areas[second]) + 1e-9).all()
    assert 0 <= shared.min() < 1 < shared.max()


def test_a_shift_by_whole_px_changes_no_digit(rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 200, side_px=40)
    stars = Stars(np.round(2 * stars.centres) / 2, stars.rays)
    first, second = rng.integers(0, 200, (2, 500))
    moved = Stars(stars.centres + np.array([70_001, 3]), stars.rays)
    np.testing.assert_array_equal(
        shared_polygon_areas(moved, first, second), shared_polygon_areas(stars, first, second)
    )


def test_mirrored_and_turned_polygons_share_as_much(rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 100, side_px=40)
    first, second = rng.integers(0, 100, (2, 300))
    shared = shared_polygon_areas(stars, first, second)
    ray = np.arange(32)
    for centres, order in (
        (stars.centres * (1, -1), (16 - ray) % 32),
        (stars.centres * (-1, 1), -ray % 32),
        (stars.centres[:, ::-1], (8 - ray) % 32),
    ):
        turned = Stars(centres, stars.rays[:, order])
        np.testing.assert_allclose(shared_polygon_areas(turned, first, second), shared, atol=1e-9)


def test_squares_with_level_sides_share_a_rectangle() -> None:
    """Of eight rays every second one ends in a corner of a square, the others on its sides."""
    reach = np.tile([1, 2**0.5], 4) * 5.0
    stars = checked_stars(np.array([[0.0, 0.0], [4.0, 7.0], [10.0, 0.0], [0.0, 0.0]]), np.tile(reach, (4, 1)))
    pairs = np.array([(0, 1), (0, 2), (0, 3), (1, 2)])
    shared = shared_polygon_areas(stars, pairs[:, 0], pairs[:, 1])
    np.testing.assert_allclose(shared, [6 * 3, 0, 100, 4 * 3], atol=1e-12)


def test_polygons_without_area_share_nothing() -> None:
    stars = checked_stars(np.zeros((2, 2)), np.concatenate([np.zeros((1, 8)), np.ones((1, 8))]))
    assert shared_polygon_areas(stars, np.array([0, 0]), np.array([0, 1])).tolist() == [0, 0]
    assert shared_polygon_areas(stars, np.zeros(0, np.intp), np.zeros(0, np.intp)).shape == (0,)


def test_areas_do_not_depend_on_how_many_are_measured_at_once(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    stars = draw_stars(rng, 100, side_px=40)
    first, second = rng.integers(0, 100, (2, 333))
    whole = shared_polygon_areas(stars, first, second)
    monkeypatch.setattr(overlaps, "EDGE_PAIRS_AT_ONCE", 10)
    np.testing.assert_array_equal(shared_polygon_areas(stars, first, second), whole)
