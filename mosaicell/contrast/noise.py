"""Noise of a plane: what differs from one value to the next, whatever slopes and edges there are."""

from __future__ import annotations

import cv2
import numpy as np

#: second difference along both axes, to which slopes and straight edges add nothing, and its gain for white noise
SECOND_DIFFERENCE, DIFFERENCE_GAIN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32), 6.0
#: standard deviation of a normal distribution over its median absolute deviation
DEVIATION_OF_MEDIAN = 1.4826


def measure_deviation(plane: np.ndarray, counted: np.ndarray | None = None) -> float:
    """Return the standard deviation of the noise of a plane.

    Parameters
    ----------
    plane
        float32 (y, x), of at least 3 x 3 values.
    counted
        bool (y, x), around which values it is measured; by default all.

    Returns
    -------
    0 where nothing counts, or the values are too large to be squared.
    """
    differences = cv2.filter2D(plane, -1, SECOND_DIFFERENCE)[1:-1, 1:-1]
    if counted is not None:
        differences = differences[counted[1:-1, 1:-1]]
    if not differences.size:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        level = DEVIATION_OF_MEDIAN * float(np.median(np.abs(differences))) / DIFFERENCE_GAIN
    return level if np.isfinite(level) else 0.0
