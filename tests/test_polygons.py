"""Suppression of polygons: the choice of a loop that compares outlines alone, whatever the order or the place."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess.overlaps import shared_polygon_areas
from mosaicell.postprocess.polygons import suppress_polygons
from mosaicell.postprocess.stars import Stars, measure_extents
from tests.test_overlaps import share_triangles
from tests.test_stars import draw_stars


def suppress_one_by_one(stars: Stars, scores: np.ndarray, threshold: float) -> list[int]:
    """Compare each chosen polygon with all that are left, by shared areas and nothing else."""
    areas, threshold = measure_extents(stars).areas, max(threshold, 1e-9)
    rest = np.argsort(-scores, kind="stable")
    chosen = []
    while rest.size:
        best, rest = rest[0], rest[1:]
        chosen.append(int(best))
        shared = shared_polygon_areas(stars, np.full(len(rest), best), rest)
        rest = rest[shared <= threshold * np.minimum(areas[best], areas[rest])]
    return chosen


def crowd(rng: np.random.Generator, count: int, spread: float, per_cell: int = 12) -> tuple[Stars, np.ndarray]:
    """Candidates of cells that lie side by side, several to a cell, and some of other sizes."""
    cells = draw_stars(rng, max(1, count // per_cell), spread=spread, side_px=28 * (count / per_cell) ** 0.5)
    owner = rng.integers(0, len(cells), count)
    sizes = np.where(rng.random((count, 1)) < 0.1, rng.lognormal(0, 1, (count, 1)), 1)
    rays = cells.rays[owner] * sizes * rng.lognormal(0, 0.3 * spread, (count, 32))
    return Stars(cells.centres[owner] + rng.normal(0, 2, (count, 2)), rays), rng.random(count)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.4, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("spread", [0.05, 0.4])
def test_survivors_are_those_of_a_loop(threshold: float, spread: float, rng: np.random.Generator) -> None:
    stars, scores = crowd(rng, 400, spread)
    kept = suppress_polygons(stars.centres, stars.rays, scores, threshold)
    assert kept.tolist() == suppress_one_by_one(stars, scores, threshold)
    assert 10 < len(kept) < 400 or threshold == 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.05, 0.2, 0.4])
def test_survivors_are_those_of_a_loop_among_thousands(spread: float, rng: np.random.Generator) -> None:
    stars, scores = crowd(rng, 3000, spread, per_cell=30)
    kept = suppress_polygons(stars.centres, stars.rays, scores, 0.4)
    assert kept.tolist() == suppress_one_by_one(stars, scores, 0.4)


def test_survivors_are_those_by_areas_measured_otherwise(rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 40, rays=8, side_px=60)
    areas, scores = measure_extents(stars).areas, rng.random(40)
    chosen: list[int] = []
    for late in np.argsort(-scores):
        overlaps = [share_triangles(stars, early, late) / min(areas[early], areas[late]) for early in chosen]
        if max(overlaps, default=0) <= 0.4:
            chosen.append(int(late))
    assert suppress_polygons(stars.centres, stars.rays, scores, 0.4).tolist() == chosen
    assert 5 < len(chosen) < 35


def test_no_two_survivors_overlap_too_much_and_every_other_one_does(rng: np.random.Generator) -> None:
    stars, scores = crowd(rng, 500, 0.2)
    kept = suppress_polygons(stars.centres, stars.rays, scores, 0.4)
    areas = measure_extents(stars).areas
    every = np.arange(500)
    assert (np.diff(scores[kept]) <= 0).all()
    for index in every:
        shared = shared_polygon_areas(stars, np.full(len(kept), index), kept) / np.minimum(areas[index], areas[kept])
        surer = scores[kept] > scores[index]
        assert (shared[surer] > 0.4).any() == (index not in kept)


def test_neither_order_nor_place_nor_direction_matters(rng: np.random.Generator) -> None:
    stars, scores = crowd(rng, 800, 0.2)
    kept = suppress_polygons(stars.centres, stars.rays, scores, 0.4)
    mixed = rng.permutation(800)
    assert (mixed[suppress_polygons(stars.centres[mixed], stars.rays[mixed], scores[mixed], 0.4)] == kept).all()
    moved = stars.centres + np.array([100_000, 7])
    assert (suppress_polygons(moved, stars.rays, scores, 0.4) == kept).all()
    mirrored = stars.rays[:, (16 - np.arange(32)) % 32]
    assert (suppress_polygons(stars.centres * (1, -1), mirrored, scores, 0.4) == kept).all()
    assert (suppress_polygons(4 * stars.centres, 4 * stars.rays, scores, 0.4) == kept).all()


def test_of_equal_scores_the_first_one_stays() -> None:
    centres, rays = np.full((5, 2), 20.0), np.full((5, 32), 9.0)
    assert suppress_polygons(centres, rays, np.ones(5), 0.4).tolist() == [0]
    assert suppress_polygons(centres, rays, np.array([1, 1, 3, 3, 2]), 0.4).tolist() == [2]


def test_the_smaller_area_counts() -> None:
    """A small polygon within a large one falls, or makes the large one fall, however little of that it covers."""
    centres, rays = np.array([[50.0, 50.0], [60.0, 50.0]]), np.array([np.full(32, 40.0), np.full(32, 3.0)])
    assert suppress_polygons(centres, rays, np.array([0.9, 0.8]), 0.4).tolist() == [0]
    assert suppress_polygons(centres, rays, np.array([0.8, 0.9]), 0.4).tolist() == [1]


def test_a_bent_cell_and_what_lies_in_its_bend_both_stay() -> None:
    """Boxes and circles around them share all of the smaller one, the outlines nothing."""
    bent = np.full(32, 40.0)
    bent[[29, 30, 31, 0, 1, 2, 3]] = 4
    centres, rays = np.array([[50.0, 50.0], [50.0, 64.0]]), np.array([bent, np.full(32, 5.0)])
    assert suppress_polygons(centres, rays, np.array([0.9, 0.8]), 0.1).tolist() == [0, 1]


def test_polygons_without_area_stay_and_suppress_nothing() -> None:
    centres, rays = np.full((3, 2), 20.0), np.stack([np.zeros(32), np.full(32, 9.0), np.zeros(32)])
    assert suppress_polygons(centres, rays, np.array([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 1, 2]
    assert suppress_polygons(centres[:0], rays[:0], np.zeros(0), 0.4).shape == (0,)


@pytest.mark.parametrize(
    ("scores", "threshold", "message"),
    [
        (np.ones(3), 0.4, "expected 2 finite scores"),
        (np.array([1, np.nan]), 0.4, "expected 2 finite scores"),
        (np.ones(2), 1.1, r"lie in 0\.\.1"),
        (np.ones(2), np.nan, r"lie in 0\.\.1"),
    ],
)
def test_what_does_not_fit_is_refused(scores: np.ndarray, threshold: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suppress_polygons(np.zeros((2, 2)), np.ones((2, 32)), scores, threshold)
