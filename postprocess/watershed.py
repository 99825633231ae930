"""Marker-controlled watershed of the energy map with two-step markers (Cell Segmenter, paper section 2.3).

The flood is computed without a queue: every pixel points to its highest neighbour, pointer jumping finds the
hill it belongs to, and the hills without a marker join their neighbours over the highest pass. That is the
minimum spanning forest a flood from the markers grows, in a few passes of array arithmetic, at the same cost
for one marker as for a million.
"""

from __future__ import annotations

import cc3d
import edt
import numpy as np
from numpy.typing import NDArray

from postprocess.boxes import box_markers
from postprocess.objects import Labels, relabel_sequential

# Ways to step from a pixel to a neighbour or to stay. They sit in the low bits of a rank, so that of two
# equal neighbours only the one to the right or below counts as the higher: a strict order, hence no cycles.
_UP, _LEFT, _STAY, _RIGHT, _DOWN = range(5)
_STEP_BITS = np.uint64(7)
_TOP = ~_STEP_BITS

Ranks = NDArray[np.uint64]
Nodes = NDArray[np.int32]


def two_step_watershed(
    foreground: NDArray[np.floating],
    energy: NDArray[np.floating],
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    e1: float,
    e2: float,
    foreground_threshold: float,
    min_marker_px: int = 5,
    min_unmarked_px: int | None = None,
) -> Labels:
    """Turn foreground, energy and boxes into cells with the two-step watershed of paper section 2.3.

    Parameters
    ----------
    foreground : float array (y, x)
        Cell probability, 0 to 1.
    energy : float array (y, x)
        Distance to the cell's border over its median in the cell, as `objects.energy_of_labels` gives it.
    boxes : float array (n, 4)
        One box (y0, x0, y1, x1) in px per cell, after non-maximum suppression.
    scores : float array (n,)
        Confidence of each box; of two boxes with one centre the higher keeps its marker.
    e1, e2 : float
        Energies, e1 <= e2. The core of cells is foreground with energy >= e1. Parts of the core that hold no
        box marker give a marker of their own where energy >= e2.
    foreground_threshold : float
        Foreground is where the probability exceeds this.
    min_marker_px : int
        An energy marker has more pixels than this (paper: 5).
    min_unmarked_px : int or None
        A 4-connected piece of foreground without any marker becomes one cell when it has at least this many
        pixels; with None, the published rule, it is dropped.

    Returns
    -------
    uint32 array (y, x)
        Label image, 1..n without gaps, every cell 4-connected.

    Raises
    ------
    ValueError
        When maps differ in shape or hold NaN or infinity, when boxes and scores do not fit, or when e2 < e1.

    Notes
    -----
    The published code floods three times: the core from the box markers, the core again from the energy
    markers, then the foreground from both results. A flood in order of falling energy has filled the whole
    core around a marker before it leaves it, so the first two floods are the beginning of the third, and
    "left over by the first flood" means "in a piece of the core without a box marker". One labelling and one
    flood therefore give the same cells.
    """
    foreground, energy = _checked_maps(foreground, energy)
    if e2 < e1:
        raise ValueError(f"e2 must not lie below e1, got e1={e1}, e2={e2}: nothing would be left over for it")
    cells = foreground > foreground_threshold
    core = cells & (energy >= e1)
    markers = _with_energy_markers(box_markers(boxes, scores, core), core, energy >= e2, min_marker_px)
    labels = flood(energy, markers, cells)
    if min_unmarked_px is not None:
        labels = _with_unmarked_pieces(labels, cells, min_unmarked_px)
    return relabel_sequential(labels)


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
    rank = np.pad(_rank_pixels(energy, markers, mask), 1)
    seeds = np.pad(np.where(mask, markers, 0).astype(np.int32), 1)
    hills, highest_id = _find_hills(rank, seeds)
    owner = _join_hills(*_find_passes(hills, rank, highest_id), np.arange(hills.max() + 1), highest_id)
    return owner[hills[1:-1, 1:-1]].astype(np.uint32)


def _rank_pixels(energy: NDArray[np.float32], markers: NDArray[np.integer], mask: NDArray[np.bool_]) -> Ranks:
    """Return integers ordered by energy, then by nearness to a marker; 0 outside the mask, low bits free.

    Markers rank above all else: a marker on a slope so owns the slope up to the summit, instead of losing it to a
    neighbour whose pass to the summit is higher than the marker.
    """
    bits = np.ascontiguousarray(energy, np.float32).view(np.int32)
    # Floats order as their bits do, but negative ones in reverse and below the others.
    order = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32) ^ np.uint32(0x80000000)
    distance = edt.edt(markers == 0).view(np.uint32) >> np.uint32(3)
    rank = (order.astype(np.uint64) << np.uint64(32)) | ((np.uint32(0x0FFFFFFF) - distance) << np.uint32(3))
    rank[markers > 0] = _TOP
    return np.where(mask, rank, np.uint64(0))


