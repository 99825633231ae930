"""Bounds: of parts of an image and of its objects."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mosaicell.postprocess.bounds import are_centred, bounding_boxes, overlap, touch_sides, widen
from tests.test_cells import draw_discs


def test_bounding_boxes_hold_their_cells_and_no_more() -> None:
    labels = draw_discs()
    for cell, (y0, x0, y1, x1) in enumerate(bounding_boxes(labels, 13).tolist()[1:], start=1):
        rows, columns = np.nonzero(labels == cell)
        assert (y0, x0, y1, x1) == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)


def test_ids_that_do_not_occur_have_no_place() -> None:
    labels = np.zeros((4, 5), np.uint32)
    labels[1:3, 2] = 2
    boxes = bounding_boxes(labels, 4)
    assert boxes[2].tolist() == [1, 2, 3, 3]
    assert (boxes[[1, 3], :2] >= boxes[[1, 3], 2:]).all()
    assert len(bounding_boxes(np.zeros((3, 3), np.uint32), 1)) == 1


def test_bounds_grow_as_far_as_the_image_goes() -> None:
    assert widen((10, 20, 30, 40), 5, (100, 100)) == (5, 15, 35, 45)
    assert widen((2, 20, 98, 40), 5, (100, 42)) == (0, 15, 100, 42)


@pytest.mark.parametrize("region", [(3, 2, 9, 8), (0, 0, 12, 10), (0, 4, 6, 10)])
def test_relations_of_boxes_and_regions_are_those_of_their_pixels(region: tuple[int, int, int, int]) -> None:
    shape = (12, 10)
    boxes = np.array(
        [
            (y0, x0, y1, x1)
            for y0, y1 in itertools.combinations(range(13), 2)
            for x0, x1 in itertools.combinations(range(11), 2)
        ]
    )
    y0, x0, y1, x1 = region
    inside = np.zeros(shape, bool)
    inside[y0:y1, x0:x1] = True
    summed = np.pad(inside.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    a, b, c, d = boxes.T
    shared = summed[c, d] - summed[a, d] - summed[c, b] + summed[a, b]
    np.testing.assert_array_equal(overlap(boxes, region), shared > 0)
    middle_y, middle_x = (a + c) / 2, (b + d) / 2
    np.testing.assert_array_equal(
        are_centred(boxes, region), (middle_y >= y0) & (middle_y < y1) & (middle_x >= x0) & (middle_x < x1)
    )
    within = boxes[(a >= y0) & (b >= x0) & (c <= y1) & (d <= x1)]
    cut = [
        (top == y0 > 0) or (left == x0 > 0) or (bottom == y1 < shape[0]) or (right == x1 < shape[1])
        for top, left, bottom, right in within.tolist()
    ]
    np.testing.assert_array_equal(touch_sides(within, region, shape), cut)


def test_every_box_is_centred_in_one_of_the_parts_of_an_image() -> None:
    boxes = np.random.default_rng(0).integers(0, 50, (400, 2))
    boxes = np.hstack([boxes, boxes + np.random.default_rng(1).integers(1, 20, (400, 2))])
    parts = [(y, x, y + 25, x + 35) for y in (0, 25, 50) for x in (0, 35)]
    assert (np.sum([are_centred(boxes, part) for part in parts], axis=0) == 1).all()
