"""What is looked at of an image at a scale: all of it where that is held whole, otherwise a mosaic of its windows.

An image of up to 8 megapixels is held whole, reduced or as it is, and enlarged to up to 4 megapixels. Whatever would
have more is tried on a mosaic, and segmented by bands (`mosaicell.answers.slide`) where the trial says so: enlarged
twice at most, as time is short.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from mosaicell.contrast.normalize import Contrast, measure_contrast, show_content, stretch
from mosaicell.contrast.sample import take_sample
from mosaicell.machine.limits import MAX_ENLARGED_PX, SLIDE_FROM_PX, largest_scale
from mosaicell.networks.mosaic import MOSAIC_WINDOWS, WINDOW_PX, draw_mosaic
from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.pixels import ArrayPixels, Pixels, read_all

#: windows of a mosaic that is to be enlarged, each to the size of one that is not
ENLARGED_WINDOWS = 4


class Parts(Protocol):
    """What parts of an image are read from."""

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds."""
        ...


def read_stretched(pixels: Parts, bounds: Bounds, contrast: Contrast) -> np.ndarray:
    """Read part of an image, stretched to float32 (3, y, x) in [0, 1]."""
    return stretch(pixels.read(bounds), contrast, bounds[:2])


class Views:
    """What is looked at of an image at each scale.

    Parameters
    ----------
    pixels
        The image.

    Attributes
    ----------
    pixels
        The image, in memory if it is held whole.
    is_whole
        Whether it is held whole at its own size.
    sample
        Of its pixels.
    largest_scale
        At which it is looked at.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._size_px = math.prod(pixels.shape_px)
        self.largest_scale = largest_scale(self._size_px)
        self.is_whole = self._size_px <= SLIDE_FROM_PX
        self.pixels: Pixels = ArrayPixels(read_all(pixels)) if self.is_whole else pixels
        self.sample = take_sample(self.pixels)
        self._contrasts: dict[tuple[float, float], Contrast] = {}
        self._views: dict[tuple[tuple[float, float], int], np.ndarray] = {}

    def hold(self, scale: float) -> bool:
        """Say whether the image is held whole, resized by a factor."""
        # the same arithmetic as in `largest_scale`: what that gives is held
        return self.is_whole and scale <= max(1.0, math.sqrt(MAX_ENLARGED_PX / self._size_px))

    def contrast(self, percentiles: tuple[float, float]) -> Contrast:
        """Return the contrast of the image between percentiles."""
        if percentiles not in self._contrasts:
            self._contrasts[percentiles] = measure_contrast(self.sample, percentiles)
        return self._contrasts[percentiles]

    def at(self, scale: float, percentiles: tuple[float, float]) -> np.ndarray:
        """Return what is looked at, float32 (3, y, x), stretched between percentiles and not yet resized."""
        window_px = 0 if self.hold(scale) else int(WINDOW_PX / max(1.0, scale))
        windows = MOSAIC_WINDOWS if scale <= 1 else ENLARGED_WINDOWS
        if (percentiles, window_px) not in self._views:
            contrast = self.contrast(percentiles)

            def read(bounds: Bounds) -> np.ndarray:
                return read_stretched(self.pixels, bounds, contrast)

            shape_px = self.pixels.shape_px
            self._views[percentiles, window_px] = (
                draw_mosaic(read, shape_px, show_content(self.sample, contrast), windows, window_px)
                if window_px
                else read((0, 0, *shape_px))
            )
        return self._views[percentiles, window_px]

    def forget(self) -> None:
        """Let go of what was looked at."""
        self._views.clear()
