"""Cell size: measuring it on a first pass, resizing images whose cells the network was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np

from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.bounds import Bounds


def mean_diameter(labels: np.ndarray) -> float:
    """Mean over the cells' pixels of their cell's diameter 2 sqrt(area / pi) in px; NaN without a cell.

    Weighting by pixels keeps the estimate when the cells of a wrong scale come with many fragments.
    """
    areas = count_pixels(labels)[1:].astype(np.float64)
    return float((2 * np.sqrt(areas / math.pi) * areas).sum() / areas.sum()) if areas.any() else math.nan


def median_diameter(labels: np.ndarray) -> float:
    """Median of the cells' diameters 2 sqrt(area / pi) in px; NaN without a cell."""
    areas = count_pixels(labels)[1:]
    return float(np.median(2 * np.sqrt(areas[areas > 0] / math.pi))) if areas.any() else math.nan


def resize_image(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize float32 (c, y, x) by a factor, averaging when it shrinks; sides stay at least 1 px."""
    height, width = (max(1, round(side * scale)) for side in image.shape[1:])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (width, height), interpolation=interpolation) for plane in image])


def read_resized(
    read: Callable[[Bounds], np.ndarray], bounds: Bounds, shape_px: tuple[int, int], resized_px: tuple[int, int]
) -> np.ndarray:
    """Read part of a resized image as `resize_image` makes the whole.

    Parameters
    ----------
    read
        Maps bounds (y0, x0, y1, x1) in px of the image to that part, float32 (c, y, x).
    bounds
        The part of the resized image that is asked for.
    shape_px, resized_px
        Height and width of the image and of the resized image: no side is larger, or none is smaller.

    Returns
    -------
    float32 (c, y, x)
    """
    if resized_px == shape_px:
        return read(bounds)
    if resized_px[0] > shape_px[0] or resized_px[1] > shape_px[1]:
        rows, columns = (
            _between(np.arange(bounds[axis], bounds[axis + 2]), resized_px[axis], shape_px[axis]) for axis in (0, 1)
        )
        corner = int(rows[0][0]), int(columns[0][0])
        part = read((*corner, int(rows[1][-1]) + 1, int(columns[1][-1]) + 1))
        return interpolate(part, corner, bounds, resized_px, shape_px)
    edges = [np.arange(bounds[axis], bounds[axis + 2] + 1) * (shape_px[axis] / resized_px[axis]) for axis in (0, 1)]
    (y0, x0), (y1, x1) = (
        [int(edge[0]) for edge in edges],
        [min(math.ceil(edge[-1]), side) for edge, side in zip(edges, shape_px, strict=True)],
    )
    tall = read((y0, x0, y1, x1))
    reduced = np.stack([_average(_average(plane, edges[0] - y0).T, edges[1] - x0).T for plane in tall])
    return np.ascontiguousarray(reduced)


def _average(plane: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Average the rows of a float32 (y, x) between edges in px, a row that an edge divides by its shares."""
    averages = np.empty((edges.size - 1, plane.shape[1]), np.float32)
    for index, (low, high) in enumerate(pairwise(np.minimum(edges, len(plane)).tolist())):
        covered = np.arange(int(low), math.ceil(high))
        shares = np.minimum(covered + 1, high) - np.maximum(covered, low)
        averages[index] = (shares / shares.sum()).astype(np.float32) @ plane[covered[0] : covered[-1] + 1]
    return averages


def nearest_px(positions: np.ndarray, length_px: int, resized_px: int) -> np.ndarray:
    """Return which pixels of a resized side lie nearest to pixels of the original one, with aligned centres."""
    return ((2 * positions + 1) * resized_px) // (2 * length_px)


def resize_labels(labels: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """Resize a label image to (y, x) by nearest neighbour with aligned centres, exact for any id."""
    rows, columns = (nearest_px(np.arange(n), n, old) for n, old in zip(shape_px, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def resize_map(plane: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """Resize a float32 map (y, x) to a shape (y, x), bilinear."""
    return cv2.resize(plane, (shape_px[1], shape_px[0]), interpolation=cv2.INTER_LINEAR)


def interpolate(
    part: np.ndarray,
    corner: tuple[int, int],
    bounds: Bounds,
    shape_px: tuple[int, int],
    source_px: tuple[int, int],
) -> np.ndarray:
    """Resize part of a plane as `resize_map` resizes the whole: bilinear, with aligned centres.

    Parameters
    ----------
    part
        float32 (..., y, x), cut from planes at `corner` (y, x).
    bounds
        (y0, x0, y1, x1) in px of the resized planes: what to return. Beyond the part its border pixels count.
    shape_px, source_px
        Height and width of the resized planes and of those that the part is from.
    """
    for axis in (1, 0):
        low, high, weight = _between(np.arange(bounds[axis], bounds[axis + 2]), shape_px[axis], source_px[axis])
        near, far = (
            np.take(part, np.clip(places - corner[axis], 0, part.shape[axis - 2] - 1), axis - 2)
            for places in (low, high)
        )
        far -= near
        far *= weight if axis else weight[:, None]
        far += near
        part = far
    return part


def _between(positions: np.ndarray, length_px: int, source_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return between which two pixels of a side pixels of the resized side lie, and the share of the second."""
    places = np.clip((positions + 0.5) * (source_px / length_px) - 0.5, 0, source_px - 1)
    low = places.astype(np.int64)
    return low, np.minimum(low + 1, source_px - 1), (places - low).astype(np.float32)
