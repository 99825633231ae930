"""A sample of an image: what is measured once about the whole of it, however large it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mosaicell.contrast.debris import find_debris
from mosaicell.contrast.noise import measure_deviation
from mosaicell.contrast.surroundings import Surroundings, find_surroundings
from mosaicell.reading.pixels import Pixels

#: percentiles are taken from at most about this many pixels; beyond it they change by less than 0.1 %
SAMPLE_PX = 1_000_000
#: width of the rim beside surroundings that JPEG, whose blocks have 8 px, mixes with them
RIM_PX = 8
#: noise is measured in at most so many windows a side, each of so many px a side
NOISE_WINDOWS, NOISE_WINDOW_PX = 5, 96
#: which of the windows counts, from the one with the least noise: structure passes for noise, not the reverse
NOISE_QUANTILE = 0.25
#: side of JPEG's blocks, and how many times as much as within them 8-bit pixels differ across their borders where
#: compression has left little else: 1.5 at most in 99 of 100 labelled images
JPEG_BLOCK_PX, BLOCKY_RATIO = 8, 2.0
#: windows of which a larger share lies in surroundings do not count
MAX_OUTSIDE = 0.1
#: statistics are taken from blocks of so many samples a side that show something, and those beside them
BLOCK_SAMPLES = 32
#: a block shows something when its values differ by more standard deviations of the noise, by more integer steps, and
#: by more times what they differ by in the most even blocks, where no debris makes all others look even
CONTENT_NOISE, CONTENT_STEPS, CONTENT_RATIO = 8.0, 4.0, 3.0
#: steps in an image of which JPEG has left blocks
BLOCKY_CONTENT_STEPS = 16.0
#: which of the blocks, from the most even one, tells that
EVEN_QUANTILE = 0.2
#: where those blocks take up more of an image, all of it counts
MAX_CONTENT = 0.3


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
    is_blocky
        Whether steps between blocks of 8 px, as JPEG leaves them, are what an image of 8 bits mostly shows.
    """

    values: np.ndarray
    step: int
    noise: tuple[float, ...]
    surroundings: Surroundings | None
    is_blocky: bool = False

    @cached_property
    def inside(self) -> np.ndarray:
        """Which of the values belong to the picture for sure, bool (y, x): compression blurs the surroundings' edge."""
        if self.surroundings is None:
            return np.ones(self.values.shape[:2], bool)
        mask = self.surroundings.mask
        side = 2 * math.ceil(RIM_PX / self.step) + 1
        sure = ~cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)).view(bool)
        # of a picture as narrow as its rims all counts
        return sure if sure.any() else ~mask

    @cached_property
    def counted(self) -> np.ndarray:
        """Which of the values contrast and modality are measured on, bool (y, x).

        Where cells lie in a wide empty field, only their neighbourhood: so the field's size does not matter.
        """
        inside = self.inside
        side = BLOCK_SAMPLES if self.step == 1 else BLOCK_SAMPLES // 2
        busy = np.zeros(tuple(-(-length // side) for length in inside.shape), np.uint8)
        for channel, noise in enumerate(self.noise):
            plane = self.values[..., channel]
            steps = (BLOCKY_CONTENT_STEPS if self.is_blocky else CONTENT_STEPS) if plane.dtype.kind in "iu" else 0.0
            # single hot pixels show nothing; on a coarse grid a cell may be one pixel itself
            smooth = smooth_plane(plane)
            ranges = _block_ranges(smooth if self.step == 1 else plane, inside, side)
            threshold = max(CONTENT_NOISE * noise, steps)
            if ranges.any() and not _is_outshone(smooth, inside, self.step):
                threshold = max(threshold, CONTENT_RATIO * float(np.quantile(ranges[ranges > 0], EVEN_QUANTILE)))
            busy |= ranges > threshold
        near = cv2.dilate(busy, np.ones((3, 3), np.uint8)).repeat(side, axis=0).repeat(side, axis=1)
        content = near[: inside.shape[0], : inside.shape[1]].view(bool) & inside
        count = int(np.count_nonzero(content))
        return content if 0 < count < MAX_CONTENT * np.count_nonzero(inside) else inside


def smooth_plane(plane: np.ndarray) -> np.ndarray:
    """Return the medians of 3 x 3 values (y, x), of the same type or as float32."""
    return cv2.medianBlur(np.ascontiguousarray(plane, plane.dtype if plane.dtype.kind == "u" else np.float32), 3)


def _is_outshone(smooth: np.ndarray, inside: np.ndarray, step: int) -> bool:
    """Say whether one or two objects, brighter or darker than all else, alone reach the extremes of a plane (y, x)."""
    heights = smooth.astype(np.float32) - np.float32(np.median(smooth[inside]))
    return any(find_debris(side, inside, step) is not None for side in (heights, -heights))


def _block_ranges(plane: np.ndarray, inside: np.ndarray, side: int) -> np.ndarray:
    """Return the highest minus the lowest value inside of every block of (y, x), float64; 0 where there is none."""
    rows, columns = (np.arange(0, length, side) for length in plane.shape)
    values = plane.astype(np.float64)
    highest = np.maximum.reduceat(np.maximum.reduceat(np.where(inside, values, -np.inf), rows, axis=0), columns, axis=1)
    lowest = np.minimum.reduceat(np.minimum.reduceat(np.where(inside, values, np.inf), rows, axis=0), columns, axis=1)
    return np.where(np.isfinite(highest), highest - np.where(np.isfinite(lowest), lowest, 0.0), 0.0)


def take_sample(pixels: Pixels) -> Sample:
    """Sample an image: a million pixels at most, and small windows for its noise."""
    step = sampling_step(pixels.shape_px)
    values = pixels.sample(step)
    surroundings = find_surroundings(values, step)
    windows = _read_windows(pixels, surroundings)
    return Sample(values, step, measure_noise(windows, values.shape[2]), surroundings, is_blocky(windows))


def sampling_step(shape_px: tuple[int, int]) -> int:
    """Every how many rows and columns a pixel is looked at, for an image of this height and width."""
    return max(1, int(np.sqrt(shape_px[0] * shape_px[1] / SAMPLE_PX)))


def measure_noise(windows: list[np.ndarray], channels: int) -> tuple[float, ...]:
    """Measure the standard deviation of the noise from pixel to pixel, for each channel.

    Parameters
    ----------
    windows
        Parts (y, x, c) of the image.
    channels
        How many it has.

    Returns
    -------
    One number for each channel, 0 for a channel without noise.

    Notes
    -----
    The median of second differences within windows spread over the image: structure coarser than two pixels does not
    show in it. Noise that was smoothed, as by JPEG, is underestimated.
    """
    found = [
        [measure_deviation(window[..., channel].astype(np.float32)) for channel in range(channels)]
        for window in windows
    ]
    # a window without any difference lies beyond what a camera can show
    levels = [[window[channel] for window in found if window[channel] > 0] for channel in range(channels)]
    return tuple(float(np.quantile(one, NOISE_QUANTILE)) if one else 0.0 for one in levels)


def is_blocky(windows: list[np.ndarray]) -> bool:
    """Say whether 8-bit pixels differ much more across the borders of blocks of 8 px than within them.

    Parameters
    ----------
    windows
        Parts (y, x, c) of an image, which begin at multiples of 8 px of it.
    """
    if not windows or windows[0].dtype != np.uint8:
        return False
    for axis in (0, 1):
        sums = np.zeros(JPEG_BLOCK_PX)
        for window in windows:
            others = tuple(other for other in range(3) if other != axis)
            steps = np.abs(np.diff(window.astype(np.int16), axis=axis)).mean(axis=others)
            whole = steps[: len(steps) // JPEG_BLOCK_PX * JPEG_BLOCK_PX]
            sums += whole.reshape(-1, JPEG_BLOCK_PX).sum(axis=0)
        # the image may have been cut out of another one: the borders lie anywhere
        border = sums.max()
        if border <= BLOCKY_RATIO * (sums.sum() - border) / (JPEG_BLOCK_PX - 1):
            return False
    return True


def _read_windows(pixels: Pixels, surroundings: Surroundings | None) -> list[np.ndarray]:
    """Read windows (y, x, c) spread over an image at full resolution, without those in its surroundings."""
    windows = []
    for y in _spread(pixels.shape_px[0]):
        for x in _spread(pixels.shape_px[1]):
            bottom, right = (min(at + NOISE_WINDOW_PX, side) for at, side in zip((y, x), pixels.shape_px, strict=True))
            window = pixels.read((y, x, bottom, right))
            outside = 0.0 if surroundings is None else float(surroundings.cover(window, (y, x)).mean())
            if min(window.shape[:2]) >= 3 and outside < MAX_OUTSIDE:
                windows.append(window)
    return windows


def _spread(side_px: int) -> list[int]:
    count = min(NOISE_WINDOWS, max(1, side_px // NOISE_WINDOW_PX))
    starts = np.linspace(0, max(0, side_px - NOISE_WINDOW_PX), count).astype(int)
    return (starts // JPEG_BLOCK_PX * JPEG_BLOCK_PX).tolist()
