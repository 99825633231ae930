"""What the decoder of distance fields is held against: the three watershed passes of MAUNet, one after the other."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import feature, measure, morphology, segmentation

from mosaicell.postprocess.distance_watershed import MAX_BLUR_PX

Labels = NDArray[np.integer]
Map = NDArray[np.float32]


def flood_three_times(
    foreground: Map,
    distance: Map,
    interior: Map,
    *,
    foreground_threshold: float,
    interior_threshold: float,
    marker_threshold: float,
    peak_threshold: float,
    min_marker_px: int,
    min_unmarked_px: int | None,
    min_cell_px: int,
    max_hole_fraction: float,
) -> Labels:
    """Decode as `postprocess.distance_watershed.segment_distances` does, with scikit-image and OpenCV.

    Holes are not filled: `max_hole_fraction` must be 0.
    """
    assert not max_hole_fraction
    core = morphology.remove_small_objects(interior > interior_threshold, max_size=min_marker_px - 1, connectivity=1)
    pieces = measure.label(core, connectivity=1)
    if not pieces.max():
        return pieces
    side = int(math.sqrt(np.count_nonzero(core) / pieces.max()))
    side = min(side + 1 + side % 2, MAX_BLUR_PX)
    heights = cv2.GaussianBlur(distance.clip(0, 1), (side, side), 0)
    labels = _flood(heights, measure.label(core & (heights > marker_threshold), connectivity=1), core)
    rest = core & (labels == 0)
    peaks = np.zeros_like(core)
    found = feature.peak_local_max(heights, min_distance=side // 4, threshold_abs=peak_threshold, exclude_border=False)
    peaks[tuple(found.T)] = True
    second = _flood(heights, measure.label(peaks & rest, connectivity=1), rest)
    if min_unmarked_px is not None:
        third = morphology.remove_small_objects(rest & (second == 0), max_size=min_unmarked_px - 1, connectivity=1)
        second = _join(second, measure.label(third, connectivity=1))
    labels = _flood(heights, _join(labels, second), core | (foreground > foreground_threshold))
    labels = morphology.remove_small_objects(measure.label(labels, connectivity=1), max_size=min_cell_px - 1)
    return segmentation.relabel_sequential(labels)[0]


def _flood(heights: Map, markers: Labels, mask: NDArray[np.bool_]) -> Labels:
    return segmentation.watershed(-heights, markers, connectivity=1, mask=mask)


def _join(labels: Labels, others: Labels) -> Labels:
    return np.where(others > 0, others + labels.max(), labels)
