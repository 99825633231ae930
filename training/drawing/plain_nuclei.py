"""Separate nuclei, sharp and free of artefacts: the scene that the benchmarks draw.

Its recording is kept apart from `training.drawing.glow`, so that figures measured on it stay comparable.
"""

from __future__ import annotations

import numpy as np

from mosaicell.training.drawing import camera, optics
from mosaicell.training.drawing.anatomy import Field, dome, fractal_noise, inner_distance, relative_depth, spots, vary
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.layouts import Labels


def _record_plain(
    channels: list[tuple[Field, tuple[float, float, float]]], rng: np.random.Generator, *, grey: bool
) -> Pixels:
    """Light, blur and record a clean fluorescence image from (signal, colour) pairs."""
    total = None
    for signal, colour in channels:
        sharp = optics.blur(signal, rng.uniform(0.5, 1.8))
        haze = np.float32(rng.uniform(0, 0.3)) * optics.blur(signal, rng.uniform(6, 25))
        ground = np.float32(rng.choice([0.01, 0.05, 0.2]) * rng.uniform(0.3, 1))
        light = camera.uneven_light(signal.shape, rng, rng.choice([0.05, 0.3]))
        seen = (sharp + haze + ground) * light
        layer = seen if grey else seen[..., None] * np.array(colour, np.float32)
        total = layer if total is None else total + layer
    assert total is not None
    top = max(float(np.quantile(total, 0.995)), 1e-3)
    # A quarter of the images is badly underexposed, as raw microscope files are.
    level = rng.uniform(0.08, 0.3) if rng.random() < 0.25 else rng.uniform(0.4, 1.1)
    noise = 10 ** rng.uniform(-3, -1.6) * level
    return camera.expose(
        total / np.float32(top),
        rng,
        level=level,
        photons=10 ** rng.uniform(2.1, 4.4) / level,
        read_noise=noise,
    )


def _tint(rng: np.random.Generator, main: int) -> tuple[float, float, float]:
    colour = rng.uniform(0, 0.15, 3)
    colour[main] = 1.0
    return float(colour[0]), float(colour[1]), float(colour[2])


def _nuclear_signal(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Field:
    depth = relative_depth(labels, inner_distance(labels))
    signal = dome(depth, rng.uniform(0.2, 0.9)) * vary(labels, rng, rng.uniform(0.15, 0.8), 1)
    grain = max(1.5, diameter_px / rng.uniform(4, 12))
    texture = 1 + np.float32(rng.uniform(0.03, 0.3)) * fractal_noise(labels.shape, grain, rng)
    texture += np.float32(rng.choice([0, rng.uniform(0.3, 1.5)])) * spots(labels.shape, grain, rng, 1.3)
    texture -= np.float32(rng.choice([0, rng.uniform(0.2, 0.6)])) * spots(labels.shape, 1.5 * grain, rng, 1)
    return signal * np.maximum(texture, 0.1)


def paint_glow_nuclei(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint separate nuclei of uneven brightness, smooth or textured."""
    signal = _nuclear_signal(labels, diameter_px, rng)
    return _record_plain([(signal, _tint(rng, int(rng.integers(3))))], rng, grey=rng.random() < 0.75)
