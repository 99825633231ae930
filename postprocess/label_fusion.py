"""Fusion of several segmentations of one image: which cells share pixels, and which of them stay.

The cells of all segmentations are numbered one after the other from 0, so that one array says something of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.numbering import Labels

#: a cell stays where at least this share of it is not covered by better ones
MIN_FREE_FRACTION = 0.7


@dataclass(frozen=True)
class Overlaps:
    """Which cells of several segmentations share pixels.

    Attributes
    ----------
    starts : (s + 1,) int64 array
        The number of the first cell of each of s segmentations, and how many cells there are in all.
    areas : (n,) int64 array
        Pixels of each cell.
    meetings : (k, s) int64 array
        The numbers of cells, of two or more segmentations, that share pixels; -1 for one that has none there.
    shared_px : (k,) int64 array
        Pixels on which just these meet.
    """

    starts: NDArray[np.int64]
    areas: NDArray[np.int64]
    meetings: NDArray[np.int64]
    shared_px: NDArray[np.int64]

    @cached_property
    def sources(self) -> NDArray[np.uint8]:
        """The segmentation of each cell, (n,)."""
        return np.repeat(np.arange(self.starts.size - 1, dtype=np.uint8), np.diff(self.starts))

    def split(self, values: NDArray) -> list[NDArray]:
        """Return what is said of each cell (n, ...) by segmentation."""
        return np.split(values, self.starts[1:-1])

    @cached_property
    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs of cells (p, 2) that share pixels, the earlier segmentation's first, and how many, (p,)."""
        if self.meetings.shape[1] == 2:
            return self.meetings, self.shared_px
        found, counts = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
        for columns in combinations(range(self.meetings.shape[1]), 2):
            both = (self.meetings[:, columns] >= 0).all(axis=1)
            rows, shared = _add_up(self.meetings[both][:, columns], self.shared_px[both])
            found.append(rows)
            counts.append(shared)
        return np.concatenate(found), np.concatenate(counts)


def measure_overlaps(labels: Sequence[Labels]) -> Overlaps:
    """Count the pixels that cells of segmentations of one image, each (y, x) with ids 1..n, share."""
    counted = [count_pixels(one)[1:] for one in labels]
    starts = np.cumsum([0, *(one.size for one in counted)])
    flat = [one.ravel() for one in labels]
    # runs of equal ids: a hundredth of the pixels is left to sort
    changes = np.zeros(max(0, flat[0].size - 1), bool)
    for one in flat:
        changes |= one[1:] != one[:-1]
    runs = np.flatnonzero(np.concatenate(([True], changes)))
    lengths = np.diff(runs, append=flat[0].size)
    ids = np.stack([one[runs] for one in flat], axis=1).astype(np.int64)
    meet = np.count_nonzero(ids, axis=1) > 1
    rows, shared_px = _add_up(ids[meet], lengths[meet])
    return Overlaps(starts, np.concatenate(counted), np.where(rows > 0, rows - 1 + starts[:-1], -1), shared_px)


