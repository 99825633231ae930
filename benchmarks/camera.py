"""A camera as its makers describe it: electrons in, grey values out, with all that happens in between."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Electrons = NDArray[np.float32]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Camera:
    """What a sensor and its converter add to the light.

    Attributes
    ----------
    bits : int
        Depth of the converter; 8 are stored as uint8, more as uint16.
    offset : float
        Grey value without light.
    gain : float
        Grey values for an electron.
    read_noise : float
        Standard deviation in electrons, in the median pixel.
    noise_spread : float
        Standard deviation of the logarithm of the read noise among pixels, as in sCMOS sensors.
    gain_spread : float
        Standard deviation of the gain among pixels, as a fraction.
    column_noise, row_noise : float
        Standard deviation in electrons of what a whole column or row has too much.
    hot_fraction, hot_electrons : float
        Share of pixels that leak, and the mean of what they have too much.
    """

    bits: int = 16
    offset: float = 100.0
    gain: float = 1.0
    read_noise: float = 2.0
    noise_spread: float = 0.0
    gain_spread: float = 0.0
    column_noise: float = 0.0
    row_noise: float = 0.0
    hot_fraction: float = 0.0
    hot_electrons: float = 200.0

    @property
    def white(self) -> int:
        """The largest grey value."""
        return (1 << self.bits) - 1


def detect(camera: Camera, light: Electrons, rng: np.random.Generator) -> Electrons:
    """Return what the sensor counts: shot noise, read noise and fixed pattern, not yet rounded to grey values.

    Parameters
    ----------
    camera : Camera
    light : (y, x) or (y, x, c) float32
        Expected electrons, 0 or more. All channels share the pattern of the sensor, as behind a filter wheel.
    rng : numpy.random.Generator

    Returns
    -------
    electrons : float32, as `light`
    """
    height, width = light.shape[:2]
    plane = (height, width, *(1,) * (light.ndim - 2))
    noise = np.float32(camera.read_noise) * rng.standard_normal(light.shape, dtype=np.float32)
    if camera.noise_spread:
        noise *= np.exp(np.float32(camera.noise_spread) * rng.standard_normal(plane, dtype=np.float32))
    counted = rng.poisson(np.maximum(light, 0)).astype(np.float32)
    if camera.gain_spread:
        counted *= 1 + np.float32(camera.gain_spread) * rng.standard_normal(plane, dtype=np.float32)
    counted += noise
    counted += np.float32(camera.column_noise) * rng.standard_normal((1, *plane[1:]), dtype=np.float32)
    counted += np.float32(camera.row_noise) * rng.standard_normal((height, 1, *plane[2:]), dtype=np.float32)
    if camera.hot_fraction:
        hot = rng.random(plane) < camera.hot_fraction
        counted += hot * rng.exponential(camera.hot_electrons, plane).astype(np.float32)
    return counted


def convert(camera: Camera, electrons: Electrons) -> Pixels:
    """Return grey values of counted electrons: gain, offset, rounding, and clipping at either end."""
    values = np.clip(np.rint(electrons * np.float32(camera.gain) + np.float32(camera.offset)), 0, camera.white)
    return values.astype(np.uint8) if camera.bits == 8 else values.astype(np.uint16)


def coarsen(counted: Electrons, rng: np.random.Generator) -> Electrons:
    """Give noise a grain of several pixels: enlarge the image, blur it, or demosaic it where it is coloured.

    Parameters
    ----------
    counted : (y, x) or (y, x, 3) float32

    Returns
    -------
    grainy : float32, as `counted`
    """
    height, width = counted.shape[:2]
    way = rng.integers(3 if counted.ndim == 3 else 2)
    if way == 0:
        factor = rng.uniform(1.3, 2.5)
        part = counted[: int(np.ceil(height / factor)), : int(np.ceil(width / factor))]
        method = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)[rng.integers(3)]
        return cv2.resize(part, (width, height), interpolation=method).reshape(counted.shape)
    if way == 1:
        return cv2.GaussianBlur(counted, (0, 0), rng.uniform(0.5, 1.5)).reshape(counted.shape)
    # a Bayer pattern: one of four pixels is red, one blue, two green; the others are means of their neighbours
    y, x = np.indices((height, width)) % 2
    grainy = np.empty_like(counted)
    for channel, seen in enumerate([(y == 0) & (x == 0), y != x, (y == 1) & (x == 1)]):
        there = seen.astype(np.float32)
        weights = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32)
        sums = cv2.filter2D(counted[..., channel] * there, -1, weights, borderType=cv2.BORDER_REFLECT_101)
        spread = sums / cv2.filter2D(there, -1, weights, borderType=cv2.BORDER_REFLECT_101)
        grainy[..., channel] = np.where(seen, counted[..., channel], spread)
    return grainy


def compress(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return 8-bit pixels (y, x) or (y, x, 3) as they are after JPEG compression, colours at half the resolution."""
    # OpenCV's order of colours is blue, green, red
    encoded = cv2.imencode(
        ".jpg", pixels[..., ::-1] if pixels.ndim == 3 else pixels, [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    decoded: NDArray[np.uint8] = np.asarray(cv2.imdecode(encoded[1], cv2.IMREAD_UNCHANGED))
    return decoded[..., ::-1] if pixels.ndim == 3 else decoded


def autostretch(pixels: Pixels, percent: float = 0.1) -> NDArray[np.uint8]:
    """Return pixels in 8 bits, stretched between their lowest and highest `percent`, as viewers export them."""
    low, high = np.percentile(pixels, [percent, 100 - percent])
    stretched = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1.0))
    return np.clip(np.rint(stretched), 0, 255).astype(np.uint8)
