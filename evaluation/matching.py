"""Which predicted instance is which true one: sparse overlaps and their optimal assignment.

Everything is counted from runs of equal (truth, prediction) pixels, so the time grows with the pixels and the
memory with the instances and their contacts; no matrix of all pairs is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

Ids = NDArray[np.integer]


@dataclass(frozen=True)
class Overlaps:
    """Areas of the instances of two label images, and the pixels that pairs of them share.

    Attributes
    ----------
    truth_ids, prediction_ids : (n,) and (m,) integer arrays
        Ids without background, ascending.
    truth_areas_px, prediction_areas_px : (n,) and (m,) int64 arrays
        Pixels of each instance, shared or not.
    pairs : (k, 2) int64 array
        Index into `truth_ids` and index into `prediction_ids` of every pair that shares a pixel.
    shared_px : (k,) int64 array
        Pixels that each pair shares.
    """

    truth_ids: Ids
    prediction_ids: Ids
    truth_areas_px: NDArray[np.int64]
    prediction_areas_px: NDArray[np.int64]
    pairs: NDArray[np.int64]
    shared_px: NDArray[np.int64]

    def ious(self) -> NDArray[np.float64]:
        """Return the intersection over union of every pair, a (k,) float64 array in (0, 1]."""
        union_px = self.truth_areas_px[self.pairs[:, 0]] + self.prediction_areas_px[self.pairs[:, 1]]
        return self.shared_px / (union_px - self.shared_px)


@dataclass(frozen=True)
class Matching:
    """Pairs of instances that were matched at one IoU threshold.

    Attributes
    ----------
    threshold : float
        Smallest IoU of a match.
    n_truth, n_prediction : int
        Instances that could be matched.
    truth_ids, prediction_ids : (k,) integer arrays
        Ids of each matched pair.
    ious : (k,) float64 array
        IoU of each matched pair, at least `threshold`.
    """

    threshold: float
    n_truth: int
    n_prediction: int
    truth_ids: Ids
    prediction_ids: Ids
    ious: NDArray[np.float64]


def check_label_pair(truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> None:
    """Raise ValueError unless both are non-empty 2-D integer arrays of one shape."""
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.ndim != 2 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"{name} must be a non-empty 2-D integer array, got {labels.dtype} of shape {labels.shape}"
            )
    if truth.shape != prediction.shape:
        raise ValueError(f"the prediction is {prediction.shape} pixels (y, x), but the truth is {truth.shape}")


def count_overlaps(truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> Overlaps:
    """Count the pixels of every instance and of every overlapping pair.

    Parameters
    ----------
    truth, prediction : (y, x) integer arrays
        Label images with 0 as background and any positive ids. Pixels of one id are one instance, also when
        they do not touch.

    Returns
    -------
    Overlaps

    Raises
    ------
    ValueError
        Shapes differ, an array is empty, not 2-D or not integer, or an id is negative.
    """
    check_label_pair(truth, prediction)
    truth_px, prediction_px = truth.ravel(), prediction.ravel()
    changes = (truth_px[1:] != truth_px[:-1]) | (prediction_px[1:] != prediction_px[:-1])
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    lengths_px = np.diff(starts, append=truth_px.size)
    truth_ids, truth_index = np.unique(truth_px[starts], return_inverse=True)
    prediction_ids, prediction_index = np.unique(prediction_px[starts], return_inverse=True)
    if truth_ids[0] < 0 or prediction_ids[0] < 0:
        raise ValueError(f"ids must not be negative, got {min(truth_ids[0], prediction_ids[0])}")
    codes = truth_index.astype(np.int64) * prediction_ids.size + prediction_index
    pair_codes, pair_index = np.unique(codes, return_inverse=True)
    everything = Overlaps(
        truth_ids,
        prediction_ids,
        _sum_by_index(truth_index, lengths_px),
        _sum_by_index(prediction_index, lengths_px),
        np.stack(np.divmod(pair_codes, prediction_ids.size), axis=1),
        _sum_by_index(pair_index, lengths_px),
    )
    background = np.zeros(1, dtype=np.uint8)
    return drop_instances(everything, background, background)


def drop_instances(overlaps: Overlaps, truth_ids: Ids, prediction_ids: Ids) -> Overlaps:
    """Turn the named instances of either side into background.

    Parameters
    ----------
    overlaps : Overlaps
    truth_ids, prediction_ids : integer arrays
        Ids to drop; ids that do not occur are ignored.

    Returns
    -------
    Overlaps
        The other instances with unchanged areas, and the pairs between them.
    """
    keep_truth = ~np.isin(overlaps.truth_ids, truth_ids)
    keep_prediction = ~np.isin(overlaps.prediction_ids, prediction_ids)
    keep_pair = keep_truth[overlaps.pairs[:, 0]] & keep_prediction[overlaps.pairs[:, 1]]
    new_index = (np.cumsum(keep_truth) - 1, np.cumsum(keep_prediction) - 1)
    kept = overlaps.pairs[keep_pair]
    return Overlaps(
        overlaps.truth_ids[keep_truth],
        overlaps.prediction_ids[keep_prediction],
        overlaps.truth_areas_px[keep_truth],
        overlaps.prediction_areas_px[keep_prediction],
        np.stack((new_index[0][kept[:, 0]], new_index[1][kept[:, 1]]), axis=1),
        overlaps.shared_px[keep_pair],
    )


def match_overlaps(overlaps: Overlaps, threshold: float) -> Matching:
    """Match instances one to one so that as many pairs as possible reach the threshold.

    Parameters
    ----------
    overlaps : Overlaps
    threshold : float
        Smallest IoU of a match, in (0, 1].

    Returns
    -------
    Matching
        As many pairs as any one-to-one matching can have; among those matchings one with the largest sum
        of IoU.

    Raises
    ------
    ValueError
        The threshold is outside (0, 1].

    Notes
    -----
    Above IoU 0.5 an instance has at most one partner, so nothing is left to assign there; at or below it only
    pairs with a rival are assigned, which gives the number of pairs that the organisers' assignment over the
    dense matrix gives. The assignment is sparse in memory; its time grows with the square of the number of
    cells with a rival (5 s when all of 100,000 have one). Which of two equally good partners is taken may
    depend on the order of the ids; the number of pairs does not.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"an IoU threshold lies in (0, 1], got {threshold}")
    ious = overlaps.ious()
    candidates = np.flatnonzero(ious >= threshold)
    rows, columns = overlaps.pairs[candidates].T
    rivals = (np.bincount(rows)[rows] > 1) | (np.bincount(columns)[columns] > 1)
    matched = candidates[~rivals]
    contested = candidates[rivals]
    if contested.size:
        chosen = _assign(overlaps.pairs[contested], ious[contested])
        matched = np.sort(np.concatenate((matched, contested[chosen])))
    return Matching(
        threshold,
        overlaps.truth_ids.size,
        overlaps.prediction_ids.size,
        overlaps.truth_ids[overlaps.pairs[matched, 0]],
        overlaps.prediction_ids[overlaps.pairs[matched, 1]],
        ious[matched],
    )


