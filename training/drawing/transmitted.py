"""Unstained cells in transmitted light: phase contrast, DIC and defocused bright field."""

from __future__ import annotations

import numpy as np

from mosaicell.training.drawing import artefacts, camera, optics
from mosaicell.training.drawing.anatomy import (
    Field,
    compact_cell_phase,
    inner_distance,
    round_cell_phase,
    spread_cell_phase,
)
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.layouts import Labels


def _visible(image: Field, labels: Labels, low: float, high: float) -> Field:
    """Scale the departures from 1 so that the cells' outlines have a contrast between two bounds.

    Only fine structure counts: a cell that is brighter as a whole does not show where its neighbour begins.
    """
    outline = (inner_distance(labels) < 2.5) & (labels > 0)
    detail = np.abs(optics.blur(image, 0.7) - optics.blur(image, 4))[outline]
    # Low quantiles let flat cells decide where thick ones lie beside them.
    contrast = 2 * float(np.quantile(detail, (0.35, 0.5)).sum())
    seen = (image - 1) * np.float32(np.clip(contrast, low, high) / max(contrast, 1e-4))
    # Light cannot be negative, and very bright cells saturate softly.
    return 1 + np.where(seen < 0, np.tanh(seen), 2.5 * np.tanh(seen / 2.5))


def _tamed(phase: Field, limit: float) -> Field:
    """Compress what lies above `limit` radians: the sides of balls and mounds would bend all light away."""
    return np.float32(limit) * np.arcsinh(phase / np.float32(limit))


def _record(
    image: Field, diameter_px: float, rng: np.random.Generator, *, level: tuple[float, float], dust: int
) -> Pixels:
    """Add what floats out of focus, record the image in grey and sometimes write a scale bar into it."""
    if rng.random() < 0.25:
        image = image * artefacts.floaters(image.shape, diameter_px, rng)
    return _captioned(camera.record_grey(image, rng, level=level, dust=dust), rng)


