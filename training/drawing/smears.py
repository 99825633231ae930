"""Stained cells on a slide: blood, bone marrow and cervical smears, in which cells lie over each other."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from mosaicell.training.drawing import camera, optics
from mosaicell.training.drawing.anatomy import Field, fractal_noise, inner_distance, place_nuclei, relative_depth, vary
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.layouts import Labels, noise_field
from mosaicell.training.drawing.stained import jitter


def cover_again(labels: Labels, *, oval: bool) -> Field:
    """Estimate where covered parts of transparent cells lie, from the parts that show.

    Parameters
    ----------
    labels : (y, x) uint32
    oval : bool
        Completes a cell by the ellipse through its free outline; otherwise by its convex hull.

    Returns
    -------
    layers : (y, x) float32
        How many further cells lie under the labelled one; 0 in the background.
    """
    layers = np.zeros(labels.shape, np.uint8)
    low, high = ndimage.minimum_filter(np.where(labels > 0, labels, 2**31), 3), ndimage.maximum_filter(labels, 3)
    contact = (low != high) & (high > 0) & (low < 2**31)
    for label, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), 1):
        if box is None or not (contact[box] & (labels[box] == label)).any():
            continue
        frame = max(side.stop - side.start for side in box) // 2
        rows, columns = (slice(max(0, side.start - frame), side.stop + frame) for side in box)
        inside = labels[rows, columns] == label
        outline = max(cv2.findContours(inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
        whole = np.zeros(inside.shape, np.uint8)
        if oval:
            free = outline[~contact[rows, columns][outline[:, 0, 1], outline[:, 0, 0]]]
            if len(free) < 12:
                continue
            ellipse = cv2.fitEllipse(free)
            if not np.count_nonzero(inside) < np.pi / 4 * np.prod(ellipse[1]) < 1.7 * np.count_nonzero(inside):
                continue
            cv2.ellipse(whole, ellipse, 1, -1)
        else:
            cv2.fillPoly(whole, [cv2.convexHull(outline)], 1)
        layers[rows, columns] += whole * (~inside & (labels[rows, columns] > 0))
    return layers.astype(np.float32)


def _debris(shape_px: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw platelets and grains of stain, unlabelled: single ones, heaps, a few coarse lumps."""
    canvas = np.zeros(shape_px, np.float32)
    for _ in range(int(rng.integers(0, 20))):
        centre = rng.uniform(0, shape_px)
        for _ in range(1 if rng.random() < 0.8 else int(rng.integers(3, 9))):
            y, x = centre + rng.normal(0, 0.2 * diameter_px, 2)
            axes = tuple(int(v) for v in np.ceil(diameter_px * rng.uniform(0.03, 0.11, 2)))
            cv2.ellipse(canvas, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, float(rng.uniform(0.2, 1)), -1)
    return optics.blur(canvas, rng.uniform(0.6, 1.3)) * np.maximum(1 + 0.4 * noise_field(shape_px, 2, rng), 0.2)


def _lobed_nuclei(labels: Labels, chosen: np.ndarray, distance: Field, rng: np.random.Generator) -> Field:
    """Give chosen cells a nucleus of one large round, one bent or two to five linked lobes; 0 to 1."""
    canvas = np.zeros(labels.shape, np.uint8)
    boxes = ndimage.find_objects(labels.astype(np.int32))
    for label in np.flatnonzero(chosen):
        box = boxes[label - 1]
        depth = np.where(labels[box] == label, distance[box], 0)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        middle, radius = np.array([x + box[1].start, y + box[0].start], float), float(depth.max())
        lobes = int(rng.choice([1, 1, 2, 3, 4, 5]))
        size = radius * (rng.uniform(0.6, 0.9) if lobes == 1 else rng.uniform(0.3, 0.42))
        turns = rng.uniform(0, 6.3) + np.linspace(0, rng.uniform(2.5, 4.8), lobes)
        away = radius * (rng.uniform(0, 0.15) if lobes == 1 else rng.uniform(0.4, 0.52))
        points = middle + away * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        own = np.zeros_like(canvas[box])
        corner = np.array([box[1].start, box[0].start])
        places = np.round((points - corner) * 16).astype(np.int32)
        cv2.polylines(own, [places], False, 1, max(1, int(size * rng.uniform(0.3, 1.6))), shift=4)
        for place in places:
            axes = tuple(int(16 * size * v) for v in rng.uniform(0.85, 1.25, 2))
            cv2.ellipse(own, tuple(int(v) for v in place), axes, rng.uniform(0, 180), 0, 360, 1, -1, shift=4)
        canvas[box] |= own * (depth > 1)
    return canvas.astype(np.float32)


