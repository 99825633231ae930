"""Stripes: rows, columns or waves that run through a whole image, of a lamp that flickers, a sensor, interference."""

from __future__ import annotations

import cv2
import numpy as np

#: stripes are looked for in the middle of an image, in at most so many px a side, as they run through all of it, and in
#: at least so many: in the image of one channel the row of cells is a stripe
MOST_PX, LEAST_PX = 384, 128
#: pixels so far apart have no noise in common, also where an image was interpolated
APART_PX = 2
#: what changes as slowly as a quadratic function is the lamp's; it is fitted to blocks of so many px a side
BLOCK_PX = 8
#: smoothing and slopes of pixels so near to the border depend on what lies beyond it
BORDER_PX = 4
#: share of what an image shows beside noise that lies in stripes: of 1,006 labelled images those of `LEAST_PX` and more
#: have 0.74 at most, all but one 0.48; stripes in which a network found cells have 0.97 to 1
LEAST_SHARE = 0.9
#: share of an image's variance, slow changes among it, that stripes have at least
LEAST_OF_ALL = 0.01


def find_stripes(plane: np.ndarray) -> float | None:
    """Find stripes that are nearly all that an image shows.

    Parameters
    ----------
    plane
        float32 (y, x).

    Returns
    -------
    The angle in rad from the x axis to the direction in which brightness changes; None without stripes.

    Notes
    -----
    Rows, columns and what lies across the steepest slopes are tried.
    """
    height, width = (min(side, MOST_PX) for side in plane.shape)
    top, left = (plane.shape[0] - height) // 2, (plane.shape[1] - width) // 2
    middle = np.ascontiguousarray(plane[top : top + height, left : left + width])
    if min(middle.shape) < LEAST_PX:
        return None
    steepest = _steepest_angle(middle)
    for angle, turned in ((np.pi / 2, middle), (0.0, middle.T), (steepest, _turn(middle, steepest))):
        if min(turned.shape) >= LEAST_PX and _share_of_rows(turned) >= LEAST_SHARE:
            return angle
    return None


def split_stripes(plane: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Split an image float32 (y, x) into stripes under an angle, lines of one brightness each, and the rest."""
    y, x = np.arange(plane.shape[0], dtype=np.float32)[:, None], np.arange(plane.shape[1], dtype=np.float32)
    lines = np.rint(y * np.float32(np.sin(angle)) + x * np.float32(np.cos(angle))).astype(np.int32)
    lines -= lines.min()
    counts = np.bincount(lines.ravel())
    profile = np.bincount(lines.ravel(), plane.ravel()) / np.maximum(counts, 1)
    stripes = profile.astype(np.float32)[lines]
    return stripes, plane - stripes


def _steepest_angle(plane: np.ndarray) -> float:
    """Return the direction in which brightness changes most, by the structure tensor of all pixels."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 1.0)
    # at the border an image is continued by its mirror image, in which stripes turn
    inner = np.s_[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    along_x, along_y = cv2.Scharr(smooth, cv2.CV_32F, 1, 0)[inner], cv2.Scharr(smooth, cv2.CV_32F, 0, 1)[inner]
    xx, yy, xy = (
        float(np.mean(first * second, dtype=np.float64))
        for first, second in ((along_x, along_x), (along_y, along_y), (along_x, along_y))
    )
    return float(np.arctan2(2 * xy, xx - yy) / 2)


def _turn(plane: np.ndarray, angle: float) -> np.ndarray:
    """Turn an image (y, x) so that stripes under an angle become rows, and cut out the square that is seen whole."""
    height, width = plane.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), np.degrees(angle) - 90, 1.0)
    turned = cv2.warpAffine(plane, turn, (width, height), flags=cv2.INTER_LINEAR)
    half = int(min(height, width) / np.sqrt(2)) // 2
    return turned[height // 2 - half : height // 2 + half, width // 2 - half : width // 2 + half]


def _share_of_rows(plane: np.ndarray) -> float:
    """Return which share of what an image (y, x) shows beside noise is differences between its rows."""
    flat = _flatten(plane)
    means = flat.mean(axis=1, keepdims=True)
    rest = flat - means
    # the mean of a row has a share of the noise too, and differs from others by chance by as much
    chance = float(rest.var()) / flat.shape[1]
    stripes = float(means.var()) - chance
    if stripes <= max(chance, LEAST_OF_ALL * float(plane.var())):
        return 0.0
    other = float((rest[:, :-APART_PX] * rest[:, APART_PX:]).mean())
    return stripes / (stripes + max(other, 0.0))


def _flatten(plane: np.ndarray) -> np.ndarray:
    """Subtract from an image (y, x) the quadratic function that fits it best."""
    height, width = (side // BLOCK_PX for side in plane.shape)
    blocks = plane[: height * BLOCK_PX, : width * BLOCK_PX].reshape(height, BLOCK_PX, width, BLOCK_PX)
    values = blocks.mean(axis=(1, 3), dtype=np.float64)
    fitted = np.linalg.lstsq(_quadratic_terms(values.shape), values.ravel(), rcond=None)[0]
    y, x = _centred(plane.shape)
    constant, by_y, by_x, by_yy, by_xx, by_yx = fitted.astype(np.float32)
    return plane - ((constant + by_y * y + by_yy * y**2) + (by_x * x + by_xx * x**2) + by_yx * y * x)


def _quadratic_terms(shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.broadcast_arrays(*_centred(shape))
    return np.stack([np.ones(shape), y, x, y**2, x**2, y * x], axis=-1).reshape(-1, 6)


def _centred(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (y, 1) and (x,) of pixels, from -1 to 1."""
    return np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None], np.linspace(-1, 1, shape[1], dtype=np.float32)
