"""What the decoders of star-convex polygons and HoVer maps are held against, as `peers` is for the others."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import draw, measure, morphology, segmentation

from mosaicell.postprocess.hover import measure_borders

Labels = NDArray[np.integer]
Map = NDArray[np.float32]

#: what the published HoVer code measures slopes with, and takes markers below
PUBLISHED_KERNEL_PX, PUBLISHED_THRESHOLD = 15, 0.4


def load_stardist() -> ModuleType | None:
    """Return `stardist.nms`, limited to one thread, or None where stardist is not installed."""
    # its own library of threads reads this when it is loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        return import_module("stardist.nms")
    except ModuleNotFoundError:
        return None


def suppress_with_stardist(
    nms: ModuleType, centres: Map, rays: Map, scores: Map, overlap_threshold: float
) -> NDArray[np.intp]:
    """Return the indices of the polygons that StarDist's compiled code keeps, by falling score."""
    order = np.argsort(-scores, kind="stable")
    kept = nms.non_maximum_suppression_inds(
        rays[order], centres[order], scores[order], thresh=overlap_threshold, verbose=0
    )
    return order[kept]


def paint_one_by_one(centres: Map, rays: Map, scores: Map, shape_px: tuple[int, int]) -> Labels:
    """Paint polygons with scikit-image, the surest last."""
    angles = 2 * np.pi * np.arange(rays.shape[1]) / rays.shape[1]
    labels = np.zeros(shape_px, np.uint32)
    order = np.argsort(-scores, kind="stable")
    for number, index in reversed(list(enumerate(order, start=1))):
        # for scikit-image whole numbers are the centres of pixels
        y, x = centres[index] - 0.5
        inside = draw.polygon(y + rays[index] * np.sin(angles), x + rays[index] * np.cos(angles), shape_px)
        labels[inside] = number
    return labels


def segment_hover_with_skimage(
    maps: Map, *, foreground_threshold: float, marker_threshold: float, min_marker_px: int
) -> Labels:
    """Decode as `postprocess.hover.segment_hover` does, with the labelling and flood of scikit-image."""
    cells = maps[0] > foreground_threshold
    borders = measure_borders(maps[1], maps[2])
    markers = _open_markers(cells & (borders < marker_threshold), min_marker_px)
    return segmentation.watershed(cv2.GaussianBlur(borders, (3, 3), 0), markers, connectivity=1, mask=cells)


def segment_hover_as_published(maps: Map, *, foreground_threshold: float, min_marker_px: int) -> Labels:
    """Decode by the published rule: maps and slopes are stretched between their extremes in the image."""
    cells = maps[0] > foreground_threshold
    stretched = [_stretch(distances) for distances in maps[1:]]
    slopes = [
        cv2.Sobel(stretched[0], cv2.CV_32F, 1, 0, ksize=PUBLISHED_KERNEL_PX),
        cv2.Sobel(stretched[1], cv2.CV_32F, 0, 1, ksize=PUBLISHED_KERNEL_PX),
    ]
    borders = np.maximum(*(1 - _stretch(slope) for slope in slopes))
    markers = _open_markers(cells & (borders < PUBLISHED_THRESHOLD), min_marker_px)
    return segmentation.watershed(cv2.GaussianBlur(borders, (3, 3), 0), markers, connectivity=1, mask=cells)


def _stretch(values: Map) -> Map:
    return (values - values.min()) / (values.max() - values.min())


def _open_markers(middles: NDArray[np.bool_], min_px: int) -> Labels:
    filled = ndimage.binary_fill_holes(middles).view(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    pieces = measure.label(cv2.morphologyEx(filled, cv2.MORPH_OPEN, disc), connectivity=1)
    return morphology.remove_small_objects(pieces, max_size=min_px - 1)
