"""Contrast normalisation: any pixel type to three float32 channels in [0, 1].

The contrast is that of the cells, whatever else an image holds: few cells on a wide background, one bright blob among
dim cells, noise without any cell, a frame around the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mosaicell.contrast.debris import find_debris
from mosaicell.contrast.sample import Sample, smooth_plane, take_sample
from mosaicell.contrast.surroundings import Surroundings
from mosaicell.reading.pixels import ArrayPixels

#: percentiles of the pixels above zero that become 0 and 1 (the challenge's convention), where a card names no others
PERCENTILES = (1.0, 99.0)
#: the extremes of an image, hot pixels apart, lie at most this many times as far from its median as what becomes 0
#: or 1 does: where cells cover less than the percentiles leave out, they would all be saturated
EXTREME_PERCENTILE, MAX_SATURATION = 99.98, 4.0
#: a channel's range is at least so many standard deviations of its noise: of 1,006 labelled images 98 % have more
MIN_RANGE_NOISE = 12.0
#: and at least so many steps of integer pixels: what is left of a picture there is compression
MIN_RANGE_STEPS = 16.0
#: and more in an image of which JPEG has left blocks: a step between two of them is one or two grey levels
BLOCKY_RANGE_STEPS = 64.0


@dataclass(frozen=True)
class Contrast:
    """How the channels of an image are stretched.

    Attributes
    ----------
    bounds
        For every channel the value that becomes 0, and how far above it the one that becomes 1 lies; 0 for a channel
        that shows nothing.
    surroundings
        What around the picture is none.
    tones
        What those are shown as, for each channel: what lies next to them, 0..1.
    """

    bounds: tuple[tuple[float, float], ...]
    surroundings: Surroundings | None = None
    tones: tuple[float, ...] = ()


def normalize(pixels: np.ndarray, percentiles: tuple[float, float] = PERCENTILES) -> np.ndarray:
    """Stretch every channel between its percentiles and return three channels.

    Parameters
    ----------
    pixels
        (y, x, c) image, c = 1 or 3, any real dtype, finite.
    percentiles
        Lower and upper percentile of the non-zero pixels that become 0 and 1 (the challenge's convention), where
        nothing in the image misleads them (`measure_contrast`).

    Returns
    -------
    float32 (3, y, x) in [0, 1]; one channel is repeated three times. A constant channel becomes 0.

    Raises
    ------
    ValueError
        For another number of axes or channels.

    Notes
    -----
    The whole image is normalised at once, never a tile: statistics of one tile differ from its neighbour's and
    would leave square artefacts. Source: Cell Segmenter paper, section 2.1 (channel-wise to [0, 1]).
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"pixels have shape {pixels.shape}; expected (y, x, 1) or (y, x, 3)")
    return stretch(pixels, measure_contrast(take_sample(ArrayPixels(pixels)), percentiles), (0, 0))


def measure_contrast(sample: Sample, percentiles: tuple[float, float]) -> Contrast:
    """Measure for every channel which value becomes 0, and how far above it 1 lies.

    Notes
    -----
    What counts is `Sample.counted`. The percentiles give way
    - to extremes far beyond them: cells that cover less than the percentiles leave out;
    - to what is left without debris, one or two objects that outshine all others;
    - to the noise, which is never stretched to more than a fraction of the range.
    """
    values = sample.values
    steps = 0.0
    if values.dtype.kind in "iu":
        steps = BLOCKY_RANGE_STEPS if sample.is_blocky else MIN_RANGE_STEPS
    bounds = [
        _measure_channel(values[..., channel], sample, max(MIN_RANGE_NOISE * noise, steps), percentiles)
        for channel, noise in enumerate(sample.noise)
    ]
    tones = _tones_beside(sample, bounds) if sample.surroundings else ()
    return Contrast(tuple(bounds), sample.surroundings, tones)


