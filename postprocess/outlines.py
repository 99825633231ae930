"""Outlines of cells along the edges of their pixels: polygons with holes that cover the very pixels of each cell.

The corners of a cell are the points where its border turns. Along a row of points they stand in pairs, the two ends of
a horizontal piece of border, and so they do along a column. To go from partner to partner is to follow the cracks
between pixels (Rosenfeld and Kak 1982, section 11.1), which takes no more than two sorts of all corners.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands
from mosaicell.postprocess.numbering import Labels

#: points (k, 2) as x, y, not closed
Ring = NDArray[np.int32]
#: its outer ring, and those of its holes
Polygon = list[Ring]
#: corners whose rings are followed at once
CHUNK_CORNERS = 2**18
#: bits of the four pixels around a point
ABOVE_LEFT, ABOVE_RIGHT, BELOW_LEFT, BELOW_RIGHT = 1, 2, 4, 8
#: a cell has two corners where it holds two pixels across
FALLING, RISING = ABOVE_LEFT | BELOW_RIGHT, ABOVE_RIGHT | BELOW_LEFT


class Corners(NamedTuple):
    """Where the borders of cells turn: by cell, then row by row from the left.

    Attributes
    ----------
    ids : uint32 array (k,)
        The cells.
    y, x : int32 arrays (k,)
        The points; (0, 0) is the outer corner of the first pixel.
    around : uint8 array (k,)
        Which of the pixels around are the cell's. Where two are that only share the point, it stands twice.
    """

    ids: NDArray[np.uint32]
    y: NDArray[np.int32]
    x: NDArray[np.int32]
    around: NDArray[np.uint8]


def trace_outlines(labels: Labels) -> Iterator[tuple[int, list[Polygon]]]:
    """Follow the outlines of all cells.

    Parameters
    ----------
    labels : uint32 array (y, x)
        0 = background.

    Yields
    ------
    id : int
        In rising order.
    polygons : list of list of int32 arrays (k, 2)
        Of its 4-connected pieces: outer ring, then holes; x, y of the points at which the ring turns, in pixels from
        the outer corner of the first one. As numbers go, outer rings turn left and holes right (RFC 7946). No ring
        meets itself; two may share points.

    Notes
    -----
    What is held are 13 bytes for each corner, and the rings of a few thousand cells.
    """
    corners = find_corners(labels)
    edges = np.flatnonzero(np.diff(corners.ids, prepend=0))
    starts = np.append(edges, len(corners.ids))
    first = 0
    while first < len(edges):
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + CHUNK_CORNERS, side="right")) - 1)
        part = slice(starts[first], starts[last])
        yield from _follow(labels, _take(corners, part))
        first = last


def _take(corners: Corners, part: slice) -> Corners:
    return Corners(corners.ids[part], corners.y[part], corners.x[part], corners.around[part])


def find_corners(labels: Labels) -> Corners:
    """Find the corners of all cells of a label image (y, x)."""
    width = labels.shape[1]
    found = [Corners(np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.uint8))]
    # there is one more row of points than of pixels
    for rows in bands((labels.shape[0] + 1, width + 1)):
        above = max(0, rows.start - 1)
        part = np.zeros((rows.stop - rows.start + 1, width + 2), np.uint32)
        pixels = labels[above : min(rows.stop, labels.shape[0])]
        top = 1 if rows.start == 0 else 0
        part[top : top + len(pixels), 1:-1] = pixels
        if pixels.any():
            found += _find_in(part, rows.start)
    ids, y, x, around = (np.concatenate(column) for column in zip(*found, strict=True))
    # rows come from the top, so that they stay in order within a cell
    order = np.argsort(ids, kind="stable")
    return Corners(ids[order], y[order], x[order], around[order])


def _find_in(part: Labels, first_row: int) -> list[Corners]:
    """Find the corners at the points inside a part (y, x) of a framed label image, in the order of the points."""
    across, down = part[:, 1:] != part[:, :-1], part[1:] != part[:-1]
    turns = (across[1:] | across[:-1]) & (down[:, 1:] | down[:, :-1])
    y, x = np.nonzero(turns)
    pixels = (part[y, x], part[y, x + 1], part[y + 1, x], part[y + 1, x + 1])
    places, ids, around = [], [], []
    for number, own in enumerate(pixels):
        is_own = [pixel == own for pixel in pixels]
        bits = sum(same.astype(np.uint8) << place for place, same in enumerate(is_own))
        assert isinstance(bits, np.ndarray)
        count = CORNERS[bits]
        # each cell once, where it is met first
        count[(own == 0) | np.logical_or.reduce([*is_own[:number], np.zeros(own.size, bool)])] = 0
        places.append(np.repeat(np.arange(own.size), count))
        ids.append(np.repeat(own, count))
        around.append(np.repeat(bits, count))
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    place = place[order]
    return [
        Corners(
            np.concatenate(ids)[order],
            (y[place] + first_row).astype(np.int32),
            x[place].astype(np.int32),
            np.concatenate(around)[order].astype(np.uint8),
        )
    ]


#: by the bits of the pixels around a point, how many corners a cell has there
CORNERS = np.array([0, 1, 1, 0, 1, 0, 2, 1, 1, 2, 0, 1, 0, 1, 1, 0])


def _follow(labels: Labels, corners: Corners) -> Iterator[tuple[int, list[Polygon]]]:
    """Follow the rings of some cells."""
    # partners along rows stand side by side
    right = np.arange(len(corners.ids)) ^ 1
    twice = np.flatnonzero((corners.around == FALLING) | (corners.around == RISING))[::2]
    # Of two corners at one point the first is the end of the piece of border to the left. The piece above belongs to it
    # where the border turns around the pixels of the cell, as it does between two pieces. Within a piece it turns
    # around the background: a hole may touch the ring around it, and no ring meets itself.
    falling = corners.around[twice] == FALLING
    second_above = twice[falling != _lie_apart(labels, corners, twice)]
    yield from _gather(corners, *_order_rings(right, _pair_columns(corners, second_above)))


def _lie_apart(labels: Labels, corners: Corners, twice: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say at which points, where a cell has two corners, they are those of two 4-connected pieces."""
    parts = np.zeros(twice.size, bool)
    starts = np.flatnonzero(np.diff(corners.ids[twice], prepend=0))
    for first, last in pairwise([*starts.tolist(), twice.size]):
        points = twice[first:last]
        cell = corners.ids[points[0]]
        own = slice(*np.searchsorted(corners.ids, (cell, cell + 1)).tolist())
        y0, x0 = int(corners.y[own].min()), int(corners.x[own].min())
        y1, x1 = int(corners.y[own].max()), int(corners.x[own].max())
        inside = (labels[y0:y1, x0:x1] == cell).view(np.uint8)
        pieces = cc3d.connected_components(inside, connectivity=4, out_dtype=np.uint32)
        y, x = corners.y[points] - y0, corners.x[points] - x0
        # the columns of the pixels above and below that are the cell's
        above = x - (corners.around[points] == FALLING)
        parts[first:last] = pieces[y - 1, above] != pieces[y, 2 * x - 1 - above]
    return parts