def paint_blood(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint a blood smear: red cells with or without a pale centre, seen through each other, and white cells.

    Cells much deeper than the usual one are white cells; platelets and grains of stain are debris.
    """
    shape = labels.shape
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    width = np.float32(rng.uniform(0.05, 0.35))
    pale = rng.choice([0.1, rng.uniform(0.3, 0.95)]) * vary(labels, rng, rng.uniform(0.3, 1), 1)
    pale = pale * np.exp(-((1 - depth) ** 2) / width)
    red = vary(labels, rng, rng.uniform(0.5, 0.9), 1.2) * (1 - pale)
    edge = np.exp(-distance / np.float32(rng.uniform(0.8, 2.5)))
    red = red * (1 + rng.uniform(-0.4, 0.7) * edge) * np.minimum(distance / np.float32(rng.uniform(0.6, 2)), 1)
    red = red + rng.uniform(0.3, 1) * cover_again(labels, oval=True) * (labels > 0)
    red *= 1 + np.float32(rng.uniform(0.01, 0.1)) * fractal_noise(shape, rng.uniform(2, 6), rng)
    deepest = np.zeros(int(labels.max()) + 1, np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    white = deepest > 1.3 * np.median(deepest[1:])
    white[0] = False
    is_white = white[labels]
    lumps = np.maximum(1 + rng.uniform(0.1, 0.35) * fractal_noise(shape, max(2, diameter_px / 8), rng), 0.3)
    core = _lobed_nuclei(labels, white, distance, rng) * lumps * np.float32(rng.uniform(0.9, 1.7))
    grains = 1 + rng.uniform(0.1, 0.7) * noise_field(shape, rng.uniform(1.6, 0.04 * diameter_px + 1.8), rng)
    plasm = is_white * np.maximum(grains, 0.1) * vary(labels, rng, 0.15, 0.6) * (1 + 0.4 * edge)
    warm = (rng.random(len(white)) < 0.5)[labels]
    debris = _debris(shape, diameter_px, rng) if rng.random() < 0.6 else np.zeros(shape, np.float32)
    ground = rng.choice([0.0, rng.uniform(0, 0.2)]) * np.maximum(
        1 + rng.uniform(0.02, 0.15) * fractal_noise(shape, 30, rng), 0
    )
    densities = np.dstack([red * ~is_white + ground * (labels == 0), core + debris, plasm * ~warm, plasm * warm])
    tints = (
        (0.1, 0.5, 0.3),
        (0.25, 0.75, 0.6),
        (0.55, 0.45, 0.25),
        (0.45, 0.8, 0.5),
        (0.55, 0.55, 0.5),
        (0.7, 0.9, 0.3),
    )
    tint = jitter(tints[int(rng.integers(6))], rng, 0.15)
    colours = np.stack(
        [
            tint * rng.uniform(0.5, 2),
            jitter((0.9, 1.2, 0.45), rng),
            jitter((0.6, 0.6, 0.25), rng),
            jitter((0.2, 0.7, 0.45), rng),
        ]
    )
    return _record_smear(densities.astype(np.float32), colours, labels, rng)


def _record_smear(densities: Field, colours: np.ndarray, labels: Labels, rng: np.random.Generator) -> Pixels:
    """Record a smear; slightly out of focus, a bright line runs around the cells."""
    lamp = camera.draw_lamp(rng) * (rng.uniform(0.55, 0.9) if rng.random() < 0.15 else 1.0)
    image = optics.absorbed(densities, colours, lamp)
    if rng.random() < 0.3:
        inside = (labels > 0).astype(np.float32)
        ring = np.maximum(optics.blur(inside, rng.uniform(1, 2.5)) - inside, 0)
        image = image * (1 + rng.uniform(0.1, 0.5) * ring[..., None])
    if rng.random() < 0.2:
        image = optics.blur(image, rng.uniform(0.8, 2))
    return camera.mar(camera.record_colour(np.minimum(image, 1.2).astype(np.float32), rng, sharp=True), rng)


def paint_marrow(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bone marrow after Giemsa: purple nuclei that nearly fill their cells, blue or pink cytoplasm.

    Vacuoles and granules lie in the cytoplasm; cells much smaller than the usual one are red cells.
    """
    shape = labels.shape
    distance = inner_distance(labels)
    area = np.bincount(labels.ravel())
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    red = area < 0.55 * np.median(area[1:])
    red[border] = False
    is_red = red[labels]
    large = rng.random(len(area)) < rng.uniform(0.5, 1)
    white = np.where(is_red, 0, labels)
    round_core = place_nuclei(white, distance, rng, rng.uniform(0.65, 0.9)) > 0
    lobed = _lobed_nuclei(labels, ~red & ~large & (np.arange(len(area)) > 0), distance, rng)
    core = optics.blur(np.where(large[labels], round_core, lobed).astype(np.float32), 0.7)
    net = np.maximum(
        1 + rng.uniform(0.1, 0.4) * fractal_noise(shape, max(1.8, diameter_px / rng.uniform(8, 20)), rng), 0.2
    )
    nucleoli = np.clip(noise_field(shape, 0.1 * diameter_px + 1, rng) - 1.4, 0, 1)
    core = core * net * (1 - rng.uniform(0, 0.7) * nucleoli) * vary(labels, rng, 0.6, 1.2) * ~is_red
    grains = np.maximum(1 + rng.uniform(0.1, 0.6) * noise_field(shape, rng.uniform(1.6, 4), rng), 0)
    vacuoles = np.clip((noise_field(shape, 0.08 * diameter_px + 1.5, rng) - rng.uniform(1.3, 3)) * 4, 0, 1)
    edge = np.exp(-distance / np.float32(rng.uniform(1, 3)))
    plasm = (
        (labels > 0) * ~is_red * grains * (1 - vacuoles) * vary(labels, rng, 0.3, 1) * (1 + rng.uniform(0, 0.8) * edge)
    )
    plasm = plasm + 0.4 * cover_again(labels, oval=True)
    warm = vary(labels, rng, 0.05, 1)
    debris = _debris(shape, 0.5 * diameter_px, rng)
    pink = rng.choice([0.0, rng.uniform(0, 0.5)]) * np.maximum(0.5 + 0.4 * fractal_noise(shape, diameter_px, rng), 0)
    discs = vary(labels, rng, 0.5, 1) * is_red * (1 - 0.4 * relative_depth(labels, distance))
    densities = np.dstack([core + 0.6 * debris, plasm * (1 - warm), plasm * warm, discs + pink * (labels == 0)])
    colours = np.stack(
        [
            jitter((0.8, 1.3, 0.4), rng, 0.15) * rng.uniform(0.8, 1.5),
            jitter((0.7, 0.6, 0.2), rng),
            jitter((0.3, 0.65, 0.25), rng),
            jitter((0.12, 0.45, 0.4), rng),
        ]
    )
    return _record_smear(densities.astype(np.float32), colours, labels, rng)


def paint_cervical(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint flat transparent cells with folds and a small dark nucleus, grey or Pap-stained."""
    shape = labels.shape
    distance = inner_distance(labels)
    grain = diameter_px / rng.uniform(4, 15)
    folds = np.maximum(1 + np.float32(rng.uniform(0.05, 0.25)) * fractal_noise(shape, max(2.0, grain), rng), 0.2)
    for _ in range(2):
        crease = noise_field(shape, diameter_px / rng.uniform(1.2, 3), rng)
        crease = crease + np.float32(0.2) * noise_field(shape, diameter_px / 10, rng)
        seen = np.maximum(noise_field(shape, diameter_px / 2, rng), 0)
        folds += np.float32(rng.uniform(0.2, 1)) * np.exp(-((crease / rng.uniform(0.03, 0.08)) ** 2)) * seen
    plasm = vary(labels, rng, rng.uniform(0.25, 0.6), 1.3) * folds * (0.8 + rng.uniform(0, 0.8) * np.exp(-distance / 2))
    plasm = (plasm + rng.uniform(0.4, 1) * cover_again(labels, oval=False)) * np.float32(rng.uniform(0.2, 0.6))
    core = place_nuclei(labels, distance, rng, rng.uniform(0.12, 0.35)) > 0
    halo = np.maximum(optics.blur(core.astype(np.float32), 0.03 * diameter_px + 1) - core, 0)
    plasm = plasm * (1 + rng.uniform(-0.8, 0.3) * halo)
    lumps = 1 + np.float32(rng.uniform(0.05, 0.25)) * noise_field(shape, rng.uniform(2, 4), rng)
    stain = core * vary(labels, rng, 0.6, 1.2) * np.float32(rng.uniform(0.8, 1.6)) * lumps
    debris = 0.5 * _debris(shape, 0.3 * diameter_px, rng) if rng.random() < 0.5 else np.zeros(shape, np.float32)
    if rng.random() < 0.4:
        grey = np.exp(-plasm - stain - debris).astype(np.float32)
        return camera.mar(camera.record_grey(grey, rng, level=(0.7, 0.98), dust=60), rng)
    warm = (rng.random(int(labels.max()) + 1) < rng.choice([0.4, 0.0, 1.0]))[labels]
    colours = np.stack([jitter((1.0, 0.5, 0.3), rng), jitter((0.15, 0.7, 0.4), rng), jitter((0.9, 0.9, 0.5), rng)])
    densities = np.dstack([plasm * ~warm, plasm * warm, stain + debris]).astype(np.float32)
    return camera.mar(camera.record_colour(optics.absorbed(densities, colours, camera.draw_lamp(rng)), rng), rng)
