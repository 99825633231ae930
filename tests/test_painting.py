"""Painted polygons: the pixels whose centres they hold, the surest on top, whatever is painted at once."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess import painting
from mosaicell.postprocess.painting import paint_polygons
from mosaicell.postprocess.stars import Stars, checked_stars
from tests.test_stars import draw_stars


def holds(corners: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Say of points whether an odd number of sides lies to the right of them."""
    inside = np.zeros(y.shape, bool)
    for (y0, x0), (y1, x1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        passes = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= passes & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


def paint_one_by_one(stars: Stars, scores: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    labels = np.zeros(shape, np.uint32)
    order = np.argsort(-scores, kind="stable")
    for number, index in reversed(list(enumerate(order, start=1))):
        labels[holds(stars.corners()[index], y, x)] = number
    return labels


@pytest.mark.parametrize("spread", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("rays", [3, 32])
def test_pixels_are_those_whose_centres_lie_inside(spread: float, rays: int, rng: np.random.Generator) -> None:
    """Polygons reach over all four sides of the image."""
    stars, scores = draw_stars(rng, 60, rays, spread, side_px=90), rng.random(60)
    labels = paint_polygons(stars.centres, stars.rays, scores, (80, 90))
    np.testing.assert_array_equal(labels, paint_one_by_one(stars, scores, (80, 90)))
    assert len(np.unique(labels)) > 10
    assert (labels[[0, -1]] > 0).any()
    assert (labels[:, [0, -1]] > 0).any()


def test_areas_are_kept(rng: np.random.Generator) -> None:
    """Over many places a polygon paints as many pixels as it has area."""
    centres = np.column_stack([np.full(400, 30.0), 30 + 60.0 * np.arange(400)]) + rng.random((400, 2))
    labels = paint_polygons(centres, np.full((400, 32), 7.0), np.ones(400), (60, 24_060))
    counts = np.bincount(labels.ravel())[1:]
    assert counts.size == 400
    assert counts.mean() == pytest.approx(16 * 49 * np.sin(np.pi / 16), rel=0.01)


def test_the_surest_lies_on_top_and_of_equal_ones_the_first() -> None:
    centres, rays = np.array([[10.0, 10.0], [10.0, 14.0], [10.0, 18.0]]), np.full((3, 32), 6.0)
    by_score = paint_polygons(centres, rays, np.array([0.5, 0.9, 0.7]), (20, 30))
    assert by_score[10, [5, 9, 14, 18, 22]].tolist() == [3, 1, 1, 1, 2]
    equal = paint_polygons(centres, rays, np.ones(3), (20, 30))
    assert equal[10, [5, 12, 18, 22]].tolist() == [1, 1, 2, 3]


@pytest.mark.parametrize(("pixels", "polygons"), [(1, 1), (3000, 100), (2**20, 7)])
def test_it_does_not_depend_on_how_many_are_painted_at_once(
    pixels: int, polygons: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    stars, scores = draw_stars(rng, 50), rng.random(50)
    whole = paint_polygons(stars.centres, stars.rays, scores, (100, 100))
    monkeypatch.setattr(painting, "PIXELS_AT_ONCE", pixels)
    monkeypatch.setattr(painting, "POLYGONS_AT_ONCE", polygons)
    np.testing.assert_array_equal(paint_polygons(stars.centres, stars.rays, scores, (100, 100)), whole)


def test_a_part_of_an_image_holds_what_the_whole_holds_there(rng: np.random.Generator) -> None:
    """Also where outlines pass through the centres of pixels, which rays of whole px do."""
    centres = np.round(2 * rng.uniform(0, 300, (80, 2))) / 2
    rays = np.round(rng.uniform(3, 20, (80, 8)))
    scores = rng.random(80)
    whole = paint_polygons(centres, rays, scores, (300, 300))
    part = paint_polygons(centres - np.array([101, 57]), rays, scores, (120, 90))
    np.testing.assert_array_equal(part, whole[101:221, 57:147])
    far = paint_polygons(centres + np.array([0, 90_000]), rays, scores, (300, 90_300))
    np.testing.assert_array_equal(far[:, 90_000:], whole)
    assert not far[:, :89_900].any()


def test_nothing_to_paint() -> None:
    nowhere = np.zeros((0, 2))
    assert not paint_polygons(nowhere, np.zeros((0, 32)), np.zeros(0), (5, 7)).any()
    outside = np.array([[-50.0, 3.0], [3.0, 50.0], [3.0, 3.0]])
    rays = np.array([np.full(32, 9.0), np.full(32, 9.0), np.zeros(32)])
    assert not paint_polygons(outside, rays, np.ones(3), (5, 7)).any()
    assert paint_polygons(outside, rays, np.ones(3), (0, 7)).shape == (0, 7)


def test_scores_that_do_not_fit_are_refused() -> None:
    stars = checked_stars(np.zeros((2, 2)), np.ones((2, 8)))
    for scores in (np.ones(3), np.array([1, np.inf])):
        with pytest.raises(ValueError, match="expected 2 finite scores"):
            paint_polygons(stars.centres, stars.rays, scores, (5, 5))