def _captioned(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return artefacts.burn_caption(pixels, rng) if rng.random() < 0.03 else pixels


def _zernike(phase: Field, labels: Labels, halo_px: float, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = _tamed(phase, 4) + artefacts.clutter_phase(labels, diameter_px, rng)
    defocus_px = rng.choice([0.0, rng.uniform(1, 0.06 * diameter_px + 1.5)]) * rng.choice([-1, 1])
    negative = rng.random() < 0.12
    image = optics.phase_contrast(phase, halo_px, rng.uniform(0.3, 0.9), negative=negative, defocus_px=defocus_px)
    image = _visible(image, labels, np.exp(rng.uniform(np.log(0.12), np.log(0.45))), 0.9)
    return _record(image, diameter_px, rng, level=(0.09, 0.6), dust=12)


def _halo(diameter_px: float, rng: np.random.Generator) -> float:
    """Draw the width of the halo around spread cells.

    It is mostly much narrower than the cell, whose middle then looks as bright as the empty field.
    """
    return float(np.exp(rng.uniform(np.log(1.8), np.log(0.16 * diameter_px + 2))))


def paint_phase_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria in phase contrast: mostly dark, with a narrow to wide halo."""
    return _phase_bacteria(labels, np.float32(0), diameter_px, rng)


def paint_phase_channels(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria in the narrow channels of a microfluidic device in phase contrast."""
    return _phase_bacteria(labels, artefacts.channel_walls(labels, rng), diameter_px, rng)


def _phase_bacteria(labels: Labels, around: Field | np.float32, diameter_px: float, rng: np.random.Generator) -> Pixels:
    width = 4 * float(np.median(inner_distance(labels)[labels > 0]))
    phase = compact_cell_phase(labels, rng, vacuoles=False) * np.float32(rng.uniform(0.2, 1.3))
    phase = optics.blur(phase, rng.uniform(0.4, 0.1 * width + 0.5)) + around
    return _zernike(phase, labels, width * np.exp(rng.uniform(-1.2, 0.9)), diameter_px, rng)


def paint_phase_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint yeast in phase contrast: dark or bright inside a bright rim."""
    phase = compact_cell_phase(labels, rng, vacuoles=True) * np.float32(np.exp(rng.uniform(-0.9, 0.9)))
    phase = optics.blur(phase, rng.uniform(0.7, 0.03 * diameter_px + 0.8))
    return _zernike(phase, labels, diameter_px * np.exp(rng.uniform(-2.9, -1)), diameter_px, rng)


def paint_phase_round(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint cells in suspension in phase contrast: bright or dark balls with a broad halo."""
    phase = optics.blur(round_cell_phase(labels, rng, diameter_px), rng.uniform(0.5, 0.02 * diameter_px + 1))
    return _zernike(phase, labels, diameter_px * np.exp(rng.uniform(-2.7, -0.9)), diameter_px, rng)


def paint_phase_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint spread animal cells in phase contrast."""
    phase = spread_cell_phase(labels, rng, diameter_px) * np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    return _zernike(optics.blur(phase, rng.uniform(0.3, 1.1)), labels, _halo(diameter_px, rng), diameter_px, rng)


def paint_phase_layer(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint a confluent layer in phase contrast, its seams brighter or darker."""
    phase = spread_cell_phase(labels, rng, diameter_px, seams=True) * np.float32(np.exp(rng.uniform(-0.7, 0.4)))
    return _zernike(optics.blur(phase, rng.uniform(0.3, 1.1)), labels, _halo(diameter_px, rng), diameter_px, rng)


def _dic(phase: Field, labels: Labels, shear_px: float, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = _tamed(phase, 1) + np.float32(0.5) * artefacts.clutter_phase(labels, diameter_px, rng)
    image = optics.differential_contrast(phase, shear_px, rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.5))
    strength = np.exp(rng.uniform(np.log(0.12), np.log(0.4)))
    return _record(_visible(image, labels, strength, strength), diameter_px, rng, level=(0.25, 0.6), dust=8)


def paint_dic_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria as DIC relief."""
    phase = optics.blur(compact_cell_phase(labels, rng, vacuoles=False), rng.uniform(0.6, 1.3))
    return _dic(0.4 * phase, labels, rng.uniform(1, 2.5), diameter_px, rng)


def paint_dic_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint yeast as DIC relief."""
    phase = optics.blur(compact_cell_phase(labels, rng, vacuoles=True), rng.uniform(0.6, 1.3))
    return _dic(0.4 * phase, labels, rng.uniform(1, 0.1 * diameter_px + 1.5), diameter_px, rng)


def paint_dic_round(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint cells in suspension as DIC relief."""
    phase = optics.blur(round_cell_phase(labels, rng, diameter_px), rng.uniform(0.6, 1.5))
    return _dic(0.5 * phase, labels, rng.uniform(1, 0.06 * diameter_px + 1.5), diameter_px, rng)


def paint_dic_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint spread animal cells as DIC relief."""
    phase = optics.blur(spread_cell_phase(labels, rng, diameter_px), rng.uniform(0.6, 1.5))
    return _dic(0.5 * phase, labels, rng.uniform(1, 3), diameter_px, rng)


def paint_dic_layer(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint a confluent layer as DIC relief."""
    phase = optics.blur(spread_cell_phase(labels, rng, diameter_px, seams=True), rng.uniform(0.6, 1.5))
    return _dic(0.5 * phase, labels, rng.uniform(1, 3), diameter_px, rng)


def _unstained(phase: Field, labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Form a bright-field image: near focus with fine rims, or far from it with broad rings."""
    seen = _tamed(phase, 3) + artefacts.clutter_phase(labels, diameter_px, rng)
    defocus_px = np.exp(rng.uniform(np.log(1.5), np.log(0.2 * diameter_px + 2))) * rng.choice([-1, 1])
    image = optics.defocused(seen, defocus_px, rng.uniform(0.3, 0.9))
    strength = np.exp(rng.uniform(np.log(0.12), np.log(0.45)))
    image = np.maximum(_visible(image, labels, strength, strength), 0)
    pigment = np.float32(rng.choice([0.0, rng.uniform(0, 0.12)])) / max(1.0, float(phase.max()))
    if rng.random() < 0.1:
        image *= artefacts.field_stop(labels, rng)
    if rng.random() < 0.6:
        return _record(image * np.exp(-pigment * phase), diameter_px, rng, level=(0.3, 0.75), dust=10)
    colour = rng.uniform(0.2, 2, 3).astype(np.float32)
    light = image[..., None] * np.exp(-pigment * phase[..., None] * colour) * camera.draw_lamp(rng)
    return _captioned(camera.record_colour(light, rng), rng)


def paint_bright_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint unstained bacteria in bright field."""
    phase = compact_cell_phase(labels, rng, vacuoles=False) * np.float32(rng.uniform(0.3, 1.5))
    width = 4 * float(np.median(inner_distance(labels)[labels > 0]))
    return _unstained(optics.blur(phase, 0.7), labels, 1.5 * width, rng)


def paint_bright_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint unstained yeast slightly out of focus."""
    phase = compact_cell_phase(labels, rng, vacuoles=True) * np.float32(np.exp(rng.uniform(-0.5, 1.2)))
    return _unstained(optics.blur(phase, rng.uniform(0.5, 1)), labels, diameter_px, rng)


def paint_bright_round(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint unstained cells in suspension."""
    return _unstained(optics.blur(round_cell_phase(labels, rng, diameter_px), 0.7), labels, diameter_px, rng)


def paint_bright_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint unstained spread animal cells."""
    phase = spread_cell_phase(labels, rng, diameter_px) * np.float32(np.exp(rng.uniform(-0.5, 0.9)))
    return _unstained(optics.blur(phase, rng.uniform(0.4, 1)), labels, 0.5 * diameter_px, rng)


def paint_bright_layer(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint an unstained confluent layer."""
    phase = spread_cell_phase(labels, rng, diameter_px, seams=True) * np.float32(np.exp(rng.uniform(-0.5, 0.9)))
    return _unstained(optics.blur(phase, rng.uniform(0.4, 1)), labels, 0.5 * diameter_px, rng)
