"""Synthetic microscopy with exact labels: every scene is an arrangement of cells seen through optics.

`draw_scene` is the one entry. A scene draws all its parameters (size, density, contrast, noise, blur, uneven
light, debris) from the generator it is given, so that a seed is an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training import arrangements, optics
from training.anatomy import (
    Field,
    compact_cell_phase,
    dome,
    fibres,
    fractal_noise,
    inner_distance,
    per_cell,
    place_nuclei,
    relative_depth,
    spots,
    spread_cell_phase,
    vary,
)
from training.layouts import Labels, noise_field

Pixels = NDArray[np.uint8]
Painter = Callable[[Labels, float, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Scene:
    """One kind of image: who lies in it, how large, and how it is seen."""

    arrange: arrangements.Arrangement
    paint: Painter
    modality: str
    smallest_px: float
    largest_px: float


def draw_scene(
    kind: str, shape_px: tuple[int, int], rng: np.random.Generator, *, diameter_px: float | None = None
) -> tuple[Pixels, Labels]:
    """Draw one image of cells and its labels.

    Parameters
    ----------
    kind : str
        One of `SCENES`.
    shape_px : (int, int)
        Height and width, at least 32 each.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same image.
    diameter_px : float, optional
        Typical diameter 2 sqrt(area / pi) of a cell, at least 6; drawn from the scene's own range where None.

    Returns
    -------
    image : (y, x, c) uint8
        c is 1 or 3.
    labels : (y, x) uint32
        At least one cell; ids 1..n without gaps, each 4-connected and of 12 px or more.

    Raises
    ------
    ValueError
        For an unknown kind, a smaller image or a smaller diameter.
    """
    if kind not in _SCENES:
        raise ValueError(f"unknown scene {kind!r}; choose one of {', '.join(_SCENES)}")
    if min(shape_px) < 32:
        raise ValueError(f"a scene needs at least 32 x 32 px, got {shape_px[0]} x {shape_px[1]}")
    scene = _SCENES[kind]
    if diameter_px is None:
        diameter_px = float(np.exp(rng.uniform(np.log(scene.smallest_px), np.log(scene.largest_px))))
    if diameter_px < 6:
        raise ValueError(f"cells need a diameter of at least 6 px, got {diameter_px}")
    labels = scene.arrange(shape_px, diameter_px, rng)
    while not labels.any():
        labels = scene.arrange(shape_px, diameter_px, rng)
    return scene.paint(labels, diameter_px, rng), labels


def _record_grey(
    image: Field, rng: np.random.Generator, *, level: tuple[float, float], dust: int = 0
) -> Pixels:
    """Light, dust and camera of a transmitted-light image with grey level around 0.5."""
    image = image * optics.uneven_light(image.shape, rng, rng.choice([0.05, 0.15, 0.4]))
    if dust and rng.random() < 0.6:
        count = int(rng.integers(1, dust))
        image = optics.scatter_dust(
            image, rng, count=count, size_px=rng.uniform(1, 4), strength=rng.uniform(0.1, 0.5)
        )
    image = optics.blur(image, rng.choice([0.0, rng.uniform(0.4, 1.4)]))
    # Most cameras spread the contrast over a part of the range only.
    image = 1 + (image - 1) * np.float32(rng.uniform(0.6, 1.2))
    pixels = optics.expose(
        image,
        rng,
        level=rng.uniform(*level),
        photons=10 ** rng.uniform(3, 4.6),
        read_noise=10 ** rng.uniform(-2.8, -2),
        grain_px=rng.choice([0.0, 0.7]),
    )
    return np.repeat(pixels, 3, axis=2) if rng.random() < 0.15 else pixels


def _visible(image: Field, labels: Labels, low: float, high: float) -> Field:
    """Scale the departures from 1 so that those along the cells' outlines have a contrast between two bounds."""
    outline = (inner_distance(labels) < 4) & (labels > 0)
    contrast = float(np.quantile(np.abs(image[outline] - 1), 0.75))
    return 1 + (image - 1) * np.float32(np.clip(contrast, low, high) / max(contrast, 1e-4))


