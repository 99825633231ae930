"""Bounds: rectangles of pixels, of parts of an image and around objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.numbering import Labels

#: y0, x0, y1, x1 in px of an image, the ends exclusive
Bounds = tuple[int, int, int, int]


def widen(bounds: Bounds, margin_px: int, shape_px: tuple[int, int]) -> Bounds:
    """Grow bounds by a margin on every side, as far as the image goes."""
    y0, x0, y1, x1 = bounds
    return (
        max(0, y0 - margin_px),
        max(0, x0 - margin_px),
        min(shape_px[0], y1 + margin_px),
        min(shape_px[1], x1 + margin_px),
    )


def bounding_boxes(labels: Labels, count: int) -> NDArray[np.int64]:
    """Return (y0, x0, y1, x1) by id, the ends exclusive, of ids below `count`; one that is not there has no place."""
    width = labels.shape[1]
    flat = labels.ravel()
    changes = flat[1:] != flat[:-1]
    # runs of equal ids end with the row
    changes[width - 1 :: width] = True
    starts = np.flatnonzero(np.concatenate(([True], changes)))
    ends = np.append(starts[1:], flat.size) - 1
    ids = flat[starts]
    bounds = np.empty((count, 4), np.int64)
    bounds[:, :2], bounds[:, 2:] = labels.size, 0
    np.minimum.at(bounds[:, 0], ids, starts // width)
    np.minimum.at(bounds[:, 1], ids, starts % width)
    np.maximum.at(bounds[:, 2], ids, starts // width + 1)
    np.maximum.at(bounds[:, 3], ids, ends % width + 1)
    return bounds


def touch_sides(boxes: NDArray, region: Bounds, shape_px: tuple[int, int]) -> NDArray[np.bool_]:
    """Say which boxes (n, 4) touch a side of a region that is no side of the image."""
    y0, x0, y1, x1 = region
    low = ((boxes[:, 0] == y0) & (y0 > 0)) | ((boxes[:, 1] == x0) & (x0 > 0))
    high = ((boxes[:, 2] == y1) & (y1 < shape_px[0])) | ((boxes[:, 3] == x1) & (x1 < shape_px[1]))
    return low | high


def overlap(boxes: NDArray, region: Bounds) -> NDArray[np.bool_]:
    """Say which boxes (n, 4) share pixels with a region."""
    y0, x0, y1, x1 = region
    return (boxes[:, 0] < y1) & (boxes[:, 1] < x1) & (boxes[:, 2] > y0) & (boxes[:, 3] > x0)


def are_centred(boxes: NDArray, region: Bounds) -> NDArray[np.bool_]:
    """Say which boxes (n, 4) have their middle in a region."""
    y0, x0, y1, x1 = region
    # sums, not means: no rounding decides between two neighbours
    y, x = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    return (y >= 2 * y0) & (y < 2 * y1) & (x >= 2 * x0) & (x < 2 * x1)