def _add_up(rows: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each of the rows (k, s), of numbers below 2**32, once, in their order, and the sum of its counts."""
    index = rows[:, 0]
    for column in rows.T[1:]:
        index = np.unique((index << 32) | column, return_inverse=True)[1]
    size = int(index.max(initial=-1)) + 1
    once = np.empty((size, rows.shape[1]), np.int64)
    once[index] = rows
    return once, np.bincount(index, counts, minlength=size).astype(np.int64)


def best_ious(overlaps: Overlaps, among: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the best IoU of each cell with one of each segmentation, (n, s); 0 with its own.

    Parameters
    ----------
    overlaps
        Of the segmentations.
    among : (p,) bool array, optional
        Which pairs count; all by default.
    """
    pairs, shared_px = overlaps.pairs
    if among is not None:
        pairs, shared_px = pairs[among], shared_px[among]
    areas, sources = overlaps.areas, overlaps.sources
    one, two = pairs[:, 0], pairs[:, 1]
    ious = shared_px / (areas[one] + areas[two] - shared_px)
    best = np.zeros((areas.size, overlaps.starts.size - 1))
    np.maximum.at(best, (one, sources[two]), ious)
    np.maximum.at(best, (two, sources[one]), ious)
    return best


def find_unsure(cut: NDArray[np.bool_], overlaps: Overlaps) -> NDArray[np.bool_]:
    """Flag the cells (n,) whose likelihood is not that in the whole image.

    Parameters
    ----------
    cut : (n,) bool array
        Which cells go on beyond what is seen.
    overlaps
        Of the segmentations.

    Notes
    -----
    They are the cells that are cut, and those that share pixels with a cut one and so may agree with it better than is
    seen. An uncut cell of the same segmentation as that with an IoU of 0.5 or more is the best match whatever is
    beyond.
    """
    pairs, _ = overlaps.pairs
    one, two = pairs[:, 0], pairs[:, 1]
    matched = best_ious(overlaps, ~cut[one] & ~cut[two]) >= 0.5
    unsure = cut.copy()
    for mine, other in ((one, two), (two, one)):
        unsure[mine[cut[other] & ~matched[mine, overlaps.sources[other]]]] = True
    return unsure


@dataclass(frozen=True)
class Selection:
    """Which cells of several segmentations stay.

    Attributes
    ----------
    labels : (y, x) uint32 array
        Ids 1..k without gaps, the likeliest first.
    sources : (k + 1,) uint8 array
        By id, the segmentation that a cell comes from.
    likelihoods : (k + 1,) float32 array
        By id, how likely a cell is right.
    stays : (n,) bool array
        What stays, and what would stay if it were likely enough.
    unsure : (n,) bool array
        Whose fate or form depends on cells of which not all was seen.
    """

    labels: Labels
    sources: NDArray[np.uint8]
    likelihoods: NDArray[np.float32]
    stays: NDArray[np.bool_]
    unsure: NDArray[np.bool_]


def merge_cells(
    labels: Sequence[Labels],
    likelihoods: NDArray[np.float64],
    overlaps: Overlaps,
    min_likelihood: float,
    unsure: NDArray[np.bool_] | None = None,
) -> Selection:
    """Keep the better cells of several segmentations of one image.

    From the best cell downwards a cell stays unless better cells cover more than 1 - `MIN_FREE_FRACTION` of it; where
    some that stay overlap, the best one has the pixel.

    Parameters
    ----------
    labels : (y, x) uint32 arrays
        The segmentations, each with ids from 1.
    likelihoods : (n,) array
        How likely each cell is right. Of equal ones the earlier segmentation's goes first.
    overlaps
        Of the segmentations.
    min_likelihood : float
        Less likely cells are dropped.
    unsure : (n,) bool array, optional
        Cells of another likelihood than in the whole image, from `find_unsure`; none by default.
    """
    free_px = (1 - MIN_FREE_FRACTION) * overlaps.areas
    meetings: dict[int, list[tuple[int, int]]] = {}
    for place, (cells, pixels) in enumerate(zip(overlaps.meetings.tolist(), overlaps.shared_px.tolist(), strict=True)):
        for cell in cells:
            if cell >= 0:
                meetings.setdefault(cell, []).append((place, pixels))
    # where a cell that stays is, and how many that surely stay or might are there
    covered = bytearray(len(overlaps.shared_px))
    surely, possibly = bytearray(covered), bytearray(covered)
    doubtful = np.zeros(likelihoods.size, bool) if unsure is None else unsure.copy()
    for cell in np.flatnonzero(doubtful).tolist():
        for place, _ in meetings.get(cell, ()):
            possibly[place] += 1
    # new ids by number; what is not taken has the last of all ranks
    merged_ids = np.zeros(likelihoods.size, np.uint32)
    kept: list[int] = []
    for cell in np.argsort(-likelihoods, kind="stable").tolist():
        most_px, mine = float(free_px[cell]), meetings.get(cell, ())
        was_doubtful = bool(doubtful[cell])
        stays = sum(pixels for place, pixels in mine if covered[place]) <= most_px and most_px > 0
        if unsure is not None and not was_doubtful:
            known_px = sum(pixels for place, pixels in mine if surely[place])
            possible_px = sum(pixels for place, pixels in mine if possibly[place])
            doubtful[cell] = known_px <= most_px < possible_px
        if stays:
            kept.append(cell)
            merged_ids[cell] = len(kept)
        for place, _ in mine:
            covered[place] |= stays
            surely[place] |= stays and not doubtful[cell]
            possibly[place] += not was_doubtful and (stays or bool(doubtful[cell]))
    stayed = merged_ids > 0
    # one that stays beside a doubtful one may lose pixels to it
    one, two = overlaps.pairs[0].T
    beside = (one[stayed[one] & doubtful[two]], two[stayed[two] & doubtful[one]])
    for cells in beside:
        doubtful[cells] = True
    count = int(np.count_nonzero(likelihoods[kept] >= min_likelihood))
    merged_ids[merged_ids > count] = 0
    sources = np.concatenate(([0], overlaps.sources[kept[:count]])).astype(np.uint8)
    chosen = np.concatenate(([0], likelihoods[kept[:count]])).astype(np.float32)
    return Selection(_paint(labels, overlaps.split(merged_ids)), sources, chosen, stayed, doubtful)


def _paint(labels: Sequence[Labels], new_ids: Sequence[NDArray[np.uint32]]) -> Labels:
    """Give the cells of each segmentation, with ids from 1, new ids, 0 for none; of several the smallest stays."""
    painted = np.full(labels[0].shape, np.iinfo(np.uint32).max, np.uint32)
    for one, ids in zip(labels, new_ids, strict=True):
        # 0 wraps round to the largest number
        np.minimum(painted, np.concatenate(([0], ids)).astype(np.uint32)[one] - np.uint32(1), out=painted)
    return painted + np.uint32(1)
