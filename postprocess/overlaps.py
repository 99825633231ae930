"""Areas that pairs of polygons share, exact for any outlines that do not cross themselves.

On a line of height y an outline passes several times, at x, each time with a sign s: 1 where it runs down, -1 where it
runs up. Whether a point of the line is inside is the sum of s over the passes to its left, so the length that two
polygons share is the sum of s s' times what lies right of both x and x', over all pairs of a pass of one and a pass of
the other. All signs of one outline add up to 0, which leaves -1/2 s s' |x - x'|. Over all heights the shared area is a
sum over pairs of edges, of minus half the area between them where they pass the same heights. There are no cases for
corners on edges, equal edges, or bends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaicell.postprocess.stars import Stars
from mosaicell.postprocess.suppression import Floats, Indices

#: so many pairs of edges are looked at at a time
EDGE_PAIRS_AT_ONCE = 2**16


def shared_polygon_areas(stars: Stars, first: Indices, second: Indices) -> Floats:
    """Return the areas that pairs of polygons share.

    Parameters
    ----------
    stars
        The polygons.
    first, second
        (m,), which polygons each pair is of.

    Returns
    -------
    float64 array (m,)
        In px.
    """
    pairs = max(1, EDGE_PAIRS_AT_ONCE // stars.rays.shape[1] ** 2)
    parts = [
        _share(stars.take(first[start : start + pairs]), stars.take(second[start : start + pairs]))
        for start in range(0, len(first), pairs)
    ]
    return np.concatenate([np.zeros(0), *parts])


def _share(first: Stars, second: Stars) -> Floats:
    """Return the area that each polygon shares with that at the same place in the other list."""
    # seen from one of the two centres: the result does not depend on where in an image a pair lies
    one = _Edges.of(first.spokes())
    other = _Edges.of(second.spokes() + (second.centres - first.centres)[:, None])
    top = np.maximum(one.top[:, :, None], other.top[:, None])
    bottom = np.minimum(one.bottom[:, :, None], other.bottom[:, None])
    found = np.flatnonzero(bottom > top)
    sides = first.rays.shape[1]
    edge, column = np.divmod(found, sides)
    pair = edge // sides
    beside = pair * sides + column
    top, bottom = top.ravel()[found], bottom.ravel()[found]
    slope = one.slope.ravel()[edge] - other.slope.ravel()[beside]
    offset = one.offset.ravel()[edge] - other.offset.ravel()[beside]
    start, end = offset + slope * top, offset + slope * bottom
    # where two edges cross there is a triangle to either side
    crossed = (start < 0) != (end < 0)
    width = np.abs(start + end)
    width[crossed] = (start[crossed] ** 2 + end[crossed] ** 2) / np.abs(start[crossed] - end[crossed])
    weight = one.sign.ravel()[edge] * other.sign.ravel()[beside]
    shared = np.bincount(pair, weight * width * (bottom - top), minlength=len(first))
    return np.maximum(-shared / 4, 0)


@dataclass(frozen=True)
class _Edges:
    """Edges of polygons, all (n, k): x is offset + slope y from top to bottom; the sign says which way they run."""

    top: Floats
    bottom: Floats
    slope: Floats
    offset: Floats
    sign: Floats

    @classmethod
    def of(cls, corners: Floats) -> _Edges:
        """Return the edges of polygons with these corners (n, k, 2)."""
        y, x = corners[..., 0], corners[..., 1]
        next_y, next_x = np.roll(y, -1, axis=1), np.roll(x, -1, axis=1)
        rise = next_y - y
        # a level edge has no height to be looked at
        slope = (next_x - x) / np.where(rise == 0, 1, rise)
        return cls(np.minimum(y, next_y), np.maximum(y, next_y), slope, x - slope * y, np.sign(rise))
