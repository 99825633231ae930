"""How a slide that several processes share is divided: into rows of blocks to segment, and into parts to write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mosaicell.answers.slide import Division
from mosaicell.postprocess.bounds import Bounds, overlap
from mosaicell.runs.slide_blocks import Summary

#: pixels that a worker segments at once, about: 7 rows of blocks of a strip. What lies around them is seen by the
#: network twice, a tenth here
ROWS_PX = 50_000_000


@dataclass(frozen=True)
class Rows:
    """Rows of blocks of a strip.

    Attributes
    ----------
    numbers, blocks
        Of each row; a block's number is its place in the order in which one process would take them.
    """

    numbers: list[list[int]]
    blocks: list[list[Bounds]]


def divide_rows(division: Division) -> Iterator[Rows]:
    """Yield what a worker does at once: some rows of blocks, numbered strip by strip and row by row."""
    first = 0
    for strip in division.strips:
        columns = len(strip[0])
        y0, x0, y1, _ = strip[0][0]
        step = max(1, ROWS_PX // ((y1 - y0) * (strip[0][-1][3] - x0)))
        for start in range(0, len(strip), step):
            blocks = strip[start : start + step]
            numbers = [
                list(range(first + row * columns, first + (row + 1) * columns))
                for row in range(start, start + len(blocks))
            ]
            yield Rows(numbers, blocks)
        first += columns * len(strip)


def find_blocks(summaries: Iterable[Summary], parts: Iterable[Bounds]) -> list[tuple[Bounds, list[int]]]:
    """Return the parts that cells reach into, each with the numbers of the blocks that these are from."""
    full = [summary for summary in summaries if summary.bounds[2] > summary.bounds[0]]
    boxes = np.array([summary.bounds for summary in full]).reshape(-1, 4)
    found = []
    for part in parts:
        numbers = [full[index].number for index in np.flatnonzero(overlap(boxes, part)).tolist()]
        if numbers:
            found.append((part, numbers))
    return found
