"""Runs: the stretches of rows that cells are made of, from which their shapes are measured without their pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands
from mosaicell.postprocess.numbering import Labels


class Runs(NamedTuple):
    """Stretches of pixels of one cell in one row, row by row from the left.

    Attributes
    ----------
    ids : uint32 array (k,)
        Their cells.
    rows, starts, ends : int32 arrays (k,)
        The row, its first column, and the one behind its last.
    """

    ids: NDArray[np.uint32]
    rows: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Their pixels, (k,)."""
        return self.ends - self.starts


def find_runs(labels: Labels) -> Runs:
    """Find the runs of all cells of a label image (y, x), band by band: 16 bytes for each."""
    width = labels.shape[1]
    found = [Runs(np.zeros(0, np.uint32), *np.zeros((3, 0), np.int32))]
    for rows in bands(labels.shape):
        flat = labels[rows].ravel()
        if not flat.any():
            continue
        changes = np.empty(flat.size, bool)
        np.not_equal(flat[1:], flat[:-1], out=changes[1:])
        # runs of equal ids end with the row
        changes[::width] = True
        starts = np.flatnonzero(changes)
        lengths = np.diff(starts, append=flat.size)
        inside = flat[starts] > 0
        places, columns = np.divmod(starts[inside], width)
        first = columns.astype(np.int32)
        last = first + lengths[inside].astype(np.int32)
        found.append(Runs(flat[starts[inside]], (places + rows.start).astype(np.int32), first, last))
    ids, row_numbers, firsts, lasts = (np.concatenate(column) for column in zip(*found, strict=True))
    return Runs(ids, row_numbers, firsts, lasts)