def _pair_columns(corners: Corners, second_above: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the partner of each corner along its column; at points of `second_above` the second's is above."""
    place = np.arange(len(corners.ids))
    place[second_above], place[second_above + 1] = second_above + 1, second_above
    order = place[np.lexsort((corners.y, corners.x, corners.ids))]
    partners = np.empty_like(order)
    partners[order] = order.reshape(-1, 2)[:, ::-1].ravel()
    return partners


def _order_rings(right: NDArray[np.int64], down: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the corners one ring after the other, each from its first in turn, and where each ring starts."""
    along, across = right.tolist(), down.tolist()
    seen = bytearray(len(along))
    order: list[int] = []
    starts: list[int] = []
    for start in range(len(along)):
        if seen[start]:
            continue
        starts.append(len(order))
        corner = start
        while not seen[corner]:
            partner = along[corner]
            seen[corner] = seen[partner] = 1
            order.append(corner)
            order.append(partner)
            corner = across[partner]
    return np.array(order, np.int64), np.array(starts, np.int64)


def _gather(
    corners: Corners, order: NDArray[np.int64], starts: NDArray[np.int64]
) -> Iterator[tuple[int, list[Polygon]]]:
    """Give the rings of each cell: those around it, and in each its holes."""
    points = np.stack((corners.x[order], corners.y[order]), axis=1)
    first = order[starts]
    # the first corner of a ring is its upper left one
    is_hole = (corners.around[first] & BELOW_RIGHT == 0).tolist()
    rings = np.split(points, starts[1:]) if starts.size else []
    polygons: list[Polygon] = []
    holes: list[Ring] = []
    cell = 0
    for ring, hole, own in zip(rings, is_hole, corners.ids[first].tolist(), strict=True):
        if own != cell:
            if cell:
                yield cell, _place_holes(polygons, holes)
            cell, polygons, holes = own, [], []
        if hole:
            holes.append(ring[::-1])
        else:
            polygons.append([ring])
    if cell:
        yield cell, _place_holes(polygons, holes)


def _place_holes(polygons: list[Polygon], holes: list[Ring]) -> list[Polygon]:
    """Add each hole to the polygon around it."""
    for hole in holes:
        around = polygons[0]
        if len(polygons) > 1:
            # the pixel above the hole's first corner; of rings around it the innermost began last
            x, y = hole[-1] + (0.5, -0.5)
            around = next(polygon for polygon in reversed(polygons) if _holds(polygon[0], x, y))
        around.append(hole)
    return polygons


def _holds(ring: Ring, x: float, y: float) -> bool:
    """Say whether a point lies in a ring: it does where an odd number of upright pieces lie left of it."""
    following = np.roll(ring, -1, axis=0)
    low, high = np.minimum(ring[:, 1], following[:, 1]), np.maximum(ring[:, 1], following[:, 1])
    return bool(np.count_nonzero((ring[:, 0] < x) & (low < y) & (y < high)) % 2)


def polygon_area(polygons: list[Polygon]) -> int:
    """Return the area of polygons with holes in pixels."""
    doubled = 0
    for ring in (ring for polygon in polygons for ring in polygon):
        x, y = ring.astype(np.int64).T
        doubled += int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
    return doubled // 2