def _sum_by_index(index: NDArray[np.int64], lengths_px: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum run lengths by index; float64 sums of whole pixels are exact below 2**53."""
    return np.bincount(index, weights=lengths_px).astype(np.int64)


def _assign(pairs: NDArray[np.int64], ious: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose the pairs of a largest one-to-one matching with the largest sum of IoU.

    Every row may also take a column of its own that stands for "unmatched". A real pair is worth one more
    than that column, plus IoU / (2 n) as in the organisers' cost: all IoU together weigh less than one pair.
    """
    row_ids, rows = np.unique(pairs[:, 0], return_inverse=True)
    column_ids, columns = np.unique(pairs[:, 1], return_inverse=True)
    n_rows, n_columns = row_ids.size, column_ids.size
    own = np.arange(n_rows)
    worth = np.concatenate((2 + ious / (2 * min(n_rows, n_columns)), np.ones(n_rows)))
    places = (np.concatenate((rows, own)), np.concatenate((columns, n_columns + own)))
    graph = csr_array((worth, places), shape=(n_rows, n_columns + n_rows))
    column_of_row = np.empty(n_rows, dtype=np.int64)
    matched_rows, matched_columns = min_weight_full_bipartite_matching(graph, maximize=True)
    column_of_row[matched_rows] = matched_columns
    return column_of_row[rows] == columns
