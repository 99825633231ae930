"""Shapes of cells: area, place, ellipse and convex hull, as scikit-image's regionprops defines them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import parts
from mosaicell.postprocess.convexity import count_hull_pixels
from mosaicell.postprocess.numbering import Labels
from mosaicell.postprocess.runs import Runs, find_runs

Numbers = NDArray[np.float64]


class Shapes(NamedTuple):
    """What the shapes of the cells 1..n are.

    Attributes
    ----------
    areas : int64 array (n,)
        Pixels.
    boxes : int64 array (n, 4)
        y0, x0, y1, x1, the ends exclusive.
    centroids : float64 array (n, 2)
        Mean y and x of the pixels, 0 being the middle of the first.
    eccentricities : float64 array (n,)
        Of the ellipse with the same second moments: 0 for a disc, up to 1 for a line.
    solidities : float64 array (n,)
        Share of the pixels of the convex hull, up to 1.
    """

    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]
    centroids: Numbers
    eccentricities: Numbers
    solidities: Numbers

    @property
    def diameters(self) -> Numbers:
        """Diameter in px of a disc of the same area, (n,)."""
        return np.sqrt(4 * self.areas / np.pi)

    def touch_border(self, shape_px: tuple[int, int]) -> NDArray[np.bool_]:
        """Say which cells (n,) touch the border of an image of this height and width."""
        return (self.boxes[:, :2] == 0).any(axis=1) | (self.boxes[:, 2:] == shape_px).any(axis=1)


def measure_shapes(labels: Labels) -> Shapes:
    """Measure the shapes of all cells of a label image at once.

    Parameters
    ----------
    labels : uint32 array (y, x)
        0 = background, 1..n without gaps.

    Returns
    -------
    Shapes
        Equal to those of regionprops, but for rounding.

    Notes
    -----
    Time and memory go with the runs of pixels, a twentieth of the pixels or less.
    """
    runs = find_runs(labels)
    count = int(runs.ids.max(initial=0))
    boxes = _bound(runs, count)
    sums = _sum_moments(runs, boxes)
    areas = sums[:, 0].astype(np.int64)
    means = sums[:, 1:3] / sums[:, :1]
    # central moments, from sums about a corner of the cell: exact integers until here
    variances = sums[:, 3:5] / sums[:, :1] - means**2
    covariances = sums[:, 5] / sums[:, 0] - means.prod(axis=1)
    hull_px = count_hull_pixels(runs, boxes)
    return Shapes(areas, boxes, boxes[:, :2] + means, _eccentricity(variances, covariances), areas / hull_px.clip(1))


def _bound(runs: Runs, count: int) -> NDArray[np.int64]:
    """Return the bounding boxes (n, 4); one of an id that does not occur is empty."""
    boxes = np.zeros((count + 1, 4), np.int64)
    boxes[:, :2] = np.iinfo(np.int32).max
    np.minimum.at(boxes[:, 0], runs.ids, runs.rows)
    np.minimum.at(boxes[:, 1], runs.ids, runs.starts)
    np.maximum.at(boxes[:, 2], runs.ids, runs.rows + 1)
    np.maximum.at(boxes[:, 3], runs.ids, runs.ends)
    return boxes[1:]


def _sum_moments(runs: Runs, boxes: NDArray[np.int64]) -> Numbers:
    """Return the sums of 1, y, x, yy, xx and xy over the pixels of each cell (n, 6), from the corner of its box."""
    count = len(boxes)
    sums = np.zeros((6, count))
    for part in parts(len(runs.ids)):
        index = runs.ids[part].astype(np.int64) - 1
        y = runs.rows[part] - boxes[index, 0]
        first, last = runs.starts[part] - boxes[index, 1], runs.ends[part] - boxes[index, 1] - 1
        length = last - first + 1
        x = length * (first + last) // 2
        xx = _sum_squares(last) - _sum_squares(first - 1)
        for total, values in zip(sums, (length, length * y, x, length * y * y, xx, x * y), strict=True):
            total += np.bincount(index, values, minlength=count)
    return sums.T


def _sum_squares(last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of the squares of 0..last."""
    return last * (last + 1) * (2 * last + 1) // 6


def _eccentricity(variances: Numbers, covariances: Numbers) -> Numbers:
    """Return the eccentricity (n,) of ellipses with variances (n, 2) along the axes and these covariances (n,)."""
    middle = variances.sum(axis=1) / 2
    spread = np.hypot((variances[:, 0] - variances[:, 1]) / 2, covariances)
    longer = middle + spread
    ratio = np.divide(middle - spread, longer, out=np.ones_like(longer), where=longer > 0)
    return np.sqrt(1 - ratio.clip(0, 1))
