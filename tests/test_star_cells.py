"""Cells of polygons: in one piece each, and fitted to the foreground where that is asked for."""

from __future__ import annotations

from typing import Any

import cc3d
import cv2
import numpy as np
import pytest

from mosaicell.postprocess.painting import paint_polygons
from mosaicell.postprocess.star_cells import segment_polygons
from tests.test_stars import draw_stars


def disc(shape: tuple[int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    mask = np.zeros(shape, np.float32)
    return cv2.circle(mask, centre[::-1], radius, 1.0, -1)


ALL = np.ones((100, 100), np.float32)


@pytest.mark.parametrize("growth_px", [None, 0, 3])
def test_cells_are_numbered_and_in_one_piece(growth_px: int | None, rng: np.random.Generator) -> None:
    stars, scores = draw_stars(rng, 60, spread=0.3), rng.random(60)
    foreground = cv2.GaussianBlur(rng.random((100, 100), np.float32), (0, 0), 3) - 0.5
    foreground = foreground / foreground.std() + 1
    labels = segment_polygons(
        foreground, stars.centres, stars.rays, scores, foreground_threshold=0.5, max_growth_px=growth_px, min_cell_px=9
    )
    counts = np.bincount(labels.ravel())
    assert labels.dtype == np.uint32
    assert counts.size > 8
    assert counts[1:].min() >= 9
    assert cc3d.connected_components(labels, connectivity=4).max() == labels.max()
    assert growth_px is None or not labels[foreground <= 0.5].any()


def test_without_growth_cells_are_the_polygons(rng: np.random.Generator) -> None:
    stars, scores = draw_stars(rng, 5, side_px=300), np.arange(5.0)
    painted = paint_polygons(stars.centres, stars.rays, scores, (300, 300))
    empty = np.zeros((300, 300), np.float32)
    labels = segment_polygons(empty, stars.centres, stars.rays, scores, foreground_threshold=0.5)
    assert labels.max() == 5
    np.testing.assert_array_equal(labels > 0, painted > 0)


def test_cells_take_the_outline_of_the_foreground() -> None:
    """A polygon that is 2 px off gets the disc that it means, and no more of the foreground than it may."""
    foreground = disc((100, 100), (50, 50), 20)
    centres, rays = np.array([[52.0, 51.0]]), np.full((1, 32), 20.0)

    def segment(growth_px: int | None) -> np.ndarray:
        return segment_polygons(
            foreground, centres, rays, np.ones(1), foreground_threshold=0.5, max_growth_px=growth_px
        )

    np.testing.assert_array_equal(segment(5) > 0, foreground > 0)
    assert not (segment(0) > foreground).any()
    assert (segment(0) == 0)[foreground > 0].sum() > 40
    assert (segment(None) > foreground).sum() > 40
    further = np.maximum(foreground, disc((100, 100), (50, 80), 12))
    grown = segment_polygons(further, centres, rays, np.ones(1), foreground_threshold=0.5, max_growth_px=5)
    assert grown[50, 73] == 1
    assert grown[50, 80] == 0


def test_the_surer_cell_takes_what_lies_between_two() -> None:
    foreground = np.zeros((40, 60), np.float32)
    foreground[10:30, 10:50] = 1
    centres, rays = np.array([[20.0, 18.0], [20.0, 42.0]]), np.full((2, 32), 8.0)
    for scores, surer in ((np.array([0.9, 0.8]), 18), (np.array([0.8, 0.9]), 42)):
        labels = segment_polygons(foreground, centres, rays, scores, foreground_threshold=0.5, max_growth_px=20)
        assert (labels > 0).sum() == 800
        areas = np.bincount(labels.ravel())
        assert areas[labels[20, surer]] >= areas[1:].max()
        assert areas[1:].sum() == 800


def test_of_a_cell_cut_in_two_the_larger_part_stays() -> None:
    centres, rays = np.array([[50.0, 50.0], [50.0, 44.0]]), np.full((2, 32), 20.0)
    rays[1] = np.abs(30 * np.sin(2 * np.pi * np.arange(32) / 32)) + 4
    labels = segment_polygons(ALL, centres, rays, np.array([0.8, 0.9]), foreground_threshold=0.5)
    assert labels.max() == 2
    assert labels[50, 65] > 0
    assert labels[50, 33] == 0


def test_small_cells_go_and_holes_are_filled() -> None:
    foreground = ALL.copy()
    foreground[48:52, 48:52] = 0
    centres, rays = np.array([[50.0, 50.0], [10.0, 10.0]]), np.array([np.full(32, 20.0), np.full(32, 2.0)])
    options: dict[str, Any] = {"foreground_threshold": 0.5, "max_growth_px": 0}
    labels = segment_polygons(foreground, centres, rays, np.ones(2), **options, min_cell_px=20)
    assert labels.max() == 1
    assert labels[50, 50] == 0
    labels = segment_polygons(foreground, centres, rays, np.ones(2), **options, max_hole_fraction=0.1)
    assert labels.max() == 2
    assert labels[50, 50] > 0


def test_nothing_in_nothing_out() -> None:
    nowhere = np.zeros((0, 2)), np.zeros((0, 32)), np.zeros(0)
    for growth_px in (None, 3):
        labels = segment_polygons(ALL, *nowhere, foreground_threshold=0.5, max_growth_px=growth_px)
        assert labels.shape == ALL.shape
        assert not labels.any()


def test_maps_that_are_none_are_refused() -> None:
    nowhere = np.zeros((0, 2)), np.zeros((0, 32)), np.zeros(0)
    for foreground in (ALL[0], np.where(ALL > 0, np.nan, 0)):
        with pytest.raises(ValueError, match="finite foreground map"):
            segment_polygons(foreground, *nowhere, foreground_threshold=0.5)
