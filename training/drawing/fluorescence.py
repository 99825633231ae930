"""Labelled cells that glow on a dark ground by one structure: nuclei, membranes and bacteria."""

from __future__ import annotations

import numpy as np

from mosaicell.training.drawing import optics
from mosaicell.training.drawing.anatomy import dome, fibres, fractal_noise, inner_distance, relative_depth, spots, vary
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.cytoplasm import shape_nuclei
from mosaicell.training.drawing.glow import hidden_layer, nuclear_signal, record_glow, split_focus, tint, uneven_cells
from mosaicell.training.drawing.layouts import Labels, noise_field


def paint_glow_crowded(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint crowded nuclei whose brightness differs up to fifty times, over out-of-focus nuclei of other planes."""
    contrast = float(np.exp(rng.uniform(np.log(1.5), np.log(50))))
    signal = nuclear_signal(labels, diameter_px, rng) * uneven_cells(labels, rng, contrast, rng.uniform(0.5, 2))
    if rng.random() < 0.5:
        # Dividing cells, condensed, are the brightest.
        dividing = (rng.random(int(labels.max()) + 1) < 0.04)[labels]
        signal = signal * (1 + dividing * rng.uniform(1, 4))
    if rng.random() < 0.4:
        # Rims of two nuclei that overlap add up.
        signal = signal + np.float32(rng.uniform(0.2, 0.6)) * optics.blur(signal, 0.06 * diameter_px + 1)
    if rng.random() < 0.5:
        signal = split_focus(signal, labels, rng, rng.uniform(0.05, 0.4), rng.uniform(1, 0.1 * diameter_px + 1.5))
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        depth_px = rng.uniform(0.15, 0.6) * diameter_px + 2
        signal = signal + np.float32(rng.uniform(0.1, 0.5)) * hidden_layer(signal, rng, depth_px)
    if rng.random() < 0.25:
        around = optics.blur((labels > 0).astype(np.float32), 0.5 * diameter_px)
        weak = np.maximum(0.6 + 0.4 * fractal_noise(labels.shape, diameter_px / 3, rng), 0)
        signal = signal + np.float32(rng.uniform(0.02, 0.12)) * around * weak * (labels == 0)
    grey = rng.random() < 0.75
    colour = tint(rng, int(rng.choice([0, 1, 2, 2])))
    return record_glow([(signal, colour)], rng, grey=grey, haze=0.5, size_px=0.4 * diameter_px, faintest=1 / contrast)


def paint_glow_membrane(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint outlines of uneven strength, weak or broken in places, around a darker interior."""
    shape = labels.shape
    distance = inner_distance(labels)
    width = np.float32(rng.uniform(0.6, 0.02 * diameter_px + 1.2))
    line = np.exp(-((distance / width) ** 2) / 2) * (labels > 0)
    uneven = rng.uniform(0.1, 0.7)
    strength = 1 + np.float32(uneven) * fractal_noise(shape, rng.uniform(0.1, 0.6) * diameter_px + 2, rng)
    line = line * np.maximum(strength, 0.12) * uneven_cells(labels, rng, rng.choice([1.2, rng.uniform(1.5, 4)]))
    if rng.random() < 0.4:
        # Corners where three cells meet are the brightest.
        line = line * (0.4 + 3 * optics.blur(line, 0.06 * diameter_px + 1))
    inside = vary(labels, rng, rng.uniform(0.1, 0.6), 1) * np.float32(rng.uniform(0.0, 0.45))
    inside = inside * np.maximum(1 + np.float32(0.4) * fractal_noise(shape, 0.12 * diameter_px + 2, rng), 0)
    inside = inside + np.float32(rng.uniform(0, 0.3)) * spots(shape, rng.uniform(1.6, 3), rng, 1.8)
    nuclei = shape_nuclei(labels, distance, rng)
    if rng.random() < 0.4:
        inside = inside * (1 - np.float32(rng.uniform(0.3, 1)) * (nuclei > 0))
    signal = line + inside * (labels > 0)
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        depth_px = rng.uniform(0.05, 0.25) * diameter_px + 1
        signal = signal + np.float32(rng.uniform(0.2, 0.6)) * hidden_layer(signal, rng, depth_px)
    if rng.random() < 0.2:
        # A vessel or a duct, out of focus, runs across.
        band = fibres(shape, rng.uniform(0.4, 1.2) * diameter_px, rng.uniform(0, np.pi), rng)
        signal = signal + np.float32(rng.uniform(0.2, 0.8)) * optics.blur(np.maximum(band - 1.8, 0), 0.1 * diameter_px)
    membrane = (signal.astype(np.float32), tint(rng, int(rng.choice([0, 1, 1, 2]))))
    if rng.random() < 0.3:
        core = nuclear_signal(nuclei, 0.5 * diameter_px, rng) * vary(labels, rng, rng.uniform(0.2, 0.8), 1)
        return record_glow([membrane, (core, tint(rng, 2))], rng, grey=False, debris=6)
    return record_glow([membrane], rng, grey=rng.random() < 0.65, debris=6)


def paint_glow_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bacteria filled or outlined by their stain, or by their nucleoids."""
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    body = dome(depth, rng.uniform(0.6, 1))
    style = rng.random()
    if style < 0.2:
        body = np.exp(-distance / np.float32(1.5)) * (labels > 0) + 0.2 * body
    elif style < 0.4:
        clumps = np.maximum(
            1 + 0.6 * noise_field(labels.shape, 2 * float(np.median(distance[labels > 0])) + 2, rng), 0.2
        )
        body = body * clumps
    signal = body * uneven_cells(labels, rng, np.exp(rng.uniform(0.1, 2)), rng.uniform(0.5, 1.5))
    if rng.random() < 0.2:
        signal = signal + np.float32(rng.uniform(0.1, 0.4)) * hidden_layer(signal, rng, rng.uniform(2, 6))
    dyes = [(signal.astype(np.float32), tint(rng, int(rng.integers(3))))]
    return record_glow(dyes, rng, grey=rng.random() < 0.7, haze=0.6, debris=8, size_px=3)
