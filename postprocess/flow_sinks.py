"""Decode Cellpose's maps: foreground and flow to labels (cvml paper, section 2.4; Stringer et al. 2021).

Every foreground pixel follows the flow step by step until it comes to rest. The pixels that come together are a cell.
"""

from __future__ import annotations

from collections.abc import Iterator

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import parts
from mosaicell.postprocess.flows import drift, drop_contradicted, track_pixels
from mosaicell.postprocess.heat_flows import heat_flows
from mosaicell.postprocess.numbering import Labels
from mosaicell.postprocess.objects import fill_holes, keep_largest_pieces

#: so many steps are taken before it is asked who still moves, and who came less far in them, in px, is at rest
ROUND_STEPS, REST_PX = 10, 1.0
#: a sink is where, in 3 x 3 pixels, at least so many pixels ended, and nowhere more within so many px (published)
MIN_SINK_PX, SINK_WINDOW_PX = 10, 5
#: pixels that end farther from a sink belong to no cell (published: within a box of 11 px)
SINK_REACH_PX = 5.0


def segment_heat_flows(
    foreground: np.ndarray,
    flow: np.ndarray,
    *,
    foreground_threshold: float = 0.5,
    flow_threshold: float | None = 0.4,
    steps: int = 200,
    min_size_px: int = 15,
    max_hole_fraction: float = 1.0,
) -> Labels:
    """Turn foreground and heat flows into labels.

    Parameters
    ----------
    foreground : (y, x) float array
        Probability that a pixel lies in a cell.
    flow : (2, y, x) float array
        dy and dx in the form of `heat_flows`.
    foreground_threshold : float
        Pixels above it are cells.
    flow_threshold : float, optional
        A cell is dropped when the mean squared length of (flow - heat flow of its shape) exceeds this (published:
        0.4). None leaves the check out.
    steps : int
        Euler steps of 1 px where the flow has length 1: cells whose ends are farther from their middle come to pieces.
    min_size_px : int
        Smallest cell in px (published: 15).
    max_hole_fraction : float
        Holes below this fraction of their cell's area are filled (published: all).

    Returns
    -------
    (y, x) uint32 array
        Labels 1..n without gaps, each 4-connected, numbered by their first pixel row by row.

    Raises
    ------
    ValueError
        When the shapes do not belong together, or a map holds NaN or infinity.

    Notes
    -----
    Pixels whose ends lie together but which do not hang together in the image are no cell: the largest piece stays.
    """
    if foreground.ndim != 2 or flow.shape != (2, *foreground.shape):
        raise ValueError(f"expected foreground (y, x) and flow (2, y, x), got {foreground.shape} and {flow.shape}")
    if not (np.isfinite(foreground).all() and np.isfinite(flow).all()):
        raise ValueError("a map holds NaN or infinity: the network or the blending of tiles failed")
    inside = foreground > foreground_threshold
    if not inside.any():
        return np.zeros(foreground.shape, np.uint32)
    ends = track_pixels(flow, inside, _mask_flow, lambda field, places: come_to_rest(field, places, steps), steps)
    cells = np.zeros(foreground.shape, np.uint32)
    cells[inside] = nearest_sinks(ends, inside.shape)
    labels = fill_holes(keep_largest_pieces(cells, min_size_px)[0], max_hole_fraction)
    if flow_threshold is None:
        return labels
    return drop_contradicted(labels, flow, flow_threshold, _whole_flow)


def come_to_rest(field: np.ndarray, places: np.ndarray, steps: int) -> np.ndarray:
    """Let pixels follow a field until they come no further.

    Parameters
    ----------
    field : (y, x, 2) float32 array
        dy and dx.
    places : (2, n) float32 array
        y and x in px.
    steps : int
        Most steps, each as long as the field.

    Returns
    -------
    (2, n) float32 array

    Notes
    -----
    Around the middle of a cell pixels step to and fro. Most are there long before the last of the published 200 steps;
    to let them rest saves three quarters of the time.
    """
    ends = places.copy()
    moving = np.arange(places.shape[1])
    for done in range(0, steps, ROUND_STEPS):
        before = ends[:, moving]
        after = drift(field, before, np.ones(min(ROUND_STEPS, steps - done), np.float32))
        ends[:, moving] = after
        moving = moving[np.abs(after - before).max(axis=0) >= REST_PX]
        if not moving.size:
            break
    return ends


def nearest_sinks(ends: np.ndarray, shape_px: tuple[int, int]) -> NDArray[np.uint32]:
    """Find where pixels come together, and say which of these places is nearest to the end of each.

    Parameters
    ----------
    ends : (2, n) float32 array
        y and x in px where pixels ended, inside the image.
    shape_px : (int, int)
        Height and width of the image.

    Returns
    -------
    (n,) uint32 array
        Number of the sink from 1; 0 for a pixel that ended farther than `SINK_REACH_PX` from all.
    """
    size = shape_px[0] * shape_px[1]
    counts = np.zeros(size, np.float32)
    for part in parts(ends.shape[1]):
        counts += np.bincount(_flat(ends[:, part], shape_px), minlength=size)
    gathered = cv2.boxFilter(
        counts.reshape(shape_px), cv2.CV_32F, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    window = np.ones((SINK_WINDOW_PX, SINK_WINDOW_PX), np.uint8)
    is_sink = (gathered >= MIN_SINK_PX) & (gathered == cv2.dilate(gathered, window))
    if not is_sink.any():
        return np.zeros(ends.shape[1], np.uint32)
    # neighbours that tie are one
    sinks = cc3d.connected_components(is_sink.view(np.uint8), connectivity=8, out_dtype=np.uint32)
    away, nearest = cv2.distanceTransformWithLabels(
        (~is_sink).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP
    )
    number = np.zeros(int(nearest.max()) + 1, np.uint32)
    number[nearest[is_sink]] = sinks[is_sink]
    joined = np.where(away <= SINK_REACH_PX, number[nearest], np.uint32(0)).ravel()
    found = np.empty(ends.shape[1], np.uint32)
    for part in parts(ends.shape[1]):
        found[part] = joined[_flat(ends[:, part], shape_px)]
    return found


def _flat(places: np.ndarray, shape_px: tuple[int, int]) -> NDArray[np.intp]:
    """Return the flat indices of the pixels nearest to places, half up: what np.rint does depends on the place."""
    y, x = (places + np.float32(0.5)).astype(np.intp)
    return y * shape_px[1] + x


def _mask_flow(flow: np.ndarray, foreground_mask: np.ndarray) -> np.ndarray:
    """Return the flow as (y, x, 2), 0 in the background."""
    return np.dstack([component * foreground_mask for component in flow]).astype(np.float32, copy=False)


def _whole_flow(labels: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the heat flows of labels in one band: a cell is not to be cut."""
    yield slice(0, len(labels)), heat_flows(labels)
