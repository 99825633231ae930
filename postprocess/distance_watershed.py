"""Watershed from markers in a distance field: MAUNet maps to labels (MAUNet paper, section 2.3)."""

from __future__ import annotations

import math

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.flood import flood
from mosaicell.postprocess.maps import Map, check_maps
from mosaicell.postprocess.numbering import Labels, keep_objects
from mosaicell.postprocess.objects import clean_labels
from mosaicell.postprocess.watershed import add_pieces, find_unmarked

#: side of the largest blur in px: a larger one would reach beyond the margin of a block before it smooths any better
MAX_BLUR_PX = 95


def segment_distances(
    foreground: Map,
    distance: Map,
    interior: Map,
    *,
    foreground_threshold: float,
    interior_threshold: float,
    marker_threshold: float,
    peak_threshold: float,
    blur_px: int | None = None,
    min_marker_px: int = 16,
    min_unmarked_px: int | None = None,
    min_cell_px: int = 1,
    max_hole_fraction: float = 0.0,
) -> Labels:
    """Turn foreground, interior and distance into cells with the three watershed passes of paper section 2.3.

    Parameters
    ----------
    foreground, interior : float arrays (y, x)
        Probability of any cell, and of its interior, 0 to 1.
    distance : float array (y, x)
        1 in the middle of a cell, falling towards its rim, 0 in the background.
    foreground_threshold, interior_threshold : float
        Foreground and interior are where the probability exceeds these (published: 0.7 both).
    marker_threshold : float
        Markers of the first pass are interior where the blurred distance exceeds this (paper: 0.8; published code: 0.85
        of its largest value in the image).
    peak_threshold : float
        Markers of the second pass are local maxima above this, in pieces of the interior that have none of the first
        (published code: 0.6 of the largest value in the image).
    blur_px : int or None
        Side of the Gaussian kernel, from `measure_blur` of the whole image of which this may be a part; with None from
        that of these maps.
    min_marker_px : int
        Pieces of the interior of fewer pixels do not count (published code: 16).
    min_unmarked_px : int or None
        A piece of the interior without a marker of either pass is one itself when it has at least this many pixels;
        with None, the published rule, it has none.
    min_cell_px, max_hole_fraction
        As in `objects.clean_labels`.

    Returns
    -------
    uint32 array (y, x)
        Label image, 1..n without gaps, every cell 4-connected.

    Raises
    ------
    ValueError
        When maps differ in shape or hold NaN or infinity.

    Notes
    -----
    The distance is 1 in the middle of every cell by its definition, so both thresholds are absolute: the largest value
    in the image, against which the published code holds them, changes with the part that is looked at.

    The first pass floods the interior from its markers and fills every piece that holds one; the second floods the
    pieces that are left; the third goes on from both into the foreground. One flood that takes all of the interior
    before anything else does the same at once. Published is a flood of masks, in which a border lies halfway between
    two markers; here pixels are taken in order of falling distance, so that it lies where the distance is lowest.
    """
    foreground, distance, interior = check_maps(foreground, distance, interior)
    parts, areas = _find_parts(interior, interior_threshold, min_marker_px)
    if areas.size == 1:
        return np.zeros(foreground.shape, np.uint32)
    core = parts > 0
    if blur_px is None:
        blur_px = _choose_blur(areas)
    # an outlier is no deeper than the middle of a cell
    heights = cv2.GaussianBlur(distance.clip(0, 1), (blur_px, blur_px), 0)
    markers = np.zeros(foreground.shape, np.uint32)
    add_pieces(markers, core & (heights > marker_threshold), 1)
    add_pieces(markers, find_unmarked(parts, markers) & _find_peaks(heights, blur_px // 4, peak_threshold), 1)
    if min_unmarked_px is not None:
        add_pieces(markers, find_unmarked(parts, markers), min_unmarked_px)
    # heights are 1 at most: all of the interior that the first passes fill lies above everything else
    heights += core & ~find_unmarked(parts, markers)
    labels = flood(heights, markers, core | (foreground > foreground_threshold))
    return clean_labels(labels, min_px=min_cell_px, max_hole_fraction=max_hole_fraction)


def measure_blur(interior: Map, interior_threshold: float, min_marker_px: int) -> int:
    """Return the side in px, odd, of the kernel for an image: the root of the mean area of the pieces of its interior.

    Parameters
    ----------
    interior : float array (y, x)
    interior_threshold, min_marker_px
        As in `segment_distances`.

    Returns
    -------
    int
        1, which blurs nothing, without any interior; `MAX_BLUR_PX` at most.
    """
    return _choose_blur(_find_parts(interior, interior_threshold, min_marker_px)[1])


def _find_parts(interior: Map, threshold: float, min_px: int) -> tuple[Labels, NDArray[np.int64]]:
    """Return the 4-connected pieces of the interior that are large enough, with the pixels of each id from 0."""
    parts = cc3d.connected_components((interior > threshold).view(np.uint8), connectivity=4, out_dtype=np.uint32)
    areas = count_pixels(parts)
    return keep_objects(parts.astype(np.uint32, copy=False), areas, areas >= min_px)


def _choose_blur(areas: NDArray[np.int64]) -> int:
    if areas.size == 1:
        return 1
    side = int(math.sqrt(areas[1:].mean()))
    # the published way to an odd number
    return min(side + 1 + side % 2, MAX_BLUR_PX)


def _find_peaks(heights: Map, reach_px: int, threshold: float) -> NDArray[np.bool_]:
    """Mark the pixels above a threshold that no pixel within so many px to every side exceeds."""
    around = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
    return (heights > threshold) & (heights == cv2.dilate(heights, around))
