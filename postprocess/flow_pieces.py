"""Cut the foreground into pieces by where its pixels drifted, and join the pieces of one cell.

Pixels that end nearest to the same dense spot form a piece. A long or large cell has several such spots, two touching
cells never share one unless the maps fail; so pieces are too small rather than too large, and what decides about
joining two of them is their whole common border, not its weakest pixel.
"""

from __future__ import annotations

from typing import Any

import cc3d
import cv2
import numpy as np

from mosaicell.postprocess.bands import count_pixels, look_up, parts

#: end points per pixel that make a seed: just below 1, which is left where the flow neither gathers nor parts
SEED_DENSITY = 0.95
#: blur of the density, as Gaussian sigma
DENSITY_BLUR_PX = 1.0
#: a border parts two cells when the flow moves its sides apart by more than this in px, on average over its pixels
BORDER_GAP_PX = 0.7
#: pixels of no gap added to every border: a gap one or two pixels long is chance where a cell narrows
UNSURE_PX = 1.0
#: range of the gap that one pixel of a border can count, so that no single pixel decides
GAP_RANGE_PX = (-1.0, 4.0)
#: gap in px that a boundary probability one above its threshold is worth, and the range of that vote
GAP_PER_BOUNDARY_PX = 4.0
BOUNDARY_VOTE_PX = (-1.0, 0.8)
#: that vote where the boundary cannot tell (see `group_pixels`): pixels slip along processes a few pixels wide
THIN_VOTE_PX = -0.4
#: pixels and their lower, then right neighbours
NEIGHBOURS: tuple[tuple[Any, Any], ...] = ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]))


def group_pixels(
    ends: np.ndarray, inside: np.ndarray, boundary: np.ndarray, boundary_threshold: float, min_size_px: int
) -> np.ndarray:
    """Group foreground pixels into cells by the end points of their drift.

    Parameters
    ----------
    ends : (2, n) float32 array
        y and x in px where each foreground pixel ended, in row order, inside the image.
    inside : (y, x) bool array
        Foreground, with n pixels set.
    boundary : (y, x) float32 array
        Probability that a pixel lies on the outline of a cell.
    boundary_threshold : float
        See `segment_flows`.
    min_size_px : int
        Smaller pieces join their neighbour of weakest border, whatever it says.

    Returns
    -------
    (y, x) uint32 array
        4-connected groups; ids have gaps and increase with a group's first pixel, row by row. 0 is background.

    Notes
    -----
    Boundary counts only away from the background: there alone an outline means that two cells touch, and in a
    cell a few pixels wide every pixel is outline.
    """
    inner = _away_from_background(inside)
    counted = ~inner | (boundary <= boundary_threshold)
    pieces = _pieces_by_seed(ends, inside, counted)
    pairs, evidence = _contacts(pieces, ends, inside, inner, boundary - boundary_threshold)
    return _join_pieces(pieces, pairs, evidence, min_size_px)


def _away_from_background(inside: np.ndarray) -> np.ndarray:
    """Mark foreground pixels without background among their 4 neighbours."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.erode(inside.astype(np.uint8), cross, borderType=cv2.BORDER_REPLICATE) > 0


def _pieces_by_seed(ends: np.ndarray, inside: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Cut the foreground into 4-connected pieces of pixels that ended nearest to the same seed."""
    density = _density(ends, counted[inside], inside.shape)
    _, seeds = cv2.distanceTransformWithLabels(
        (density < SEED_DENSITY).view(np.uint8),
        cv2.DIST_L2,
        cv2.DIST_MASK_5,
        labelType=cv2.DIST_LABEL_CCOMP,
    )
    nearest = np.empty(ends.shape[1], np.uint32)
    for part in parts(ends.shape[1]):
        # half up: half to even, as np.rint has it, would depend on where in the image a cell lies
        y, x = (ends[:, part] + 0.5).astype(np.intp)
        # no seed at all leaves one group, which the cut into connected pieces divides
        nearest[part] = seeds.ravel()[y * seeds.shape[1] + x] + 1
    groups = np.zeros(inside.shape, np.uint32)
    groups[inside] = nearest
    return cc3d.connected_components(groups, connectivity=4, out_dtype=np.uint32)


