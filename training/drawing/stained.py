"""Cells in colour: stained tissue, blood and smears, and embryos in dark field."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.drawing import camera, optics
from training.drawing.anatomy import (
    dome,
    fibres,
    fractal_noise,
    inner_distance,
    place_nuclei,
    relative_depth,
    vary,
)
from training.drawing.camera import Pixels
from training.drawing.layouts import Labels, noise_field


def _jitter(colour: tuple[float, float, float], rng: np.random.Generator, spread: float = 0.2) -> NDArray[np.float64]:
    return np.array(colour) * np.exp(spread * rng.normal(size=3))


def paint_tissue(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint haematoxylin and eosin: dark nuclei, some vesicular, on fibrous pink ground with white gaps."""
    shape = labels.shape
    distance = inner_distance(labels)
    chromatin = 1 + np.float32(rng.uniform(0.03, 0.3)) * fractal_noise(shape, max(2, diameter_px / 6), rng)
    hollow = vary(labels, rng, 0.05, 1) * np.float32(rng.choice([0, 0.7]))
    rim = np.exp(-distance / np.float32(0.06 * diameter_px + 0.8))
    nuclear = vary(labels, rng, rng.uniform(0.4, 0.8), 1.2) * np.maximum(chromatin, 0.2) * (1 - hollow * (1 - rim))
    ground = 0.35 + 0.12 * fractal_noise(shape, diameter_px, rng)
    ground += np.float32(rng.uniform(0, 0.09)) * fibres(shape, max(1.6, diameter_px / 9), rng.uniform(0, np.pi), rng)
    ground += np.float32(rng.uniform(0.04, 0.16)) * fractal_noise(shape, max(3, diameter_px / 3), rng)
    gaps = np.clip((noise_field(shape, rng.uniform(2, 6) * diameter_px, rng) - rng.uniform(0.6, 2.5)) * 4, 0, 1)
    around = optics.blur((labels > 0).astype(np.float32), 0.3 * diameter_px)
    ground = np.maximum(ground, 0.02) * (1 - gaps * (1 - around)) * np.float32(rng.uniform(0.6, 1.5))
    bluish = np.float32(rng.uniform(0, 0.25)) * np.maximum(0.6 + 0.5 * fractal_noise(shape, 2 * diameter_px, rng), 0)
    haematoxylin = np.maximum(nuclear, bluish * (1 - gaps)) * np.float32(rng.uniform(1, 2))
    colours = np.stack([_jitter((0.85, 1.05, 0.4), rng, 0.15), _jitter((0.12, 0.85, 0.4), rng)])
    densities = np.dstack([haematoxylin, ground * (1 - 0.5 * (labels > 0))]).astype(np.float32)
    return camera.record_colour(optics.absorbed(densities, colours, camera.draw_lamp(rng)), rng)


