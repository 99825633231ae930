"""Modality analyser: grey, fluorescence or brightfield, from colour statistics alone.

The Cell Segmenter paper ("Modality optimization") sorts images into grayscale, fluorescence and brightfield
by colour statistics and gives no rule. The authors' program decides by raw counts of RGB files, so that
single-channel fluorescence becomes grey and no 16-bit RGB file ever does. Here every statistic is a ratio of
percentiles: it does not change when intensities are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mosaicell.contrast.sample import Sample, take_sample
from mosaicell.reading.pixels import ArrayPixels

#: what `analyse_modality` tells apart
MODALITIES = ("grey", "fluorescence", "brightfield")
#: pixels looked at, at most, on a regular grid: more do not move a percentile, and a slide costs milliseconds
SAMPLE_PIXELS = 1 << 18
#: mean chroma above which an image is coloured: the authors' 4 grey levels of 255; JPEG noise stays below
COLOURED = 0.016
#: the same for a bright image once its channels have equal medians: a tinted lamp leaves 0, stained tissue and blood
#: 0.02 and more
COLOURED_WHEN_BALANCED = 0.008
#: 75th percentile from which an image is bright whatever its median: an eyepiece's field in a black frame
BRIGHT_SHARE = 0.80
#: median below which an image without colour is dark; labelled phase contrast begins at 0.065 (strong halos)
DARK_GREY = 0.05
#: median above which an image without colour is not dark; between the two, the dark wing decides
MID_GREY = 0.24
#: ratio above which the background lies between darker and brighter structures, as in phase contrast and DIC:
#: symmetric noise has 1.4, labelled fluorescence at most 1.7, phase contrast with a dark median 2.2 to 9
DARK_WING = 1.9
#: level below which a coloured image is dark: labelled fluorescence stays below 0.15, stained tissue above
#: 0.34; black is black on a colour camera, so that no offset has to be removed
DARK_COLOUR = 0.25


@dataclass(frozen=True)
class ColourStatistics:
    """Colour and darkness of an image, all without unit.

    Attributes
    ----------
    chroma:
        Mean of (max - min over the channels) / peak, over the pixels brighter than a tenth of the peak.
    balanced_chroma:
        The same with every channel divided by its median, over all pixels, without noise.
    level:
        Median luminance (mean of the channels) over the peak of the brightest channel, 0 = black.
    median, upper:
        50th and 75th percentile of the luminance, as a share of its range (0.5th to 99.9th percentile).
    dark_wing:
        (25th - 0.5th percentile) / (75th - 25th percentile): how far structures reach below the background.
    """

    chroma: float
    balanced_chroma: float
    level: float
    median: float
    upper: float
    dark_wing: float


def analyse_modality(pixels: np.ndarray) -> str:
    """Sort an image as `analyse_sample` sorts a sample of it.

    Parameters
    ----------
    pixels:
        (y, x, c) with c in {1, 3} or (y, x), any real dtype, finite.

    Raises
    ------
    ValueError
        For another number of axes or channels, or an image without pixels.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.size == 0:
        raise ValueError(f"got an array of shape {pixels.shape}; allowed is (y, x, 1) or (y, x, 3) with pixels")
    return analyse_sample(take_sample(ArrayPixels(pixels)))


def analyse_sample(sample: Sample) -> str:
    """Sort an image by its colour statistics.

    Parameters
    ----------
    sample:
        Of an image with 1 or 3 channels.

    Returns
    -------
    str
        "brightfield": coloured on a bright background (stained). "fluorescence": bright structures on a dark
        background, of one channel, grey inside RGB, or of any colour. "grey": the rest (phase contrast, DIC,
        unstained, and images without any contrast).

    Notes
    -----
    Confluent layers are the limit: without visible background nothing tells dense nuclei in fluorescence from
    a dense phase-contrast colony. Both go to grey, where two branches compete.
    """
    statistics = measure_colour(sample)
    bright = statistics.upper >= BRIGHT_SHARE
    if statistics.chroma > COLOURED:
        if statistics.level < DARK_COLOUR and not bright:
            return "fluorescence"
        if statistics.balanced_chroma > COLOURED_WHEN_BALANCED:
            return "brightfield"
    sure = statistics.median < DARK_GREY
    likely = statistics.median < MID_GREY and statistics.dark_wing < DARK_WING
    return "fluorescence" if (sure or likely) and not bright else "grey"


def measure_colour(sample: Sample) -> ColourStatistics:
    """Measure colour and darkness of what counts (`Sample.counted`), on a grid of at most `SAMPLE_PIXELS` pixels.

    Returns
    -------
    ColourStatistics
        Of an image of one single value: no chroma, and level, median and upper 1, so that it is not dark.
    """
    values = sample.values
    step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / SAMPLE_PIXELS))))
    chosen = values[::step, ::step][sample.counted[::step, ::step]].astype(np.float64)
    if not len(chosen):
        chosen = values.reshape(-1, values.shape[2]).astype(np.float64)
    # Floats may be centred on zero; from there no level has a meaning, so the lowest value becomes black.
    chosen -= min(float(chosen.min()), 0.0)
    brightest = chosen.max(axis=1)
    luminance = chosen.mean(axis=1)
    low, quarter, middle, upper, high = np.percentile(luminance, [0.5, 25, 50, 75, 99.9]).tolist()
    peak = float(np.percentile(brightest, 99.5))
    if high <= low or peak <= 0:
        # A few cells on pure black: the percentiles see only the black.
        low, high, peak = float(luminance.min()), float(luminance.max()), float(brightest.max())
    span = high - low
    if span <= 0:
        return ColourStatistics(chroma=0.0, balanced_chroma=0.0, level=1.0, median=1.0, upper=1.0, dark_wing=0.0)
    visible = brightest > 0.1 * peak
    chroma = float((brightest[visible] - chosen[visible].min(axis=1)).mean()) / peak
    # The floor keeps coarse 8-bit histograms, whose quartiles coincide, from dividing by zero.
    spread = max(upper - quarter, span / 100)
    return ColourStatistics(
        chroma=chroma,
        balanced_chroma=_balanced_chroma(sample, step),
        level=middle / peak,
        median=(middle - low) / span,
        upper=(upper - low) / span,
        dark_wing=(quarter - low) / spread,
    )


def _balanced_chroma(sample: Sample, step: int) -> float:
    """Return the mean of (max - min over the channels) / peak of every `step`-th pixel, channels of equal medians.

    Noise, which differs from channel to channel, is averaged away before.
    """
    if sample.values.shape[2] == 1:
        return 0.0
    values = cv2.blur(sample.values.astype(np.float32), (5, 5))[::step, ::step]
    chosen = values[sample.counted[::step, ::step]].astype(np.float64)
    if not len(chosen):
        return 0.0
    medians = np.median(chosen, axis=0)
    # a channel that is black all over stays what it is
    balanced = chosen / np.where(medians > 0, medians, max(float(medians.max()), 1.0))
    brightest = balanced.max(axis=1)
    return float((brightest - balanced.min(axis=1)).mean() / max(float(np.percentile(brightest, 99.5)), 1e-9))
