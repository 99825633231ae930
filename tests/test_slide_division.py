"""How a slide is divided among workers: every block once, in the order in which one process takes them."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.answers.slide import divide_slide
from mosaicell.runs import slide_division
from mosaicell.runs.slide_blocks import Summary
from mosaicell.runs.slide_division import divide_rows, find_blocks


@pytest.mark.parametrize("rows_px", [1, 20_000_000, 10**12])
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.0])
def test_blocks_are_numbered_as_one_process_takes_them(
    rows_px: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide_division, "ROWS_PX", rows_px)
    division = divide_slide((20_000, 30_000), scale)
    rows = list(divide_rows(division))
    blocks = [core for part in rows for row in part.blocks for core in row]
    assert blocks == [core for strip in division.strips for row in strip for core in row]
    assert [number for part in rows for row in part.numbers for number in row] == list(range(len(blocks)))
    heights = {len(part.blocks) for part in rows}
    assert (heights == {1}) == (rows_px == 1)
    assert (len(rows) == len(division.strips)) == (rows_px == 10**12)


def test_only_parts_that_cells_reach_into_are_written() -> None:
    nothing = np.zeros(1, np.int64), np.zeros(0), 0
    bounds = [(0, 0, 0, 0), (5, 5, 20, 9), (90, 90, 101, 99)]
    summaries = [Summary(number, one, *nothing) for number, one in enumerate(bounds)]
    parts = [(0, 0, 10, 10), (10, 0, 20, 10), (0, 10, 10, 20), (90, 90, 100, 100), (100, 90, 110, 100)]
    assert find_blocks(summaries, parts) == [(parts[0], [1]), (parts[1], [1]), (parts[3], [2]), (parts[4], [2])]
    assert find_blocks(summaries[:1], parts) == []