def paint_immunostain(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint haematoxylin and DAB: blue nuclei, brown cytoplasm or brown nuclei, pale ground."""
    shape = labels.shape
    distance = inner_distance(labels)
    chromatin = np.maximum(
        1 + np.float32(rng.uniform(0.05, 0.3)) * fractal_noise(shape, max(2, diameter_px / 5), rng), 0.2
    )
    rim = 1 + np.float32(rng.uniform(0, 0.6)) * np.exp(-distance / 2)
    nuclear = vary(labels, rng, rng.uniform(0.4, 0.8), 1.2) * chromatin * rim
    positive = rng.random(int(labels.max()) + 1) < rng.choice([0.0, 0.0, rng.uniform(0.1, 0.7)])
    positive[0] = False
    islands = np.clip((noise_field(shape, rng.uniform(3, 10) * diameter_px, rng) - rng.uniform(-0.8, 1.5)) * 3, 0, 1)
    texture = 0.6 + 0.3 * fractal_noise(shape, diameter_px / 2, rng)
    texture += np.float32(rng.uniform(0, 0.3)) * fibres(shape, max(1.6, diameter_px / 6), rng.uniform(0, np.pi), rng)
    cytoplasm = islands * np.maximum(texture, 0) * np.float32(rng.uniform(0.2, 1.2)) * (1 - 0.7 * (labels > 0))
    pale = np.maximum(0.1 + 0.08 * fractal_noise(shape, diameter_px, rng), 0) * np.float32(rng.uniform(0.2, 1.5))
    haematoxylin = np.maximum(nuclear * ~positive[labels], pale) * np.float32(rng.uniform(0.6, 1.4))
    dab = np.maximum(cytoplasm, nuclear * positive[labels] * np.float32(rng.uniform(0.6, 1.5)))
    colours = np.stack([_jitter((0.85, 0.6, 0.25), rng, 0.15), _jitter((0.35, 0.7, 1.0), rng, 0.15)])
    densities = np.dstack([haematoxylin, dab]).astype(np.float32)
    return camera.record_colour(optics.absorbed(densities, colours, camera.draw_lamp(rng)), rng)


def paint_blood(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint a blood smear: red cells with or without a pale centre, white cells with dark nuclei."""
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    pale = rng.choice([0.15, rng.uniform(0.4, 0.9)]) * np.exp(-((1 - depth) ** 2) / np.float32(rng.uniform(0.05, 0.25)))
    red = vary(labels, rng, 0.7, 1.2) * (1 - pale) * (1 + rng.uniform(-0.3, 0.5) * np.exp(-distance / 2))
    red *= 1 + np.float32(0.06) * fractal_noise(labels.shape, 5, rng)
    white = rng.random(int(labels.max()) + 1) < rng.choice([0.0, 0.05, 0.3])
    white[0] = False
    cores = place_nuclei(np.where(white[labels], labels, 0), distance, rng, rng.uniform(0.55, 0.85))
    lumps = np.maximum(1 + 0.3 * fractal_noise(labels.shape, max(3, diameter_px / 6), rng), 0.3)
    core = (cores > 0) * lumps * np.float32(rng.uniform(0.9, 1.6))
    plasm = white[labels] * np.maximum(0.35 + 0.15 * noise_field(labels.shape, 3, rng), 0.1)
    densities = np.dstack([red * ~white[labels], core, plasm]).astype(np.float32)
    tints = ((0.1, 0.5, 0.3), (0.25, 0.75, 0.6), (0.55, 0.45, 0.25), (0.45, 0.8, 0.5))
    tint = _jitter(tints[int(rng.integers(4))], rng)
    colours = np.stack([tint * rng.uniform(0.7, 2.2), _jitter((0.9, 1.2, 0.45), rng), _jitter((0.5, 0.6, 0.25), rng)])
    return camera.record_colour(optics.absorbed(densities, colours, camera.draw_lamp(rng)), rng, sharp=True)


def paint_cervical(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint flat pale cells with folds and a small dark nucleus, grey or Pap-stained."""
    shape = labels.shape
    distance = inner_distance(labels)
    folds = np.maximum(1 + np.float32(0.25) * fractal_noise(shape, diameter_px / 5, rng), 0.2)
    crease = noise_field(shape, diameter_px / 2.5, rng) + np.float32(0.2) * noise_field(shape, diameter_px / 10, rng)
    folds += np.float32(rng.uniform(0.1, 0.6)) * np.exp(-((crease / 0.06) ** 2))
    plasm = (
        vary(labels, rng, 0.4, 1.3) * folds * (0.85 + 0.4 * np.exp(-distance / 3)) * np.float32(rng.uniform(0.2, 0.6))
    )
    core = place_nuclei(labels, distance, rng, rng.uniform(0.12, 0.3)) > 0
    core = core * np.float32(rng.uniform(0.9, 1.6)) * (1 + np.float32(0.15) * noise_field(shape, 3, rng))
    if rng.random() < 0.5:
        return camera.record_grey(np.exp(-plasm - core), rng, level=(0.7, 0.98), dust=30)
    warm = (rng.random(int(labels.max()) + 1) < 0.4)[labels]
    colours = np.stack([_jitter((1.0, 0.5, 0.3), rng), _jitter((0.15, 0.7, 0.4), rng), _jitter((0.9, 0.9, 0.5), rng)])
    densities = np.dstack([plasm * ~warm, plasm * warm, core]).astype(np.float32)
    return camera.record_colour(optics.absorbed(densities, colours, camera.draw_lamp(rng)), rng)


def paint_darkfield(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint large bright bodies on black, lit from one side, as embryos look in dark field."""
    depth = relative_depth(labels, inner_distance(labels))
    body = dome(depth, 0.7) * vary(labels, rng, 0.4, 1) * (1 + 0.15 * fractal_noise(labels.shape, diameter_px / 5, rng))
    side = optics.differential_contrast(dome(depth, 0.5), 0.06 * diameter_px, rng.uniform(0, 6.3), 1.0) - 1
    lit = np.maximum(body + np.float32(rng.uniform(0, 0.8)) * side, 0) + np.float32(0.02)
    colour = rng.uniform(0.6, 1, 3).astype(np.float32)
    return camera.record_colour(0.8 * lit[..., None] * colour, rng)
