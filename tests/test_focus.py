"""Focus: discs with edges are in focus, spots without are not, whatever their size, number and noise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mosaicell.answers.focus import MOST_CELLS, is_out_of_focus, measure_steepness


def draw(radius: int, blur: float, count: int = 2, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (y, x, 3) of discs in a row, of which every second is dark, and their labels."""
    side = 4 * radius
    labels = np.zeros((side, side * count), np.uint32)
    plane = np.full(labels.shape, 0.5, np.float32)
    for index in range(count):
        centre = (side * index + side // 2, side // 2)
        disc = cv2.circle(np.zeros(labels.shape, np.uint8), centre, radius, 1, -1) > 0
        labels[disc] = index + 1
        plane[disc] += 0.3 if index % 2 else -0.3
    plane = cv2.GaussianBlur(plane, (0, 0), blur * radius)
    plane += np.random.default_rng(0).normal(0, noise, plane.shape).astype(np.float32)
    return np.stack([plane] * 3, axis=2), labels


@pytest.mark.parametrize("radius", [20, 60, 150])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_what_has_edges_is_in_focus(radius: int, noise: float) -> None:
    assert not is_out_of_focus(*draw(radius, 0.1, noise=noise))
    assert is_out_of_focus(*draw(radius, 0.7, noise=noise))


def test_a_step_is_the_whole_range_and_a_slope_a_part_of_it() -> None:
    image, labels = draw(60, 0.01)
    assert measure_steepness(image[..., 0], labels) == pytest.approx([1.0, 1.0], abs=0.02)
    y, x = np.mgrid[:240, :240].astype(np.float32)
    cone = np.hypot(y - 120, x - 120)
    # over the distances seen, 28 of 48 px to a diameter, 4 px are a seventh
    steepness = measure_steepness(cone, (cone < 60).astype(np.uint32))
    assert steepness == pytest.approx([1 / 7], abs=0.02)


def test_neighbours_do_not_count_as_edges() -> None:
    image, labels = draw(60, 0.7, count=1)
    image[:40] += 2
    labels[:40] = 2
    labels[labels == 1] = np.where(np.mgrid[: labels.shape[0], : labels.shape[1]][0] < 70, 0, 1)[labels == 1]
    assert measure_steepness(image[..., 0], labels)[0] < 0.4


def test_many_cells_none_and_what_is_even_are_not_judged() -> None:
    assert not is_out_of_focus(*draw(20, 0.7, count=MOST_CELLS + 1))
    assert is_out_of_focus(*draw(20, 0.7, count=MOST_CELLS))
    image, labels = draw(20, 0.7)
    assert not is_out_of_focus(image, np.zeros_like(labels))
    assert not is_out_of_focus(np.ones_like(image), labels)
    assert not is_out_of_focus(np.ones((1, 1, 3), np.float32), np.ones((1, 1), np.uint32))
