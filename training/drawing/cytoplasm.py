"""Whole cells that glow: cytoplasm with nuclei in another colour, and bodies in thick slices of tissue."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing import optics
from mosaicell.training.drawing.anatomy import (
    Field,
    fibres,
    fractal_noise,
    inner_distance,
    per_cell,
    place_nuclei,
    relative_depth,
    spots,
    vary,
)
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.glow import (
    hidden_layer,
    nuclear_signal,
    record_glow,
    specks,
    split_focus,
    tint,
    uneven_cells,
)
from mosaicell.training.drawing.layouts import Labels, noise_field


def _cytoplasm(labels: Labels, distance: Field, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw what fills a cell: thick around the nucleus, rimmed, fibrous, or full of vesicles; 0 outside."""
    depth = relative_depth(labels, distance)
    style = rng.random()
    if style < 0.35:
        body = 0.15 + depth ** np.float32(rng.uniform(0.3, 1.8))
    elif style < 0.55:
        rim = np.exp(-distance / np.float32(rng.uniform(1, 4)))
        ruffled = np.maximum(1 + rng.uniform(0, 0.8) * noise_field(labels.shape, 0.2 * diameter_px + 2, rng), 0.1)
        body = rim * ruffled + np.float32(rng.uniform(0.05, 0.5)) * (0.5 + depth)
    elif style < 0.8:
        body = _fibrous(labels, distance, diameter_px, rng) * (0.6 + 0.4 * depth)
    else:
        vesicles = spots(labels.shape, rng.uniform(1.6, 0.05 * diameter_px + 2), rng, rng.uniform(0.5, 1.5))
        body = np.float32(rng.uniform(0.05, 0.4)) + vesicles * depth ** np.float32(rng.uniform(0, 1.5))
    coarse = fractal_noise(labels.shape, max(2.0, diameter_px / rng.uniform(4, 14)), rng)
    body = body * np.maximum(1 + np.float32(rng.uniform(0.05, 0.4)) * coarse, 0.08)
    return (body * (labels > 0)).astype(np.float32)


