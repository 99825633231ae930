"""What outshines or tints the cells: one bright blob, a second channel, the colour of a lamp."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.outlines import draw_lobed

Area = NDArray[np.bool_]
Labels = NDArray[np.uint32]

#: places that are tried for a blob; the one over the fewest cells is taken
PLACES = 30
#: grey values of 16 bits for one of 8
STEPS = 4


def add_blob(
    pixels: NDArray[np.uint8], labels: Labels, times: float, cover: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], Area]:
    """Lay one blob that is many times brighter than the cells into an image.

    Parameters
    ----------
    pixels : (y, x, c) uint8
        Bright cells on a dark field.
    labels : (y, x) uint32
    times : float
        The blob's brightness above the field, as a multiple of the cells'.
    cover : float
        Share of the image that the blob covers.
    rng : numpy.random.Generator

    Returns
    -------
    image : (y, x, c) uint16
        `STEPS` times the pixels, and the blob.
    area : (y, x) bool
        Where the blob adds less than a tenth of the cells' brightness: there nothing may change.
    """
    height, width = labels.shape
    radius = np.sqrt(cover * height * width / np.pi)
    outlines = []
    for _ in range(PLACES):
        centre = [rng.uniform(min(radius, side / 2), max(side - radius, side / 2)) for side in (height, width)]
        shape = draw_lobed((height, width), (centre[0], centre[1]), radius, rng, roughness=0.08, lobes=5)
        outlines.append((np.count_nonzero(labels[cv2.dilate(shape.astype(np.uint8), np.ones((9, 9))) > 0]), shape))
    blob = min(outlines, key=lambda outline: outline[0])[1].astype(np.float32)
    # lumps inside, a sharp edge of the optics outside
    lumps = cv2.GaussianBlur(rng.standard_normal(labels.shape, dtype=np.float32), (0, 0), max(1.0, radius / 5))
    blob *= 1 + 0.1 * lumps / max(float(lumps.std()), 1e-6)
    blob = cv2.GaussianBlur(blob, (0, 0), 1.2)
    brightness = np.median(pixels[labels > 0], axis=0) - np.median(pixels[labels == 0], axis=0)
    image = (pixels + blob[..., None] * (times * np.maximum(brightness, 0)).astype(np.float32)) * STEPS
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16), blob * times < 0.1


def deepen(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return 8-bit pixels in 16 bits as `add_blob` does, without a blob."""
    return pixels.astype(np.uint16) * np.uint16(STEPS)


def tint(pixels: NDArray[np.uint8], cast: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a grey image (y, x, 1) as RGB whose channels differ by a colour cast.

    Parameters
    ----------
    pixels : (y, x, 1) uint8
    cast : float
        Share by which the darkest channel is darker than the brightest; 0 gives three equal channels.
    rng : numpy.random.Generator
        Chooses which channel is which.
    """
    gains = rng.permutation(np.array([1, 1 - rng.uniform(0, cast), 1 - cast]))
    return np.clip(np.rint(pixels * gains), 0, 255).astype(np.uint8)


def join_channels(dim: NDArray[np.uint8], other: NDArray[np.uint8], ratio: float) -> NDArray[np.uint16]:
    """Return two channels (2, y, x) in 16 bits, the first with a range of `ratio` times that of the second.

    Parameters
    ----------
    dim, other : (y, x) uint8
    ratio : float
        From 0.01 to 1.
    """
    # an offset, as cameras have it, and ranges of 255 and of up to 51,000 grey values
    return np.stack([dim * np.uint16(2), np.rint(other * (2 / ratio)).astype(np.uint16)]) + np.uint16(100)


def draw_haze(shape_px: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw light without a cell (y, x): a glow that is uneven over a quarter of the image, and its noise."""
    coarse = rng.random((5, 5), dtype=np.float32)
    glow = cv2.resize(coarse, shape_px[::-1], interpolation=cv2.INTER_CUBIC)
    glow = 20 + 200 * (glow - glow.min()) / max(float(np.ptp(glow)), 1e-6)
    return np.clip(rng.poisson(glow * 20) / 20, 0, 255).astype(np.uint8)


def draw_level(plane: NDArray[np.uint8], labels: Labels, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw the level and the noise of an image's background (y, x), without its cells."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 2)
    noise = (plane.astype(np.float32) - smooth)[labels == 0]
    level = np.median(plane[labels == 0]) + rng.choice(noise, plane.shape)
    return np.clip(np.rint(level), 0, 255).astype(np.uint8)
