"""Star-convex polygons: corners where the rays end, and circles and boxes that hold what they promise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mosaicell.postprocess import stars as module
from mosaicell.postprocess.stars import Stars, checked_stars, measure_extents, ray_directions


def draw_stars(
    rng: np.random.Generator, count: int, rays: int = 32, spread: float = 0.2, side_px: float = 100
) -> Stars:
    """Polygons about 15 px in radius, the more ragged the larger `spread` is, of one direction longer than others."""
    angles = 2 * np.pi * (np.arange(rays) / rays - rng.random((count, 1)))
    lengths = 12 * np.exp(0.4 * np.cos(angles) + rng.normal(0, spread, (count, rays)))
    return checked_stars(rng.uniform(0, side_px, (count, 2)), lengths)


def test_ray_0_runs_right_and_the_first_quarter_down() -> None:
    np.testing.assert_allclose(ray_directions(4), [[0, 1], [1, 0], [0, -1], [-1, 0]], atol=1e-15)
    corners = checked_stars(np.array([[10.0, 20.0]]), np.array([[1.0, 2.0, 3.0, 4.0]])).corners()
    np.testing.assert_allclose(corners[0], [[10, 21], [12, 20], [10, 17], [6, 20]])


@pytest.mark.parametrize("rays", [3, 5, 32])
@pytest.mark.parametrize("spread", [0.0, 0.2, 0.6])
def test_extents_hold(rays: int, spread: float, rng: np.random.Generator) -> None:
    stars = draw_stars(rng, 60, rays, spread)
    extents = measure_extents(stars)
    for index, corners in enumerate(stars.corners()):
        outline = np.ascontiguousarray(corners[:, ::-1], np.float32)
        y0, x0, y1, x1 = extents.boxes[index]
        np.testing.assert_allclose((y0, x0), corners.min(axis=0))
        np.testing.assert_allclose((y1, x1), corners.max(axis=0))
        assert extents.areas[index] == pytest.approx(cv2.contourArea(outline), rel=1e-4)
        middle = extents.middles[index]
        assert np.hypot(*(corners - middle).T).max() == pytest.approx(extents.outer_px[index])
        # the signed distance of a point inside to the nearest side
        x, y = float(middle[1]), float(middle[0])
        assert cv2.pointPolygonTest(outline, (x, y), True) == pytest.approx(extents.inner_px[index], abs=1e-3)


def test_a_bent_polygon_has_its_middle_inside() -> None:
    """A crescent around its centre, whose centroid lies outside."""
    angles = np.arange(32) / 32
    lengths = np.where((angles < 0.3) | (angles > 0.7), 20.0, 0.5)
    lengths[angles < 0.02] = 1
    stars = checked_stars(np.array([[50.0, 50.0]]), lengths[None])
    extents = measure_extents(stars)
    outline = np.ascontiguousarray(stars.corners()[0, :, ::-1], np.float32)
    moments = cv2.moments(outline)
    centroid = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
    assert cv2.pointPolygonTest(outline, centroid, False) < 0
    np.testing.assert_array_equal(extents.middles, stars.centres)
    assert extents.inner_px[0] > 0


def test_extents_do_not_depend_on_how_many_are_measured_at_once(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    stars = draw_stars(rng, 50)
    whole = measure_extents(stars)
    monkeypatch.setattr(module, "CHUNK", 7)
    for name, values in vars(measure_extents(stars)).items():
        np.testing.assert_array_equal(values, getattr(whole, name))
    assert measure_extents(stars.take(np.zeros(0, np.intp))).boxes.shape == (0, 4)


def test_a_point_has_no_area() -> None:
    extents = measure_extents(checked_stars(np.array([[3.0, 4.0]]), np.zeros((1, 8))))
    assert (extents.areas[0], extents.inner_px[0], extents.outer_px[0]) == (0, 0, 0)
    assert extents.middles.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("centres", "rays", "message"),
    [
        (np.zeros((2, 3)), np.ones((2, 8)), "expected centres"),
        (np.zeros((2, 2)), np.ones((3, 8)), "expected centres"),
        (np.zeros((2, 2)), np.ones((2, 2)), "3 rays or more"),
        (np.zeros((2, 2)), -np.ones((2, 8)), "not negative"),
        (np.zeros((2, 2)), np.full((2, 8), np.nan), "finite"),
        (np.full((2, 2), np.inf), np.ones((2, 8)), "finite"),
    ],
)
def test_what_is_no_polygon_is_refused(centres: np.ndarray, rays: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_stars(centres, rays)
