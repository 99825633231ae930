"""Unstained cells in transmitted light: phase contrast, DIC and defocused bright field."""

from __future__ import annotations

import numpy as np

from training.drawing import camera, optics
from training.drawing.anatomy import (
    Field,
    compact_cell_phase,
    inner_distance,
    spread_cell_phase,
)
from training.drawing.camera import Pixels
from training.drawing.layouts import Labels


def _visible(image: Field, labels: Labels, low: float, high: float) -> Field:
    """Scale the departures from 1 so that the cells' outlines have a contrast between two bounds."""
    outline = (inner_distance(labels) < 4) & (labels > 0)
    contrast = float(np.quantile(np.abs(image[outline] - 1), 0.75))
    gain = np.clip(contrast, low, high) / max(contrast, 1e-4)
    # A faint outline must not drive what lies inside the cell out of the range.
    inside = float(np.quantile(np.abs(image[labels > 0] - 1), 0.95))
    return 1 + (image - 1) * np.float32(min(gain, max(0.9, 2 * low) / max(inside, 1e-4)))


def _zernike(phase: Field, labels: Labels, halo_px: float, rng: np.random.Generator) -> Pixels:
    image = optics.phase_contrast(phase, halo_px, rng.uniform(0.3, 0.9), negative=rng.random() < 0.15)
    return camera.record_grey(_visible(image, labels, rng.uniform(0.12, 0.4), 0.9), rng, level=(0.09, 0.6), dust=40)


def _halo(diameter_px: float, rng: np.random.Generator) -> float:
    """Draw the width of the halo around spread cells.

    It is mostly much narrower than the cell, whose middle then looks as bright as the empty field.
    """
    return float(np.exp(rng.uniform(np.log(1.8), np.log(0.16 * diameter_px + 2))))


def paint_phase_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria in phase contrast: mostly dark, with a narrow to wide halo."""
    width = 4 * float(np.median(inner_distance(labels)[labels > 0]))
    phase = compact_cell_phase(labels, rng, vacuoles=False) * np.float32(rng.uniform(0.2, 0.9))
    phase = optics.blur(phase, rng.uniform(0.4, 0.1 * width + 0.5))
    return _zernike(phase, labels, width * np.exp(rng.uniform(-1.2, 0.9)), rng)


def paint_phase_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint yeast in phase contrast: dark or bright inside a bright rim."""
    phase = compact_cell_phase(labels, rng, vacuoles=True) * np.float32(np.exp(rng.uniform(-0.9, 0.9)))
    phase = optics.blur(phase, rng.uniform(0.7, 0.03 * diameter_px + 0.8))
    return _zernike(phase, labels, diameter_px * np.exp(rng.uniform(-2.9, -1)), rng)


def paint_phase_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint spread animal cells in phase contrast."""
    phase = spread_cell_phase(labels, rng, diameter_px) * np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    return _zernike(optics.blur(phase, rng.uniform(0.3, 1.1)), labels, _halo(diameter_px, rng), rng)


def paint_phase_layer(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint a confluent layer in phase contrast, its seams brighter or darker."""
    phase = spread_cell_phase(labels, rng, diameter_px, loose=False) * np.float32(np.exp(rng.uniform(-0.7, 0.4)))
    return _zernike(optics.blur(phase, rng.uniform(0.3, 1.1)), labels, _halo(diameter_px, rng), rng)


def _dic(phase: Field, labels: Labels, shear_px: float, rng: np.random.Generator) -> Pixels:
    image = optics.differential_contrast(phase, shear_px, rng.uniform(0, 2 * np.pi), 1.0)
    strength = rng.uniform(0.1, 0.3)
    return camera.record_grey(_visible(image, labels, strength, strength), rng, level=(0.25, 0.6), dust=15)


def paint_dic_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria as DIC relief."""
    phase = optics.blur(compact_cell_phase(labels, rng, vacuoles=False), rng.uniform(0.6, 1.3))
    return _dic(0.4 * phase, labels, rng.uniform(1, 2.5), rng)


def paint_dic_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint yeast as DIC relief."""
    phase = optics.blur(compact_cell_phase(labels, rng, vacuoles=True), rng.uniform(0.6, 1.3))
    return _dic(0.4 * phase, labels, rng.uniform(1, 0.1 * diameter_px + 1.5), rng)


def paint_dic_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint spread animal cells as DIC relief."""
    phase = optics.blur(spread_cell_phase(labels, rng, diameter_px), rng.uniform(0.6, 1.5))
    return _dic(0.5 * phase, labels, rng.uniform(1, 3), rng)


def _unstained(phase: Field, labels: Labels, ring_px: float, rng: np.random.Generator) -> Pixels:
    phase = optics.blur(phase, 0.9)
    image = optics.defocused(phase, ring_px, rng.choice([-1.0, 1.0])) - phase * np.float32(rng.uniform(0, 0.15))
    strength = rng.uniform(0.1, 0.35)
    image = _visible(image, labels, strength, strength)
    if rng.random() < 0.6:
        return camera.record_grey(image, rng, level=(0.3, 0.75), dust=25)
    return camera.record_colour(np.maximum(image, 0)[..., None] * camera.draw_lamp(rng), rng)


def paint_bright_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint unstained yeast slightly out of focus."""
    phase = compact_cell_phase(labels, rng, vacuoles=True)
    return _unstained(phase, labels, rng.uniform(0.03, 0.09) * diameter_px + 0.5, rng)


def paint_bright_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint unstained animal cells slightly out of focus."""
    return _unstained(spread_cell_phase(labels, rng, diameter_px), labels, rng.uniform(0.8, 2.5), rng)
