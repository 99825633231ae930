"""Decode the Omnipose-style branch: foreground, boundary and flow maps to labels (Cell Segmenter paper, section 2.2.2).

Every foreground pixel drifts a few pixels along the flow. Pixels of one cell close up, pixels on the two sides of a
border part. What then lies dense is a seed; every pixel joins its nearest seed; and pieces whose common border the
flow does not pull apart, on average over all its pixels, are one cell. So a cell is never reduced to one point or
to an unbroken line of points, and elongated, curved, branched and very large cells stay whole.
"""

from __future__ import annotations

import cc3d
import cv2
import numpy as np

from postprocess.flow_targets import flows_of_labels
from postprocess.objects import fill_holes, relabel_sequential, remove_small

#: largest side that cv2.remap accepts
MAX_SIDE_PX = 32766
#: blur of the flow against pixel noise, and of the density of end points, as Gaussian sigma
FLOW_BLUR_PX = 0.5
DENSITY_BLUR_PX = 1.0
#: flow shorter than this keeps its share of length 1, longer flow counts as a direction only
WEAK_FLOW = 0.15
#: end points per pixel that make a seed; 1 is what the flow leaves where it neither gathers nor parts
SEED_DENSITY = 1.0
#: how far the flow must part the two sides of a border between two cells, in px averaged over the border,
#: and by how much one unit of boundary probability replaces that
BORDER_GAP_PX = 0.7
GAP_PER_BOUNDARY_PX = 4.0
#: range of what the boundary map may add: it moves the decision, it does not take it
BOUNDARY_VOTE_PX = (-1.0, 0.8)
#: range of the gap counted at one pixel of a border, so that single wild pixels do not decide
GAP_RANGE_PX = (-1.0, 4.0)


def segment_flows(
    foreground: np.ndarray,
    boundary: np.ndarray,
    flow: np.ndarray,
    *,
    foreground_threshold: float = 0.5,
    boundary_threshold: float = 0.2,
    flow_threshold: float = 0.4,
    min_size_px: int = 10,
    max_hole_fraction: float = 0.1,
    steps: int = 8,
    reach_px: float = 4.0,
) -> np.ndarray:
    """Turn the maps of the Omnipose-style branch into labels.

    Parameters
    ----------
    foreground, boundary : (y, x) float32 arrays
        Probability that a pixel lies in a cell, and on the outline of one.
    flow : (2, y, x) float32 array
        dy and dx towards the middle of the cell, in the form of `flows_of_labels`.
    foreground_threshold : float
        Pixels above it are cells.
    boundary_threshold : float
        Pixels above it, where two cells touch, make no seed; a border whose mean lies above it is more likely to
        part two cells, one below it less.
    flow_threshold : float
        A cell is dropped when the mean squared length of (flow - flow of its shape) exceeds this; 2 or more is
        hardly ever reached.
    min_size_px : int
        Smallest cell in px.
    max_hole_fraction : float
        Holes below this fraction of their cell's area are filled.
    steps, reach_px
        As in `follow_flows`.

    Returns
    -------
    (y, x) uint32 array
        Labels 1..n without gaps, each 4-connected, numbered by their first pixel row by row.

    Raises
    ------
    ValueError
        When the shapes do not belong together, or a side exceeds 32766 px.

    Notes
    -----
    Flipping or turning the maps turns the labels, up to single pixels on borders where distances tie.
    """
    if foreground.ndim != 2 or boundary.shape != foreground.shape or flow.shape != (2, *foreground.shape):
        raise ValueError(
            "expected foreground (y, x), boundary (y, x) and flow (2, y, x), "
            f"got {foreground.shape}, {boundary.shape} and {flow.shape}"
        )
    inside = foreground > foreground_threshold
    if not inside.any():
        return np.zeros(foreground.shape, np.uint32)
    ends = follow_flows(flow, inside, steps, reach_px)
    crowded = boundary * _away_from_background(inside)
    pieces = _pieces_by_seed(ends, inside, crowded <= boundary_threshold)
    cells = _join_pieces(pieces, *_contacts(pieces, ends, inside, boundary - boundary_threshold), min_size_px)
    labels = fill_holes(remove_small(cells, min_size_px), max_hole_fraction)
    return drop_contradicted(labels, flow, flow_threshold)


