"""Debris: one or two objects that outshine everything else in an image, and are no cells."""

from __future__ import annotations

import cv2
import numpy as np

#: so many objects at most pass for debris, when nothing else reaches this share of their height
MAX_DEBRIS, DEBRIS_FRACTION = 2, 0.25
#: and when they do not cover more of the image than this
MAX_DEBRIS_SHARE = 0.1
#: the extremes of an image, hot pixels apart
EXTREME_PERCENTILE = 99.98
#: how far around debris its light reaches, as a share of its diameter, and in samples at least
HALO_FRACTION, MIN_HALO = 0.25, 5


def find_debris(heights: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Find what outshines the rest of an image.

    Parameters
    ----------
    heights
        (y, x), how far samples of a channel lie to one side of its median, single pixels smoothed away.
    counted
        bool (y, x), which of them count.

    Returns
    -------
    bool (y, x), where one or two objects are that alone rise above a quarter of the highest, with the light around
    them, and how many samples they cover without that; None where there are more or none, or where they cover a tenth.
    """
    threshold = DEBRIS_FRACTION * float(np.percentile(heights[counted], EXTREME_PERCENTILE)) if counted.any() else 0.0
    high = (heights > threshold) & counted
    area = int(np.count_nonzero(high))
    if threshold <= 0 or not 0 < area <= MAX_DEBRIS_SHARE * np.count_nonzero(counted):
        return None
    joined = cv2.dilate(high.view(np.uint8), np.ones((3, 3), np.uint8), iterations=2)
    count, _, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    if count - 1 > MAX_DEBRIS:
        return None
    side = int(boxes[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max())
    halo = 2 * max(round(HALO_FRACTION * side), MIN_HALO) + 1
    return cv2.dilate(joined, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (halo, halo))).view(bool), area
