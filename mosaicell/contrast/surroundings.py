"""Surroundings: the constant area around a picture that is none, as a frame, a rotated scan or no data leave it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

#: a value surrounds the picture when at least this share of the image's border has it
MIN_BORDER_SHARE = 0.15
#: surroundings are at least so many samples thick: single equal values occur in every dark background
MIN_THICKNESS = 7
#: smaller and larger shares of the image count as none
SHARE_RANGE = (0.002, 0.9)
#: at most so many values surround a picture, of which at most so many pieces hold at least this share
MAX_VALUES, MAX_PIECES, MIN_PIECES_SHARE = 2, 3, 0.9
#: the picture beside its surroundings differs from them by at least this share of its own range: otherwise they are the
#: dark background of fluorescence, or the white one of stained tissue
MIN_STEP = 0.2
#: width of the rim beside surroundings that is looked at, in samples
RIM_SAMPLES = 3


@dataclass(frozen=True)
class Surroundings:
    """Where an image is constant from its border on.

    Attributes
    ----------
    mask
        bool (y, x), on the grid of the sample.
    step
        Of that grid, in px of the image.
    values
        (n, c): what the pixels there are.
    """

    mask: np.ndarray
    step: int
    values: np.ndarray

    def __reduce__(self) -> tuple[Callable[..., Surroundings], tuple[Any, ...]]:
        # a million samples go along with each task of a cluster
        packed = zlib.compress(np.packbits(self.mask).tobytes(), 1)
        return _unpack, (packed, self.mask.shape, self.step, self.values)

    def cover(self, pixels: np.ndarray, origin_px: tuple[int, int]) -> np.ndarray:
        """Return which pixels of a part of the image belong to the surroundings.

        Parameters
        ----------
        pixels
            (y, x, c), the part.
        origin_px
            Its first row and column in px of the image.

        Returns
        -------
        bool (y, x): those of one of the values with a sample of the surroundings beside them.
        """
        near = self.mask
        if self.step > 1:
            near = cv2.dilate(near.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
        rows, columns = (
            np.minimum(np.arange(start, start + length) // self.step, side - 1)
            for start, length, side in zip(origin_px, pixels.shape[:2], near.shape, strict=True)
        )
        return near[rows[:, None], columns] & _has_value(pixels, self.values)


def _unpack(packed: bytes, shape: tuple[int, int], step: int, values: np.ndarray) -> Surroundings:
    bits = np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=shape[0] * shape[1])
    return Surroundings(bits.view(bool).reshape(shape), step, values)


def find_surroundings(sample: np.ndarray, step: int) -> Surroundings | None:
    """Find the constant area around a picture.

    Parameters
    ----------
    sample
        (y, x, c): pixels on a regular grid over the whole image.
    step
        Of that grid, in px.

    Notes
    -----
    Such an area touches the border, nowhere is thin, leaves few pieces, and ends in a step: the dark background of an
    8-bit image and a saturated white field are even too, but what they surround fades into them.
    """
    border = np.concatenate([sample[0], sample[-1], sample[:, 0], sample[:, -1]])
    values, counts = np.unique(border, axis=0, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:MAX_VALUES]
    values = values[common[counts[common] >= MIN_BORDER_SHARE * len(border)]]
    kernel = np.ones((MIN_THICKNESS, MIN_THICKNESS), np.uint8)
    mask = np.zeros(sample.shape[:2], bool)
    kept = list[np.ndarray]()
    for value in values:
        equal = _has_value(sample, value[None]).view(np.uint8)
        # beyond the border the area goes on
        thick = cv2.morphologyEx(
            cv2.copyMakeBorder(equal, *(MIN_THICKNESS,) * 4, cv2.BORDER_REPLICATE), cv2.MORPH_OPEN, kernel
        )[MIN_THICKNESS:-MIN_THICKNESS, MIN_THICKNESS:-MIN_THICKNESS]
        pieces = cv2.connectedComponents(np.ascontiguousarray(thick), connectivity=4)[1]
        outer = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
        around = np.isin(pieces, outer[outer > 0])
        if around.any() and _ends_in_step(sample, around, value):
            kept.append(value)
            mask |= around
    if not kept or not SHARE_RANGE[0] <= mask.mean() <= SHARE_RANGE[1] or not _leaves_few_pieces(mask):
        return None
    return Surroundings(mask, step, np.array(kept))


def _ends_in_step(sample: np.ndarray, around: np.ndarray, value: np.ndarray) -> bool:
    """Say whether the picture differs, in one channel at least, from the area around it right where that ends."""
    kernel = np.ones((3, 3), np.uint8)
    near, far = (
        cv2.dilate(around.view(np.uint8), kernel, iterations=count).view(bool) for count in (1, RIM_SAMPLES + 1)
    )
    rim = sample[far & ~near].astype(np.float64)
    if not len(rim):
        return False
    low, high = np.percentile(sample[~around].astype(np.float64), (1, 99), axis=0)
    # an even picture is no picture: one cell of a binary image
    return bool(((np.abs(np.median(rim, axis=0) - value) > MIN_STEP * (high - low)) & (high > low)).any())


def _leaves_few_pieces(mask: np.ndarray) -> bool:
    areas = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    return bool(np.sort(areas)[-MAX_PIECES:].sum() >= MIN_PIECES_SHARE * areas.sum())


def _has_value(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    equal = np.zeros(pixels.shape[:2], bool)
    for value in values:
        equal |= (pixels == value).all(axis=2)
    return equal
