"""Fluorescent light: from the dyes in a scene to the recorded image, with haze, hidden layers and debris."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing import camera, optics
from mosaicell.training.drawing.anatomy import Field, fractal_noise, inner_distance, relative_depth
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.layouts import Labels, noise_field

Colour = tuple[float, float, float]


def tint(rng: np.random.Generator, main: int) -> Colour:
    """Draw a nearly pure colour: 0 red, 1 green, 2 blue; a tenth are cyan, magenta or yellow."""
    colour = rng.uniform(0, 0.15, 3) * rng.choice([0, 1])
    colour[main] = 1.0
    if rng.random() < 0.1:
        colour[(main + 1) % 3] = rng.uniform(0.6, 1)
    return float(colour[0]), float(colour[1]), float(colour[2])


def uneven_cells(labels: Labels, rng: np.random.Generator, contrast: float, tail: float = 1.0) -> Field:
    """Draw one brightness per cell from 1 / contrast to 1; a `tail` above 1 leaves few bright ones, 0 outside."""
    shares = rng.random(int(labels.max()) + 1) ** tail
    values = np.exp((shares - 1) * np.log(contrast))
    values[0] = 0
    return values.astype(np.float32)[labels]


def split_focus(signal: Field, labels: Labels, rng: np.random.Generator, share: float, blur_px: float) -> Field:
    """Blur a share of the cells, which lie above or below the plane in focus."""
    away = (rng.random(int(labels.max()) + 1) < share)[labels]
    return np.where(away, 0, signal) + optics.blur(np.where(away, signal, 0).astype(np.float32), blur_px)


def hidden_layer(signal: Field, rng: np.random.Generator, blur_px: float) -> Field:
    """Make the blurred light of unlabelled cells in another plane: the same cells, mirrored and shifted."""
    turned = signal[:: rng.choice([-1, 1]), ::-1]
    moved = np.roll(turned, (int(rng.integers(signal.shape[0])), int(rng.integers(signal.shape[1]))), (0, 1))
    return optics.blur(np.ascontiguousarray(moved), blur_px)


def specks(shape_px: tuple[int, int], rng: np.random.Generator, count: int, size_px: float) -> Field:
    """Scatter bright debris: grains of 1 or more, smeared blobs and now and then a hair; 0 elsewhere."""
    canvas = np.zeros(shape_px, np.float32)
    height, width = shape_px
    for _ in range(count):
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = (max(1, int(size_px * rng.uniform(0.2, 1))), max(1, int(size_px * rng.uniform(0.2, 1))))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, float(rng.exponential(0.8) + 0.1), -1)
    canvas = optics.blur(canvas, rng.uniform(0.5, 1.5))
    if count and rng.random() < 0.15:
        hair = np.zeros(shape_px, np.float32)
        way = rng.normal(0, 0.12, (30, 2)).cumsum(axis=0).cumsum(axis=0) * size_px * 2
        points = np.round(way + rng.uniform(0, [width, height])).astype(np.int32)
        cv2.polylines(hair, [points], False, float(rng.uniform(0.3, 1.5)), max(1, int(size_px / 3)))
        canvas += optics.blur(hair, rng.uniform(0.8, 4))
    return canvas


def nuclear_signal(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw DNA stain of even strength: smooth, grainy, with dark nucleoli or with bright chromocentres.

    Returns
    -------
    signal : (y, x) float32, about 1 inside the nuclei, 0 outside.
    """
    shape = labels.shape
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    signal = np.minimum(depth / np.float32(rng.uniform(0.15, 0.9)), 1)
    signal = np.sqrt(np.maximum(1 - (1 - signal) ** 2, 0))
    grain = max(1.5, diameter_px / rng.uniform(4, 12))
    texture = 1 + np.float32(rng.uniform(0.02, 0.3)) * fractal_noise(shape, grain, rng)
    inner = np.minimum(distance / 2, 1)
    style = rng.random()
    if style < 0.35:
        texture -= rng.uniform(0.5, 1.2) * np.maximum(noise_field(shape, 1.8 * grain, rng) - 1, 0) * inner
    elif style < 0.55:
        texture += rng.uniform(0.5, 2) * np.maximum(noise_field(shape, max(1.6, grain), rng) - 1.2, 0) * inner
    elif style < 0.65:
        texture += rng.uniform(0.2, 0.8) * np.exp(-distance / np.float32(0.06 * diameter_px + 0.8))
    return (signal * np.maximum(texture, 0.1)).astype(np.float32)