def follow_flows(
    flow: np.ndarray, foreground_mask: np.ndarray, steps: int = 8, reach_px: float = 4.0
) -> np.ndarray:
    """Let all foreground pixels drift along the flow at once.

    Parameters
    ----------
    flow : (2, y, x) float32 array
        dy and dx, of length about 1 at the outline of a cell.
    foreground_mask : (y, x) bool array
        Pixels that drift; the flow outside counts as 0.
    steps : int
        Euler steps, of length falling linearly to `reach_px` / (1 + 2 + ... + `steps`).
    reach_px : float
        Way of a pixel that meets flow of length 1 all along.

    Returns
    -------
    (2, n) float32 array
        y and x of the end point of each foreground pixel in px, in row order, inside the image.

    Raises
    ------
    ValueError
        When a side exceeds 32766 px.

    Notes
    -----
    The published way is 200 steps of 1.25 / (t + 1), a reach of 7.3 px. A reach of 4 px parts touching cells as
    surely, and pixels drift less along the ridges of long cells, which breaks fewer of them; eight steps then
    end within 0.1 px of two hundred.
    """
    height, width = foreground_mask.shape
    if max(height, width) > MAX_SIDE_PX:
        raise ValueError(
            f"flows are followed up to {MAX_SIDE_PX} px a side, got {height} x {width}: decode in blocks"
        )
    start = np.stack(np.nonzero(foreground_mask)).astype(np.float32)
    # cv2.remap takes maps of limited width, so the list of pixels is folded into rows
    row_length = 1024
    folded = np.zeros((2, -(-start.shape[1] // row_length) * row_length), np.float32)
    folded[:, : start.shape[1]] = start
    y, x = folded.reshape(2, -1, row_length)
    field = _directions(flow, foreground_mask)
    for step_px in reach_px * np.arange(steps, 0, -1, dtype=np.float32) / (steps * (steps + 1) / 2):
        drift = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.clip(y + np.float32(step_px) * drift[..., 0], 0, height - 1, out=y)
        np.clip(x + np.float32(step_px) * drift[..., 1], 0, width - 1, out=x)
    return np.stack([y.ravel(), x.ravel()])[:, : start.shape[1]]


def drop_contradicted(labels: np.ndarray, flow: np.ndarray, flow_threshold: float) -> np.ndarray:
    """Drop the cells whose predicted flow is not the flow of their shape.

    Parameters
    ----------
    labels : (y, x) uint32 array
        Label image.
    flow : (2, y, x) float32 array
        Predicted flow.
    flow_threshold : float
        Largest mean over the pixels of a cell of the squared length of the difference.

    Returns
    -------
    (y, x) uint32 array
        Labels renumbered to 1..n in their order.
    """
    inside = labels > 0
    ids = labels[inside]
    difference = flows_of_labels(labels)[:, inside] - flow[:, inside]
    errors = np.bincount(ids, (difference**2).sum(axis=0), minlength=1)
    kept = errors <= flow_threshold * np.bincount(ids, minlength=1)
    return relabel_sequential(labels * kept[labels])


def _directions(flow: np.ndarray, foreground_mask: np.ndarray) -> np.ndarray:
    """Blur the flow, each pixel from foreground neighbours only, and bring all but weak flow to length 1.

    Returns
    -------
    (y, x, 2) float32 array
        dy and dx; 0 in the background.
    """
    weight = foreground_mask.astype(np.float32)
    field = np.dstack([weight * part for part in flow])
    if FLOW_BLUR_PX: field = cv2.GaussianBlur(field, (3, 3), FLOW_BLUR_PX, borderType=cv2.BORDER_REPLICATE)
    share = cv2.GaussianBlur(weight, (3, 3), FLOW_BLUR_PX, borderType=cv2.BORDER_REPLICATE)
    length = np.sqrt(field[..., 0] ** 2 + field[..., 1] ** 2)
    return field * (weight / np.maximum(length, WEAK_FLOW * share + np.float32(1e-6)))[..., None]


def _away_from_background(inside: np.ndarray) -> np.ndarray:
    """Mark foreground pixels without background among their 4 neighbours.

    Only there does an outline mean that two cells touch; in a cell a few pixels wide every pixel is outline.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return cv2.erode(inside.astype(np.uint8), cross, borderType=cv2.BORDER_REPLICATE) > 0


def _pieces_by_seed(ends: np.ndarray, inside: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Cut the foreground into 4-connected pieces of pixels that ended nearest to the same seed."""
    density = _density(ends[:, counted[inside]], inside.shape)
    _, seeds = cv2.distanceTransformWithLabels(
        (density < SEED_DENSITY).astype(np.uint8),
        cv2.DIST_L2,
        cv2.DIST_MASK_5,
        labelType=cv2.DIST_LABEL_CCOMP,
    )
    nearest = np.zeros(inside.shape, np.uint32)
    # no seed at all leaves one group, which the cut into connected pieces divides
    nearest[inside] = seeds[tuple(np.rint(ends).astype(np.intp))] + 1
    return cc3d.connected_components(nearest, connectivity=4, out_dtype=np.uint32)


def _density(ends: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count end points per pixel, each shared out to the four pixels around it, and blur."""
    corner = np.floor(ends).astype(np.intp)
    part = ends - corner
    count = np.zeros(shape[0] * shape[1])
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1])
            y = np.minimum(corner[0] + down, shape[0] - 1)
            x = np.minimum(corner[1] + right, shape[1] - 1)
            count += np.bincount(y * shape[1] + x, weight, minlength=count.size)
    density = count.reshape(shape).astype(np.float32)
    return cv2.GaussianBlur(density, (0, 0), DENSITY_BLUR_PX, borderType=cv2.BORDER_REFLECT)


def _contacts(
    pieces: np.ndarray, ends: np.ndarray, inside: np.ndarray, boundary_excess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """List every pair of 4-neighbours in two pieces.

    Returns
    -------
    pairs : (2, n) int64 array
        Ids of the two pieces.
    evidence : (4, n) float64 array
        Gap that the flow tore between the two pixels in px; boundary excess and 1 where both lie away from the
        background, else 0 and 0; 1.
    """
    end = np.zeros((2, *inside.shape), np.float32)
    end[:, inside] = ends
    inner = _away_from_background(inside)
    pairs, evidence = [], []
    for axis in (0, 1):
        here, there = (slice(None, -1), slice(1, None))
        if axis:
            here, there = (slice(None), here), (slice(None), there)
        touching = (pieces[here] != pieces[there]) & inside[here] & inside[there]
        gap = np.clip((end[axis][there] - end[axis][here])[touching] - 1, *GAP_RANGE_PX)
        known = (inner[here] & inner[there])[touching]
        excess = (boundary_excess[here] + boundary_excess[there])[touching] / 2
        pairs.append(np.stack([pieces[here][touching], pieces[there][touching]]).astype(np.int64))
        evidence.append(np.stack([gap, excess * known, known, np.ones_like(gap)]).astype(np.float64))
    return np.concatenate(pairs, axis=1), np.concatenate(evidence, axis=1)


def _join_pieces(pieces: np.ndarray, pairs: np.ndarray, evidence: np.ndarray, min_size_px: int) -> np.ndarray:
    """Join touching pieces, in rounds, until only borders between cells are left.

    In each round two pieces join when their contact is the weakest of both and no border, or the weakest of a
    piece too small to be a cell. Contacts that fall together are summed, so that long ones decide.
    """
    sizes = np.bincount(pieces.ravel())
    owner = np.arange(sizes.size)
    while True:
        pairs, evidence = _sum_by_pair(pairs, evidence, sizes.size)
        gap, excess, known, length = evidence
        vote = np.clip(GAP_PER_BOUNDARY_PX * excess / np.maximum(known, 1), *BOUNDARY_VOTE_PX)
        strength = gap / length + vote
        weakest = np.full(sizes.size, np.inf)
        for side in pairs:
            np.minimum.at(weakest, side, strength)
        is_weakest = strength <= weakest[pairs]
        joined = (is_weakest.all(axis=0) & (strength < BORDER_GAP_PX)) | (
            is_weakest & (sizes[pairs] < min_size_px)
        ).any(axis=0)
        if not joined.any():
            return owner[pieces]
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
