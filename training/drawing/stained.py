"""Stained tissue: haematoxylin with eosin or with DAB, well or badly cut, focused and stained."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing import camera, optics
from mosaicell.training.drawing.anatomy import Field, fibres, fractal_noise, inner_distance, vary
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.layouts import Labels, noise_field


def jitter(colour: tuple[float, float, float], rng: np.random.Generator, spread: float = 0.2) -> NDArray[np.float64]:
    """Vary the absorbances of a stain by about `spread` of their values."""
    return np.array(colour) * np.exp(spread * rng.normal(size=3))


def find_territories(labels: Labels) -> tuple[Labels, Field]:
    """Divide the tissue between its nuclei.

    Returns
    -------
    owner : (y, x) uint32
        The nearest nucleus of every pixel.
    away_px : (y, x) float32
        Distance to it; 0 inside.
    """
    away_px, nearest = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner_of = np.zeros(int(nearest.max()) + 1, np.uint32)
    inside = labels > 0
    owner_of[nearest[inside]] = labels[inside]
    return owner_of[nearest], away_px


def _curved_fibres(shape_px: tuple[int, int], width_px: float, sway_px: float, rng: np.random.Generator) -> Field:
    """Draw collagen or smooth muscle: fibres that wind in waves, about unit variance."""
    field = fibres(shape_px, width_px, rng.uniform(0, np.pi), rng)
    y, x = np.mgrid[: shape_px[0], : shape_px[1]].astype(np.float32)
    y += np.float32(sway_px) * noise_field(shape_px, 4 * sway_px + 8, rng)
    x += np.float32(sway_px) * noise_field(shape_px, 4 * sway_px + 8, rng)
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _web(shape_px: tuple[int, int], mesh_px: float, rng: np.random.Generator) -> Field:
    """Draw a net of thin walls, 0 to 1, as foamy cytoplasm, neuropil and loose stroma show."""
    net = np.zeros(shape_px, np.float32)
    for scale in (1.0, 0.55):
        ridge = noise_field(shape_px, max(2.0, scale * mesh_px), rng) / np.float32(rng.uniform(0.2, 0.4))
        net = np.maximum(net, np.float32(scale**0.5) / (1 + ridge * ridge))
    return net


def _chromatin(labels: Labels, distance: Field, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw the haematoxylin of nuclei: dense, or vesicular with a rim, clumps and a nucleolus; 0 outside."""
    shape = labels.shape
    grain = max(1.7, diameter_px / rng.uniform(5, 14))
    texture = 1 + np.float32(rng.uniform(0.05, 0.35)) * fractal_noise(shape, grain, rng)
    hollow = (rng.random(int(labels.max()) + 1) < rng.choice([0.0, rng.uniform(0, 0.4), rng.uniform(0.5, 1)]))[labels]
    rim = np.exp(-((distance / np.float32(0.05 * diameter_px + 0.8)) ** 2))
    inner = rng.uniform(0.3, 0.7) + rng.uniform(0, 0.6) * np.maximum(noise_field(shape, 1.5 * grain, rng), 0)
    nucleolus = np.clip(noise_field(shape, 0.25 * diameter_px + 1.5, rng) - 1.3, 0, 1) * (distance > 2)
    inner = inner + rng.uniform(0, 1.5) * nucleolus
    stain = np.where(hollow, np.maximum(inner, rim), texture)
    edge = np.clip(distance / np.float32(rng.uniform(0.5, 0.1 * diameter_px + 0.8)), 0.3, 1)
    return (np.maximum(stain, 0.15) * edge * vary(labels, rng, rng.uniform(0.4, 0.85), 1.2)).astype(np.float32)


