"""Detection boxes: greedy suppression that scales, one marker per box (Cell Segmenter, paper section 2.3).

Boxes are (y0, x0, y1, x1) in px and run along pixel edges: the box of pixel (3, 5) is (3, 5, 4, 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

# Boxes are settled in blocks of rising size. Where thousands lie on one spot the first block already rules out most
# of the others; the limits hold the memory for the worst case below 1 GB instead of n * n values.
_FIRST_BLOCK, _LARGEST_BLOCK = 1024, 8192
_PAIRS_AT_ONCE = 2**20
# Together they keep the bin numbers of the grid in 64 bits; no image is that large.
_LARGEST_PX, _SMALLEST_REACH = 2.0**27, 2.0**-3
# A box whose centre is no place for a marker is searched on this many lines each way over its central half.
_SEARCH_LINES = 9


class _Rule(NamedTuple):
    """When a chosen box rules out a later one, and what follows for two such boxes.

    `beats` takes the area they share, that of the earlier and that of the later box. The longer of their longest
    sides is at most 1 / `ratio` times the other, and their centres part along no axis by more than `reach` times it.
    """

    beats: Callable[[Floats, Floats, Floats], NDArray[np.bool_]]
    reach: float
    ratio: float


def suppress_boxes(boxes: NDArray[np.floating], scores: NDArray[np.floating], iou_threshold: float) -> Indices:
    """Choose boxes greedily by score so that no two chosen ones overlap by more than a threshold.

    Parameters
    ----------
    boxes : float array (n, 4)
        (y0, x0, y1, x1) in px with y0 <= y1 and x0 <= x1.
    scores : float array (n,)
        Confidences. Equal scores: the box that comes first in the array wins.
    iou_threshold : float
        0 to 1. A box is suppressed when its intersection over union with a chosen box exceeds this.

    Returns
    -------
    intp array (k,)
        Indices of the chosen boxes by falling score.

    Raises
    ------
    ValueError
        When arrays do not fit, hold NaN or infinity, or when the threshold lies outside 0..1.
    """
    boxes, scores = _checked_boxes(boxes, scores, iou_threshold)
    order = np.argsort(-scores, kind="stable")
    # Along each axis such a pair shares the threshold times the longer side or more: so alike are the sides, and so
    # near are the centres.
    rule = _Rule(
        beats=lambda shared, one, other: shared > iou_threshold * (one + other - shared),
        reach=max(1 - iou_threshold, _SMALLEST_REACH),
        ratio=iou_threshold,
    )
    return order[_choose(boxes[order], rule)]


def drop_contained(boxes: NDArray[np.floating], scores: NDArray[np.floating], fraction: float) -> Indices:
    """Drop every box of which more than a fraction is covered by one larger box that stays.

    Parameters
    ----------
    boxes : float array (n, 4)
        (y0, x0, y1, x1) in px with y0 <= y1 and x0 <= x1.
    scores : float array (n,)
        Confidences; they decide only between boxes of equal area, array order between equal scores.
    fraction : float
        0 to 1. Share of its own area above which a covered box is dropped (the published code uses 0.8).

    Returns
    -------
    intp array (k,)
        Indices of the boxes that stay, rising.

    Raises
    ------
    ValueError
        When arrays do not fit, hold NaN or infinity, or when the fraction lies outside 0..1.

    Notes
    -----
    The larger box stays whatever its score, as in the published code: a cell lost here can still get a marker from
    the energy, while a second marker inside one cell always cuts it. The published code skips this above 2000 boxes.
    """
    boxes, scores = _checked_boxes(boxes, scores, fraction)
    order = np.lexsort((-scores, -_areas(boxes)))
    # Centres are furthest apart for a tiny box in a corner or, below a fraction of one half, for equal boxes.
    rule = _Rule(beats=lambda shared, _, smaller: shared > fraction * smaller, reach=max(1 - fraction, 0.5), ratio=0.0)
    return np.sort(order[_choose(boxes[order], rule)])


def box_markers(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    allowed: NDArray[np.bool_],
    *,
    radius_px: float = 2.0,
) -> NDArray[np.int32]:
    """Give each box one marker pixel, at its centre or at the allowed place nearest to it.

    Parameters
    ----------
    boxes : float array (n, 4)
        (y0, x0, y1, x1) in px; they may stick out of the image, where they are cut first.
    scores : float array (n,)
        Confidences. Equal scores: the box that comes first in the array wins.
    allowed : bool array (y, x)
        Where markers may lie (foreground of high energy).
    radius_px : float
        A box whose marker lies this near to the marker of a higher-scored box gives none. Where a quarter of the
        higher box's shorter side is less, that counts, so that neighbouring cells of a few pixels keep their markers.

    Returns
    -------
    int32 array (y, x)
        0, and the ids 1..k by falling score, one pixel each.

    Raises
    ------
    ValueError
        When boxes and scores do not fit or hold NaN or infinity.

    Notes
    -----
    The published code draws a disc of radius 2 px at the centre and keeps its allowed pixels: in small cells it runs
    into neighbours, and a bent cell whose centre lies outside loses its marker. One pixel is all a flood needs, and
    the search over the central half of the box finds the cell again. The nearest place is taken, not the highest: in
    a cluster the highest would be a neighbour's.
    """
    checked, confidence = _checked_boxes(boxes, scores)
    by_score = checked[np.argsort(-confidence, kind="stable")]
    visible = np.clip(by_score, 0.0, np.tile(np.array(allowed.shape, np.float64), 2))
    visible = visible[_areas(visible) > 0]
    points, found = _allowed_points(visible, allowed)
    points = points[found]
    free = _unclaimed(points, np.minimum(radius_px, _sides(visible[found]).min(axis=1) / 4), allowed.shape)
    markers = np.zeros(allowed.shape, np.int32)
    markers[points[free, 0], points[free, 1]] = np.arange(1, np.count_nonzero(free) + 1)
    return markers


def _choose(boxes: Floats, rule: _Rule) -> Indices:
    """Go through boxes in order, choose each that no box chosen before beats, return the chosen indices."""
    chosen = [np.zeros(0, np.intp)]
    rest = np.arange(len(boxes))
    size = _FIRST_BLOCK
    while rest.size:
        block, rest = rest[:size], rest[size:]
        early, late = _beaten_pairs(boxes[block], boxes[block], rule)
        ordered = early < late
        chosen.append(block[_settle(early[ordered], late[ordered], len(block))])
        rest = np.delete(rest, _beaten_pairs(boxes[chosen[-1]], boxes[rest], rule)[1])
        size = min(2 * size, _LARGEST_BLOCK)
    return np.concatenate(chosen)


def _settle(early: Indices, late: Indices, count: int) -> NDArray[np.bool_]:
    """Resolve "early beats late, if early stays itself" for all pairs; return which of `count` boxes stay.

    A box that no remaining pair can beat stays for good, so what it beats falls for good with its own pairs.
    """
    stays = np.ones(count, bool)
    while early.size:
        unbeaten = np.ones(count, bool)
        unbeaten[late] = False
        stays[late[unbeaten[early]]] = False
        open_pairs = stays[early] & stays[late]
        early, late = early[open_pairs], late[open_pairs]
    return stays


def _beaten_pairs(first: Floats, second: Floats, rule: _Rule) -> tuple[Indices, Indices]:
    """Return all pairs (i, j) for which `first[i]` beats `second[j]`.

    Boxes are sorted into levels, level k holding sides up to 2**k px. A pair of which the larger box is of level k
    has centres at most reach * 2**k px apart, so they lie in the same or adjacent bins of a grid of that pitch.
    """
    pairs = [(np.zeros(0, np.intp), np.zeros(0, np.intp))]
    levels, areas = (_levels(first), _levels(second)), (_areas(first), _areas(second))
    for level in np.unique(levels[0]):
        for other in np.unique(levels[1]):
            if 2.0 ** (min(level, other) + 1 - max(level, other)) <= rule.ratio:
                continue
            one, two = np.flatnonzero(levels[0] == level), np.flatnonzero(levels[1] == other)
            pitch_px = rule.reach * 2.0 ** max(level, other)
            for near, by in _neighbours(_centres(second[two]), _centres(first[one]), pitch_px):
                i, j = one[by], two[near]
                won = rule.beats(_intersections(first, i, second, j), areas[0][i], areas[1][j])
                pairs.append((i[won], j[won]))
    early, late = zip(*pairs, strict=True)
    return np.concatenate(early), np.concatenate(late)


def _neighbours(first: Floats, second: Floats, pitch_px: float) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of points (i, j) in the same or adjacent bins of a square grid, some at a time."""
    origin = np.minimum(first.min(axis=0), second.min(axis=0))
    bins = [np.floor((points - origin) / pitch_px).astype(np.int64) + 1 for points in (first, second)]
    width = max(int(b[:, 1].max()) for b in bins) + 2
    keys, targets = (b[:, 0] * width + b[:, 1] for b in bins)
    # Both sides sorted: searches then walk through memory in order, which is most of the speed.
    asked, order = np.argsort(keys), np.argsort(targets)
    keys, targets = keys[asked], targets[order]
    # The three bins of one row of the grid have consecutive keys: one range of the sorted targets.
    rows = (keys + width * np.arange(-1, 2)[:, None]).ravel()
    starts = np.searchsorted(targets, rows - 1, "left")
    counts = np.searchsorted(targets, rows + 1, "right") - starts
    parts = 1 + int(counts.sum()) // _PAIRS_AT_ONCE
    for part in np.array_split(np.arange(rows.size), min(parts, rows.size)):
        row, target = _expand_ranges(starts[part], counts[part])
        yield asked[part[row] % keys.size], order[target]