def _zernike(phase: Field, labels: Labels, halo_px: float, rng: np.random.Generator) -> Pixels:
    image = optics.phase_contrast(phase, halo_px, rng.uniform(0.3, 0.9), negative=rng.random() < 0.15)
    return _record_grey(_visible(image, labels, rng.uniform(0.12, 0.4), 0.9), rng, level=(0.12, 0.6), dust=40)


def _phase_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    width = 4 * float(np.median(inner_distance(labels)[labels > 0]))
    phase = compact_cell_phase(labels, rng, vacuoles=False) * np.float32(rng.uniform(0.2, 0.9))
    phase = optics.blur(phase, rng.uniform(0.4, 0.1 * width + 0.5))
    return _zernike(phase, labels, width * np.exp(rng.uniform(-1.2, 0.9)), rng)


def _phase_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = compact_cell_phase(labels, rng, vacuoles=True) * np.float32(np.exp(rng.uniform(-0.9, 0.9)))
    phase = optics.blur(phase, rng.uniform(0.4, 0.03 * diameter_px + 0.6))
    return _zernike(phase, labels, diameter_px * np.exp(rng.uniform(-2.9, -1)), rng)


def _phase_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = spread_cell_phase(labels, rng, diameter_px) * np.float32(np.exp(rng.uniform(-0.7, 0.7)))
    return _zernike(optics.blur(phase, rng.uniform(0.3, 1.1)), labels, _halo(diameter_px, rng), rng)


