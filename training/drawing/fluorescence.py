"""Labelled cells that glow on a dark ground: nuclei, whole cells, membranes and bacteria."""

from __future__ import annotations

import numpy as np

from training.drawing import camera, optics
from training.drawing.anatomy import (
    Field,
    dome,
    fibres,
    fractal_noise,
    inner_distance,
    per_cell,
    place_nuclei,
    relative_depth,
    spots,
    vary,
)
from training.drawing.camera import Pixels
from training.drawing.layouts import Labels


def _record_glow(
    channels: list[tuple[Field, tuple[float, float, float]]], rng: np.random.Generator, *, grey: bool
) -> Pixels:
    """Light, blur and record a fluorescence image from (signal, colour) pairs."""
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
    """Paint nuclei of uneven brightness, smooth or textured."""
    signal = _nuclear_signal(labels, diameter_px, rng)
    return _record_glow([(signal, _tint(rng, int(rng.integers(3))))], rng, grey=rng.random() < 0.75)


def paint_glow_body(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint whole cells in one channel, most often with their nuclei in another."""
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    style = rng.random()
    if style < 0.4:
        body = 0.3 + depth ** np.float32(rng.uniform(0.3, 1.5))
    elif style < 0.7:
        body = np.exp(-distance / np.float32(rng.uniform(1.5, 5))) + np.float32(rng.uniform(0.05, 0.5))
    else:
        body = _fibrous(labels, diameter_px, rng)
    body = body * vary(labels, rng, rng.uniform(0.1, 0.6), 1)
    body *= np.maximum(1 + np.float32(0.25) * fractal_noise(labels.shape, max(2, diameter_px / 8), rng), 0.1)
    nuclei = place_nuclei(labels, distance, rng, rng.uniform(0.4, 0.75))
    if rng.random() < 0.35:
        return _record_glow([(body * (1 - 0.6 * rng.random() * (nuclei > 0)), _tint(rng, 1))], rng, grey=True)
    main, second = rng.permutation(3)[:2] if rng.random() < 0.3 else (1, rng.choice([0, 2]))
    core = _nuclear_signal(nuclei, 0.5 * diameter_px, rng) * np.float32(rng.uniform(0.3, 1))
    body = body * (1 - np.float32(rng.uniform(0, 0.7)) * (nuclei > 0))
    return _record_glow([(body, _tint(rng, int(main))), (core, _tint(rng, int(second)))], rng, grey=False)


def _fibrous(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw actin: bundles of fibres in one of three directions for each cell, and a bright rim."""
    width = max(1.2, diameter_px / rng.uniform(25, 60))
    choice = rng.integers(3, size=int(labels.max()) + 1)
    body = np.zeros(labels.shape, np.float32)
    for index in range(3):
        bundle = np.maximum(0.6 + 0.45 * fibres(labels.shape, width, rng.uniform(0, np.pi), rng), 0.1)
        body += bundle * per_cell(labels, (choice == index).astype(np.float32))
    rim = np.exp(-inner_distance(labels) / np.float32(rng.uniform(1.5, 3)))
    return (body + np.float32(rng.uniform(0.2, 1)) * rim) * (labels > 0)


def paint_glow_membrane(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bright outlines of varying strength around a dark interior."""
    width = np.float32(rng.uniform(0.6, 0.02 * diameter_px + 1.2))
    line = np.exp(-((inner_distance(labels) / width) ** 2) / 2) * (labels > 0)
    strength = 1 + np.float32(rng.uniform(0.1, 0.5)) * fractal_noise(labels.shape, 0.15 * diameter_px + 2, rng)
    inside = vary(labels, rng, 0.3, 1) * np.float32(rng.uniform(0.0, 0.35))
    inside *= np.maximum(1 + np.float32(0.4) * fractal_noise(labels.shape, 0.2 * diameter_px + 2, rng), 0)
    inside += np.float32(rng.uniform(0, 0.3)) * spots(labels.shape, 2, rng, 1.8)
    membrane = (line * np.maximum(strength, 0.15) + inside, _tint(rng, int(rng.integers(3))))
    if rng.random() < 0.3:
        nuclei = place_nuclei(labels, inner_distance(labels), rng, rng.uniform(0.4, 0.65))
        return _record_glow(
            [membrane, (_nuclear_signal(nuclei, 0.5 * diameter_px, rng), _tint(rng, 2))], rng, grey=False
        )
    return _record_glow([membrane], rng, grey=rng.random() < 0.75)


def paint_glow_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria filled or outlined by their stain."""
    distance = inner_distance(labels)
    body = dome(relative_depth(labels, distance), rng.uniform(0.6, 1))
    if rng.random() < 0.25:
        body = np.exp(-distance / np.float32(1.5)) * (labels > 0) + 0.2 * body
    signal = body * vary(labels, rng, rng.uniform(0.3, 0.9), 1)
    return _record_glow([(signal, _tint(rng, int(rng.integers(3))))], rng, grey=rng.random() < 0.7)