def _find_hills(rank: Ranks, seeds: Nodes) -> tuple[Nodes, int]:
    """Let every pixel climb by highest neighbours to a seed or a summit, and number the places of arrival.

    Returns the number of each pixel's hill, 0 outside the mask: the id of the seed it met, or a number above
    the highest such id for each summit without seed; and that highest id. Needs a frame of zeros around
    `rank`.
    """
    flat, ids = rank.ravel(), seeds.ravel()
    steps = {_UP: -rank.shape[1], _LEFT: -1, _STAY: 0, _RIGHT: 1, _DOWN: rank.shape[1]}
    best = flat | np.uint64(_STAY)
    for code, step in steps.items():
        if step > 0:
            np.maximum(best[:-step], flat[step:] | np.uint64(code), out=best[:-step])
        elif step < 0:
            np.maximum(best[-step:], flat[:step] | np.uint64(code), out=best[-step:])
    step_to = np.array(list(steps.values()), np.int32)[(best & _STEP_BITS).astype(np.intp)]
    step_to[(ids > 0) | (flat == 0)] = 0
    place = np.arange(flat.size, dtype=np.int32)
    target = _follow(place + step_to)
    summits = np.flatnonzero((target == place) & (flat > 0) & (ids == 0))
    highest_id = int(ids.max())
    numbers = ids.copy()
    numbers[summits] = highest_id + 1 + np.arange(summits.size)
    return numbers[target].reshape(rank.shape), highest_id


def _find_passes(hills: Nodes, rank: Ranks, highest_id: int) -> tuple[Nodes, Nodes]:
    """Return every pair of neighbouring pixels on two hills, one at least without marker, as hill numbers.

    Pairs rise with the height of the pass, which is the lower pixel's, then with that of the higher pixel:
    that is the order in which a flood would cross them, last pair first.
    """
    found: list[list[NDArray]] = [[], [], [], []]
    for grid, levels in ((hills, rank), (hills.T, rank.T)):
        one, two = grid[:-1], grid[1:]
        at = np.nonzero((one != two) & (np.maximum(one, two) > highest_id) & (np.minimum(one, two) > 0))
        heights = levels[:-1][at], levels[1:][at]
        for column, values in zip(found, (one[at], two[at], np.minimum(*heights), np.maximum(*heights)), strict=True):
            column.append(values)
    one, two, low, high = (np.concatenate(column) for column in found)
    order = np.lexsort((high, low))
    return one[order], two[order]


def _join_hills(one: NDArray, two: NDArray, owner: NDArray[np.intp], highest_id: int) -> NDArray[np.intp]:
    """Hand every hill without marker to its neighbour over its highest pass until only marked hills are left.

    In each round each hill without marker takes its highest pass (Boruvka's rule for a spanning forest rooted
    in the markers). Returns the owner of each hill number: a marker's id, or 0 where no pass leads to one.
    """
    while True:
        one, two = owner[one], owner[two]
        useful = (one != two) & (np.maximum(one, two) > highest_id)
        one, two = one[useful], two[useful]
        if not one.size:
            return np.where(owner > highest_id, 0, owner)
        highest_pass = np.full(owner.size, -1)
        # Of several assignments to one hill the last stands: that of its highest pass.
        highest_pass[np.stack([one, two], axis=1).ravel()] = np.repeat(np.arange(one.size), 2)
        joining = highest_id + 1 + np.flatnonzero(highest_pass[highest_id + 1 :] >= 0)
        crossed = highest_pass[joining]
        to = np.arange(owner.size)
        to[joining] = one[crossed] + two[crossed] - joining
        # Two hills that chose each other are one now: the lower number leads.
        leads = joining[(to[to[joining]] == joining) & (joining < to[joining])]
        to[leads] = leads
        owner = _follow(to)[owner]


def _follow(target: NDArray) -> NDArray:
    """Replace each pointer by the end of its chain; ends point to themselves."""
    while True:
        further = target[target]
        if np.array_equal(further, target):
            return target
        target = further


def _with_energy_markers(
    markers: NDArray[np.int32], core: NDArray[np.bool_], deep: NDArray[np.bool_], min_px: int
) -> NDArray[np.int32]:
    """Add a marker for each deep piece of more than `min_px` pixels in parts of the core without a marker."""
    parts = cc3d.connected_components(core, connectivity=4, out_dtype=np.uint32)
    left_over = np.ones(int(parts.max(initial=0)) + 1, bool)
    left_over[0] = False
    left_over[parts[markers > 0]] = False
    pieces = cc3d.connected_components(left_over[parts] & deep, connectivity=4, out_dtype=np.uint32)
    return _with_pieces(markers, pieces, min_px + 1)


def _with_unmarked_pieces(labels: Labels, cells: NDArray[np.bool_], min_px: int) -> Labels:
    """Add a cell for each 4-connected piece of foreground of `min_px` or more pixels that has no label."""
    pieces = cc3d.connected_components(cells & (labels == 0), connectivity=4, out_dtype=np.uint32)
    return _with_pieces(labels, pieces, min_px)


def _with_pieces(labels: NDArray, pieces: NDArray[np.unsignedinteger], min_px: int) -> NDArray:
    """Add the pieces of at least `min_px` pixels to a label image under ids above its own."""
    large = np.bincount(pieces.ravel(), minlength=1) >= min_px
    large[0] = False
    ids = np.where(large, np.cumsum(large) + int(labels.max(initial=0)), 0)
    return np.where(pieces > 0, ids[pieces], labels).astype(labels.dtype)


def _checked_maps(foreground: NDArray, energy: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both maps as float32 (y, x), refusing maps that do not fit or hold NaN or infinity."""
    foreground, energy = np.asarray(foreground, np.float32), np.asarray(energy, np.float32)
    if foreground.ndim != 2 or foreground.shape != energy.shape:
        raise ValueError(f"expected two (y, x) maps of one shape, got {foreground.shape} and {energy.shape}")
    for name, values in (("foreground", foreground), ("energy", energy)):
        if not np.isfinite(values).all():
            raise ValueError(f"the {name} map holds NaN or infinity: the network or the blending of tiles failed")
    return foreground, energy
