"""Detection boxes: greedy suppression that scales, one marker per box (Cell Segmenter, paper section 2.3).

Boxes are (y0, x0, y1, x1) in px and run along pixel edges: the box of pixel (3, 5) is (3, 5, 4, 6).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.suppression import (
    LARGEST_PX,
    SMALLEST_REACH,
    Flags,
    Floats,
    Indices,
    Rule,
    Verdict,
    box_centres,
    choose,
    shared_areas,
)

# A search for markers takes so many places at once.
_PLACES_AT_ONCE = 2**20
# A box whose centre is no place for a marker is searched on this many lines each way over its central half.
_SEARCH_LINES = 9


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
    boxes = boxes[order]
    judge = _judge_by_share(boxes, lambda shared, one, other: shared > iou_threshold * (one + other - shared))
    return order[choose(boxes, Rule(judge, reach=max(1 - iou_threshold, SMALLEST_REACH), ratio=iou_threshold))]


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
    boxes = boxes[order]
    judge = _judge_by_share(boxes, lambda shared, _, smaller: shared > fraction * smaller)
    return np.sort(order[choose(boxes, Rule(judge, reach=max(1 - fraction, 0.5), ratio=0.0))])


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


def _judge_by_share(
    boxes: Floats, beats: Callable[[Floats, Floats, Floats], Flags]
) -> Callable[[Indices, Indices], Verdict]:
    """Return what judges pairs of boxes by the area that they share, that of the earlier and that of the later box."""
    areas = _areas(boxes)

    def judge(early: Indices, late: Indices) -> Verdict:
        return Verdict(beats(shared_areas(boxes, early, late), areas[early], areas[late]))

    return judge


def _allowed_points(boxes: Floats, allowed: NDArray[np.bool_]) -> tuple[Indices, NDArray[np.bool_]]:
    """Return each box's allowed pixel (y, x) in its central half nearest to its centre, and if there is one.

    Distance counts in shares of the box's sides; the places tried lie on a grid scaled to the box.
    """
    last = np.array(allowed.shape) - 1
    points = np.minimum(np.floor(box_centres(boxes)).astype(np.intp), last)
    found = allowed[points[:, 0], points[:, 1]]
    share = np.linspace(-0.25, 0.25, _SEARCH_LINES)
    grid = np.stack(np.meshgrid(share, share, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid[np.argsort((grid**2).sum(axis=1), kind="stable")]
    lost = np.flatnonzero(~found)
    for part in np.array_split(lost, 1 + lost.size * len(grid) // _PLACES_AT_ONCE):
        tried = box_centres(boxes[part])[:, None] + grid * _sides(boxes[part])[:, None]
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
    if not (np.isfinite(confidence).all() and (np.abs(corners) <= LARGEST_PX).all()):
        raise ValueError(f"boxes and scores must be finite and coordinates at most {LARGEST_PX:.0f} px")
    if (_sides(corners) < 0).any():
        raise ValueError("boxes are (y0, x0, y1, x1) with y0 <= y1 and x0 <= x1; some have a negative side")
    if not 0 <= share <= 1:
        raise ValueError(f"a threshold or fraction of boxes must lie in 0..1, got {share}")
    return corners, confidence


def _sides(boxes: Floats) -> Floats:
    return boxes[:, 2:] - boxes[:, :2]


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
