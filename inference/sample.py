"""A sample of an image: what is measured once about the whole of it, however large it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from inference.pixels import Pixels
from inference.surroundings import Surroundings, find_surroundings

#: percentiles are taken from at most about this many pixels; beyond it they change by less than 0.1 %
SAMPLE_PX = 1_000_000
#: width of the rim beside surroundings that JPEG, whose blocks have 8 px, mixes with them
RIM_PX = 8
#: noise is measured in at most so many windows a side, each of so many px a side
NOISE_WINDOWS, NOISE_WINDOW_PX = 5, 96
#: which of the windows counts, from the one with the least noise: structure passes for noise, not the reverse
NOISE_QUANTILE = 0.25
#: second difference along both axes, to which slopes and straight edges add nothing, and its gain for white noise
SECOND_DIFFERENCE, DIFFERENCE_GAIN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32), 6.0
#: standard deviation of a normal distribution over its median absolute deviation
DEVIATION_OF_MEDIAN = 1.4826


@dataclass(frozen=True)
class Sample:
    """Pixels of an image on a regular grid, and what has to be seen at full resolution.

    Attributes
    ----------
    values
        (y, x, c): every `step`-th pixel of every `step`-th row.
    step
        In px of the image.
    noise
        Standard deviation of each channel's noise from pixel to pixel.
    surroundings
        What around the picture is none, None where there is nothing.
    """

    values: np.ndarray
    step: int
    noise: tuple[float, ...]
    surroundings: Surroundings | None

    @cached_property
    def inside(self) -> np.ndarray:
        """Which of the values belong to the picture for sure, bool (y, x): compression blurs the surroundings' edge."""
        if self.surroundings is None:
            return np.ones(self.values.shape[:2], bool)
        side = 2 * math.ceil(RIM_PX / self.step) + 1
        return ~cv2.dilate(self.surroundings.mask.view(np.uint8), np.ones((side, side), np.uint8)).view(bool)


def take_sample(pixels: Pixels) -> Sample:
    """Sample an image: a million pixels at most, and small windows for its noise."""
    step = sampling_step(pixels.shape_px)
    values = pixels.sample(step)
    return Sample(values, step, measure_noise(pixels), find_surroundings(values, step))


def sampling_step(shape_px: tuple[int, int]) -> int:
    """Every how many rows and columns a pixel is looked at, for an image of this height and width."""
    return max(1, int(np.sqrt(shape_px[0] * shape_px[1] / SAMPLE_PX)))


def measure_noise(pixels: Pixels) -> tuple[float, ...]:
    """Measure the standard deviation of the noise from pixel to pixel, for each channel.

    Returns
    -------
    One number for each channel, 0 for a channel without noise.

    Notes
    -----
    The median of second differences within windows spread over the image: structure coarser than two pixels does not
    show in it. Noise that was smoothed, as by JPEG, is underestimated.
    """
    found = []
    for y in _spread(pixels.shape_px[0]):
        for x in _spread(pixels.shape_px[1]):
            bounds = (y, x, *(min(at + NOISE_WINDOW_PX, side) for at, side in zip((y, x), pixels.shape_px, strict=True)))
            window = pixels.read(bounds).astype(np.float32)
            if min(window.shape[:2]) >= 3:
                found.append([_noise_of(window[..., channel]) for channel in range(window.shape[2])])
    if not found:
        return (0.0,) * pixels.sample(1).shape[2]
    levels = []
    for channel in np.array(found).T:
        # a window without any difference lies in surroundings, or beyond what a camera can show
        noisy = channel[channel > 0]
        levels.append(float(np.quantile(noisy, NOISE_QUANTILE)) if noisy.size else 0.0)
    return tuple(levels)


def _spread(side_px: int) -> list[int]:
    count = min(NOISE_WINDOWS, max(1, side_px // NOISE_WINDOW_PX))
    return np.linspace(0, max(0, side_px - NOISE_WINDOW_PX), count).astype(int).tolist()


def _noise_of(plane: np.ndarray) -> float:
    differences = cv2.filter2D(plane, -1, SECOND_DIFFERENCE)[1:-1, 1:-1]
    with np.errstate(invalid="ignore", over="ignore"):
        level = DEVIATION_OF_MEDIAN * float(np.median(np.abs(differences))) / DIFFERENCE_GAIN
    return level if np.isfinite(level) else 0.0