def _density(ends: np.ndarray, counted: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Share out each of the end points flagged in `counted` to the four pixels around it, count them, and blur."""
    height, width = shape
    # a point on the last row or column has neighbours beyond it, with shares of 0
    count = np.zeros((height + 1) * width + 1)
    for part in parts(ends.shape[1]):
        y, x = ends[:, part][:, counted[part]]
        row, column = y.astype(np.intp), x.astype(np.intp)
        low, right = y - row, x - column
        high, left = 1 - low, 1 - right
        corner = row * width + column
        # points of neighbouring rows end near each other: the part of the image they reach is small
        first = int(corner.min(initial=count.size))
        corner -= first
        places = np.concatenate([corner, corner + 1, corner + width, corner + width + 1])
        shares = np.concatenate([high * left, high * right, low * left, low * right])
        shared = np.bincount(places, shares)
        count[first : first + shared.size] += shared
    density = count[: height * width].reshape(shape).astype(np.float32)
    return cv2.GaussianBlur(density, (0, 0), DENSITY_BLUR_PX, borderType=cv2.BORDER_REFLECT)


def _contacts(
    pieces: np.ndarray, ends: np.ndarray, inside: np.ndarray, inner: np.ndarray, boundary_excess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """List every pair of 4-neighbours in two pieces.

    Returns
    -------
    pairs : (2, n) int64 array
        Ids of the two pieces.
    evidence : (4, n) float64 array
        Gap that the flow tore between the two pixels in px; boundary excess and 1 where both are `inner`, else 0
        and 0; 1.
    """
    pairs, evidence = [], []
    for axis, (here, there) in enumerate(NEIGHBOURS):
        end = np.zeros(inside.shape, np.float32)
        end[inside] = ends[axis]
        touching = np.nonzero((pieces[here] != pieces[there]) & inside[here] & inside[there])
        gap = np.clip(end[there][touching] - end[here][touching] - 1, *GAP_RANGE_PX)
        known = inner[here][touching] & inner[there][touching]
        excess = (boundary_excess[here][touching] + boundary_excess[there][touching]) / 2
        pairs.append(np.stack([pieces[here][touching], pieces[there][touching]]).astype(np.int64))
        evidence.append(np.stack([gap, excess * known, known, np.ones_like(gap)]).astype(np.float64))
    return np.concatenate(pairs, axis=1), np.concatenate(evidence, axis=1)


def _join_pieces(pieces: np.ndarray, pairs: np.ndarray, evidence: np.ndarray, min_size_px: int) -> np.ndarray:
    """Join touching pieces, in rounds, until only borders between cells are left.

    In each round two pieces join when their contact is the weakest of both and no border, or the weakest of a
    piece too small to be a cell. Contacts that fall together are summed, so that long ones decide.
    """
    sizes = count_pixels(pieces)
    owner = np.arange(sizes.size)
    while True:
        pairs, evidence = _sum_by_pair(pairs, evidence, sizes.size)
        gap, excess, known, length = evidence
        vote = np.clip(GAP_PER_BOUNDARY_PX * excess / np.maximum(known, 1), *BOUNDARY_VOTE_PX)
        vote[known == 0] = THIN_VOTE_PX
        strength = gap / (length + UNSURE_PX) + vote
        weakest = np.full(sizes.size, np.inf)
        for side in pairs:
            np.minimum.at(weakest, side, strength)
        is_weakest = strength <= weakest[pairs]
        same_cell = is_weakest.all(axis=0) & (strength < BORDER_GAP_PX)
        fragment = (is_weakest & (sizes[pairs] < min_size_px)).any(axis=0)
        joined = same_cell | fragment
        if not joined.any():
            return look_up(owner.astype(np.uint32), pieces)
        into = np.arange(sizes.size)
        np.minimum.at(into, pairs[1, joined], pairs[0, joined])
        while (into != into[into]).any():
            into = into[into]
        owner, pairs = into[owner], into[pairs]
        sizes = np.bincount(into, sizes, minlength=sizes.size)


def _sum_by_pair(pairs: np.ndarray, evidence: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum the evidence of equal pairs, smaller id first; pairs within one piece fall away."""
    apart = pairs[0] != pairs[1]
    low, high = np.sort(pairs[:, apart], axis=0)
    keys, group = np.unique(low * count + high, return_inverse=True)
    total = np.stack([np.bincount(group, part, minlength=keys.size) for part in evidence[:, apart]])
    return np.stack(np.divmod(keys, count)), total
