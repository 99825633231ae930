"""White cells are whole: nucleus, lobes and cytoplasm are joined, cells that touch are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mosaicell.answers.blood import find_blood
from mosaicell.answers.white_cells import join_white_cells
from mosaicell.reading.pixels import ArrayPixels
from tests.test_blood import NUCLEUS, PLASM, RED, WHITE, draw_smear


def join(pixels: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the labels after joining, and the ids that remain of those from 1."""
    joined = labels.copy()
    remaining = np.ones(int(labels.max()) + 1, bool)
    join_white_cells(joined, find_blood(ArrayPixels(pixels), labels), remaining)
    return joined, (np.flatnonzero(remaining[1:]) + 1).tolist()


def white_cell(pixels: np.ndarray) -> np.ndarray:
    """Return where the white cell of `draw_smear` is."""
    return cv2.circle(np.zeros(pixels.shape[:2], np.uint8), (150, 150), 34, 1, -1) > 0


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


@pytest.mark.parametrize("pieces", ["nucleus", "nucleus and half of the cytoplasm", "two lobes"])
def test_pieces_become_the_whole_cell(pieces: str) -> None:
    pixels, labels = draw_smear()
    labels[labels == WHITE] = 0
    if pieces == "two lobes":
        cv2.circle(pixels, (150, 150), 34, PLASM, -1)
        for number, x in ((WHITE, 136), (len(RED) + 3, 164)):
            cv2.circle(pixels, (x, 150), 13, NUCLEUS, -1)
            labels[np.hypot(*(np.indices(labels.shape) - np.array([150, x])[:, None, None])) <= 13] = number
    else:
        cell = white_cell(pixels)
        is_nucleus = np.hypot(*(np.indices(labels.shape) - np.array([150, 145])[:, None, None])) <= 22
        labels[is_nucleus] = WHITE
        if pieces != "nucleus":
            labels[cell & ~is_nucleus & (np.indices(labels.shape)[0] > 150)] = len(RED) + 3
    joined, remaining = join(pixels, labels)
    ids = [number for number in np.unique(joined[white_cell(pixels)]) if number in remaining]
    assert len(ids) == 1
    assert iou(joined == ids[0], white_cell(pixels)) > 0.9
    assert set(remaining) >= {*RED}
    for number in RED:
        np.testing.assert_array_equal(joined == number, labels == number)


def test_a_whole_cell_stays_as_it_is() -> None:
    pixels, labels = draw_smear()
    joined, remaining = join(pixels, labels)
    assert remaining == list(range(1, 10))
    np.testing.assert_array_equal(joined, labels)


def test_cells_that_touch_stay_two() -> None:
    pixels, labels = draw_smear()
    labels[labels == WHITE] = 0
    cv2.circle(pixels, (150, 150), 34, (240, 228, 210), -1)
    for number, x in ((WHITE, 128), (len(RED) + 3, 172)):
        cv2.circle(pixels, (x, 150), 24, PLASM, -1)
        cv2.circle(pixels, (x, 150), 20, NUCLEUS, -1)
        labels[np.hypot(*(np.indices(labels.shape) - np.array([150, x])[:, None, None])) <= 24] = number
    joined, remaining = join(pixels, labels)
    assert remaining == list(range(1, 11))
    np.testing.assert_array_equal(joined, labels)


def test_nothing_is_joined_without_red_cells_or_on_slides() -> None:
    pixels, labels = draw_smear()
    labels[np.isin(labels, list(RED))] = 0
    joined, _ = join(pixels, labels)
    np.testing.assert_array_equal(joined, labels)
    tiled, many = np.tile(pixels, (12, 12, 1)), np.tile(draw_smear()[1], (12, 12))
    joined, remaining = join(tiled, many)
    np.testing.assert_array_equal(joined, many)
    assert remaining == list(range(1, 10))


def test_a_stained_slide_joins_no_cells() -> None:
    pixels, labels = draw_smear()
    labels[labels == WHITE] = 0
    field = np.zeros(labels.shape, np.uint8)
    cv2.circle(field, (150, 150), 80, 1, -1)
    pixels[(field > 0) & (labels == 0)] = (232, 208, 204)
    for number, place in ((WHITE, (120, 130)), (len(RED) + 3, (165, 160))):
        cv2.circle(pixels, place, 22, NUCLEUS, -1)
        labels[np.hypot(*(np.indices(labels.shape) - np.array(place[::-1])[:, None, None])) <= 22] = number
    joined, remaining = join(pixels, labels)
    assert remaining == list(range(1, 11))
    np.testing.assert_array_equal(joined, labels)
