"""Blocks in files: what is read is what was written, and cells are numbered as the user wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mosaicell.options import Options
from mosaicell.postprocess.blocks import Owned
from mosaicell.postprocess.contested import UNWANTED
from mosaicell.runs.slide_blocks import BlockFiles, Contested

LABELS = np.array([[1, 1, 1, 0], [1, 0, 2, 2], [3, 0, 0, 2]], np.uint32)
OWNED = Owned((0, 6, 3, 10), LABELS, np.array([0, 1, 1], np.uint8), np.array([0.5, 0.25, 1], np.float32), np.ones(6), 2)


def options(**wishes: object) -> Options:
    return Options(Path("in"), Path("out"), **wishes)  # type: ignore[arg-type]


def test_a_block_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = BlockFiles(tmp_path)
    summary = files.write(4, OWNED, (90, 90), options(), 2)
    assert (summary.number, summary.bounds, summary.undecided) == (4, (0, 6, 3, 10), 2)
    assert summary.wanted.tolist() == [1, 2]
    block = files.read(4)
    assert block.crop.bounds == (0, 6, 3, 10)
    assert np.array_equal(block.crop.labels, LABELS)
    assert block.areas.tolist() == [4, 3, 1]
    assert block.touch.tolist() == [True, False, False]
    assert np.array_equal(block.sources, OWNED.sources)
    assert np.array_equal(block.likelihoods, OWNED.likelihoods)
    assert block.describe(2) == Contested(3, False, 1)
    # again, as when a worker died, to one file
    files.write(4, OWNED, (90, 90), options(), 2)
    assert [path.name for path in tmp_path.iterdir()] == ["4.npz"]
    (cut,) = files.read_cut([4], (1, 0, 90, 9))
    assert cut.crop.labels.tolist() == [[1, 0, 2], [3, 0, 0]]
    assert cut.areas.tolist() == [4, 3, 1]


def test_a_block_without_cells_has_no_file(tmp_path: Path) -> None:
    nothing = Owned((0, 0, 0, 0), np.zeros((0, 0), np.uint32), np.zeros(0, np.uint8), np.zeros(0), np.zeros(6), 0)
    assert BlockFiles(tmp_path).write(0, nothing, (9, 9), options(), 2).wanted.tolist() == [0, 0]
    assert not list(tmp_path.iterdir())


def test_cells_are_numbered_as_they_are_wanted(tmp_path: Path) -> None:
    files = BlockFiles(tmp_path)
    assert files.write(0, OWNED, (3, 10), options(min_area_px=3, exclude_edges=True), 2).wanted.tolist() == [0, 0]
    assert files.write(0, OWNED, (90, 90), options(min_area_px=3), 2).wanted.tolist() == [1, 1]
    block = files.read(0)
    assert block.number_cells({}, options(), 11).tolist() == [0, 11, 12, 13]
    assert block.number_cells({}, options(min_area_px=3), 11).tolist() == [0, 11, 12, UNWANTED]
    # one is dropped, of one too little is left; those of other blocks are none of this one's business
    left = {(0, 1): 0, (0, 2): 2, (1, 3): 0}
    assert block.number_cells(left, options(min_area_px=3), 11).tolist() == [0, 0, UNWANTED, UNWANTED]
    assert block.number_cells(left, options(max_area_px=2), 11).tolist() == [0, 0, 11, 12]
    assert not Contested(3, True, 0).is_wanted(3, options(exclude_edges=True))
    assert Contested(3, True, 0).is_wanted(3, options())
    assert not Contested(3, True, 0).is_wanted(0, options())
