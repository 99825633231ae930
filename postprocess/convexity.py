"""Convex hulls of all cells of an image at once, and how many pixels lie in each.

As scikit-image does, every pixel counts as a diamond: its middle and half a pixel up, down, left and right. The hull is
that of the diamonds, and holds the pixels whose middle lies in it or on its border. In half pixels all of it is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.runs import Runs

#: rows of cells that are measured at once
CHUNK_ROWS = 2**18
#: beyond all columns
FAR = np.iinfo(np.int32).max


def count_hull_pixels(runs: Runs, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the pixels of the convex hull of each cell.

    Parameters
    ----------
    runs : Runs
        Of all cells.
    boxes : int64 array (n, 4)
        Their bounding boxes.

    Returns
    -------
    int64 array (n,)
        0 for an id that does not occur.
    """
    heights = (boxes[:, 2] - boxes[:, 0]).clip(0)
    offsets = np.concatenate(([0], np.cumsum(heights)))
    # by row of a cell, its first and its last pixel
    least, most = np.full(offsets[-1], FAR, np.int32), np.full(offsets[-1], -FAR, np.int32)
    places = (offsets[:-1] - boxes[:, 0])[runs.ids.astype(np.int64) - 1] + runs.rows
    np.minimum.at(least, places, runs.starts)
    np.maximum.at(most, places, runs.ends - 1)
    counts = np.zeros(len(boxes), np.int64)
    first = 0
    while first < len(boxes):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + CHUNK_ROWS, side="right")) - 1)
        rows = slice(offsets[first], offsets[last])
        tall = heights[first:last]
        # from the right as from the left, in a mirror
        widths = -_enter_hull(-most[rows], tall) - _enter_hull(least[rows], tall) + 1
        counts[first:last] = np.bincount(np.repeat(np.arange(last - first), tall), widths, minlength=last - first)
        first = last
    return counts


def _enter_hull(least: NDArray[np.int32], heights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first pixel of the hull in each row of each cell.

    Parameters
    ----------
    least : int32 array (k,)
        The first pixel of each row, `FAR` or more where there is none, of one cell after the other.
    heights : int64 array (m,)
        How many rows each cell has.
    """
    owners = np.repeat(np.arange(heights.size), heights)
    # in half pixels a cell has a row between each two of its own, one before and one behind
    middles = 2 * np.arange(least.size) + owners + 1
    outer = np.full(2 * least.size + heights.size, 2 * FAR, np.int64)
    twice = np.where(np.abs(least) < FAR, 2 * least.astype(np.int64), 2 * FAR)
    outer[middles] = np.where(twice < 2 * FAR, twice - 1, 2 * FAR)
    np.minimum.at(outer, middles - 1, twice)
    np.minimum.at(outer, middles + 1, twice)
    corners = _drop_inner(outer, np.repeat(np.arange(heights.size), 2 * heights + 1))
    after = np.searchsorted(corners, middles)
    before = np.where(corners[after] == middles, after, after - 1)
    start, end = corners[before], corners[after]
    rows = (end - start).clip(1)
    edge = outer[start] * rows + (outer[end] - outer[start]) * (middles - start)
    return -(-edge // (2 * rows))


def _drop_inner(outer: NDArray[np.int64], owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the corners of each owner's hull on the side of small values.

    Parameters
    ----------
    outer : int64 array (k,)
        A value for each row; `2 * FAR` where there is none.
    owners : int64 array (k,)
        Whose rows they are, of one after the other.

    Notes
    -----
    A row that does not lie before the line from the one above to the one below is no corner, whatever else is dropped;
    rows are dropped until none is left to drop.
    """
    left = np.flatnonzero(outer < 2 * FAR)
    corners = [np.zeros(0, np.int64)]
    while left.size:
        value, owner = outer[left], owners[left]
        inner = np.zeros(left.size, bool)
        inner[1:-1] = (owner[:-2] == owner[2:]) & (
            (value[1:-1] - value[:-2]) * (left[2:] - left[:-2]) >= (value[2:] - value[:-2]) * (left[1:-1] - left[:-2])
        )
        changed = np.zeros(int(owner[-1]) + 1, bool)
        changed[owner[inner]] = True
        # cells of which nothing was dropped are done
        going = changed[owner]
        corners.append(left[~going])
        left = left[going & ~inner]
    return np.sort(np.concatenate(corners))
