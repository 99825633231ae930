"""Empty fields: what cameras, lamps, compression and dust make of a slide without a cell.

A network that has seen cells in every image finds some in noise, whose contrast is stretched until it shows something.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing import optics
from mosaicell.training.drawing.anatomy import Field
from mosaicell.training.drawing.camera import uneven_light
from mosaicell.training.drawing.layouts import noise_field

#: height and width below which no field is drawn
MIN_SIDE_PX = 32


def draw_empty(shape_px: tuple[int, int], rng: np.random.Generator) -> NDArray:
    """Draw an image without any cell.

    Parameters
    ----------
    shape_px : (int, int)
        Height and width, at least 32 each.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    image : (y, x, c) uint8 or uint16
        c is 1 or 3. A dark field, a grey or a bright one, with the faults of a camera: every kind of noise, uneven
        light, stripes, dust, light from out of focus, steps of compression.

    Raises
    ------
    ValueError
        For a smaller image.
    """
    if min(shape_px) < MIN_SIDE_PX:
        raise ValueError(f"an empty field needs at least {MIN_SIDE_PX} px a side, got {shape_px[0]} x {shape_px[1]}")
    level = float(rng.choice([rng.uniform(0.005, 0.06), rng.uniform(0.06, 0.3), rng.uniform(0.3, 0.95)]))
    colours = rng.random() < 0.35
    field = np.full(shape_px, level, np.float32) * _light(shape_px, rng)
    if rng.random() < 0.3:
        field = field * (1 + _out_of_focus(shape_px, rng))
    if rng.random() < 0.25:
        field = _scatter_specks(field, rng)
    if rng.random() < 0.1:
        field = _draw_fibre(field, rng)
    if colours:
        tint = 1 - rng.uniform(0, rng.choice([0.02, 0.15, 0.9]), 3).astype(np.float32)
        field = field[..., None] * tint
    return _record(field, rng)


def _light(shape_px: tuple[int, int], rng: np.random.Generator) -> Field:
    if rng.random() < 0.35:
        return np.ones(shape_px, np.float32)
    return uneven_light(shape_px, rng, float(rng.choice([0.03, 0.1, 0.4])))


def _out_of_focus(shape_px: tuple[int, int], rng: np.random.Generator) -> Field:
    """Draw slow clouds or soft spots: light from far above and below the focus."""
    side = max(shape_px)
    strength = 10 ** rng.uniform(-2.3, -0.5)
    if rng.random() < 0.5:
        return np.float32(strength) * noise_field(shape_px, side * rng.uniform(0.15, 0.6), rng)
    spots = np.zeros(shape_px, np.float32)
    radius = rng.uniform(0.04, 0.2) * side
    for _ in range(rng.integers(1, 5)):
        centre = int(rng.integers(shape_px[1])), int(rng.integers(shape_px[0]))
        cv2.circle(spots, centre, int(radius * rng.uniform(0.5, 1.5)), float(rng.choice([-1, 1, 1])), -1)
    return np.float32(strength) * optics.blur(spots, radius * rng.uniform(0.4, 1.0))


def _scatter_specks(field: Field, rng: np.random.Generator) -> Field:
    """Draw specks of dust, most of one or two pixels, and soft rings of those on the lenses."""
    specks = np.zeros(field.shape, np.float32)
    height, width = field.shape
    for _ in range(rng.integers(1, 25)):
        centre = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(specks, centre, int(rng.integers(0, 3)), float(rng.uniform(-1, 0.6)), -1)
    specks = optics.blur(specks, rng.uniform(0.3, 1.2))
    if rng.random() < 0.4:
        rings = np.zeros(field.shape, np.float32)
        for _ in range(rng.integers(1, 5)):
            centre = int(rng.integers(width)), int(rng.integers(height))
            radius = int(rng.integers(8, 40))
            cv2.circle(rings, centre, radius, float(rng.uniform(-0.3, 0.1)), int(rng.integers(2, 6)))
        specks += optics.blur(rings, rng.uniform(2, 5)) * np.float32(rng.uniform(0.1, 0.5))
    return field * np.exp(specks * np.float32(rng.uniform(0.05, 0.8)))


def _draw_fibre(field: Field, rng: np.random.Generator) -> Field:
    """Draw a fibre or a scratch across a part of the field."""
    height, width = field.shape
    steps = np.cumsum(rng.normal(0, 0.15, 40)) + rng.uniform(0, 2 * np.pi)
    length = rng.uniform(2, max(height, width) / 25)
    points = np.cumsum(np.stack((np.cos(steps), np.sin(steps)), axis=1) * length, axis=0)
    points += rng.uniform(0, 1, 2) * (width, height)
    drawn = np.zeros(field.shape, np.float32)
    cv2.polylines(
        drawn, [points.round().astype(np.int32)], isClosed=False, color=1.0, thickness=int(rng.integers(1, 4))
    )
    return field * (1 + optics.blur(drawn, rng.uniform(0.4, 2)) * np.float32(rng.uniform(-0.5, 0.5)))


def _record(field: Field, rng: np.random.Generator) -> NDArray:
    """Record a field (y, x) or (y, x, 3) of 0..1 with the noise of a camera and what happens to its files."""
    height, width = field.shape[:2]
    signal = np.maximum(field, 0)
    noise = rng.standard_normal(field.shape, dtype=np.float32)
    if field.ndim == 3 and rng.random() < 0.3:
        noise[:] = noise[..., :1]
    grain = float(rng.choice([0.0, 0.0, rng.uniform(0.5, 2.5)]))
    if grain > 0.3:
        noise = optics.blur(noise, grain) * np.float32(max(1.0, 2 * np.sqrt(np.pi) * grain))
    if rng.random() < 0.2:
        # gain that differs from pixel to pixel, and now and then a pixel that is far noisier
        noise *= np.exp(rng.normal(0, 0.4, field.shape)).astype(np.float32)
    photons, read_noise = 10 ** rng.uniform(1.5, 6), 10 ** rng.uniform(-4, -1.5)
    if rng.random() < 0.35:
        # hardly a grey level: what compression makes of that are steps without noise on them
        photons, read_noise = 10 ** rng.uniform(5, 7), 10 ** rng.uniform(-3.2, -2.2)
    signal = signal + noise * np.sqrt(signal / np.float32(photons) + np.float32(read_noise**2))
    if rng.random() < 0.35:
        signal = _draw_stripes(signal, 10 ** rng.uniform(-3.5, -1.3), rng)
    if rng.random() < 0.25:
        count = int(height * width * 10 ** rng.uniform(-5.5, -3))
        rows, columns = rng.integers(height, size=count), rng.integers(width, size=count)
        signal[rows, columns] = rng.choice([0.0, 1.0], p=[0.2, 0.8]) * rng.uniform(0.2, 1)
    if rng.random() < 0.2:
        return _digitise(signal, float(rng.choice([4095, 65_535])), np.uint16, rng)
    pixels = _digitise(signal, 255.0, np.uint8, rng)
    return _compress(pixels, rng) if rng.random() < 0.6 else pixels


def _draw_stripes(signal: Field, strength: float, rng: np.random.Generator) -> Field:
    """Add rows, columns or both of their own offset, or waves of one length in any direction."""
    height, width = signal.shape[:2]
    rows = rng.standard_normal((height, 1), dtype=np.float32)
    columns = rng.standard_normal((1, width), dtype=np.float32)
    turn, pace = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)]), 2 * np.pi / 10 ** rng.uniform(0.4, 2)
    waves = np.sin(
        np.float32(pace * np.sin(turn)) * np.arange(height, dtype=np.float32)[:, None]
        + np.float32(pace * np.cos(turn)) * np.arange(width, dtype=np.float32)
    )
    if rng.random() < 0.4:
        waves = np.sign(waves)
    stripes = (rows, columns, rows + columns, waves, waves)[rng.integers(5)] * np.float32(strength)
    stripes = np.broadcast_to(stripes, (height, width))
    return signal + (stripes if signal.ndim == 2 else stripes[..., None])


def _digitise(signal: Field, full: float, dtype: type, rng: np.random.Generator) -> NDArray:
    offset = float(rng.choice([0.0, 0.0, 0.002, 0.025]))
    pixels = np.clip((signal + offset) * full + 0.5, 0, full).astype(dtype)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _compress(pixels: NDArray, rng: np.random.Generator) -> NDArray:
    """Compress as JPEG, now and then resized before or after."""
    height, width, depth = pixels.shape
    if rng.random() < 0.3:
        scale = rng.uniform(0.4, 1.6)
        pixels = cv2.resize(
            pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
    quality = int(rng.choice([rng.integers(8, 60), rng.integers(60, 98)]))
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR if depth == 3 else cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return cv2.resize(decoded, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, depth)