def _directions(labels: Labels) -> NDArray[np.float64]:
    """Measure the angle of every label's long axis, from x towards y; index 0 is the background's."""
    ids = labels.ravel()
    y, x = (grid.ravel() for grid in np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float64))
    count = np.maximum(np.bincount(ids), 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(ids, values) / count

    middle_y, middle_x = mean(y), mean(x)
    yy, xx, xy = mean(y * y) - middle_y**2, mean(x * x) - middle_x**2, mean(x * y) - middle_x * middle_y
    return 0.5 * np.arctan2(2 * xy, xx - yy)


def _fibrous(labels: Labels, distance: Field, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw actin or tubulin: wavy bundles, mostly along each cell, and a bright rim."""
    bins = 4
    width = max(1.2, diameter_px / rng.uniform(25, 70))
    angles = _directions(labels) + rng.normal(0, rng.uniform(0.1, 1), int(labels.max()) + 1)
    choice = np.round(angles / np.pi * bins).astype(int) % bins
    body = np.zeros(labels.shape, np.float32)
    sharp, sway = rng.uniform(0.25, 0.8), np.float32(rng.uniform(0, 0.15) * diameter_px)
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float32)
    y += sway * noise_field(labels.shape, 0.5 * diameter_px, rng)
    x += sway * noise_field(labels.shape, 0.5 * diameter_px, rng)
    for index in np.unique(choice[1:]):
        bundle = fibres(labels.shape, width, -np.pi * index / bins, rng)
        bundle = cv2.remap(bundle, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        body += np.maximum(0.5 + sharp * bundle, 0.05) * per_cell(labels, choice == index)
    patches = np.maximum(1 + 0.5 * noise_field(labels.shape, 0.3 * diameter_px + 2, rng), 0.2)
    rim = np.exp(-distance / np.float32(rng.uniform(1, 3)))
    return (body * patches + np.float32(rng.uniform(0, 1)) * rim) * (labels > 0)


def shape_nuclei(labels: Labels, distance: Field, rng: np.random.Generator) -> Labels:
    """Put a nucleus into each cell: an oval, in some images bent or dented."""
    nuclei = place_nuclei(labels, distance, rng, rng.uniform(0.4, 0.8))
    if rng.random() < 0.6:
        return nuclei
    sway = np.float32(rng.uniform(0.5, 2.5))
    y, x = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float32)
    y += sway * noise_field(labels.shape, 6, rng)
    x += sway * noise_field(labels.shape, 6, rng)
    dented = cv2.remap((nuclei > 0).astype(np.uint8), x, y, cv2.INTER_NEAREST)
    return np.where((dented > 0) & (distance > 1.5), labels, 0)


def paint_glow_body(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint whole cells in one channel, most often with their nuclei in another."""
    distance = inner_distance(labels)
    body = _cytoplasm(labels, distance, diameter_px, rng)
    body = body * uneven_cells(labels, rng, np.exp(rng.uniform(0.3, 3)), rng.uniform(0.4, 1.5))
    if rng.random() < 0.3:
        body = body + np.float32(rng.uniform(0.05, 0.3)) * hidden_layer(body, rng, rng.uniform(0.1, 0.4) * diameter_px)
    nuclei = shape_nuclei(labels, distance, rng)
    inside = body * (1 - np.float32(rng.uniform(-0.4, 0.9)) * (nuclei > 0))
    if rng.random() < 0.35:
        return record_glow([(inside, tint(rng, 1))], rng, grey=True, size_px=0.1 * diameter_px)
    main, second = rng.permutation(3)[:2] if rng.random() < 0.3 else (1, rng.choice([0, 2]))
    core = nuclear_signal(nuclei, 0.5 * diameter_px, rng) * vary(labels, rng, rng.uniform(0.2, 0.8), 1)
    core = core * np.float32(rng.uniform(0.3, 1.2))
    dyes = [(inside, tint(rng, int(main))), (core, tint(rng, int(second)))]
    return record_glow(dyes, rng, grey=rng.random() < 0.1, size_px=0.1 * diameter_px)


def paint_glow_two_channel(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint touching cells by their cytoplasm, with little or no border between them, and by their nuclei.

    A share of the cells has next to no cytoplasm stain, as happens with markers and after transfection.
    """
    distance = inner_distance(labels)
    shape = labels.shape
    flat = np.minimum(distance / np.float32(rng.uniform(1, 4)), 1)
    flat = flat * (1 + rng.uniform(0, 2) * relative_depth(labels, distance) ** 2)
    body = flat * np.maximum(
        1 + np.float32(rng.uniform(0.05, 0.25)) * fractal_noise(shape, max(1.8, diameter_px / rng.uniform(4, 25)), rng),
        0.1,
    )
    body = body * uneven_cells(labels, rng, rng.choice([1.15, rng.uniform(1.3, 8)]))
    lacking = rng.random(int(labels.max()) + 1) < rng.choice([0.0, 0.0, rng.uniform(0.1, 0.5)])
    body = body * np.where(lacking, np.float32(rng.uniform(0.03, 0.2)), 1).astype(np.float32)[labels]
    if rng.random() < 0.5:
        line = np.exp(-((distance / np.float32(rng.uniform(0.8, 2.5))) ** 2))
        broken = np.clip(0.6 + noise_field(shape, 0.3 * diameter_px, rng), 0, 1.5)
        body = body + np.float32(rng.uniform(0.2, 1.5)) * line * broken * (labels > 0)
    else:
        # The shared side of two cells, seen as a slight dip.
        body = body * (1 - np.float32(rng.uniform(0.1, 0.6)) * np.exp(-(distance**2) / 2))
    nuclei = shape_nuclei(labels, distance, rng)
    core = nuclear_signal(nuclei, 0.5 * diameter_px, rng) * uneven_cells(labels, rng, rng.uniform(1.2, 6))
    body = body * (1 - np.float32(rng.uniform(-0.3, 0.9)) * (nuclei > 0))
    if rng.random() < 0.4:
        weight = np.float32(rng.uniform(0.1, 0.5))
        body = body + weight * hidden_layer(body, rng, rng.uniform(0.1, 0.5) * diameter_px + 2)
        core = core + weight * hidden_layer(core, rng, rng.uniform(0.1, 0.3) * diameter_px + 2)
    main, second = rng.permutation(3)[:2] if rng.random() < 0.4 else (1, rng.choice([0, 2]))
    dyes = [
        (body.astype(np.float32), tint(rng, int(main))),
        (core * np.float32(rng.uniform(0.3, 1.2)), tint(rng, second)),
    ]
    if rng.random() < 0.15:
        third = 3 - int(main) - int(second)
        grains = spots(shape, rng.uniform(1.6, 4), rng, 1.4) * uneven_cells(labels, rng, 10, 2)
        dyes.append((grains, tint(rng, third)))
    return record_glow(dyes, rng, grey=rng.random() < 0.08, size_px=0.15 * diameter_px)


def paint_glow_slice(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint a thick slice of tissue: few bright and many dim bodies in haze, dark holes, fading to one side.

    Some small cells show by their nucleus alone.
    """
    shape = labels.shape
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    nuclei = shape_nuclei(labels, distance, rng)
    two = rng.random() < 0.5
    body = np.minimum(depth / np.float32(rng.uniform(0.15, 0.8)), 1)
    if rng.random() < 0.5:
        body = body * (1 - np.float32(rng.uniform(0.4, 1)) * optics.blur((nuclei > 0).astype(np.float32), 0.8))
    body = body * np.maximum(1 + np.float32(rng.uniform(0.1, 0.4)) * fractal_noise(shape, diameter_px / 5, rng), 0.1)
    area = np.bincount(labels.ravel())
    bare = (rng.random(len(area)) < rng.uniform(0.2, 0.9)) & (area < 0.6 * np.median(area[1:])) & two
    contrast = float(np.exp(rng.uniform(1, 3.2)))
    glow = rng.uniform(0.01, 0.2)
    # The dimmest bodies still add something to the glow of the tissue before them.
    shown = (
        body * (uneven_cells(labels, rng, contrast, rng.uniform(0.8, 3)) + rng.uniform(0.3, 1) * glow) * ~bare[labels]
    )
    away_px = rng.uniform(1, 0.1 * diameter_px + 1.5)
    shown = split_focus(shown.astype(np.float32), labels, rng, rng.uniform(0, 0.3), away_px)
    ground = glow * _neuropil(shape, diameter_px, rng)
    far = optics.blur(hidden_layer(shown, rng, 0.25 * diameter_px + 1), 1)
    light = shown + (ground + np.float32(rng.uniform(0, 0.6)) * far) * (1 - 0.7 * np.minimum(depth * 2, 1))
    light = light + specks(shape, rng, int(rng.integers(0, 40)), 2.0) * np.float32(rng.uniform(0, 0.5))
    if rng.random() < 0.5:
        streaks = np.maximum(fibres(shape, rng.uniform(1.5, 3), rng.uniform(0, np.pi), rng) - rng.uniform(1, 1.8), 0)
        light = light + np.float32(rng.uniform(0.02, 0.15)) * streaks * (labels == 0)
    colour = tint(rng, 1 if rng.random() < 0.7 else int(rng.integers(3)))
    if not two:
        return record_glow(
            [(light.astype(np.float32), colour)], rng, grey=rng.random() < 0.4, haze=0.5, faintest=1 / contrast
        )
    core = nuclear_signal(np.where(bare[labels], labels, nuclei), 0.5 * diameter_px, rng)
    core = core * uneven_cells(labels, rng, rng.uniform(1.5, 8)) * np.float32(rng.uniform(0.3, 1))
    core = core + np.float32(rng.uniform(0, 0.4)) * hidden_layer(core, rng, 0.2 * diameter_px + 1)
    core = core + rng.uniform(0, 0.05) * _neuropil(shape, diameter_px, rng)
    return record_glow(
        [(light.astype(np.float32), colour), (core, tint(rng, rng.choice([0, 2])))], rng, grey=False, haze=0.4
    )


def _neuropil(shape_px: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw the glow of unresolved tissue, about 1: fine grain, slow clouds, dark holes of unlabelled bodies."""
    tissue = 1 + 0.15 * fractal_noise(shape_px, rng.uniform(2, 5), rng)
    tissue = tissue + rng.uniform(0.05, 0.25) * fractal_noise(shape_px, rng.uniform(2, 8) * diameter_px, rng)
    holes = np.clip((noise_field(shape_px, rng.uniform(0.5, 0.9) * diameter_px, rng) - rng.uniform(1, 2.2)) * 2, 0, 1)
    return (np.maximum(tissue, 0.1) * (1 - rng.uniform(0, 0.6) * holes)).astype(np.float32)
