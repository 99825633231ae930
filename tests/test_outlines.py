"""Outlines cover the very pixels of their cells, as polygons that other programs take for valid."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess import bands, outlines
from mosaicell.postprocess.outlines import Polygon, polygon_area, trace_outlines
from tests.cells import draw_cells


def paint(polygons: list[Polygon], shape_px: tuple[int, ...]) -> np.ndarray:
    """Fill polygons: a pixel is inside where an odd number of upright pieces of border lie left of its middle."""
    crossed = np.zeros((shape_px[0], shape_px[1] + 1), int)
    for ring in (ring for polygon in polygons for ring in polygon):
        for (x0, y0), (x1, y1) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
            assert (x0 == x1) != (y0 == y1)
            if x0 == x1:
                crossed[min(y0, y1) : max(y0, y1), x0] += 1
    return crossed.cumsum(axis=1)[:, :-1] % 2 == 1


def images() -> list[np.ndarray]:
    """Return cells of all forms, noise of few ids, and the corners of an image."""
    drawn = [draw_cells(np.random.default_rng(seed), (120, 150), 40, 15) for seed in range(3)]
    noise = [np.random.default_rng(most).integers(0, most, (30, 40)).astype(np.uint32) for most in (2, 3, 9)]
    return [*drawn, *noise, np.ones((1, 1), np.uint32), np.eye(6, dtype=np.uint32), np.full((3, 5), 7, np.uint32)]


@pytest.mark.parametrize("labels", images())
@pytest.mark.parametrize("small", [False, True])
def test_outlines_cover_the_pixels_of_their_cells(
    labels: np.ndarray, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(bands, "BAND_PX", 100)
        monkeypatch.setattr(outlines, "CHUNK_CORNERS", 50)
    found = dict(trace_outlines(labels))
    assert list(found) == np.unique(labels[labels > 0]).tolist()
    for cell, polygons in found.items():
        assert polygon_area(polygons) == np.count_nonzero(labels == cell)
        np.testing.assert_array_equal(paint(polygons, labels.shape), labels == cell)


@pytest.mark.parametrize("labels", images())
def test_rings_meet_themselves_nowhere_and_have_no_needless_point(labels: np.ndarray) -> None:
    for _, polygons in trace_outlines(labels):
        for ring in (ring for polygon in polygons for ring in polygon):
            assert len({tuple(point) for point in ring.tolist()}) == len(ring)
            steps = np.roll(ring, -1, axis=0) - ring
            assert (np.roll(steps, -1, axis=0)[:, 0] != 0).tolist() == (steps[:, 1] != 0).tolist()


def test_outer_rings_turn_left_and_holes_right() -> None:
    labels = np.ones((5, 5), np.uint32)
    labels[1, 1] = labels[3, 3] = 0
    ((_, ((outer, *holes),)),) = trace_outlines(labels)
    assert outer.tolist() == [[0, 0], [5, 0], [5, 5], [0, 5]]
    assert polygon_area([[outer]]) == 25
    assert [polygon_area([[hole]]) for hole in holes] == [-1, -1]


def test_pieces_are_polygons_of_their_own_with_their_own_holes() -> None:
    labels = np.zeros((9, 20), np.uint32)
    labels[:, :9] = labels[2:7, 11:18] = 4
    labels[1:8, 1:8] = 0
    # a piece within the hole of another, with a hole
    labels[3:6, 3:6] = 4
    labels[4, 4] = labels[4, 14] = 0
    ((cell, polygons),) = trace_outlines(labels)
    assert cell == 4
    assert [len(polygon) for polygon in polygons] == [2, 2, 2]
    assert [polygon_area([polygon]) for polygon in polygons] == [81 - 49, 35 - 1, 9 - 1]


def test_pieces_that_share_a_point_part_there_and_holes_may_touch_their_ring() -> None:
    across = np.array([[1, 0], [0, 1]], np.uint32)
    assert [len(polygons) for _, polygons in trace_outlines(across)] == [2]
    ring = np.ones((4, 4), np.uint32)
    # the hole and the corner outside share a point, and the cell goes around
    ring[1, 1] = ring[0, 0] = 0
    ((_, polygons),) = trace_outlines(ring)
    assert [len(polygon) for polygon in polygons] == [2]


@pytest.mark.consumers
@pytest.mark.parametrize("labels", images())
def test_shapely_finds_them_valid(labels: np.ndarray) -> None:
    geometry = pytest.importorskip("shapely.geometry")
    for cell, polygons in trace_outlines(labels):
        shape = geometry.MultiPolygon([(polygon[0], polygon[1:]) for polygon in polygons])
        assert shape.is_valid
        assert shape.area == np.count_nonzero(labels == cell)
        assert all(polygon.exterior.is_ccw for polygon in shape.geoms)
        assert not any(hole.is_ccw for polygon in shape.geoms for hole in polygon.interiors)


def test_without_cells_there_is_no_outline() -> None:
    assert not list(trace_outlines(np.zeros((4, 5), np.uint32)))
