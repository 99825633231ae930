"""The decoder of MDE-CellMask: what it reads, mirrors, keeps and pastes."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.decoders import load_decoder
from mosaicell.decoders.cellmask import DECODER, MASK_SIDE
from mosaicell.errors import OptionError
from mosaicell.networks.augmentation import average_views
from mosaicell.networks.raw import Raw

SETTINGS = {
    "foreground_threshold": 0.5,
    "score_threshold": 0.3,
    "box_iou_threshold": 0.5,
    "mask_threshold": 0.5,
    "min_cell_px": 5,
    "min_size_fraction": 0.0,
    "max_hole_fraction": 0.1,
}


def disc() -> np.ndarray:
    y, x = np.mgrid[:MASK_SIDE, :MASK_SIDE] - (MASK_SIDE - 1) / 2
    return (np.hypot(y, x) < MASK_SIDE / 2).astype(np.float32)


def candidate(box: tuple[float, ...], score: float, mask: np.ndarray | None = None) -> np.ndarray:
    mask = disc() if mask is None else mask
    return np.concatenate([box, [score], mask.ravel()]).astype(np.float32)


def make_outputs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Answer for two tiles of 64 x 96 px, of which the second has fewer cells."""
    cells = np.zeros((2, 3, 5 + DECODER.payload), np.float32)
    for tile, count in enumerate((3, 1)):
        for row in range(count):
            top, left = rng.uniform(0, 30, 2)
            box = (top, left, top + rng.uniform(10, 30), left + rng.uniform(10, 60))
            cells[tile, row] = candidate(box, rng.uniform(0.1, 1), rng.random((MASK_SIDE, MASK_SIDE)))
    return rng.random((2, 1, 64, 96)).astype(np.float32), cells


def test_rows_of_zeros_are_no_cells(rng: np.random.Generator) -> None:
    maps, cells = make_outputs(rng)
    first, second = DECODER.read((maps, cells), SETTINGS)
    assert (len(first.candidates), len(second.candidates)) == (3, 1)
    np.testing.assert_array_equal(second.maps, maps[1])


def test_views_are_not_averaged(rng: np.random.Generator) -> None:
    with pytest.raises(OptionError, match="no numbers to be averaged"):
        average_views(lambda batch: make_outputs(rng), load_decoder("cellmask"))(np.zeros((2, 3, 64, 96), np.float32))


def test_unsure_and_double_cells_go() -> None:
    rows = np.stack(
        [
            candidate((0, 0, 20, 20), 0.5),
            candidate((1, 0, 21, 20), 0.9),
            candidate((40, 40, 60, 60), 0.3),
            candidate((30, 0, 50, 20), 0.4),
        ]
    )
    assert DECODER.keep(rows, SETTINGS).tolist() == [1, 3]
    assert DECODER.keep(rows[:0], SETTINGS).tolist() == []


def test_cells_are_discs_without_holes_and_in_one_piece() -> None:
    holed = disc()
    holed[13:15, 13:15] = 0
    rows = np.stack(
        [
            candidate((0, 0, 30, 30), 0.6, holed),
            candidate((10, 40, 40, 44), 0.9),
            candidate((0, 30, 20, 60), 0.5),
            candidate((50, 50, 52, 52), 0.8),
        ]
    )
    labels = DECODER.decode(Raw(np.zeros((1, 64, 96), np.float32), rows), SETTINGS)
    assert sorted(np.unique(labels)) == [0, 1, 2, 3]
    first = labels == labels[15, 15]
    assert np.count_nonzero(first) == pytest.approx(np.pi * 15**2, rel=0.05)
    # the tall cell cuts the wide one, of which the larger part stays
    assert labels[10, 35] != labels[20, 42]
    assert np.count_nonzero(labels == labels[10, 35]) > np.count_nonzero(labels[:, 44:60])


def test_a_shared_pixel_is_the_surer_cells() -> None:
    rows = np.stack([candidate((0, 0, 30, 30), 0.6), candidate((0, 15, 30, 45), 0.9)])
    labels = DECODER.decode(Raw(np.zeros((1, 64, 96), np.float32), rows), SETTINGS)
    assert labels[15, 25] == labels[15, 40] != labels[15, 5]


def test_no_cells_leave_nothing() -> None:
    nothing = np.zeros((0, 5 + DECODER.payload), np.float32)
    assert not DECODER.decode(Raw(np.zeros((1, 20, 30), np.float32), nothing), SETTINGS).any()