def _gaps(labels: Labels, away_px: Field, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw where tissue is missing, 0 to 1: lumina and fat away from nuclei, tears, holes of ice crystals."""
    shape = labels.shape
    score = noise_field(shape, rng.uniform(2, 6) * diameter_px, rng) - rng.uniform(0.8, 2.8)
    if rng.random() < 0.5:
        # Blurred, so that the sides of a lumen do not follow each nucleus.
        open_px = optics.blur(away_px, 0.3 * diameter_px + 1)
        score = np.maximum(score, open_px / np.float32(rng.uniform(0.7, 1.8) * diameter_px) - 1)
    if rng.random() < 0.2:
        holes = noise_field(shape, rng.uniform(0.3, 1.2) * diameter_px, rng) - rng.uniform(0.3, 1.6)
        score = np.maximum(score, 0.6 * holes)
    score = score + rng.uniform(0.02, 0.1) * fractal_noise(shape, 0.8 * diameter_px, rng)
    bound = np.clip(away_px / np.float32(0.15 * diameter_px + 1), 0, 1)
    return np.clip(score * rng.uniform(1.5, 8), 0, 1) * bound * rng.uniform(0.8, 1)


def _red_cells(shape_px: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw red blood cells that lie in vessels, unlabelled: flat discs, mostly in heaps."""
    canvas = np.zeros(shape_px, np.float32)
    for _ in range(int(rng.integers(1, 5))):
        centre, spread = rng.uniform(0, shape_px), rng.uniform(0.5, 2.5) * diameter_px
        for _ in range(int(rng.integers(2, 18))):
            y, x = centre + rng.normal(0, spread, 2) * [1, 0.5]
            axes = tuple(int(v) for v in np.ceil(diameter_px * rng.uniform(0.2, 0.4, 2)))
            cv2.ellipse(canvas, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, float(rng.uniform(0.6, 1)), -1)
    return optics.blur(canvas, 0.8)


def _scan(image: Field, rng: np.random.Generator) -> Pixels:
    """Record a section: out of focus as a whole or in part, sharpened by the scanner, or in grey."""
    if rng.random() < 0.2:
        soft = optics.blur(image, rng.uniform(1.2, 2.8))
        part = np.clip(noise_field(image.shape[:2], max(image.shape[:2]) / 2, rng) + rng.choice([0.0, 3.0]), 0, 1)
        image = image + part[..., None] * (soft - image)
    if rng.random() < 0.4:
        image = image + rng.uniform(0.3, 1.2) * (image - optics.blur(image, rng.uniform(1, 2.5)))
    if rng.random() < 0.06:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    image = np.clip(image, 0, 1.1).astype(np.float32)
    return camera.mar(camera.record_colour(image, rng, sharp=rng.random() < 0.6), rng)


def paint_tissue(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint haematoxylin and eosin: dense or hollow nuclei, cytoplasm of every cell, collagen, lumina, red cells.

    Some sections are stained with haematoxylin alone, overstained, or show nuclei of a deeper layer.
    """
    shape = labels.shape
    distance = inner_distance(labels)
    owner, away_px = find_territories(labels)
    nuclear = _chromatin(labels, distance, diameter_px, rng)
    gaps = _gaps(labels, away_px, diameter_px, rng)
    grain = max(1.8, diameter_px / rng.uniform(4, 12))
    ground = 0.45 + np.float32(rng.uniform(0.03, 0.12)) * fractal_noise(shape, 1.5 * diameter_px, rng)
    ground += np.float32(rng.uniform(0.02, 0.12)) * fractal_noise(shape, grain, rng)
    width = max(1.5, diameter_px / rng.uniform(5, 16))
    ground += np.float32(rng.uniform(0, 0.16)) * _curved_fibres(shape, width, rng.uniform(0.2, 1.5) * diameter_px, rng)
    foam = _web(shape, rng.uniform(0.15, 0.6) * diameter_px, rng)
    foamy = np.clip(noise_field(shape, rng.uniform(3, 9) * diameter_px, rng) + rng.uniform(-1, 2), 0, 1)
    ground = ground * (1 + rng.choice([0.0, rng.uniform(0.15, 0.6)]) * foamy * (foam - 0.6) * 1.6)
    near = np.exp(-away_px / np.float32(rng.uniform(0.2, 0.8) * diameter_px)) * (labels == 0)
    ground = ground * (1 + near * (vary(owner, rng, 0.5, 1.5) - 1) * rng.uniform(0, 1))
    border_px = inner_distance(owner) + np.float32(0.08 * diameter_px) * noise_field(shape, 0.4 * diameter_px, rng)
    style = rng.random()
    if style < 0.35:
        border = np.exp(-((border_px / np.float32(rng.uniform(0.8, 2))) ** 2))
        ground = ground + rng.uniform(-0.3, 0.4) * border * (away_px < diameter_px)
    elif style < 0.5:
        # Clear cells: white inside walls of eosin.
        ground = ground * np.maximum(
            1.6 * np.exp(-border_px / np.float32(0.12 * diameter_px + 0.5)), rng.uniform(0.05, 0.5)
        )
    if rng.random() < 0.5:
        # White clefts where cells have come apart.
        cleft = np.clip(1.5 - np.abs(border_px) / np.float32(0.03 * diameter_px + 0.5), 0, 1)
        where = np.clip(2 * noise_field(shape, rng.uniform(0.7, 2) * diameter_px, rng) - rng.uniform(0, 2), 0, 1)
        ground = ground * (1 - rng.uniform(0.5, 1) * cleft * where)
    if rng.random() < 0.35:
        # Shrinking leaves a clear ring around nuclei.
        ring = np.exp(-(((away_px - 1) / np.float32(0.12 * diameter_px + 0.5)) ** 2)) * (labels == 0)
        ground = ground * (1 - rng.uniform(0.2, 0.9) * ring * vary(owner, rng, 0.2, 1))
    ground = np.maximum(ground, 0.02) * (1 - gaps) * np.float32(rng.uniform(0.6, 2))
    bluish = rng.uniform(0, 0.3) * np.maximum(0.6 + 0.5 * fractal_noise(shape, 2 * diameter_px, rng), 0)
    bluish = bluish + rng.uniform(0, 0.3) * near * vary(owner, rng, 0.1, 1)
    if rng.random() < 0.3:
        deeper = np.roll(nuclear[::-1, ::-1], int(rng.integers(shape[1])), axis=1)
        bluish = bluish + rng.uniform(0.1, 0.45) * optics.blur(np.ascontiguousarray(deeper), rng.uniform(1.5, 5))
    haematoxylin = np.maximum(nuclear, bluish * (1 - gaps)) * np.float32(rng.uniform(1.1, 2.7))
    red = _red_cells(shape, diameter_px, rng) * (labels == 0) if rng.random() < 0.3 else np.zeros(shape, np.float32)
    lamp = camera.draw_lamp(rng)
    eosins = ((0.12, 0.85, 0.4), (0.1, 0.6, 0.35), (0.25, 0.8, 0.3), (0.08, 0.5, 0.4))
    colours = np.stack(
        [
            jitter((0.85, 1.0, rng.uniform(0.35, 0.65)), rng, 0.09),
            jitter(eosins[int(rng.integers(4))], rng, 0.12),
            jitter((0.15, 0.9, 0.9), rng),
        ]
    )
    eosin = ground * (1 - rng.uniform(0.3, 0.9) * (labels > 0))
    if rng.random() < 0.12:
        # Haematoxylin alone, under a bluish lamp.
        eosin = 0.15 * eosin
        colours[0], lamp = jitter((0.9, 0.95, 0.3), rng, 0.1), jitter((0.75, 0.7, 0.9), rng, 0.05).astype(np.float32)
    densities = np.dstack([haematoxylin, eosin, red]).astype(np.float32)
    return _scan(optics.absorbed(densities, colours, np.minimum(lamp, 1)), rng)


def paint_immunostain(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint haematoxylin and DAB: blue nuclei, brown nuclei, cytoplasm or membranes, pale ground."""
    shape = labels.shape
    distance = inner_distance(labels)
    owner, away_px = find_territories(labels)
    nuclear = _chromatin(labels, distance, diameter_px, rng)
    islands = np.clip((noise_field(shape, rng.uniform(3, 10) * diameter_px, rng) - rng.uniform(-1.2, 1.5)) * 3, 0, 1)
    strength = islands * vary(owner, rng, rng.uniform(0.1, 0.9), 1)
    cell_px = np.float32(rng.uniform(0.4, 1) * diameter_px)
    away_px = away_px * np.maximum(1 + 0.25 * noise_field(shape, 0.6 * diameter_px, rng), 0.4)
    cell = np.clip((cell_px - away_px) / 3, 0, 1)
    texture = np.maximum(0.7 + 0.3 * fractal_noise(shape, max(1.8, diameter_px / rng.uniform(2, 10)), rng), 0)
    width = max(1.5, diameter_px / 8)
    texture += np.float32(rng.uniform(0, 0.3)) * np.maximum(_curved_fibres(shape, width, diameter_px, rng), 0)
    dab = np.zeros(shape, np.float32)
    style = rng.random()
    if style < 0.7:
        # Stain that is not bound to cells has no sides either.
        stained = strength * cell if rng.random() < 0.6 else optics.blur(strength, 0.4 * diameter_px)
        cytoplasm = stained * texture * (1 - rng.uniform(0.3, 1) * (labels > 0))
        dab += (rng.uniform(0.1, 1.2) * cytoplasm).astype(np.float32)
    if style > 0.45:
        side = np.minimum(inner_distance(owner), np.abs(cell_px - away_px))
        line = np.exp(-((side / np.float32(rng.uniform(0.8, 0.06 * diameter_px + 1))) ** 2)) * (labels == 0)
        patchy = np.clip(0.7 + 0.6 * noise_field(shape, diameter_px, rng), 0, 1.5)
        dab += (rng.uniform(0.3, 1.6) * line * patchy * strength * (away_px < cell_px + 2)).astype(np.float32)
    positive = rng.random(int(labels.max()) + 1) < rng.choice([0.0, 0.0, rng.uniform(0.05, 0.9)])
    degree = np.where(positive, rng.uniform(0.2, 1.6, len(positive)), 0).astype(np.float32)[labels]
    pale = np.maximum(0.1 + 0.08 * fractal_noise(shape, diameter_px / rng.uniform(1, 6), rng), 0) * rng.uniform(
        0.2, 1.8
    )
    pale = pale * (1 - _gaps(labels, away_px, diameter_px, rng))
    haematoxylin = np.maximum(nuclear * (1 - 0.8 * np.minimum(degree, 1)), pale) * np.float32(rng.uniform(0.5, 1.5))
    dab = np.maximum(dab, nuclear * degree) + rng.uniform(0, 0.15) * pale
    blues = ((0.85, 0.6, 0.25), (0.8, 0.7, 0.4), (0.7, 0.6, 0.15))
    browns = ((0.35, 0.7, 1.0), (0.5, 0.8, 1.0), (0.25, 0.55, 0.9))
    colours = np.stack(
        [jitter(blues[int(rng.integers(3))], rng, 0.15), jitter(browns[int(rng.integers(3))], rng, 0.15)]
    )
    densities = np.dstack([haematoxylin, dab]).astype(np.float32)
    return _scan(optics.absorbed(densities, colours, camera.draw_lamp(rng)), rng)