def _phase_layer(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = spread_cell_phase(labels, rng, diameter_px, loose=False) * np.float32(
        np.exp(rng.uniform(-0.7, 0.4))
    )
    return _zernike(optics.blur(phase, rng.uniform(0.3, 1.1)), labels, _halo(diameter_px, rng), rng)


def _halo(diameter_px: float, rng: np.random.Generator) -> float:
    """Draw the width of the halo around spread cells: mostly much narrower than the cell, so that its middle
    looks as bright as the empty field."""
    return float(np.exp(rng.uniform(np.log(1.8), np.log(0.16 * diameter_px + 2))))


def _dic(phase: Field, labels: Labels, shear_px: float, rng: np.random.Generator) -> Pixels:
    image = optics.differential_contrast(phase, shear_px, rng.uniform(0, 2 * np.pi), 1.0)
    strength = rng.uniform(0.1, 0.3)
    return _record_grey(_visible(image, labels, strength, strength), rng, level=(0.25, 0.6), dust=15)


def _dic_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = optics.blur(compact_cell_phase(labels, rng, vacuoles=False), rng.uniform(0.6, 1.3))
    return _dic(0.4 * phase, labels, rng.uniform(1, 2.5), rng)


def _dic_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = optics.blur(compact_cell_phase(labels, rng, vacuoles=True), rng.uniform(0.6, 1.3))
    return _dic(0.4 * phase, labels, rng.uniform(1, 0.1 * diameter_px + 1.5), rng)


def _dic_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = optics.blur(spread_cell_phase(labels, rng, diameter_px), rng.uniform(0.6, 1.5))
    return _dic(0.5 * phase, labels, rng.uniform(1, 3), rng)


def _record_glow(
    channels: list[tuple[Field, tuple[float, float, float]]], rng: np.random.Generator, *, grey: bool
) -> Pixels:
    """Light, haze and camera of a fluorescence image from (signal, colour) pairs."""
    total = None
    for signal, colour in channels:
        sharp = optics.blur(signal, rng.uniform(0.5, 1.8))
        haze = np.float32(rng.uniform(0, 0.3)) * optics.blur(signal, rng.uniform(6, 25))
        ground = np.float32(rng.choice([0.01, 0.05, 0.2]) * rng.uniform(0.3, 1))
        light = optics.uneven_light(signal.shape, rng, rng.choice([0.05, 0.3]))
        seen = (sharp + haze + ground) * light
        layer = seen if grey else seen[..., None] * np.array(colour, np.float32)
        total = layer if total is None else total + layer
    assert total is not None
    top = max(float(np.quantile(total, 0.995)), 1e-3)
    # A quarter of the images is badly underexposed, as raw microscope files are.
    level = rng.uniform(0.08, 0.3) if rng.random() < 0.25 else rng.uniform(0.4, 1.1)
    noise = 10 ** rng.uniform(-3, -1.6) * level
    return optics.expose(
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


def _glow_nuclei(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    signal = _nuclear_signal(labels, diameter_px, rng)
    return _record_glow([(signal, _tint(rng, int(rng.integers(3))))], rng, grey=rng.random() < 0.75)


def _glow_body(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Whole cells in one channel, most often with their nuclei in another."""
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
    """Actin: bundles of fibres in one of three directions for each cell, and a bright rim."""
    width = max(1.2, diameter_px / rng.uniform(25, 60))
    choice = rng.integers(3, size=int(labels.max()) + 1)
    body = np.zeros(labels.shape, np.float32)
    for index in range(3):
        bundle = np.maximum(0.6 + 0.45 * fibres(labels.shape, width, rng.uniform(0, np.pi), rng), 0.1)
        body += bundle * per_cell(labels, (choice == index).astype(np.float32))
    rim = np.exp(-inner_distance(labels) / np.float32(rng.uniform(1.5, 3)))
    return (body + np.float32(rng.uniform(0.2, 1)) * rim) * (labels > 0)


def _glow_membrane(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Bright outlines of varying strength around a dark interior."""
    width = np.float32(rng.uniform(0.6, 0.02 * diameter_px + 1.2))
    line = np.exp(-((inner_distance(labels) / width) ** 2) / 2) * (labels > 0)
    strength = 1 + np.float32(rng.uniform(0.1, 0.5)) * fractal_noise(
        labels.shape, 0.15 * diameter_px + 2, rng
    )
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


def _glow_bacteria(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    distance = inner_distance(labels)
    body = dome(relative_depth(labels, distance), rng.uniform(0.6, 1))
    if rng.random() < 0.25:
        body = np.exp(-distance / np.float32(1.5)) * (labels > 0) + 0.2 * body
    signal = body * vary(labels, rng, rng.uniform(0.3, 0.9), 1)
    return _record_glow([(signal, _tint(rng, int(rng.integers(3))))], rng, grey=rng.random() < 0.7)


def _record_colour(image: Field, rng: np.random.Generator, *, sharp: bool = False) -> Pixels:
    image = image * optics.uneven_light(image.shape[:2], rng, rng.choice([0.03, 0.15]))[..., None]
    image = optics.blur(image, rng.uniform(0.3, 0.8 if sharp else 1.6))
    return optics.expose(
        image,
        rng,
        level=rng.uniform(0.8, 1.02),
        photons=10 ** rng.uniform(3, 4.5),
        read_noise=10 ** rng.uniform(-2.8, -2),
        grain_px=rng.choice([0.0, 0.8]),
    )


def _jitter(
    colour: tuple[float, float, float], rng: np.random.Generator, spread: float = 0.2
) -> NDArray[np.float64]:
    return np.array(colour) * np.exp(spread * rng.normal(size=3))


def _tissue(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Haematoxylin and eosin: dark nuclei, some vesicular, on fibrous pink ground with white gaps."""
    shape = labels.shape
    distance = inner_distance(labels)
    chromatin = 1 + np.float32(rng.uniform(0.05, 0.35)) * fractal_noise(shape, max(2, diameter_px / 6), rng)
    hollow = vary(labels, rng, 0.05, 1) * np.float32(rng.choice([0, 0.7]))
    rim = np.exp(-distance / np.float32(0.06 * diameter_px + 0.8))
    nuclear = (
        vary(labels, rng, rng.uniform(0.4, 0.8), 1.2) * np.maximum(chromatin, 0.2) * (1 - hollow * (1 - rim))
    )
    ground = 0.35 + 0.12 * fractal_noise(shape, diameter_px, rng)
    ground += np.float32(rng.uniform(0, 0.09)) * fibres(
        shape, max(1.6, diameter_px / 9), rng.uniform(0, np.pi), rng
    )
    ground += np.float32(rng.uniform(0.02, 0.1)) * fractal_noise(shape, max(3, diameter_px / 5), rng)
    gaps = np.clip(
        (noise_field(shape, rng.uniform(2, 6) * diameter_px, rng) - rng.uniform(0.6, 2.5)) * 4, 0, 1
    )
    around = optics.blur((labels > 0).astype(np.float32), 0.3 * diameter_px)
    ground = np.maximum(ground, 0.02) * (1 - gaps * (1 - around)) * np.float32(rng.uniform(0.6, 1.5))
    bluish = np.float32(rng.uniform(0, 0.25)) * np.maximum(
        0.6 + 0.5 * fractal_noise(shape, 2 * diameter_px, rng), 0
    )
    haematoxylin = np.maximum(nuclear, bluish * (1 - gaps)) * np.float32(rng.uniform(0.9, 1.7))
    colours = np.stack([_jitter((0.85, 1.05, 0.4), rng, 0.15), _jitter((0.12, 0.85, 0.4), rng)])
    densities = np.dstack([haematoxylin, ground * (1 - 0.5 * (labels > 0))]).astype(np.float32)
    return _record_colour(optics.absorbed(densities, colours, _lamp(rng)), rng)


def _blood(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """A stained smear: red cells with or without a pale centre and a few white cells with dark nuclei."""
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    pale = rng.uniform(0, 0.75) * np.exp(-((1 - depth) ** 2) / np.float32(rng.uniform(0.05, 0.25)))
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
    colours = np.stack(
        [tint * rng.uniform(0.6, 1.4), _jitter((0.9, 1.2, 0.45), rng), _jitter((0.5, 0.6, 0.25), rng)]
    )
    return _record_colour(optics.absorbed(densities, colours, _lamp(rng)), rng, sharp=True)


def _unstained(phase: Field, labels: Labels, ring_px: float, rng: np.random.Generator) -> Pixels:
    image = optics.defocused(phase, ring_px, rng.choice([-1.0, 1.0])) - phase * np.float32(
        rng.uniform(0, 0.15)
    )
    strength = rng.uniform(0.1, 0.35)
    image = _visible(image, labels, strength, strength)
    if rng.random() < 0.6:
        return _record_grey(image, rng, level=(0.3, 0.75), dust=25)
    return _record_colour(np.maximum(image, 0)[..., None] * _lamp(rng), rng)


def _lamp(rng: np.random.Generator) -> Field:
    """Draw the colour of the empty field: nearly white."""
    return (rng.uniform(0.85, 1) * (1 - rng.uniform(0, 0.12, 3))).astype(np.float32)


def _bright_yeast(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    phase = compact_cell_phase(labels, rng, vacuoles=True)
    return _unstained(phase, labels, rng.uniform(0.03, 0.09) * diameter_px + 0.5, rng)


def _bright_spread(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    return _unstained(spread_cell_phase(labels, rng, diameter_px), labels, rng.uniform(0.8, 2.5), rng)


def _cervical(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Flat pale cells with folds and a small dark nucleus, grey or Pap-stained."""
    shape = labels.shape
    distance = inner_distance(labels)
    folds = np.maximum(1 + np.float32(0.25) * fractal_noise(shape, diameter_px / 5, rng), 0.2)
    crease = noise_field(shape, diameter_px / 2.5, rng) + np.float32(0.2) * noise_field(
        shape, diameter_px / 10, rng
    )
    folds += np.float32(rng.uniform(0.1, 0.6)) * np.exp(-((crease / 0.06) ** 2))
    plasm = (
        vary(labels, rng, 0.4, 1.3)
        * folds
        * (0.85 + 0.4 * np.exp(-distance / 3))
        * np.float32(rng.uniform(0.2, 0.6))
    )
    core = place_nuclei(labels, distance, rng, rng.uniform(0.12, 0.3)) > 0
    core = core * np.float32(rng.uniform(0.9, 1.6)) * (1 + np.float32(0.15) * noise_field(shape, 3, rng))
    if rng.random() < 0.5:
        return _record_grey(np.exp(-plasm - core), rng, level=(0.7, 0.98), dust=30)
    warm = (rng.random(int(labels.max()) + 1) < 0.4)[labels]
    colours = np.stack(
        [_jitter((1.0, 0.5, 0.3), rng), _jitter((0.15, 0.7, 0.4), rng), _jitter((0.9, 0.9, 0.5), rng)]
    )
    densities = np.dstack([plasm * ~warm, plasm * warm, core]).astype(np.float32)
    return _record_colour(optics.absorbed(densities, colours, _lamp(rng)), rng)


def _darkfield(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Large bright bodies on black, lit from one side, as embryos look in dark field."""
    depth = relative_depth(labels, inner_distance(labels))
    body = (
        dome(depth, 0.7)
        * vary(labels, rng, 0.4, 1)
        * (1 + 0.15 * fractal_noise(labels.shape, diameter_px / 5, rng))
    )
    side = optics.differential_contrast(dome(depth, 0.5), 0.06 * diameter_px, rng.uniform(0, 6.3), 1.0) - 1
    lit = np.maximum(body + np.float32(rng.uniform(0, 0.8)) * side, 0) + np.float32(0.02)
    colour = rng.uniform(0.6, 1, 3).astype(np.float32)
    return _record_colour(0.8 * lit[..., None] * colour, rng)


_SCENES: dict[str, Scene] = {
    "phase_rods": Scene(arrangements.arrange_rods, _phase_bacteria, "phase-contrast", 12, 40),
    "phase_filaments": Scene(arrangements.arrange_filaments, _phase_bacteria, "phase-contrast", 18, 45),
    "phase_yeast": Scene(arrangements.arrange_yeast, _phase_yeast, "phase-contrast", 14, 50),
    "phase_spread": Scene(arrangements.arrange_spread_cells, _phase_spread, "phase-contrast", 28, 110),
    "phase_layer": Scene(arrangements.arrange_layer, _phase_layer, "phase-contrast", 28, 100),
    "dic_rods": Scene(arrangements.arrange_rods, _dic_bacteria, "dic", 12, 40),
    "dic_yeast": Scene(arrangements.arrange_yeast, _dic_yeast, "dic", 16, 60),
    "dic_spread": Scene(arrangements.arrange_spread_cells, _dic_spread, "dic", 30, 120),
    "fluorescence_nuclei": Scene(arrangements.arrange_nuclei, _glow_nuclei, "fluorescence", 8, 60),
    "fluorescence_cells": Scene(arrangements.arrange_spread_cells, _glow_body, "fluorescence", 20, 110),
    "fluorescence_round": Scene(arrangements.arrange_round, _glow_body, "fluorescence", 15, 60),
    "fluorescence_branched": Scene(arrangements.arrange_branched, _glow_body, "fluorescence", 25, 60),
    "fluorescence_layer": Scene(arrangements.arrange_layer, _glow_membrane, "fluorescence", 22, 110),
    "fluorescence_rods": Scene(arrangements.arrange_rods, _glow_bacteria, "fluorescence", 10, 35),
    "brightfield_tissue": Scene(arrangements.arrange_nuclei, _tissue, "brightfield", 11, 40),
    "brightfield_blood": Scene(arrangements.arrange_round, _blood, "brightfield", 20, 90),
    "brightfield_yeast": Scene(arrangements.arrange_yeast, _bright_yeast, "brightfield", 14, 50),
    "brightfield_spread": Scene(arrangements.arrange_spread_cells, _bright_spread, "brightfield", 30, 100),
    "brightfield_flakes": Scene(arrangements.arrange_flakes, _cervical, "brightfield", 70, 150),
    "darkfield_capsules": Scene(arrangements.arrange_capsules, _darkfield, "brightfield", 50, 130),
}

SCENES: tuple[str, ...] = tuple(_SCENES)
MODALITY_OF_SCENE: dict[str, str] = {name: scene.modality for name, scene in _SCENES.items()}
