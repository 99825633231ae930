"""Decode the Omnipose-style branch: foreground, boundary and flow to labels (Cell Segmenter paper, section 2.2.2).

Every foreground pixel drifts a few pixels along the flow. Pixels of one cell close up, pixels on the two sides of
a border part; `flow_pieces` then tells the cells apart. A cell need not shrink to a point or to an unbroken line, so
elongated, curved, branched and very large cells stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from mosaicell.postprocess.bands import bands, bands_with_halo, count_pixels
from mosaicell.postprocess.flow_pieces import group_pixels
from mosaicell.postprocess.flow_targets import flow_bands
from mosaicell.postprocess.numbering import keep_objects
from mosaicell.postprocess.objects import clean_labels, remove_debris

#: largest side that cv2.remap accepts
MAX_SIDE_PX = 32766
#: width of what is given to cv2.remap
ROW_LENGTH = 1024
#: pixels drift by whole numbers of these: float32 holds the sum of drift and place exactly, up to 65,536 px, so that a
#: cell is the same wherever in the image it lies
DRIFT_STEPS_PER_PX = np.float32(256)
#: blur of the flow against pixel noise, as Gaussian sigma
FLOW_BLUR_PX = 0.5
#: longer flow counts as a direction only: a network that is unsure where two cells touch predicts the mean of two
#: opposite flows, short but with the right sign on either side
WEAK_FLOW = 0.15

#: see `track_pixels` and `drop_contradicted`
MakeField = Callable[[np.ndarray, np.ndarray], np.ndarray]
Move = Callable[[np.ndarray, np.ndarray], np.ndarray]
Expect = Callable[[np.ndarray], Iterator[tuple[slice, np.ndarray]]]


def segment_flows(
    foreground: np.ndarray,
    boundary: np.ndarray,
    flow: np.ndarray,
    *,
    foreground_threshold: float = 0.5,
    boundary_threshold: float,
    flow_threshold: float = 0.4,
    min_size_px: int = 10,
    min_size_fraction: float = 0.2,
    max_hole_fraction: float = 0.1,
    steps: int = 6,
    reach_px: float = 2.5,
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
        A pixel above it, away from the background, makes no seed; a border with a mean above it is more likely to
        part two cells, one below it less likely. Networks spread the thin outline over its uncertainty, so it
        lies well below 0.5: 0.15 was best where exact maps want 0.5.
    flow_threshold : float
        A cell is dropped when the mean squared length of (flow - flow of its shape) exceeds this.
    min_size_px : int
        Smallest cell in px; smaller pieces join their neighbour of weakest border first.
    min_size_fraction : float
        Smallest cell as a fraction of the mean cell of the image (published: 1/5). It sees the whole image: 0
        where the maps are a block of it, and `remove_debris` at the end.
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
        When the shapes do not belong together.

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
    cells = group_pixels(ends, inside, boundary, boundary_threshold, min_size_px)
    labels = clean_labels(cells, min_px=min_size_px, max_hole_fraction=max_hole_fraction)
    return remove_debris(drop_contradicted(labels, flow, flow_threshold), min_size_fraction)


def follow_flows(flow: np.ndarray, foreground_mask: np.ndarray, steps: int = 6, reach_px: float = 2.5) -> np.ndarray:
    """Let all foreground pixels drift along the flow at once.

    Parameters
    ----------
    flow : (2, y, x) float32 array
        dy and dx; lengths above 0.15 count as 1.
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

    Notes
    -----
    Images of more than 32,766 px a side are cut into blocks; the result is that of the whole.

    The published way is 200 steps of 1.25 / (t + 1) along flow as predicted, a reach of 7.3 px. A shorter way along
    directions parts touching cells as surely and lets pixels slip less along the ridges of long cells.
    """
    way_px = reach_px * np.arange(steps, 0, -1, dtype=np.float32) / (steps * (steps + 1) / 2)
    return track_pixels(
        flow, foreground_mask, _directions, lambda field, places: drift(field, places, way_px), reach_px
    )


def track_pixels(
    flow: np.ndarray, foreground_mask: np.ndarray, make_field: MakeField, move: Move, reach_px: float
) -> np.ndarray:
    """Move all foreground pixels through a field.

    Parameters
    ----------
    flow, foreground_mask
        As in `follow_flows`.
    make_field
        Maps both to the field (y, x, 2) float32 that pixels move along; looks at most 4 px around each.
    move
        Maps the field and places (2, n) float32 in it to where they end. Asked for parts of the pixels.
    reach_px
        Pixels move no further.

    Returns
    -------
    As of `follow_flows`.
    """
    height, width = foreground_mask.shape
    if max(height, width) > MAX_SIDE_PX:
        return _track_in_blocks(flow, foreground_mask, make_field, move, reach_px)
    field = make_field(flow, foreground_mask)
    ends = np.empty((2, np.count_nonzero(foreground_mask)), np.float32)
    done = 0
    for rows in bands(foreground_mask.shape):
        places = np.flatnonzero(foreground_mask[rows])
        if places.size:
            starts = np.stack([rows.start + places // width, places % width]).astype(np.float32)
            ends[:, done : done + places.size] = move(field, starts)
            done += places.size
    return ends


def drift(field: np.ndarray, places: np.ndarray, way_px: Sequence[float] | np.ndarray) -> np.ndarray:
    """Take Euler steps along a field, by exact fractions of a px.

    Parameters
    ----------
    field : (y, x, 2) float32 array
        dy and dx, bilinear between pixels.
    places : (2, n) float32 array
        y and x in px.
    way_px : float array (k,)
        What length 1 of the field is worth in each step.

    Returns
    -------
    (2, n) float32 array
        Inside the image.
    """
    count, (height, width) = places.shape[1], field.shape[:2]
    # cv2.remap takes maps of limited width, so the list of pixels is folded into rows
    folded = np.zeros((2, -(-count // ROW_LENGTH) * ROW_LENGTH), np.float32)
    folded[:, :count] = places
    y, x = folded.reshape(2, -1, ROW_LENGTH)
    for step_px in way_px:
        moved = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        moved *= np.float32(step_px) * DRIFT_STEPS_PER_PX
        np.rint(moved, out=moved)
        moved /= DRIFT_STEPS_PER_PX
        np.clip(y + moved[..., 0], 0, height - 1, out=y)
        np.clip(x + moved[..., 1], 0, width - 1, out=x)
    return folded[:, :count]


def _track_in_blocks(
    flow: np.ndarray, foreground_mask: np.ndarray, make_field: MakeField, move: Move, reach_px: float
) -> np.ndarray:
    """Track pixels block by block; each block sees as far beyond its own pixels as they can come."""
    margin = math.ceil(reach_px) + 4
    core = MAX_SIDE_PX - 2 * margin
    height, width = foreground_mask.shape
    ends = np.zeros((2, height, width), np.float32)
    for top in range(0, height, core):
        for left in range(0, width, core):
            y, x = max(top - margin, 0), max(left - margin, 0)
            outer = (slice(y, top + core + margin), slice(x, left + core + margin))
            mask = foreground_mask[outer]
            block = np.zeros((2, *mask.shape), np.float32)
            corner = np.array([[y], [x]], np.float32)
            block[:, mask] = track_pixels(flow[:, *outer], mask, make_field, move, reach_px) + corner
            inner = block[:, top - y : top - y + core, left - x : left - x + core]
            ends[:, top : top + core, left : left + core] = inner
    return ends[:, foreground_mask]


def drop_contradicted(
    labels: np.ndarray, flow: np.ndarray, flow_threshold: float, expect: Expect = flow_bands
) -> np.ndarray:
    """Drop the cells whose predicted flow is not the flow of their shape.

    Parameters
    ----------
    labels : (y, x) uint32 array
        Label image.
    flow : (2, y, x) float32 array
        Predicted flow.
    flow_threshold : float
        Largest mean over the pixels of a cell of the squared length of the difference.
    expect
        Maps labels to the flow of their shapes, as `flow_bands` does.

    Returns
    -------
    (y, x) uint32 array
        Labels renumbered to 1..n in their order.
    """
    ids, squares = [], []
    for rows, expected in expect(labels):
        inside = labels[rows] > 0
        ids.append(labels[rows][inside])
        dy, dx = (one[inside] - other[rows][inside] for one, other in zip(expected, flow, strict=True))
        squares.append(dy**2 + dx**2)
    areas = count_pixels(labels)
    errors = np.bincount(np.concatenate(ids), np.concatenate(squares), minlength=areas.size)
    return keep_objects(labels, areas, (errors <= flow_threshold * areas) & (areas > 0))[0]


def _directions(flow: np.ndarray, foreground_mask: np.ndarray) -> np.ndarray:
    """Blur the flow, each pixel from foreground neighbours only, and bring all but weak flow to length 1.

    Returns
    -------
    (y, x, 2) float32 array
        dy and dx; 0 in the background.
    """
    field = np.empty((*foreground_mask.shape, 2), np.float32)
    for rows, outer, inner in bands_with_halo(foreground_mask.shape, 1):
        weight = foreground_mask[outer].astype(np.float32)
        part = np.dstack([weight * component[outer] for component in flow])
        part = cv2.GaussianBlur(part, (3, 3), FLOW_BLUR_PX, borderType=cv2.BORDER_REPLICATE)[inner]
        share = cv2.GaussianBlur(weight, (3, 3), FLOW_BLUR_PX, borderType=cv2.BORDER_REPLICATE)[inner]
        length = np.sqrt(part[..., 0] ** 2 + part[..., 1] ** 2)
        scale = weight[inner] / np.maximum(length, WEAK_FLOW * share + np.float32(1e-6))
        np.multiply(part, scale[..., None], out=field[rows])
    return field