def record_glow(
    dyes: list[tuple[Field, Colour]],
    rng: np.random.Generator,
    *,
    grey: bool,
    haze: float = 0.3,
    debris: int = 12,
    size_px: float = 4.0,
    faintest: float = 0.1,
) -> Pixels:
    """Light, blur and record a fluorescence image.

    Parameters
    ----------
    dyes : list of (signal, colour)
        Signals (y, x) float32, brightest about 1.
    grey : bool
        Records one channel instead of colours.
    haze : float
        Highest share of the light that is spread widely.
    debris : int
        Most specks, in the images that have any.
    size_px : float
        Largest half width of a speck.
    faintest : float
        Signal of the faintest cells, which stay above the steps of 8 bits and mostly above the noise.

    Returns
    -------
    pixels : (y, x, c) uint8, c = 1 or 3.
    """
    total = None
    pedestal = rng.choice([0.0, 0.01, 0.04, rng.uniform(0.02, 0.22)])
    dust = specks(dyes[0][0].shape, rng, int(rng.integers(debris + 1)) if rng.random() < 0.3 else 0, size_px)
    for index, (signal, colour) in enumerate(dyes):
        shape = signal.shape
        seen = optics.blur(signal, rng.choice([rng.uniform(0.4, 1.2), rng.uniform(0.8, 2.2)]))
        share = rng.uniform(0, haze)
        if share > 0.03:
            near, far = optics.blur(signal, rng.uniform(3, 9)), optics.blur(signal, rng.uniform(12, 50))
            seen = seen + np.float32(0.6 * share) * near + np.float32(0.4 * share) * far
        clouds = fractal_noise(shape, rng.uniform(6, 60), rng) if rng.random() < 0.3 else np.float32(0)
        ground = np.float32(pedestal * rng.uniform(0.3, 1)) * np.maximum(1 + np.float32(0.3) * clouds, 0.2)
        if index == 0:
            seen = seen + dust
        seen = (seen + ground) * camera.uneven_light(shape, rng, rng.choice([0.05, 0.3, 0.6]))
        layer = seen if grey else seen[..., None] * np.array(colour, np.float32)
        total = layer if total is None else total + layer
    assert total is not None
    return _develop(total, faintest, rng)


def _develop(total: NDArray[np.floating], faintest: float, rng: np.random.Generator) -> Pixels:
    """Choose exposure, gamma and noise; a quarter of the images is badly underexposed, as raw files are."""
    usual, brightest = np.quantile(total[::2, ::2], [rng.choice([0.97, 0.995]), 0.9995])
    # In sparse images most quantiles lie in the background, which must not fill the range.
    top = max(float(usual), rng.uniform(0.25, 1) * float(brightest), 1e-3)
    # Wide blurs overshoot a little below zero.
    total = np.maximum(total / np.float32(top), 0).astype(np.float32)
    if rng.random() < 0.2:
        total = total ** np.float32(rng.uniform(0.55, 1.3))
    level = rng.uniform(0.08, 0.3) if rng.random() < 0.25 else rng.uniform(0.4, 1.1)
    faintest = min(faintest / top, 1.0)
    level = max(level, min(1.0, 3 / 255 / faintest))
    noise = min(10 ** rng.uniform(-3, -1.6) * level, 0.7 * faintest * level)
    photons = max(10 ** rng.uniform(2.1, 4.4) / level, 4 / (faintest * level))
    grain = rng.choice([0.0, 0.0, 0.6])
    return camera.mar(camera.expose(total, rng, level=level, photons=photons, read_noise=noise, grain_px=grain), rng)
