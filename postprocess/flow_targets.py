"""From a label image to what the flow network learns: flows up the distance field, and boundaries.

The same function makes the training target and judges a decoded cell (the flow-error check of `flows`), so the
two cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mosaicell.postprocess.bands import bands_with_halo
from mosaicell.postprocess.distances import border_distances

SMOOTHING_PASSES = 3
FADE_PX = 16.0


def flows_of_labels(labels: np.ndarray, distance: np.ndarray | None = None) -> np.ndarray:
    """Point every cell pixel up the gradient of its cell's distance field.

    The distance is smoothed inside each cell before it is differentiated, so that the staircase of a pixelated
    outline grows no medial branches; neither step reaches across a label border, where the neighbour counts as
    distance 0. Flows have length 1 along the outline, shrink to 0 on the ridge, where the two sides cancel, and
    fade with depth as exp(-(distance / 16 px)^2): nothing deep inside a large cell decides to which cell a pixel
    belongs, and a network that sees only a tile could not know in which direction the far outline is nearer.

    Parameters
    ----------
    labels : (y, x) integer array
        Label image, 0 is background.
    distance : (y, x) float32 array, optional
        Distance of each cell pixel to the nearest pixel of another label in px, where the caller has it already;
        the image border is no label border. Computed when left out.

    Returns
    -------
    (2, y, x) float32 array
        dy and dx, of length at most 1; 0 in the background, and in a cell without any border in the image.

    Notes
    -----
    Omnipose's flow (Cell Segmenter paper, section 2.2.2) is the unit vector of the unsmoothed field. On the ridge
    that is a direction made of rounding, and every change of width becomes a source or a sink; exact maps of
    drawn and real cells decoded with F1 0.70 instead of 0.94 by the simplest grouping of end points.
    """
    flow = np.empty((2, *labels.shape), np.float32)
    for rows, part in flow_bands(labels, distance):
        flow[:, rows] = part
    return flow


def flow_bands(labels: np.ndarray, distance: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the flows of labels band by band, as a slice of rows and a (2, rows, x) float32 array.

    The parameters are those of `flows_of_labels`.
    """
    if distance is None:
        distance = border_distances(labels)
    for rows, outer, inner in bands_with_halo(labels.shape, SMOOTHING_PASSES + 1):
        part = labels[outer]
        same = [part[1:] == part[:-1], part[:, 1:] == part[:, :-1]]
        depth = np.minimum(distance[outer], 4 * FADE_PX, dtype=np.float32)
        for _ in range(SMOOTHING_PASSES):
            depth = _smooth(depth, same)
        flow = np.stack([_slope(depth, same[axis], axis)[inner] for axis in (0, 1)])
        length = np.sqrt(flow[0] ** 2 + flow[1] ** 2)
        flow *= np.exp(-((depth[inner] / FADE_PX) ** 2)) / np.maximum(length, 1)
        yield rows, flow


def boundary_of_labels(labels: np.ndarray) -> np.ndarray:
    """Mark the pixels of a cell that have a 4-neighbour in another cell or in the background.

    Parameters
    ----------
    labels : (y, x) integer array
        Label image, 0 is background.

    Returns
    -------
    (y, x) bool array
        The outermost pixels of every cell; the image border is no boundary.
    """
    boundary = np.zeros(labels.shape, bool)
    differ_y = labels[1:] != labels[:-1]
    differ_x = labels[:, 1:] != labels[:, :-1]
    boundary[1:] |= differ_y
    boundary[:-1] |= differ_y
    boundary[:, 1:] |= differ_x
    boundary[:, :-1] |= differ_x
    return boundary & (labels > 0)


def _smooth(depth: np.ndarray, same: list[np.ndarray]) -> np.ndarray:
    """Weigh a pixel 2 / 6 and its 4 neighbours 1 / 6 each, 0 beyond a label border, itself beyond the image."""
    smooth = 2 * depth
    smooth[1:] += depth[:-1] * same[0]
    smooth[:-1] += depth[1:] * same[0]
    smooth[:, 1:] += depth[:, :-1] * same[1]
    smooth[:, :-1] += depth[:, 1:] * same[1]
    for edge in (np.s_[:1], np.s_[-1:], np.s_[:, :1], np.s_[:, -1:]):
        smooth[edge] += depth[edge]
    smooth *= np.float32(1 / 6)
    return smooth


def _slope(depth: np.ndarray, same: np.ndarray, axis: int) -> np.ndarray:
    """Take central differences along an axis, with 0 beyond a label border, one-sided at the image border."""
    here = np.moveaxis(depth, axis, 0)
    if len(here) < 2:
        return np.zeros_like(depth)
    joined = same if axis == 0 else same.T
    after = here[1:] * joined
    before = here[:-1] * joined
    slope = np.empty_like(here)
    slope[1:-1] = (after[1:] - before[:-1]) / 2
    slope[0] = after[0] - here[0]
    slope[-1] = here[-1] - before[-1]
    return np.moveaxis(slope, 0, axis)
