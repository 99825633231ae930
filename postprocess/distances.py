"""Distances of pixels from the border of their cell: exact, and while they are measured other threads run.

The `edt` package holds the interpreter's lock all the time, but blocks of a slide are decoded side by side. Cells are
small against images: here the work grows with the depth of the deepest cell of a band, and takes half the time for
cells of 50 px. An image with a cell deeper than a limit is left to that package.
"""

from __future__ import annotations

import edt
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands

#: depth in px up to which the square of a column's distance and that of a step to the side fit into 16 bits together
DEEPEST_PX = 128
#: square of a distance beyond that
_FAR = 2 * DEEPEST_PX * DEEPEST_PX


def border_distances(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the distance of each cell pixel to the nearest pixel of another cell or of the background.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.

    Returns
    -------
    float32 array (y, x)
        Distances between pixel centres in px; 0 in the background, infinite where one cell fills the image. The image
        border is no cell border.
    """
    distances = np.zeros(labels.shape, np.float32)
    if not labels.size:
        return distances
    columns = _column_distances(labels)
    for rows in bands(labels.shape):
        squares = _squared_distances(labels[rows], columns[rows])
        if squares is None:
            return edt.edt(np.ascontiguousarray(labels), black_border=False)
        np.sqrt(squares, out=distances[rows])
    return distances


def _column_distances(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the distance of each cell pixel to the nearest one of its column outside its cell, at most the limit + 1.

    In the background it is 1, which does not count.
    """
    same = (labels[1:] == labels[:-1]) & (labels[1:] > 0)
    return np.minimum(_count_above(same), _count_above(same[::-1])[::-1]) + np.uint8(1)


def _count_above(same: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Count the pixels of the same cell right above each pixel, up to the limit; that many where the image ends first.

    `same` says of each pixel but the first row's whether the one above belongs to its cell.
    """
    count = np.zeros((len(same) + 1, same.shape[1]), np.uint8)
    count[1:] = same
    length = 1
    while length < DEEPEST_PX:
        # where all pixels looked at so far belong to the cell, those above them count too
        count[length:] += (count[length:] == length).view(np.uint8) * count[:-length]
        length *= 2
    top = count[:DEEPEST_PX]
    top[top == np.arange(len(top))[:, None]] = DEEPEST_PX
    return count


def _squared_distances(labels: NDArray[np.integer], columns: NDArray[np.uint8]) -> NDArray[np.uint16] | None:
    """Return the squared distances of a band of rows from those along columns; None where one exceeds the limit.

    The nearest pixel outside a cell lies some steps to the side and then along that column. Columns of other cells
    count as well: they are no nearer than the first pixel of that cell to either side, and that one counts as 0.
    """
    squares = columns.astype(np.uint16)
    squares *= squares
    squares[columns > DEEPEST_PX] = _FAR
    width = labels.shape[1]
    framed = np.full((len(labels), width + 2 * DEEPEST_PX), _FAR, np.uint16)
    framed[:, DEEPEST_PX:-DEEPEST_PX] = squares
    seen_from_left, seen_from_right = framed, framed.copy()
    differs = labels[:, 1:] != labels[:, :-1]
    seen_from_left[:, DEEPEST_PX + 1 : -DEEPEST_PX][differs] = 0
    seen_from_right[:, DEEPEST_PX : -DEEPEST_PX - 1][differs] = 0
    squares[labels == 0] = 0
    for step in range(1, DEEPEST_PX):
        if squares.max() <= step**2:
            return squares
        right = seen_from_left[:, DEEPEST_PX + step :][:, :width]
        left = seen_from_right[:, DEEPEST_PX - step :][:, :width]
        beside = np.minimum(left, right)
        beside += np.uint16(step**2)
        np.minimum(squares, beside, out=squares)
    return None
