"""Placed cells: outlines along a direction, earlier cells whole, lumina and white cells where they belong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mosaicell.training.drawing.placement import nucleus_outline, settle
from mosaicell.training.drawing.populations import arrange_section, arrange_smear
from mosaicell.training.drawing.shapes import draw_stamp


def disc(shape_px: tuple[int, int], centre: tuple[int, int], radius_px: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[: shape_px[0], : shape_px[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius_px**2


def test_a_nucleus_has_the_area_and_the_direction_asked() -> None:
    rng = np.random.default_rng(4)
    for angle in (0.0, 0.6, 1.4, 2.5):
        outline = nucleus_outline(40, rng, aspect=2.5, angle=angle, roughness=0.02)
        assert np.count_nonzero(draw_stamp(outline)) == pytest.approx(np.pi / 4 * 40**2, rel=0.1)
        y, x = (outline - outline.mean(axis=0)).T
        found = 0.5 * np.arctan2(2 * (x * y).mean(), (x * x).mean() - (y * y).mean())
        assert abs((found - angle + np.pi / 2) % np.pi - np.pi / 2) < 0.15


def test_settling_keeps_earlier_cells_whole_and_blocked_places_empty() -> None:
    stamp = disc((21, 21), (10, 10), 9).astype(np.uint8)
    places = [np.array(place, float) for place in ((30, 30), (30, 44), (30, 34), (70, 70), (-3, 90))]
    blocked = disc((100, 100), (70, 70), 3)
    labels = settle((100, 100), ((stamp, place) for place in places), 0.3, blocked)
    area = np.bincount(labels.ravel())
    assert labels.max() == 3  # the third covers too much of the first, the fourth is blocked
    assert area[1] == stamp.sum()
    assert 0.7 * stamp.sum() <= area[2] < stamp.sum()
    assert labels[0, 90] == 3  # cut by the border
    assert not labels[60:80, 60:80].any()


def test_glands_leave_a_lumen_and_smears_hold_white_cells_among_red_ones() -> None:
    widest = [
        cv2.distanceTransform(
            (arrange_section((300, 300), 16, np.random.default_rng(s)) == 0).astype(np.uint8), 2, 5
        ).max()
        for s in range(12)
    ]
    assert max(widest) > 24
    ratio = [
        np.bincount(labels.ravel())[1:].max() / np.median(np.bincount(labels.ravel())[1:])
        for labels in (arrange_smear((400, 400), 26, np.random.default_rng(s)) for s in range(12))
    ]
    assert 1.7 < np.quantile(ratio, 0.75) < 6
