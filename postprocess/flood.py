"""Watershed from markers as array arithmetic: the flood of a landscape without a queue.

Every pixel steps to its highest neighbour; pixels that step to the same summit are a hill, and the hills without a
marker join their neighbours over the highest pass. That is the minimum spanning forest a flood from the markers grows,
in a few passes over the image, at the same cost for one marker as for a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands, look_up
from mosaicell.postprocess.numbering import Labels

# The steps of a pixel, a bit each: to a neighbour, as cc3d numbers them, or none.
_RIGHT, _LEFT, _DOWN, _UP, _STAY = (np.uint8(1 << bit) for bit in range(5))
# Height of a marker; no finite energy comes to it.
_MARKED = np.uint32(0xFFFFFFFF)

Steps = NDArray[np.uint8]
#: pixels as indices into a flat image, and hills by number
Places = NDArray[np.intp]
Hills = NDArray[np.intp]


def flood(energy: NDArray[np.float32], markers: NDArray[np.integer], mask: NDArray[np.bool_]) -> Labels:
    """Grow markers over a mask in order of falling energy, 4-connected, without lines between the regions.

    Parameters
    ----------
    energy : float32 array (y, x)
        Finite. High where cells are deepest; the watershed floods its negative.
    markers : integer array (y, x)
        0 where there is no marker, ids from 1 elsewhere, without wide gaps: tables are made over them. Markers
        outside the mask do not count.
    mask : bool array (y, x)
        Where regions may grow.

    Returns
    -------
    uint32 array (y, x)
        The id that reached each pixel; 0 outside the mask and where no path inside the mask leads to a
        marker. A region is 4-connected when its marker is.

    Notes
    -----
    Where energy is equal the pixel nearer to a marker counts as the higher, so that a plateau between two
    markers is shared evenly; what is still equal goes to the right or lower side.
    """
    if not ((markers > 0) & mask).any():
        return np.zeros(mask.shape, np.uint32)
    terrain = _Terrain(_measure_heights(energy, markers, mask), markers)
    steps = _climb(terrain)
    # cc3d walks through memory column by column: the transposed image is what it takes as it is.
    hills = cc3d.color_connectivity_graph(_links(steps).T, connectivity=4).T.astype(np.uint32, copy=False)
    marked, summits = terrain.heights == _MARKED, steps == _STAY
    ids = markers[marked[1:-1, 1:-1]]
    highest_id = int(ids.max())
    # A hill is numbered by the id of its marker or, at its summit, above all ids; 0 is what lies outside the mask.
    numbers = np.zeros(int(hills.max()) + 1, np.intp)
    numbers[hills[marked]] = ids
    numbers[hills[summits]] = highest_id + 1 + np.arange(np.count_nonzero(summits))
    owner = _join_hills(terrain, _find_passes(terrain, hills, numbers, highest_id), int(numbers.max()), highest_id)
    return look_up(owner[numbers].astype(np.uint32), hills[1:-1, 1:-1])


@dataclass(frozen=True)
class _Terrain:
    """What a flood goes by.

    Attributes
    ----------
    heights
        uint32 (y + 2, x + 2): ordered as the energy is, `_MARKED` at markers, 0 outside the mask and in a frame around
        the image. Places are indices into it.
    markers
        integers (y, x), 0 where there is no marker.
    """

    heights: NDArray[np.uint32]
    markers: NDArray[np.integer]

    @property
    def width(self) -> int:
        """From a place to the one below it."""
        return self.heights.shape[1]

    def rank(self, places: Places) -> NDArray[np.uint64]:
        """Return numbers ordered by height and, where that is equal, by nearness to a marker."""
        heights = self.heights.ravel()[places]
        nearness = np.full(heights.shape, 0x0FFFFFFF, np.uint32)
        free = heights != _MARKED
        # Floats order as their bits do; the last bits of a distance are rounding.
        nearness[free] -= self._distances(places[free]).view(np.uint32) >> np.uint32(3)
        return (heights.astype(np.uint64) << np.uint64(32)) | nearness

    def _distances(self, places: Places) -> NDArray[np.float32]:
        """Return the distance from each place to the nearest marker, float32 in px."""
        y, x = np.divmod(places, self.width)
        marker_y, marker_x = self._marker_places
        # Predicted energies are seldom equal: measuring the few places is far less work than the whole image.
        if 4 * places.size * marker_y.size > self.markers.size:
            return self._distance_map[y - 1, x - 1]
        squares = np.square(y[:, None] - 1 - marker_y) + np.square(x[:, None] - 1 - marker_x)
        return np.sqrt(squares.min(axis=1).astype(np.float32))

    @cached_property
    def _marker_places(self) -> tuple[Places, Places]:
        y, x = np.divmod(np.flatnonzero(self.markers), self.markers.shape[1])
        return y, x

    @cached_property
    def _distance_map(self) -> NDArray[np.float32]:
        return edt.edt(self.markers == 0)


def _measure_heights(
    energy: NDArray[np.float32], markers: NDArray[np.integer], mask: NDArray[np.bool_]
) -> NDArray[np.uint32]:
    """Return the heights of a `_Terrain`.

    Markers lie above all else: a marker on a slope so owns the slope up to the summit, instead of losing it to a
    neighbour whose pass to the summit is higher than the marker.
    """
    heights = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.uint32)
    for rows in bands(mask.shape):
        bits = np.ascontiguousarray(energy[rows], np.float32).view(np.int32)
        # Floats order as their bits do, but negative ones in reverse and below the others.
        order = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32) ^ np.uint32(0x80000000)
        order[markers[rows] > 0] = _MARKED
        np.multiply(order, mask[rows], out=heights[1:-1, 1:-1][rows])
    return heights


def _climb(terrain: _Terrain) -> Steps:
    """Return the step of each place to its highest neighbour, in the shape of the heights.

    A marker makes no step. Outside the mask, places beside it make none either, the others a step to every side, so
    that they are few hills.
    """
    steps = np.zeros(terrain.heights.shape, np.uint8)
    tied = [np.zeros(0, np.intp)]
    for rows in bands(terrain.markers.shape):
        heights = terrain.heights[rows.start : rows.stop + 2]
        here = heights[1:-1, 1:-1]
        ways = (
            (_RIGHT, heights[1:-1, 2:]),
            (_LEFT, heights[1:-1, :-2]),
            (_DOWN, heights[2:, 1:-1]),
            (_UP, heights[:-2, 1:-1]),
        )
        highest = here.copy()
        for _, there in ways:
            np.maximum(highest, there, out=highest)
        step = (here == highest).view(np.uint8) * _STAY
        for way, there in ways:
            step |= (there == highest).view(np.uint8) * way
        step[(here == _MARKED) | ((here == 0) & (highest > 0))] = 0
        steps[1:-1, 1:-1][rows] = step
        y, x = np.divmod(np.flatnonzero(((step & (step - np.uint8(1))) > 0) & (here > 0)), step.shape[1])
        tied.append((rows.start + y + 1) * terrain.width + x + 1)
    places = np.concatenate(tied)
    steps.ravel()[places] = _choose_step(terrain, places)
    return steps


def _choose_step(terrain: _Terrain, places: Places) -> Steps:
    """Return the step from each place to its neighbour of highest rank; of equal ones to the lowest, then right one."""
    ways = np.array([_DOWN, _RIGHT, _STAY, _LEFT, _UP])
    reached = places[:, None] + np.array([terrain.width, 1, 0, -1, -terrain.width])
    heights = terrain.heights.ravel()[reached]
    equal = heights == heights.max(axis=1, keepdims=True)
    ranks = np.zeros(reached.shape, np.uint64)
    ranks[equal] = terrain.rank(reached[equal])
    return ways[ranks.argmax(axis=1)]


def _links(steps: Steps) -> Steps:
    """Return the neighbours that each place is linked with, by its own step or by theirs."""
    links = steps & ~_STAY
    links[:, 1:] |= (steps[:, :-1] & _RIGHT) << np.uint8(1)
    links[:, :-1] |= (steps[:, 1:] & _LEFT) >> np.uint8(1)
    links[1:] |= (steps[:-1] & _DOWN) << np.uint8(1)
    links[:-1] |= (steps[1:] & _UP) >> np.uint8(1)
    return links


@dataclass(frozen=True)
class _Passes:
    """Pairs of neighbouring places on two hills.

    Attributes
    ----------
    places
        intp (2, n): the upper or left place and the other one.
    hills
        intp (2, n): the hill of each.
    heights
        uint32 (n,): that of the lower place.
    """

    places: Places
    hills: Hills
    heights: NDArray[np.uint32]

    def between(self, hills: Hills, highest_id: int) -> _Passes:
        """Give the places other hills, and keep what parts two of them, one at least without marker."""
        one, two = hills
        kept = (one != two) & (np.maximum(one, two) > highest_id)
        return _Passes(self.places[:, kept], hills[:, kept], self.heights[kept])


def _find_passes(terrain: _Terrain, hills: Labels, numbers: Hills, highest_id: int) -> _Passes:
    """Find all passes between hills, which go by `numbers`."""
    flat, heights = hills.ravel(), terrain.heights.ravel()
    inside = heights > 0
    found = []
    for step in (terrain.width, 1):
        first = np.flatnonzero((flat[step:] != flat[:-step]) & inside[step:] & inside[:-step])
        found.append(np.stack([first, first + step]))
    places = np.concatenate(found, axis=1)
    low = np.minimum(heights[places[0]], heights[places[1]])
    return _Passes(places, places, low).between(numbers[flat[places]], highest_id)


def _join_hills(terrain: _Terrain, passes: _Passes, highest_number: int, highest_id: int) -> Hills:
    """Hand every hill without marker to its neighbour over its highest pass until only marked hills are left.

    In each round each hill without marker takes its highest pass (Boruvka's rule for a spanning forest rooted
    in the markers). Returns the owner of each hill number: a marker's id, or 0 where no pass leads to one.
    """
    owner = np.arange(highest_number + 1)
    while passes.heights.size:
        highest_pass = _choose_passes(terrain, passes, highest_number, highest_id)
        joining = np.flatnonzero(highest_pass >= 0)
        to = np.arange(owner.size)
        to[joining] = passes.hills[:, highest_pass[joining]].sum(axis=0) - joining
        # Two hills that chose each other are one now: the lower number leads.
        leads = joining[(to[to[joining]] == joining) & (joining < to[joining])]
        to[leads] = leads
        to = _follow(to)
        owner = to[owner]
        passes = passes.between(to[passes.hills], highest_id)
    return np.where(owner > highest_id, 0, owner)


def _choose_passes(terrain: _Terrain, passes: _Passes, highest_number: int, highest_id: int) -> Places:
    """Return the number of the highest pass of each hill; -1 for a hill without a pass and for one with a marker."""
    highest = np.zeros(highest_number + 1, np.uint32)
    for side in passes.hills:
        np.maximum.at(highest, side, passes.heights)
    one, two = passes.hills
    candidates = np.flatnonzero((passes.heights == highest[one]) | (passes.heights == highest[two]))
    candidates = candidates[_sort_passes(terrain, passes.places[:, candidates])]
    chosen = np.full(highest_number + 1, -1)
    # Of several assignments to one hill the last stands: that of its highest pass.
    chosen[passes.hills[:, candidates].T.ravel()] = np.repeat(candidates, 2)
    chosen[: highest_id + 1] = -1
    return chosen


def _sort_passes(terrain: _Terrain, places: Places) -> Places:
    """Return the order in which passes rise, by the rank of their lower place, then by that of the higher one.

    Passes equal in both rise from the upper to the lower ones and, above these, from the left to the right ones.
    Ranks take long to measure, so they are left to passes that the heights alone do not set in order.
    """
    first, second = places
    heights = terrain.heights.ravel()[places]
    low, high = np.minimum(*heights), np.maximum(*heights)
    lower = np.where(heights[0] <= heights[1], first, second)
    order = np.lexsort((high, lower, low))
    low, high, lower = low[order], high[order], lower[order]
    equal = (low[1:] == low[:-1]) & ((lower[1:] != lower[:-1]) | (high[1:] == high[:-1]))
    unclear = np.isin(low, low[1:][equal])
    part = order[unclear]
    ranks = np.sort(terrain.rank(places[:, part]), axis=0)
    across = (second - first < terrain.width)[part]
    down, right = np.divmod(first[part], terrain.width)
    along = np.where(across, right, down), np.where(across, down, right)
    order[unclear] = part[np.lexsort((along[1], along[0], across, ranks[1], ranks[0]))]
    return order


def _follow(target: Hills) -> Hills:
    """Replace each pointer by the end of its chain; ends point to themselves."""
    while True:
        further = target[target]
        if np.array_equal(further, target):
            return target
        target = further
