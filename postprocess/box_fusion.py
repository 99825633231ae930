"""Weighted boxes fusion: the boxes of several detectors become one set (Solovyev et al. 2021; MDE-CellMask, 4.1.4).

Boxes are taken one after the other, by falling score. Whether a box joins a cluster depends only on what happened
around it, so boxes that lie apart are taken at once, with the result of a loop. Boxes are (y0, x0, y1, x1) in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.suppression import (
    LARGEST_PX,
    SMALLEST_REACH,
    Flags,
    Floats,
    Indices,
    expand_ranges,
    near_pairs,
)

# Boxes are taken in blocks, which grow where few of them have to do with each other.
_SMALLEST_BLOCK, _FIRST_BLOCK, _LARGEST_BLOCK = 16, 1024, 8192
_FEW_LINKS = 16
# So far a fused box may move while a block is taken, as IoU with what it was before: the block ends with the box after
# which one has moved further.
_LEAST_STAY = 0.6
# 1 - IoU is a metric; what follows from that is compared with some room for rounding.
_ROUNDING = 1e-9


class _Found(NamedTuple):
    """Boxes of all detectors, the surest first, with scores times weights."""

    boxes: Floats
    scores: Floats


class _Clusters(NamedTuple):
    """Clusters so far: sums over members of score times box (n, 4) and of score, how many, and rank of the first."""

    sums: Floats
    scores: Floats
    members: Indices
    ranks: Indices

    def boxes(self) -> Floats:
        """Return the fused boxes (n, 4): means of the members weighted by their scores."""
        return self.sums / self.scores[:, None]


class _Links(NamedTuple):
    """Which boxes of a block may join which clusters; those that the block may begin come after the known ones.

    Attributes
    ----------
    boxes, clusters
        Of all links, by cluster and then by box.
    starts
        Where the links of a cluster begin in these, and where the last ones end.
    by_box, box_starts
        The clusters by box, and where those of a box begin and the last ones end.
    """

    boxes: Indices
    clusters: Indices
    starts: Indices
    by_box: Indices
    box_starts: Indices


def fuse_boxes(
    boxes: Sequence[NDArray[np.floating]],
    scores: Sequence[NDArray[np.floating]],
    weights: Sequence[float],
    *,
    iou_threshold: float = 0.6,
    least_score: float = 0.01,
) -> tuple[Floats, Floats]:
    """Fuse the boxes of several detectors into one set.

    Parameters
    ----------
    boxes : sequence of float arrays (n, 4)
        (y0, x0, y1, x1) in px of each detector, with y0 <= y1 and x0 <= x1; n may differ and may be 0.
    scores : sequence of float arrays (n,)
        Confidences, at least 0.
    weights : sequence of float
        How much each detector counts, above 0.
    iou_threshold : float
        0 to 1. A box joins the cluster with whose fused box it has the largest intersection over union, above this.
    least_score : float
        Boxes with less are left out, before weights count, and so are boxes without area or with a score of 0.

    Returns
    -------
    boxes : float64 array (k, 4)
        By falling score.
    scores : float64 array (k,)

    Raises
    ------
    ValueError
        When arrays do not fit, hold NaN or infinity, or when a weight or threshold is out of range.

    Notes
    -----
    As published: boxes are taken by falling score times weight; a fused box is the mean of its members weighted by
    these. Its score is their mean, times the number of members (at most that of the detectors), by the sum of the
    weights: what one of several detectors finds alone is doubtful, what all find keeps its score. A detector that found
    nothing counts in that, and changes nothing else. Equal scores: the earlier detector and then the earlier box comes
    first. A box as near to two clusters joins the older one.

    Boxes that crowd on a spot by the thousand are taken one after the other.
    """
    found = _merge(boxes, scores, weights, iou_threshold, least_score)
    clusters = _Clusters(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.intp), np.zeros(0, np.intp))
    start, size = 0, _FIRST_BLOCK
    while start < len(found.boxes):
        block = np.arange(start, min(start + size, len(found.boxes)))
        links = _link(clusters, found, block, iou_threshold)
        taken, count = _take(clusters, found, block, links, iou_threshold)
        if count < len(block):
            block = block[:count]
            taken, _ = _take(clusters, found, block, _link(clusters, found, block, iou_threshold), iou_threshold)
            size = max(size // 2, _SMALLEST_BLOCK)
        elif len(links.boxes) <= _FEW_LINKS * size:
            size = min(2 * size, _LARGEST_BLOCK)
        clusters, start = taken, start + len(block)
    n_models = len(weights)
    fused = clusters.scores / np.maximum(clusters.members, 1)
    fused = fused * np.minimum(clusters.members, n_models) / sum(weights)
    order = np.lexsort((clusters.ranks, -fused))
    return clusters.boxes()[order], fused[order]


def box_ious(first: Floats, second: Floats) -> Floats:
    """Return the intersection over union of each pair of boxes (n, 4) with an area."""
    shared = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    shared_px = np.maximum(shared[:, 0], 0) * np.maximum(shared[:, 1], 0)
    return shared_px / (_areas(first) + _areas(second) - shared_px)


def _merge(
    boxes: Sequence[NDArray[np.floating]],
    scores: Sequence[NDArray[np.floating]],
    weights: Sequence[float],
    iou_threshold: float,
    least_score: float,
) -> _Found:
    """Check all boxes, leave out the unsure and the empty ones, and put the others in order."""
    if not len(boxes) == len(scores) == len(weights) > 0:
        raise ValueError(
            "boxes, scores and weights come for each of one or more detectors, got "
            f"{len(boxes)}, {len(scores)} and {len(weights)}"
        )
    if not (0 <= iou_threshold <= 1 and 0 <= least_score <= 1):
        raise ValueError(f"an IoU and a score lie in 0..1, got {iou_threshold} and {least_score}")
    if not all(0 < weight < np.inf for weight in weights):
        raise ValueError(f"weights must be finite and above 0, got {list(weights)}")
    corners = [np.asarray(part, np.float64) for part in boxes]
    surety = [np.asarray(part, np.float64) for part in scores]
    for part, sure in zip(corners, surety, strict=True):
        if part.ndim != 2 or part.shape[1] != 4 or sure.shape != part.shape[:1]:
            raise ValueError(f"expected boxes (n, 4) and scores (n,), got {part.shape} and {sure.shape}")
        if not ((sure >= 0) & (sure < np.inf)).all() or not (np.abs(part) <= LARGEST_PX).all():
            raise ValueError(f"scores must be finite and at least 0, and coordinates at most {LARGEST_PX:.0f} px")
        if (part[:, 2:] < part[:, :2]).any():
            raise ValueError("boxes are (y0, x0, y1, x1) with y0 <= y1 and x0 <= x1; some have a negative side")
    weighted = np.concatenate([sure * weight for sure, weight in zip(surety, weights, strict=True)])
    joined, sure = np.concatenate(corners), np.concatenate(surety)
    kept = np.flatnonzero((sure >= least_score) & (sure > 0) & (_areas(joined) > 0))
    order = kept[np.argsort(-weighted[kept], kind="stable")]
    return _Found(joined[order], weighted[order])


def _link(clusters: _Clusters, found: _Found, block: Indices, iou_threshold: float) -> _Links:
    """List which boxes of a block may join which clusters, as long as no fused box moves by more than it may.

    1 - IoU is a metric: a box that has more than the threshold with a fused box has at least `least` with what that
    was before it moved.
    """
    least = _stay(iou_threshold) + iou_threshold - 1 - _ROUNDING
    own, before = found.boxes[block], clusters.boxes()
    size, known = len(block), len(before)
    # a box may begin a cluster of its own
    found_clusters, found_boxes = [known + np.arange(size)], [np.arange(size)]
    for anchors, first in ((before, 0), (own, known)):
        for anchor, box in near_pairs(anchors, own, max(1 - least, SMALLEST_REACH), max(least, 0.0)):
            linked = box_ious(anchors[anchor], own[box]) > least
            if anchors is own:
                linked &= anchor < box
            found_clusters.append(first + anchor[linked])
            found_boxes.append(box[linked])
    of_cluster, of_box = np.concatenate(found_clusters), np.concatenate(found_boxes)
    order = np.argsort(of_cluster * size + of_box)
    of_cluster, of_box = of_cluster[order], of_box[order]
    starts = np.searchsorted(of_cluster, np.arange(known + size + 1))
    by_box = np.argsort(of_box, kind="stable")
    return _Links(of_box, of_cluster, starts, of_cluster[by_box], np.searchsorted(of_box[by_box], np.arange(size + 1)))


def _take(
    clusters: _Clusters, found: _Found, block: Indices, links: _Links, iou_threshold: float
) -> tuple[_Clusters, int]:
    """Take all boxes of a block, those at once whose turn it is at each of their clusters.

    Also returns how many can be taken before a fused box has moved too far for what was linked: where that is less than
    the block, the clusters do not count. Each cluster has a queue of the boxes that may join it. A box that joins
    another cluster begins none, and the queue for the one it might have begun ends.
    """
    boxes, scores = found.boxes[block], found.scores[block]
    known, size = len(clusters.scores), len(block)
    sums = np.concatenate([clusters.sums, np.zeros((size, 4))])
    totals = np.concatenate([clusters.scores, np.zeros(size)])
    members = np.concatenate([clusters.members, np.zeros(size, np.intp)])
    ranks = np.concatenate([clusters.ranks, block])
    anchors = np.concatenate([clusters.boxes(), boxes])
    heads = links.starts[:-1].copy()
    waits = np.bincount(links.boxes, minlength=size)
    waits -= np.bincount(links.boxes[heads[heads < links.starts[1:]]], minlength=size)
    count = size
    ready = np.flatnonzero(waits == 0)
    while ready.size:
        owner, place = expand_ranges(links.box_starts[ready], np.diff(links.box_starts)[ready])
        cluster = links.by_box[place]
        live = members[cluster] > 0
        owner, cluster = owner[live], cluster[live]
        fused = sums[cluster] / totals[cluster, None]
        ious = box_ious(fused, boxes[ready[owner]])
        joined = known + ready
        best = _choose_largest(owner, ious, ranks[cluster], iou_threshold)
        joined[owner[best]] = cluster[best]
        sums[joined] += scores[ready, None] * boxes[ready]
        totals[joined] += scores[ready]
        members[joined] += 1
        moved = box_ious(sums[joined] / totals[joined, None], anchors[joined]) < _stay(iou_threshold)
        count = int(ready[moved].min(initial=count - 1)) + 1
        begins = joined == known + ready
        served = np.concatenate([cluster, joined[begins]])
        heads[served] += 1
        following = links.boxes[heads[served[heads[served] < links.starts[served + 1]]]]
        ended = known + ready[~begins]
        _, rest = expand_ranges(links.starts[ended] + 1, links.starts[ended + 1] - links.starts[ended] - 1)
        touched, times = np.unique(np.concatenate([following, links.boxes[rest]]), return_counts=True)
        waits[touched] -= times
        ready = touched[(waits[touched] == 0) & (touched < count)]
    kept = members > 0
    return _Clusters(sums[kept], totals[kept], members[kept], ranks[kept]), count


def _choose_largest(owner: Indices, ious: Floats, ranks: Indices, iou_threshold: float) -> Indices:
    """Return the places of the largest IoU above a threshold for each owner; between equal ones the lowest rank."""
    above = np.flatnonzero(ious > iou_threshold)
    order = above[np.lexsort((ranks[above], -ious[above], owner[above]))]
    is_first: Flags = np.diff(owner[order], prepend=-1) > 0
    return order[is_first]


def _stay(iou_threshold: float) -> float:
    return max(_LEAST_STAY, 1 - iou_threshold)


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
