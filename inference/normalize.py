"""Contrast normalisation: any pixel type to three float32 channels in [0, 1]."""

from __future__ import annotations

import numpy as np

#: percentiles are taken from at most about this many pixels; beyond it they change by less than 0.1 %
SAMPLE_PX = 1_000_000
#: a channel's range counts as at least this fraction of the widest channel's, so that an empty colour channel
#: does not become full-range noise
MIN_RANGE_FRACTION = 0.1


def normalize(pixels: np.ndarray, percentiles: tuple[float, float] = (1.0, 99.0)) -> np.ndarray:
    """Stretch every channel between its percentiles and return three channels.

    Parameters
    ----------
    pixels
        (y, x, c) image, c = 1 or 3, any real dtype, finite.
    percentiles
        Lower and upper percentile of the non-zero pixels that become 0 and 1 (the challenge's convention).

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
    step = sampling_step((pixels.shape[0], pixels.shape[1]))
    return stretch(pixels, measure_contrast(pixels[::step, ::step], percentiles))


def sampling_step(shape_px: tuple[int, int]) -> int:
    """Every how many rows and columns a pixel is looked at, for an image of this height and width."""
    return max(1, int(np.sqrt(shape_px[0] * shape_px[1] / SAMPLE_PX)))


def measure_contrast(sample: np.ndarray, percentiles: tuple[float, float]) -> list[tuple[float, float]]:
    """Measure for every channel of pixels (y, x, c) which value becomes 0, and how far above it 1 lies."""
    sample = sample.astype(np.float64)
    bounds = []
    for channel in range(sample.shape[2]):
        values = sample[..., channel]
        values = values[values != 0]
        low, high = np.percentile(values, percentiles).tolist() if values.size else (0.0, 0.0)
        # one value on a background of zeros, as in a binary image: the zeros are the lower end
        bounds.append((0.0, high) if low == high and values.size < sample[..., channel].size else (low, high))
    widest = max(high - low for low, high in bounds)
    return [(low, max(high - low, MIN_RANGE_FRACTION * widest)) for low, high in bounds]


def stretch(pixels: np.ndarray, contrast: list[tuple[float, float]]) -> np.ndarray:
    """Stretch pixels (y, x, c) to float32 (3, y, x) in [0, 1], by what `measure_contrast` returned."""
    planes = np.zeros((3, *pixels.shape[:2]), np.float32)
    for channel, (low, width) in enumerate(contrast):
        if width > 0:
            # float64, as the range of float pixels can exceed that of float32, or its inverse can
            plane: np.ndarray = pixels[..., channel].astype(np.float64 if pixels.dtype.kind == "f" else np.float32)
            planes[channel] = np.clip((plane - low) / width, 0.0, 1.0)
    if pixels.shape[2] == 1:
        planes[1:] = planes[0]
    return planes
