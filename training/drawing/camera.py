"""What a camera makes of an image: uneven light, dust, noise, bytes and compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing import optics
from mosaicell.training.drawing.anatomy import (
    Field,
)
from mosaicell.training.drawing.layouts import noise_field

Pixels = NDArray[np.uint8]


def uneven_light(shape_px: tuple[int, int], rng: np.random.Generator, strength: float) -> Field:
    """Draw the illumination: a slope, a vignette off the centre and slow stains, about 1 on average."""
    height, width = shape_px
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] - np.float32(rng.uniform(-0.5, 0.5))
    x = np.linspace(-1, 1, width, dtype=np.float32) - np.float32(rng.uniform(-0.5, 0.5))
    slope, turn = rng.uniform(0, strength), rng.uniform(0, 2 * np.pi)
    light = 1 + slope * (np.float32(np.sin(turn)) * y + np.float32(np.cos(turn)) * x)
    light -= np.float32(rng.uniform(0, 0.6 * strength)) * (x * x + y * y)
    light += np.float32(rng.uniform(0, 0.25 * strength)) * noise_field(shape_px, max(shape_px) / 3, rng)
    return np.maximum(light, 0.15).astype(np.float32)


def scatter_dust(image: Field, rng: np.random.Generator, *, count: int, size_px: float, strength: float) -> Field:
    """Multiply small soft spots into an image: dust, debris and out-of-focus rings, light or dark."""
    height, width = image.shape[:2]
    canvas = np.zeros((height, width), np.float32)
    for _ in range(count):
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = tuple(int(v) for v in np.ceil(size_px * rng.uniform(0.3, 1.3, 2)))
        thickness = -1 if rng.random() < 0.8 else 1
        value = strength * rng.uniform(-1, 0.5)
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, value, thickness)
    canvas = optics.blur(canvas, rng.uniform(0.5, max(0.6, size_px / 2)))
    return image * np.exp(canvas if image.ndim == 2 else canvas[..., None])


def expose(
    image: Field,
    rng: np.random.Generator,
    *,
    level: float,
    photons: float,
    read_noise: float,
    grain_px: float = 0.0,
) -> NDArray[np.uint8]:
    """Record an image with a camera: shot noise, read noise, 8 bits, and sometimes JPEG compression.

    Parameters
    ----------
    image : (y, x) or (y, x, 3) float32
        Brightness; 1 becomes `level`.
    level : float
        Grey value, as a fraction of the range, of brightness 1.
    photons : float
        Photons at full scale; the variance of the shot noise is the brightness over this number.
    read_noise : float
        Standard deviation added everywhere, as a fraction of the range.
    grain_px : float
        Blur of the noise, as left by resizing or demosaicking; its strength is kept.

    Returns
    -------
    bytes : (y, x, c) uint8, c = 1 or 3 as `image` has.
    """
    signal = np.maximum(image * np.float32(level), 0)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    if grain_px > 0.3:
        noise = optics.blur(noise, grain_px) * np.float32(max(1.0, 2 * np.sqrt(np.pi) * grain_px))
    noise *= np.sqrt(signal / np.float32(photons) + np.float32(read_noise**2))
    pixels = np.clip((signal + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = int(rng.integers(55, 97))
        pixels = cv2.imdecode(
            cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_UNCHANGED
        )
    return pixels if pixels.ndim == 3 else pixels[..., None]


def record_grey(image: Field, rng: np.random.Generator, *, level: tuple[float, float], dust: int = 0) -> Pixels:
    """Light, dust and camera of a transmitted-light image with grey level around 0.5.

    The noise stays below the contrast of the cells: what no eye finds must not be learned.
    """
    contrast = max(float(np.quantile(np.abs(image - 1), 0.98)), 0.01)
    image = image * uneven_light(image.shape, rng, rng.choice([0.05, 0.15, 0.4]))
    if dust and rng.random() < 0.6:
        count = int(rng.integers(1, dust))
        image = scatter_dust(image, rng, count=count, size_px=rng.uniform(1, 4), strength=rng.uniform(0.1, 0.5))
    image = optics.blur(image, rng.choice([0.0, rng.uniform(0.4, 1.4)]))
    # Most cameras spread the contrast over a part of the range only.
    image = 1 + (image - 1) * np.float32(rng.uniform(0.6, 1.2))
    grey = rng.uniform(*level)
    pixels = expose(
        image,
        rng,
        level=grey,
        photons=max(10 ** rng.uniform(3, 4.6), (4 / contrast) ** 2 / grey),
        read_noise=min(10 ** rng.uniform(-2.8, -2), contrast * grey / 4),
        grain_px=rng.choice([0.0, 0.7]),
    )
    return np.repeat(pixels, 3, axis=2) if rng.random() < 0.15 else pixels


def record_colour(image: Field, rng: np.random.Generator, *, sharp: bool = False) -> Pixels:
    """Light and record a colour image (y, x, 3) whose empty field is nearly white."""
    image = image * uneven_light(image.shape[:2], rng, rng.choice([0.03, 0.15]))[..., None]
    image = optics.blur(image, rng.uniform(0.3, 0.8 if sharp else 1.3))
    return expose(
        image,
        rng,
        level=rng.uniform(0.8, 1.02),
        photons=10 ** rng.uniform(3, 4.5),
        read_noise=10 ** rng.uniform(-2.8, -2),
        grain_px=rng.choice([0.0, 0.8]),
    )


def mar(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Add what happens to some images after the camera: resizing, few grey levels, line noise, burned-in text.

    Parameters
    ----------
    pixels : (y, x, c) uint8, c = 1 or 3

    Returns
    -------
    marred : (y, x, c) uint8
        Most often the image as it was.
    """
    height, width, depth = pixels.shape
    if rng.random() < 0.1:
        scale = rng.uniform(0.5, 0.85)
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, depth)
    if rng.random() < 0.06:
        lines = rng.standard_normal((height, 1, 1)) * rng.uniform(1, 5)
        pixels = np.clip(pixels + lines, 0, 255).astype(np.uint8)
    if rng.random() < 0.08:
        count = int(rng.integers(1, 40))
        pixels = pixels.copy()
        pixels[rng.integers(height, size=count), rng.integers(width, size=count)] = rng.integers(120, 256)
    if rng.random() < 0.06:
        step = int(rng.integers(3, 12))
        pixels = (pixels // step * step).astype(np.uint8)
    if rng.random() < 0.05:
        pixels = _burn_in(pixels, rng)
    return pixels


def _burn_in(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Burn a scale bar, and mostly its caption, into a corner."""
    height, width, depth = pixels.shape
    canvas = pixels.copy()
    bright = 255 if pixels.mean() < 128 else 0
    ink = (bright, bright, 0) if depth == 3 and bright and rng.random() < 0.3 else (bright,) * depth
    length, margin = int(rng.uniform(0.08, 0.25) * width), int(rng.uniform(0.02, 0.06) * width) + 1
    thick = int(rng.integers(1, max(2, height // 80) + 1))
    x = margin if rng.random() < 0.3 else max(0, width - margin - length)
    y = margin + 12 if rng.random() < 0.2 else height - margin - thick
    cv2.rectangle(canvas, (x, y), (x + length, y + thick), ink, -1)
    if rng.random() < 0.7:
        text = f"{rng.choice([5, 10, 20, 25, 50, 100, 200])} {rng.choice(['um', 'px', 'mm'])}"
        cv2.putText(canvas, text, (x, y - 4), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 0.6), ink, 1, cv2.LINE_AA)
    return canvas


def draw_lamp(rng: np.random.Generator) -> Field:
    """Draw the colour of the empty field: nearly white."""
    return (rng.uniform(0.85, 1) * (1 - rng.uniform(0, 0.07, 3))).astype(np.float32)
