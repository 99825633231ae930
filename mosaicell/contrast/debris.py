"""Debris: one or two objects that outshine everything else in an image, and are no cells."""

from __future__ import annotations

import cv2
import numpy as np

from mosaicell.contrast.noise import measure_deviation

#: so many objects at most pass for debris, when nothing else reaches this share of their height
MAX_DEBRIS, DEBRIS_FRACTION = 2, 0.25
#: and when they do not cover more of the image than this
MAX_DEBRIS_SHARE = 0.1
#: how far around debris its light reaches, as a share of its diameter, and in samples at least
HALO_FRACTION, MIN_HALO = 0.25, 5
#: what is left shows cells, not the grain of a background, if its range (these percentiles) is more standard deviations
#: of what differs from one square of so many px a side to the next: grain of 2 px has 14, dense cells of 10 px 21
REST_PERCENTILES, MIN_REST_NOISE, GRAIN_PX = (1.0, 99.0), 17.0, 4


def find_debris(heights: np.ndarray, counted: np.ndarray, step: int) -> tuple[np.ndarray, int] | None:
    """Find what outshines the rest of an image.

    Parameters
    ----------
    heights
        (y, x), how far samples of a channel lie to one side of its median, single pixels smoothed away.
    counted
        bool (y, x), which of them count.
    step
        In px of the image, from one sample to the next.

    Returns
    -------
    bool (y, x), where one or two objects are that alone rise above a quarter of the highest, with the light around
    them, and how many samples they cover without that; None where there are more or none, where they cover a tenth, or
    where nothing else is seen: then they are a cluster of cells.
    """
    threshold = DEBRIS_FRACTION * float(heights[counted].max(initial=0))
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
    mask = cv2.dilate(joined, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (halo, halo))).view(bool)
    return (mask, area) if _shows_something(heights, counted & ~mask, step) else None


def _shows_something(heights: np.ndarray, rest: np.ndarray, step: int) -> bool:
    """Say whether the rest (y, x) of a plane spans far more than its noise and its grain."""
    side = max(1, GRAIN_PX // step)
    shape = heights.shape[1] // side, heights.shape[0] // side
    if not rest.any() or min(shape) < 3:
        return False
    low, high = np.percentile(heights[rest], REST_PERCENTILES).tolist()
    whole = np.s_[: shape[1] * side, : shape[0] * side]
    squares = cv2.resize(heights[whole], shape, interpolation=cv2.INTER_AREA)
    counted = cv2.resize(rest[whole].astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 0
    return bool(high - low > MIN_REST_NOISE * measure_deviation(squares, counted))
