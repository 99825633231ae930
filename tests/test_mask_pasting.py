"""Masks in boxes: where they lie, whose a shared pixel is, and boxes at and beyond the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from mosaicell.postprocess.mask_pasting import paint_foreground, paste_masks


def full(count: int, side: int = 4) -> np.ndarray:
    return np.ones((count, side, side), np.float32)


def test_a_full_mask_fills_its_box() -> None:
    labels = paste_masks(np.array([[2.0, 3, 7, 9]]), np.ones(1), full(1), (10, 12), 0.5)
    expected = np.zeros((10, 12), np.uint32)
    expected[2:7, 3:9] = 1
    np.testing.assert_array_equal(labels, expected)


def test_the_surer_cell_keeps_a_shared_pixel_whatever_the_order() -> None:
    boxes = np.array([[0.0, 0, 6, 6], [3, 3, 9, 9], [0, 8, 2, 10]])
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        labels = paste_masks(boxes[order], np.array([0.3, 0.8, 0.5])[order], full(3), (10, 10), 0.5)
        assert labels[4, 4] == 1
        assert labels[0, 9] == 2
        assert labels[1, 1] == 3
        assert np.bincount(labels.ravel()).tolist() == [100 - 36 - 27 - 4, 36, 4, 27]


def test_of_equal_cells_the_first_keeps_the_pixel() -> None:
    boxes = np.array([[0.0, 0, 6, 6], [3, 3, 9, 9]])
    labels = paste_masks(boxes, np.ones(2), full(2), (10, 10), 0.5)
    assert labels[4, 4] == 1


def test_probabilities_are_bilinear_between_the_middles_of_the_parts() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((1, 5, 5)).astype(np.float32)
    box = np.array([[3.2, 1.7, 21.9, 14.4]])
    painted = paint_foreground(box, np.ones(1), mask, (30, 20))
    rows = (np.arange(3, 22) + 0.5 - 3.2) / 18.7 * 5 - 0.5
    columns = (np.arange(2, 14) + 0.5 - 1.7) / 12.7 * 5 - 0.5
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    expected = map_coordinates(mask[0], places, order=1, mode="nearest")
    np.testing.assert_allclose(painted[3:22, 2:14], expected, atol=1e-5)
    assert np.count_nonzero(painted) == expected.size


def test_parts_beyond_the_edges_are_cut_and_the_rest_stays_where_it_was() -> None:
    rng = np.random.default_rng(2)
    mask = rng.random((1, 6, 6)).astype(np.float32)
    whole = paste_masks(np.array([[5.0, 5, 25, 30]]), np.ones(1), mask, (40, 40), 0.5)
    cut = paste_masks(np.array([[-5.0, -10, 15, 15]]), np.ones(1), mask, (12, 10), 0.5)
    np.testing.assert_array_equal(cut, whole[10:22, 15:25])
    nothing = paste_masks(np.array([[-9.0, 3, -2, 8], [50, 3, 60, 8]]), np.ones(2), full(2), (12, 10), 0.5)
    assert not nothing.any()


def test_the_foreground_is_that_of_the_likeliest_cell() -> None:
    boxes = np.array([[0.0, 0, 6, 6], [3, 3, 9, 9]])
    foreground = paint_foreground(boxes, np.array([0.9, 0.4]), full(2), (10, 10))
    assert foreground[4, 4] == pytest.approx(0.9)
    assert foreground[8, 8] == pytest.approx(0.4)
    assert foreground[9, 9] == 0
    assert foreground.dtype == np.float32


def test_no_cells_leave_nothing_and_what_does_not_fit_is_refused() -> None:
    assert not paste_masks(np.zeros((0, 4)), np.zeros(0), full(0), (5, 6), 0.5).any()
    with pytest.raises(ValueError, match="expected boxes"):
        paste_masks(np.zeros((2, 4)), np.zeros(1), full(2), (5, 6), 0.5)
