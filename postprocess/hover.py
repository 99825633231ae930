"""Cells from the distances to their middles: HoVer maps to labels (sribdmed paper, section 2.2; Graham et al. 2019).

Within a cell the horizontal map rises from -1 at its left end to 1 at its right end, and the vertical one from its
upper to its lower end. From one cell to the next, and to the background, both can only fall: where they fall
steeply there is a border, and what is left of the foreground are the middles of cells.
"""

from __future__ import annotations

from functools import cache

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.flood import flood
from mosaicell.postprocess.maps import Map, check_maps
from mosaicell.postprocess.numbering import Labels
from mosaicell.postprocess.objects import clean_labels, fill_holes, split_disconnected

#: side of the kernel that slopes are measured with; with the published 15 more cells of 10 px run into each other
SLOPE_KERNEL_PX = 11
#: side of the disc that markers are opened with, as published
OPENING_PX = 5
#: side of the blur of the landscape that is flooded, as published
BLUR_PX = 3


def segment_hover(
    foreground: Map,
    horizontal: Map,
    vertical: Map,
    *,
    foreground_threshold: float,
    marker_threshold: float,
    min_marker_px: int = 10,
    min_cell_px: int = 1,
    max_hole_fraction: float = 0.0,
) -> Labels:
    """Turn foreground and distances to the middles of cells into cells, by a watershed from markers.

    Parameters
    ----------
    foreground : float array (y, x)
        Cell probability, 0 to 1.
    horizontal, vertical : float arrays (y, x)
        Distance to the middle of the cell, -1 at its left or upper end and 1 at its right or lower end; about 0 in the
        background.
    foreground_threshold : float
        Foreground is where the probability exceeds this (published: 0.6).
    marker_threshold : float
        Markers are foreground where `measure_borders` finds less than this.
    min_marker_px : int
        Markers of fewer pixels are dropped (published: 100, in the method's first code 10). A piece of foreground
        without any marker is no cell.
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
    The published code stretches both maps and both slopes to 0..1, each between its lowest and highest value in the
    image, and takes markers below 0.4. The steepest fall then decides what counts as a border everywhere else, so cells
    come and go with the part of the image that is looked at, and one outlier is enough to lose them all. The maps have
    a scale of their own: here a fall counts against that from one cell to the next, and a part of an image gives the
    cells of the whole. Of drawn cells of one size that finds as many, of spread ones of many sizes F1 0.95 instead of
    0.85 (`python -m benchmarks.decoders`).
    """
    foreground, horizontal, vertical = check_maps(foreground, horizontal, vertical)
    cells = foreground > foreground_threshold
    borders = measure_borders(horizontal, vertical)
    markers = _find_markers(cells & (borders < marker_threshold), min_marker_px)
    labels = flood(-cv2.GaussianBlur(borders, (BLUR_PX, BLUR_PX), 0), markers, cells)
    return clean_labels(labels, min_px=min_cell_px, max_hole_fraction=max_hole_fraction)


def measure_borders(horizontal: Map, vertical: Map) -> Map:
    """Measure how steeply the maps fall, the horizontal one to the right or the vertical one downwards.

    Parameters
    ----------
    horizontal, vertical : float32 arrays (y, x)
        As in `segment_hover`.

    Returns
    -------
    float32 array (y, x)
        The steeper of both falls: 1 on a straight border between two cells, 0.5 on one between a cell and the
        background, below 0 within cells.
    """
    slope, smooth = _make_kernels()
    return np.maximum(
        cv2.sepFilter2D(horizontal, cv2.CV_32F, -slope, smooth),
        cv2.sepFilter2D(vertical, cv2.CV_32F, smooth, -slope),
    )


@cache
def _make_kernels() -> tuple[Map, Map]:
    """Return Sobel's kernels for the slope along an axis, such that a jump from -1 to 1 has slope 1, and across it."""
    slope, smooth = cv2.getDerivKernels(1, 0, SLOPE_KERNEL_PX, normalize=True)
    return slope.ravel() / np.abs(slope).sum(), smooth.ravel()


def _find_markers(middles: NDArray[np.bool_], min_px: int) -> Labels:
    """Return the 4-connected pieces of the middles of cells, with their holes filled and thin parts cut off."""
    pieces = cc3d.connected_components(middles.view(np.uint8), connectivity=4, out_dtype=np.uint32)
    filled = fill_holes(pieces, 1.0) > 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (OPENING_PX, OPENING_PX))
    return split_disconnected(cv2.morphologyEx(filled.view(np.uint8), cv2.MORPH_OPEN, disc), min_px)
