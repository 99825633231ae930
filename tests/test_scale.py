from __future__ import annotations

import math
from itertools import pairwise, product

import cv2
import numpy as np
import pytest

from mosaicell.networks.scale import interpolate, mean_diameter, read_resized, resize_image, resize_labels, resize_map


def disc(labels: np.ndarray, centre: tuple[int, int], radius: int, label: int) -> None:
    canvas = np.zeros(labels.shape, np.uint8)
    cv2.circle(canvas, centre, radius, 1, -1)
    labels[canvas > 0] = label


def test_mean_diameter_of_equal_discs_ignores_fragments() -> None:
    labels = np.zeros((300, 300), np.uint32)
    for index, x in enumerate((50, 130, 220), start=1):
        disc(labels, (x, 100), 20, index)
    assert mean_diameter(labels) == pytest.approx(40, abs=1.5)
    for index in range(30):
        disc(labels, (5 + 9 * index, 250), 2, 4 + index)
    assert mean_diameter(labels) > 34


def test_mean_diameter_without_cells_is_nan() -> None:
    assert math.isnan(mean_diameter(np.zeros((4, 4), np.uint32)))


def test_resized_labels_keep_large_ids_exactly() -> None:
    labels = np.array([[2**31 + 1, 7], [0, 2**32 - 1]], np.uint32)
    large = resize_labels(labels, (10, 6))
    assert large.shape == (10, 6)
    assert set(np.unique(large)) == set(labels.ravel())
    assert np.array_equal(resize_labels(large, (2, 2)), labels)


def test_resized_labels_are_centred(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 9, (7, 10)).astype(np.uint32)
    large = resize_labels(labels, (22, 32))
    assert np.array_equal(large[::-1, ::-1], resize_labels(labels[::-1, ::-1], (22, 32)))


def test_resize_keeps_the_mean_and_never_reaches_zero_pixels() -> None:
    image = np.random.default_rng(0).random((3, 40, 60), np.float32)
    small = resize_image(image, 0.25)
    assert small.shape == (3, 10, 15)
    assert small.mean() == pytest.approx(image.mean(), abs=1e-3)
    assert resize_image(image[:, :1], 0.1).shape == (3, 1, 6)


@pytest.mark.parametrize(
    ("shape", "scale"),
    [
        ((90, 70), 0.45),
        ((90, 70), 1.0),
        ((64, 50), 0.5),
        ((7, 9), 0.1),
        ((90, 70), 1.37),
        ((64, 50), 2.0),
        ((61, 53), 3.0),
        ((1, 40), 2.6),
        ((7, 9), 1.1),
    ],
)
def test_parts_are_resized_as_the_whole_is(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> None:
    image = rng.random((3, *shape), np.float32)
    whole = resize_image(image, scale) if scale != 1 else image
    resized = (whole.shape[1], whole.shape[2])
    rows, columns = (sorted({0, side // 3, side // 2, side}) for side in resized)
    read_px = []

    def read(bounds: tuple[int, int, int, int]) -> np.ndarray:
        part = image[:, bounds[0] : bounds[2], bounds[1] : bounds[3]]
        assert part.shape == (3, bounds[2] - bounds[0], bounds[3] - bounds[1])
        read_px.append(part[0].size)
        return part

    for (y0, y1), (x0, x1) in product(pairwise(rows), pairwise(columns)):
        part = read_resized(read, (y0, x0, y1, x1), shape, resized)
        assert np.allclose(part, whole[:, y0:y1, x0:x1], atol=1e-5)
    # what is read hardly overlaps
    assert sum(read_px) <= (shape[0] + 3 * len(rows)) * (shape[1] + 3 * len(columns))


@pytest.mark.parametrize("shape", [(97, 130), (23, 31), (40, 50)])
def test_a_part_of_a_map_is_resized_as_the_whole_is(shape: tuple[int, int], rng: np.random.Generator) -> None:
    plane = rng.random((40, 50), np.float32)
    whole = resize_map(plane, shape)
    y0, x0, y1, x1 = bounds = (shape[0] // 3, shape[1] // 5, 2 * shape[0] // 3, 3 * shape[1] // 4)
    part = interpolate(plane[10:30, 5:40], (10, 5), bounds, shape, (40, 50))
    assert np.allclose(part, whole[y0:y1, x0:x1], atol=1e-5)
    assert np.allclose(interpolate(plane, (0, 0), (0, 0, *shape), shape, (40, 50)), whole, atol=1e-5)