def _expand_ranges(starts: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Return the numbers in all ranges start..start + count - 1 one after another, as (range, number)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, (starts - np.cumsum(counts) + counts)[owner] + np.arange(owner.size)


def _intersections(first: Floats, i: Indices, second: Floats, j: Indices) -> Floats:
    """Return the area that `first[i]` and `second[j]` share, in px, for each pair."""
    a, b = first.take(i, axis=0), second.take(j, axis=0)
    height = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    width = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.maximum(height, 0) * np.maximum(width, 0)


def _allowed_points(boxes: Floats, allowed: NDArray[np.bool_]) -> tuple[Indices, NDArray[np.bool_]]:
    """Return each box's allowed pixel (y, x) in its central half nearest to its centre, and if there is one.

    Distance counts in shares of the box's sides; the places tried lie on a grid scaled to the box.
    """
    last = np.array(allowed.shape) - 1
    points = np.minimum(np.floor(_centres(boxes)).astype(np.intp), last)
    found = allowed[points[:, 0], points[:, 1]]
    share = np.linspace(-0.25, 0.25, _SEARCH_LINES)
    grid = np.stack(np.meshgrid(share, share, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid[np.argsort((grid**2).sum(axis=1), kind="stable")]
    lost = np.flatnonzero(~found)
    for part in np.array_split(lost, 1 + lost.size * len(grid) // _PAIRS_AT_ONCE):
        tried = _centres(boxes[part])[:, None] + grid * _sides(boxes[part])[:, None]
        tried = np.minimum(np.floor(tried).astype(np.intp), last)
        fits = allowed[tried[..., 0], tried[..., 1]]
        points[part] = tried[np.arange(len(part)), fits.argmax(axis=1)]
        found[part] = fits.any(axis=1)
    return points, found


def _unclaimed(points: Indices, radii_px: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which points, given by falling score, lie in no disc around an earlier point."""
    reach = int(np.floor(radii_px.max(initial=0)))
    steps = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    within = (steps**2).sum(axis=1) <= radii_px[:, None] ** 2
    owner = np.full((shape[0] + 2 * reach, shape[1] + 2 * reach), -1, np.int32)
    rank, step = np.nonzero(within[::-1])
    rank = len(points) - 1 - rank
    # Painted from the lowest score to the highest: of several assignments to one pixel the last one stands.
    pixels = points[rank] + reach + steps[step]
    owner[pixels[:, 0], pixels[:, 1]] = rank
    return owner[points[:, 0] + reach, points[:, 1] + reach] == np.arange(len(points))


def _checked_boxes(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], share: float = 0.0
) -> tuple[Floats, Floats]:
    """Return boxes and scores as float64, refusing what does not fit together or is no box."""
    corners, confidence = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 4 or confidence.shape != corners.shape[:1]:
        raise ValueError(f"expected boxes (n, 4) and scores (n,), got {corners.shape} and {confidence.shape}")
    if not (np.isfinite(confidence).all() and (np.abs(corners) <= _LARGEST_PX).all()):
        raise ValueError(f"boxes and scores must be finite and coordinates at most {_LARGEST_PX:.0f} px")
    if (_sides(corners) < 0).any():
        raise ValueError("boxes are (y0, x0, y1, x1) with y0 <= y1 and x0 <= x1; some have a negative side")
    if not 0 <= share <= 1:
        raise ValueError(f"a threshold or fraction of boxes must lie in 0..1, got {share}")
    return corners, confidence


def _sides(boxes: Floats) -> Floats:
    return boxes[:, 2:] - boxes[:, :2]


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _centres(boxes: Floats) -> Floats:
    return 0.5 * (boxes[:, :2] + boxes[:, 2:])


def _levels(boxes: Floats) -> NDArray[np.int64]:
    return np.ceil(np.log2(np.maximum(_sides(boxes).max(axis=1, initial=1.0), 1.0))).astype(np.int64)
