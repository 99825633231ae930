"""Samples of pixels as they are segmented: one or three of uint8, uint16 or finite float32."""

from __future__ import annotations

import numpy as np

from mosaicell.errors import ImageError


def limit_samples(array: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return pixels (y, x, 1 or 3) of uint8, uint16 or finite float32, C-contiguous.

    Parameters
    ----------
    array:
        (y, x) or (y, x, c), any type.
    notes:
        Gets every decision taken for the user, in words.

    Raises
    ------
    ImageError
        If the samples are neither integers nor floats.

    Notes
    -----
    Two samples become red and green, with blue 0; of more than three the first three are taken. 1-bit becomes 0 and
    255, what else is neither uint8 nor uint16 float32, where NaN and infinity become 0.
    """
    return _limit_dtype(_limit_count(array, notes), notes)


def _limit_count(array: np.ndarray, notes: list[str]) -> np.ndarray:
    if array.ndim == 2:
        return array[..., None]
    count = array.shape[2]
    if count == 2:
        notes.append("2 samples a pixel: used as red and green, blue is 0")
        return np.concatenate([array, np.zeros_like(array[..., :1])], axis=2)
    if count > 3:
        notes.append(f"{count} samples a pixel: the first three are used")
        return array[..., :3]
    return array


def _limit_dtype(pixels: np.ndarray, notes: list[str]) -> np.ndarray:
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind not in "iuf":
        raise ImageError(f"has samples of type {pixels.dtype}; allowed are integers and floats")
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = pixels.astype(np.float32, order="C")
    finite = np.isfinite(pixels)
    if not finite.all():
        notes.append(f"{finite.size - np.count_nonzero(finite):,} values are NaN, infinite or beyond float32: set to 0")
        pixels[~finite] = 0
    return pixels