def _measure_channel(
    plane: np.ndarray, sample: Sample, narrowest: float, percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return the value of one channel (y, x) that becomes 0, and how far above it 1 lies: `narrowest` or more."""
    counted = sample.counted & (plane != 0)
    chosen = plane[counted].astype(np.float64)
    if not chosen.size:
        return 0.0, 0.0
    low, middle, high = np.percentile(chosen, (percentiles[0], 50.0, percentiles[1])).tolist()
    if low == high:
        # one value on an even background, as in a binary image: that is the other end
        others = plane[plane != plane.dtype.type(low)]
        ends = [low, *(float(end) for end in (others.min(), others.max()))] if others.size else [low]
        return min(ends), max(ends) - min(ends)
    heights = plane.astype(np.float64) - middle
    # single hot and dead pixels are no extremes
    smooth = smooth_plane(plane).astype(np.float32) - np.float32(middle)
    sides = ((-heights, -smooth, 100 - percentiles[0]), (heights, smooth, percentiles[1]))
    ends = [_reach(*side, counted) for side in sides]
    found = [_reach_beside_debris(*side, counted, sample.step) for side in sides]
    beside = [end if rest is None else rest for end, rest in zip(ends, found, strict=True)]
    # what is left shows something, and not noise alone
    below, above = beside if sum(beside) > narrowest else ends
    return middle - below, max(above + below, narrowest)


def _reach(heights: np.ndarray, smooth: np.ndarray, percentile: float, counted: np.ndarray) -> float:
    """Return how far from its median a channel is stretched to one side.

    Parameters
    ----------
    heights, smooth
        (y, x), how far the samples lie to that side of the median, as they are and with single pixels smoothed away.
    percentile
        Of those, becomes the end of the range unless the extremes lie far beyond it.
    counted
        bool (y, x), which of them count.
    """
    extreme = float(np.percentile(smooth[counted], EXTREME_PERCENTILE))
    return max(float(np.percentile(heights[counted], percentile)), extreme / MAX_SATURATION)


def _reach_beside_debris(
    heights: np.ndarray, smooth: np.ndarray, percentile: float, counted: np.ndarray, step: int
) -> float | None:
    """Return what `_reach` would be without one or two objects that outshine all others; None without such."""
    found = find_debris(smooth, counted, step)
    if found is None:
        return None
    rest = counted & ~found[0]
    reach = _reach(heights, smooth, percentile, rest)
    # cells cover more than what outshines them; what is left beside a cluster of cells does not
    return reach if np.count_nonzero(rest & (smooth > reach / 2)) > found[1] else None


def _tones_beside(sample: Sample, bounds: list[tuple[float, float]]) -> tuple[float, ...]:
    """Return the median of what lies beside the surroundings, stretched, for each channel."""
    assert sample.surroundings is not None
    outside = sample.surroundings.mask
    rim = cv2.dilate(outside.view(np.uint8), np.ones((9, 9), np.uint8)).view(bool) & ~outside
    tones = []
    for channel, (low, width) in enumerate(bounds):
        value = float(np.median(sample.values[..., channel][rim]))
        tones.append(min(max((value - low) / width, 0.0), 1.0) if width else 0.0)
    return tuple(tones)


def stretch(pixels: np.ndarray, contrast: Contrast, origin_px: tuple[int, int]) -> np.ndarray:
    """Stretch pixels (y, x, c), which begin at this row and column of the image, to float32 (3, y, x) in [0, 1]."""
    planes = np.zeros((3, *pixels.shape[:2]), np.float32)
    for channel, (low, width) in enumerate(contrast.bounds):
        if width > 0:
            # float64, as the range of float pixels can exceed that of float32, or its inverse can
            plane: np.ndarray = pixels[..., channel].astype(np.float64 if pixels.dtype.kind == "f" else np.float32)
            planes[channel] = np.clip((plane - low) / width, 0.0, 1.0)
    if contrast.surroundings is not None:
        outside = contrast.surroundings.cover(pixels, origin_px)
        for channel, tone in enumerate(contrast.tones):
            planes[channel][outside] = tone
    if pixels.shape[2] == 1:
        planes[1:] = planes[0]
    return planes


def show_content(sample: Sample, contrast: Contrast) -> np.ndarray:
    """Return the stretched luminance of a sample, float32 (y, x), even where nothing counts (`Sample.counted`)."""
    luminance = stretch(sample.values, replace(contrast, surroundings=None), (0, 0)).mean(axis=0)
    if not sample.counted.all():
        luminance[~sample.counted] = np.median(luminance[sample.inside])
    return luminance
