"""HoVer-Net targets: against a loop over cells, unchanged by new ids, mirrored with the labels.

Time for 507 cells on one core, at most 20 ms (processor time; 4 ms on a busy AMD EPYC): the command in
`tests/test_star_targets.py` with "distance_maps(labels)" of `mosaicell.postprocess.hover_targets`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mosaicell.postprocess.hover_targets import SHORTEST_SIDE_PX, distance_maps
from tests.test_star_targets import SHAPES, draw_touching


def loop_over_cells(labels: np.ndarray) -> np.ndarray:
    maps = np.zeros((2, *labels.shape))
    for cell in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == cell)
        for one, places in zip(maps, (columns, rows), strict=True):
            away = places - places.mean()
            sides = np.where(away < 0, -away.min(), away.max())
            one[rows, columns] = away / np.maximum(sides, SHORTEST_SIDE_PX)
    return maps


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_maps_are_those_of_a_loop_over_cells(shape: tuple[int, int], seed: int) -> None:
    labels = draw_touching(shape, seed)
    maps = distance_maps(labels)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, loop_over_cells(labels), atol=2e-5)


def test_maps_rise_from_side_to_side() -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[5:10, 3:14] = 9
    horizontal, vertical = distance_maps(labels)
    np.testing.assert_allclose(horizontal[5:10, 3:14], np.broadcast_to(np.linspace(-1, 1, 11), (5, 11)), atol=1e-6)
    np.testing.assert_allclose(
        vertical[5:10, 3:14], np.broadcast_to(np.linspace(-1, 1, 5)[:, None], (5, 11)), atol=1e-6
    )
    assert np.count_nonzero(horizontal) == 50
    assert np.count_nonzero(vertical) == 44


@pytest.mark.parametrize("shape", SHAPES)
def test_every_side_of_a_cell_of_some_width_reaches_1(shape: tuple[int, int]) -> None:
    labels = draw_touching(shape, 3)
    for one, axis in zip(distance_maps(labels), (1, 0), strict=True):
        for cell in np.unique(labels[labels > 0]):
            places = np.nonzero(labels == cell)[axis]
            values = one[labels == cell]
            assert values.max() == pytest.approx(1 if places.max() - places.mean() >= SHORTEST_SIDE_PX else 0, abs=1e-5)
            assert values.min() == pytest.approx(
                -1 if places.mean() - places.min() >= SHORTEST_SIDE_PX else 0, abs=1e-5
            )


def test_a_bump_does_not_push_a_line_to_its_side() -> None:
    labels = np.zeros((60, 9), np.uint8)
    labels[5:55, 4] = 1
    assert not distance_maps(labels)[0].any()
    labels[20, 5] = 1
    horizontal = distance_maps(labels)[0]
    assert horizontal[20, 5] == pytest.approx(1)
    assert np.abs(horizontal[5:55, 4]).max() < 0.05


def test_mirrored_labels_have_mirrored_maps() -> None:
    labels = draw_touching((57, 33), 4)
    plain = distance_maps(labels)
    np.testing.assert_allclose(distance_maps(labels[:, ::-1])[:, :, ::-1] * [[[-1]], [[1]]], plain, atol=2e-5)
    np.testing.assert_allclose(distance_maps(labels[::-1])[:, ::-1] * [[[1]], [[-1]]], plain, atol=2e-5)
    np.testing.assert_allclose(distance_maps(labels.T)[::-1].transpose(0, 2, 1), plain, atol=2e-5)


def test_new_ids_change_nothing() -> None:
    labels = draw_touching((48, 64), 5)
    np.testing.assert_array_equal(distance_maps(labels * 70_000), distance_maps(labels))


@pytest.mark.parametrize("shape", [(16, 24), (1, 1), (0, 4)])
def test_an_image_without_cells_has_empty_maps(shape: tuple[int, int]) -> None:
    maps = distance_maps(np.zeros(shape, np.int32))
    assert maps.shape == (2, *shape)
    assert not maps.any()


def test_a_cell_that_fills_the_image_has_maps() -> None:
    horizontal, vertical = distance_maps(np.full((3, 5), 8))
    np.testing.assert_allclose(horizontal, np.broadcast_to(np.linspace(-1, 1, 5), (3, 5)), atol=1e-6)
    np.testing.assert_allclose(vertical, np.broadcast_to(np.linspace(-1, 1, 3)[:, None], (3, 5)), atol=1e-6)


def test_what_is_no_label_image_is_refused() -> None:
    wrong: list[Any] = [np.ones((3, 4, 4), np.uint8), np.ones((4, 4), np.float32), -np.ones((4, 4), np.int8)]
    for labels in wrong:
        with pytest.raises(ValueError, match="label"):
            distance_maps(labels)
