from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from inference.scale import median_diameter, resize_image, resize_labels


def test_median_diameter_of_discs() -> None:
    labels = np.zeros((300, 300), np.uint32)
    for index, (x, radius) in enumerate(((50, 10), (130, 20), (230, 40)), start=1):
        canvas = np.zeros(labels.shape, np.uint8)
        cv2.circle(canvas, (x, 100), radius, 1, -1)
        labels[canvas > 0] = index
    assert median_diameter(labels) == pytest.approx(40, abs=2)


def test_median_diameter_without_cells_is_nan() -> None:
    assert math.isnan(median_diameter(np.zeros((4, 4), np.uint32)))


def test_resized_labels_keep_large_ids_exactly() -> None:
    labels = np.array([[2**31 + 1, 7], [0, 2**32 - 1]], np.uint32)
    large = resize_labels(labels, (10, 6))
    assert large.shape == (10, 6)
    assert set(np.unique(large)) == set(labels.ravel())
    assert np.array_equal(resize_labels(large, (2, 2)), labels)


def test_resize_keeps_the_mean_and_never_reaches_zero_pixels() -> None:
    image = np.random.default_rng(0).random((3, 40, 60), np.float32)
    small = resize_image(image, 0.25)
    assert small.shape == (3, 10, 15)
    assert small.mean() == pytest.approx(image.mean(), abs=1e-3)
    assert resize_image(image[:, :1], 0.1).shape == (3, 1, 6)
