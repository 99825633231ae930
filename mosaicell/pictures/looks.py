"""What planes of a file show, measured on a look at each: its sharpness, its signal, and whether planes are alike.

A look is the whole of a small plane, or windows spread over a large one, at full resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from mosaicell.contrast.sample import measure_noise, smooth_plane
from mosaicell.reading.pixels import Pixels

#: planes of more pixels are looked at in windows, so many a side and each of so many px a side
WHOLE_LOOK_PX, LOOK_WINDOWS, LOOK_WINDOW_PX = 1_500_000, 3, 384
#: the same where many looks are compared
SHORT_LOOK_PX, SHORT_WINDOW_PX = 500_000, 192
#: standard deviations in px of the blurs that leave cells and their edges, but little of a camera's noise
SHAPE_BLUR_PX, EDGE_BLUR_PX = 2.0, 1.5
#: a plane's signal reaches from this percentile to the highest value: a few cells lie beyond any other percentile
DARK_PERCENTILE = 1.0
#: larger values are no measurement, and their squares would be too large for float32
LARGEST_VALUE = 1e12
#: planes whose structures correlate by more show the same: planes of a stack have 0.95, stains of other things 0 to 0.5
ALIKE_CORRELATION = 0.6
#: percentiles of frames of one camera, and by how much of their range they may differ
LEVEL_PERCENTILES, MAX_LEVEL_DIFFERENCE = (1.0, 50.0, 99.0), 0.1
#: by so much the signals of frames of one camera may differ
SIGNAL_RATIO = 2.0
#: edges of planes at different focus differ by more, for the same contrast
FOCUS_RATIO = 3.0


def look_at(pixels: Pixels, *, shortly: bool = False) -> np.ndarray:
    """Look at a picture: float32 (y, x), the mean of its colours.

    Parameters
    ----------
    pixels
        The picture.
    shortly
        Look at less of it, as many looks are to be compared with each other.
    """
    height, width = pixels.shape_px
    most_px, window_px = (SHORT_LOOK_PX, SHORT_WINDOW_PX) if shortly else (WHOLE_LOOK_PX, LOOK_WINDOW_PX)
    if height * width <= most_px:
        return _grey(pixels.read((0, 0, height, width)))
    rows, columns = _spread(height, window_px), _spread(width, window_px)
    bands = []
    for y in rows:
        bottom = min(y + window_px, height)
        parts = [pixels.read((y, x, bottom, min(x + window_px, width))) for x in columns]
        bands.append(np.concatenate([_grey(part) for part in parts], axis=1))
    return np.concatenate(bands)


def _grey(part: np.ndarray) -> np.ndarray:
    return part.mean(axis=2, dtype=np.float64).clip(-LARGEST_VALUE, LARGEST_VALUE).astype(np.float32)


def _spread(side_px: int, window_px: int) -> list[int]:
    """Return where windows begin, in the middle of equal parts of a side."""
    if side_px <= window_px:
        return [0]
    count = min(LOOK_WINDOWS, side_px // window_px)
    return [int((index + 0.5) * side_px / count - window_px / 2) for index in range(count)]


def measure_sharpness(look: np.ndarray) -> float:
    """Return the variance of the Laplacian of a look without its noise: the higher, the better in focus."""
    return float(cv2.Laplacian(_blur(look, EDGE_BLUR_PX), cv2.CV_32F).var(dtype=np.float64))


def measure_signal(look: np.ndarray) -> float:
    """Return the range of what a look shows, in standard deviations of its noise.

    Returns
    -------
    About 1 for noise alone; 0 for a constant plane, infinity for one without noise.
    """
    # single hot pixels are no signal
    shown = _blur(smooth_plane(look), SHAPE_BLUR_PX)
    span = float(shown.max()) - float(np.percentile(shown, DARK_PERCENTILE))
    noise = measure_noise([look[..., None]], 1)[0] if min(look.shape) >= 3 else 0.0
    return span / noise if noise else math.inf if span > 0 else 0.0


def are_alike(looks: Sequence[np.ndarray]) -> bool:
    """Say whether planes that follow each other show the same structures, as of a stack and unlike stains."""
    shown = [_blur(look, SHAPE_BLUR_PX) for look in looks]
    found = [_correlate(first, second) for first, second in pairwise(shown)]
    known = [one for one in found if one is not None]
    return bool(known) and float(np.median(known)) >= ALIKE_CORRELATION


def have_equal_levels(looks: Sequence[np.ndarray]) -> bool:
    """Say whether planes have the same distribution of values, as frames of one camera have and colours have not.

    A few cells change no percentile, but the signal.
    """
    signals = [measure_signal(look) for look in looks]
    if max(signals) > SIGNAL_RATIO * min(signals):
        return False
    levels = np.array([np.percentile(look, LEVEL_PERCENTILES) for look in looks])
    span = float((levels[:, -1] - levels[:, 0]).mean())
    return float(np.ptp(levels, axis=0).max()) <= MAX_LEVEL_DIFFERENCE * span


def differ_in_focus(looks: Sequence[np.ndarray]) -> bool:
    """Say whether the edges in planes differ by more than their contrast does."""
    found = [measure_sharpness(look) / max(float(look.var(dtype=np.float64)), 1e-30) for look in looks]
    return max(found) > FOCUS_RATIO * min(found)


def _blur(look: np.ndarray, sigma_px: float) -> np.ndarray:
    return cv2.GaussianBlur(look, (0, 0), sigma_px)


def _correlate(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the correlation of two planes, None where one is constant."""
    first, second = (plane.astype(np.float64) - plane.mean(dtype=np.float64) for plane in (first, second))
    scale = math.sqrt(float((first**2).sum()) * float((second**2).sum()))
    return float((first * second).sum()) / scale if scale > 0 else None
