"""Expansion: cells that grow over the background around them without merging, as from nuclei to whole cells."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands_with_halo
from mosaicell.postprocess.numbering import Labels

#: further than any distance that is asked for
FAR = np.iinfo(np.int32).max // 2


def expand_labels(labels: Labels, distance_px: int) -> Labels:
    """Give background to the nearest cell, no further than `distance_px` from middle to middle of two pixels.

    Parameters
    ----------
    labels : uint32 array (y, x)
        Label image, 0 = background.
    distance_px : int
        How far cells grow, 0 or more.

    Returns
    -------
    uint32 array (y, x)
        The array that was given, changed in place: no pixel of a cell changes, and of cells as near as each other the
        lowest id takes a pixel.

    Notes
    -----
    Exact Euclidean distances: the nearest pixel of a cell in each column, then the nearest of the columns around
    (Saito and Toriwaki 1994, for a bounded distance). Works in bands with a halo of that many rows.
    """
    if distance_px < 1:
        return labels
    # rows that later bands still have to see as they were
    waiting: deque[tuple[slice, Labels]] = deque()
    for rows, outer, inner in bands_with_halo(labels.shape, distance_px):
        while waiting and waiting[0][0].stop <= outer.start:
            done, expanded = waiting.popleft()
            labels[done] = expanded
        around = labels[outer]
        if around.any() and not around[inner].all():
            waiting.append((rows, _expand_band(around, inner, distance_px)))
    for done, expanded in waiting:
        labels[done] = expanded
    return labels


def _expand_band(around: Labels, inner: slice, distance_px: int) -> Labels:
    """Return the expanded rows of a band from those of it and of its halo."""
    height, width = around[inner].shape
    nearest, steps = around[inner].copy(), np.where(around[inner] > 0, 0, FAR).astype(np.int32)
    for step in range(1, distance_px + 1):
        for shift in (-step, step):
            first = inner.start + shift
            start, stop = (min(max(0, edge), len(around)) for edge in (first, first + height))
            rows = slice(start, stop)
            here = slice(rows.start - first, rows.stop - first)
            _take(nearest[here], steps[here], around[rows], np.int32(step * step))
    expanded, distances = nearest.copy(), steps.copy()
    for shift in range(1, min(distance_px, width - 1) + 1):
        right, left, away = np.s_[:, shift:], np.s_[:, :-shift], np.int32(shift * shift)
        _take(expanded[right], distances[right], nearest[left], steps[left] + away)
        _take(expanded[left], distances[left], nearest[right], steps[right] + away)
    expanded[distances > distance_px**2] = 0
    return expanded


def _take(nearest: Labels, distances: NDArray[np.int32], ids: Labels, away: NDArray[np.int32] | np.int32) -> None:
    """Replace the nearest cell of each pixel, in place, where another is nearer, or as near and of a lower id."""
    closer = (ids > 0) & ((away < distances) | ((away == distances) & (ids < nearest)))
    np.copyto(nearest, ids, where=closer)
    np.copyto(distances, away, where=closer)
