"""Values of cells: mean, lowest, highest and spread of the pixels of each, in one pass that holds part of the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.numbering import Labels

#: what is read of an image at once, at most: rows and columns
READ_PX = (512, 16384)


class Values(NamedTuple):
    """What the pixels of the cells 1..n are, in each of c channels: float64 arrays (c, n).

    Attributes
    ----------
    means, lowest, highest
        Of the pixels.
    deviations
        Standard deviation, the mean of squares being over all pixels.
    """

    means: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    deviations: NDArray[np.float64]


def measure_values(labels: Labels, read: Callable[[Bounds], NDArray], count: int) -> Values:
    """Measure an image in each cell of a label image.

    Parameters
    ----------
    labels : uint32 array (y, x)
        0 = background, 1..n without gaps.
    read
        Returns the pixels (y, x, c) within bounds, of any real type, finite; asked for rows of blocks from the top, and
        not where no cell is.
    count : int
        n.

    Returns
    -------
    Values
        Of c channels; of none where there is no cell.

    Notes
    -----
    Deviations are summed about the mean of each stretch of pixels, not from squares: they are as sure on a bright
    background as on a dark one (Chan, Golub and LeVeque 1983).
    """
    totals: list[_Totals] = []
    for bounds in _divide(labels.shape):
        y0, x0, y1, x1 = bounds
        part = labels[y0:y1, x0:x1]
        if not part.any():
            continue
        pixels = read(bounds)
        totals = totals or [_Totals(count) for _ in range(pixels.shape[2])]
        for rows in bands(part.shape):
            inside = part[rows] > 0
            ids = part[rows][inside]
            if ids.size:
                stretches = _Stretches(ids)
                for channel, total in enumerate(totals):
                    total.add(stretches, pixels[rows, :, channel][inside])
    shape = (len(totals), count)
    return Values(*(np.array([total.finish()[place] for total in totals]).reshape(shape) for place in range(4)))


def _divide(shape_px: tuple[int, ...]) -> Iterator[Bounds]:
    height, width = shape_px
    for y0 in range(0, height, READ_PX[0]):
        for x0 in range(0, width, READ_PX[1]):
            yield y0, x0, min(y0 + READ_PX[0], height), min(x0 + READ_PX[1], width)


class _Stretches:
    """Stretches of one cell in the ids (k,) of pixels, and the cells that they belong to."""

    def __init__(self, ids: Labels) -> None:
        self.starts = np.concatenate(([0], np.flatnonzero(ids[1:] != ids[:-1]) + 1))
        self.lengths = np.diff(self.starts, append=ids.size)
        self.cells, self.owners = np.unique(ids[self.starts].astype(np.int64) - 1, return_inverse=True)
        self.sizes = self.sum_up(self.lengths)

    def sum_up(self, values: NDArray) -> NDArray:
        """Add up what is said of each stretch, by cell."""
        return np.bincount(self.owners, values.astype(np.float64), minlength=self.cells.size)


class _Totals:
    """One channel of all cells, so far."""

    def __init__(self, count: int) -> None:
        self._sizes, self._means, self._squares = (np.zeros(count) for _ in range(3))
        self._lowest, self._highest = np.full(count, np.inf), np.full(count, -np.inf)

    def add(self, stretches: _Stretches, values: NDArray) -> None:
        """Add values (k,) of the pixels of stretches."""
        starts, lengths, owners, cells = stretches.starts, stretches.lengths, stretches.owners, stretches.cells
        np.minimum.at(self._lowest, cells[owners], np.minimum.reduceat(values, starts))
        np.maximum.at(self._highest, cells[owners], np.maximum.reduceat(values, starts))
        exact = values.astype(np.float64)
        sums = np.add.reduceat(exact, starts)
        exact -= np.repeat(sums / lengths, lengths)
        exact *= exact
        means = stretches.sum_up(sums) / stretches.sizes
        squares = np.add.reduceat(exact, starts) + lengths * (sums / lengths - means[owners]) ** 2
        self._join(cells, stretches.sizes, means, stretches.sum_up(squares))

    def _join(self, cells: NDArray, sizes: NDArray, means: NDArray, squares: NDArray) -> None:
        """Join what was known of these cells with more pixels of them."""
        before = self._sizes[cells]
        both = before + sizes
        step = means - self._means[cells]
        self._squares[cells] += squares + step**2 * before * sizes / both
        self._means[cells] += step * sizes / both
        self._sizes[cells] = both

    def finish(self) -> tuple[NDArray[np.float64], ...]:
        """Return means, lowest, highest and deviations (n,); NaN for an id that does not occur."""
        missing = self._sizes == 0
        deviations = np.sqrt(self._squares / np.where(missing, 1, self._sizes))
        found = (self._means, self._lowest, self._highest, deviations)
        return tuple(np.where(missing, np.nan, values) for values in found)
