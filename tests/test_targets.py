"""Training targets: maps that the decoders know, unchanged by new ids and flips; boxes of visible cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.flow_targets import boundary_of_labels, flows_of_labels
from mosaicell.training.targets import MIN_VISIBLE_FRACTION, PIXEL_CHANNELS, find_pieces, pixel_targets, visible_boxes

CHANNELS = PIXEL_CHANNELS[:5]


class Made(NamedTuple):
    """Both kinds of target."""

    pixels: np.ndarray
    boxes: np.ndarray


def make_targets(labels: np.ndarray, full_areas: np.ndarray | None = None) -> Made:
    pieces = find_pieces(labels)
    return Made(pixel_targets(pieces, CHANNELS), visible_boxes(pieces, labels, full_areas))


def draw_labels() -> np.ndarray:
    """Three cells: two that touch, and a bent one."""
    labels = np.zeros((40, 50), np.uint16)
    labels[3:15, 4:16] = 1
    labels[6:20, 16:24] = 2
    labels[25:38, 10:14] = 3
    labels[34:38, 10:40] = 3
    return labels


def channel(pixels: np.ndarray, name: str) -> np.ndarray:
    return pixels[CHANNELS.index(name)]


def test_channels_are_those_of_the_decoders() -> None:
    labels = draw_labels()
    pixels = make_targets(labels).pixels
    assert pixels.shape == (len(CHANNELS), *labels.shape)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(channel(pixels, "foreground"), labels > 0)
    np.testing.assert_array_equal(channel(pixels, "energy"), energy_of_labels(labels))
    np.testing.assert_array_equal(channel(pixels, "boundary"), boundary_of_labels(labels))
    np.testing.assert_array_equal(pixels[3:], flows_of_labels(labels))
    assert CHANNELS[3:] == ("flow_y", "flow_x")


def test_energy_has_median_1_in_every_cell_and_is_0_outside() -> None:
    labels = draw_labels()
    energy = channel(make_targets(labels).pixels, "energy")
    assert not energy[labels == 0].any()
    for cell in (1, 2, 3):
        assert np.median(energy[labels == cell]) == pytest.approx(1)


def test_a_line_between_touching_cells_is_boundary_and_flows_part_there() -> None:
    pixels = make_targets(draw_labels()).pixels
    assert channel(pixels, "boundary")[8:13, 15:17].all()
    assert (channel(pixels, "flow_x")[8:13, 15] < -0.5).all()
    assert (channel(pixels, "flow_x")[8:13, 16] > 0.5).all()


def test_boxes_hold_their_cells_exactly() -> None:
    boxes = make_targets(draw_labels()).boxes
    assert boxes.dtype == np.float32
    assert {tuple(box) for box in boxes.tolist()} == {(3, 4, 15, 16), (6, 16, 20, 24), (25, 10, 38, 40)}


def test_renumbering_changes_nothing() -> None:
    labels = draw_labels()
    renumbered = np.array([0, 900, 4, 77], np.int64)[labels]
    areas = np.bincount(labels.ravel()) * 3.0
    renumbered_areas = np.zeros(901)
    renumbered_areas[[900, 4, 77]] = areas[1:]
    one, two = make_targets(labels, areas), make_targets(renumbered, renumbered_areas)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    np.testing.assert_array_equal(one.boxes, two.boxes)


def test_flips_commute() -> None:
    labels = draw_labels()
    plain, flipped = make_targets(labels), make_targets(labels[:, ::-1])
    expected = plain.pixels[:, :, ::-1].copy()
    expected[CHANNELS.index("flow_x")] *= -1
    np.testing.assert_allclose(flipped.pixels, expected, atol=1e-6)
    y0, x0, y1, x1 = plain.boxes.T
    mirrored = np.column_stack((y0, labels.shape[1] - x1, y1, labels.shape[1] - x0))
    assert {tuple(box) for box in flipped.boxes.tolist()} == {tuple(box) for box in mirrored.tolist()}


def test_pieces_of_one_id_are_cells_of_their_own() -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[2:6, 2:6] = 5
    # corners that touch are no connection
    labels[6:18, 6:20] = 5
    as_two = labels.copy()
    as_two[6:18, 6:20] = 6
    one, two = make_targets(labels), make_targets(as_two)
    assert len(one.boxes) == 2
    np.testing.assert_array_equal(one.pixels, two.pixels)
    np.testing.assert_array_equal(one.boxes, two.boxes)


@pytest.mark.parametrize(("left_px", "kept"), [(19, False), (20, True), (100, True)])
def test_a_cell_keeps_its_box_from_a_fifth_of_its_pixels(left_px: int, kept: bool) -> None:
    assert MIN_VISIBLE_FRACTION == 0.2
    labels = np.zeros((30, 30), np.uint16)
    labels.ravel()[:left_px] = 1
    labels[20:25, 20:25] = 2
    targets = make_targets(labels, np.array([0.0, 100.0, 25.0]))
    assert len(targets.boxes) == 1 + kept
    # what has no box is a cell in the maps all the same
    assert targets.pixels[0].sum() == left_px + 25


def test_without_full_areas_no_cell_counts_as_cut() -> None:
    labels = np.zeros((10, 10), np.uint16)
    labels[0, 0] = 1
    assert make_targets(labels).boxes.tolist() == [[0, 0, 1, 1]]
    assert len(make_targets(labels, np.array([0.0, 6.0])).boxes) == 0


def test_a_crop_without_cells_has_empty_targets() -> None:
    targets = make_targets(np.zeros((16, 24), np.uint16), np.zeros(4))
    assert targets.boxes.shape == (0, 4)
    assert targets.boxes.dtype == np.float32
    assert targets.pixels.shape == (5, 16, 24)
    assert not targets.pixels.any()


@pytest.mark.parametrize("channels", [("foreground",), ("foreground", "energy"), ("flow_x",), ("boundary", "flow_y")])
def test_some_channels_are_those_of_all(channels: tuple[str, ...]) -> None:
    pieces = find_pieces(draw_labels())
    whole = pixel_targets(pieces, CHANNELS)
    np.testing.assert_array_equal(pixel_targets(pieces, channels), whole[[CHANNELS.index(name) for name in channels]])
