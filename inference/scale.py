"""Cell size: measuring it on a first pass, resizing images whose cells the network was not trained on."""

from __future__ import annotations

import math

import cv2
import numpy as np


def mean_diameter(labels: np.ndarray) -> float:
    """Mean over the cells' pixels of their cell's diameter 2 sqrt(area / pi) in px; NaN without a cell.

    Weighting by pixels keeps the estimate when the cells of a wrong scale come with many fragments.
    """
    areas = np.bincount(labels.ravel())[1:].astype(np.float64)
    return float((2 * np.sqrt(areas / math.pi) * areas).sum() / areas.sum()) if areas.any() else math.nan


def resize_image(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize float32 (c, y, x) by a factor, averaging when it shrinks; sides stay at least 1 px."""
    height, width = (max(1, round(side * scale)) for side in image.shape[1:])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (width, height), interpolation=interpolation) for plane in image])


def resize_labels(labels: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """Resize a label image to (y, x) by nearest neighbour with aligned centres, exact for any id."""
    rows, columns = (((2 * np.arange(n) + 1) * old) // (2 * n) for n, old in zip(shape_px, labels.shape, strict=True))
    return labels[rows[:, None], columns]


def resize_map(plane: np.ndarray, shape_px: tuple[int, int]) -> np.ndarray:
    """Resize a float32 map (y, x) to a shape (y, x), bilinear."""
    return cv2.resize(plane, (shape_px[1], shape_px[0]), interpolation=cv2.INTER_LINEAR)
