"""Polygons painted into a label image: a pixel belongs to the surest polygon that holds its centre.

Every row of pixels that a polygon spans is cut by its outline in two places or, where it is bent, in more: what lies
between the first and the second, the third and the fourth, is inside. All rows of thousands of polygons are cut at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.numbering import Labels
from mosaicell.postprocess.stars import Stars, checked_stars
from mosaicell.postprocess.suppression import Indices, expand_ranges

#: so many pixels of the polygons' boxes are painted at a time, but at least one polygon
PIXELS_AT_ONCE = 2**20
#: and so many polygons
POLYGONS_AT_ONCE = 2048


def paint_polygons(
    centres: NDArray[np.floating],
    rays: NDArray[np.floating],
    scores: NDArray[np.floating],
    shape_px: tuple[int, int],
) -> Labels:
    """Paint star-convex polygons, the surest on top.

    Parameters
    ----------
    centres : float array (n, 2)
        (y, x) in px along pixel edges; they may lie outside of the image.
    rays : float array (n, k)
        Lengths in px, as in `stars`.
    scores : float array (n,)
        Confidences. Equal scores: the polygon that comes first in the arrays lies on top.
    shape_px : (int, int)
        Height and width of the image.

    Returns
    -------
    uint32 array (y, x)
        The number of the polygon, from 1, in the order of falling scores; 0 where there is none. Numbers may be
        missing, and a polygon that others cover in part may be left in several pieces.

    Raises
    ------
    ValueError
        When arrays do not fit or hold NaN or infinity.

    Notes
    -----
    A pixel's centre on an outline belongs to what lies to the right of it.
    """
    stars, confidence = checked_stars(centres, rays), np.asarray(scores, np.float64)
    if confidence.shape != (len(stars),) or not np.isfinite(confidence).all():
        raise ValueError(f"expected {len(stars)} finite scores, got {confidence.shape}")
    order = np.argsort(-confidence, kind="stable")
    numbers = np.zeros(len(stars), np.uint32)
    numbers[order] = np.arange(1, len(stars) + 1)
    labels = np.zeros(shape_px, np.uint32)
    # from the least sure one to the surest: of several assignments to one pixel the last one stands
    for part in _divide(stars, order[::-1]):
        owners, starts, lengths = _cut_rows(stars.take(part), shape_px)
        ends = np.cumsum(lengths)
        places = np.repeat(starts - ends + lengths, lengths)
        places += np.arange(places.size)
        labels.ravel()[places] = np.repeat(numbers[part[owners]], lengths)
    return labels


def _divide(stars: Stars, order: Indices) -> Iterator[Indices]:
    """Divide a list of polygons into parts that are painted at a time."""
    sides = 2 * stars.rays[order].max(axis=1, initial=0)
    filled = np.cumsum(sides * sides) // PIXELS_AT_ONCE
    ends = np.flatnonzero(np.diff(filled)) + 1
    for part in np.split(order, ends):
        yield from np.split(part, range(POLYGONS_AT_ONCE, len(part), POLYGONS_AT_ONCE))


def _cut_rows(stars: Stars, shape_px: tuple[int, int]) -> tuple[Indices, Indices, Indices]:
    """Return the runs of pixels that polygons hold, one polygon after another: polygon, first place, number of pixels.

    Places are indices into the flat image.
    """
    height, width = shape_px
    # Corners as seen from the pixel that the centre lies in: where in the image that is must not round them. Whole
    # numbers are the centres of pixels.
    pixels = np.floor(stars.centres)
    corners = stars.spokes() + (stars.centres - pixels - 0.5)[:, None]
    y, x = corners[..., 0], corners[..., 1]
    next_y, next_x = np.roll(y, -1, axis=1), np.roll(x, -1, axis=1)
    low, high = -pixels[:, :1], height - pixels[:, :1]
    first = np.ceil(np.minimum(y, next_y)).clip(low, high).astype(np.intp).ravel()
    last = np.ceil(np.maximum(y, next_y)).clip(low, high).astype(np.intp).ravel()
    edge, row = expand_ranges(first, last - first)
    owner = edge // stars.rays.shape[1]
    along = (row - y.ravel()[edge]) / (next_y - y).ravel()[edge]
    crossing = np.ceil(x.ravel()[edge] + along * (next_x - x).ravel()[edge])
    column = (crossing + pixels[owner, 1]).clip(0, width).astype(np.intp)
    row += pixels[owner, 0].astype(np.intp)
    cuts = np.sort((owner * height + row) * (width + 1) + column)
    line, column = np.divmod(cuts[::2], width + 1)
    owner, row = np.divmod(line, height)
    return owner, row * width + column, cuts[1::2] - cuts[::2]
