"""What is inside drawn cells: depth, nuclei, granules, fibres and the optical path they add."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mosaicell.training.drawing.layouts import Labels, noise_field

Field = NDArray[np.float32]


def inner_distance(labels: Labels) -> Field:
    """Measure every cell pixel's distance to the edge of its cell, in px; 0 in the background.

    The border of the image is not an edge: a cell cut by it goes on outside.
    """
    distance = cv2.distanceTransform(_whole(labels), cv2.DIST_L2, 5)
    # Without any edge in the image the transform gives infinity.
    return np.minimum(distance, max(labels.shape)) + (labels > 0) * np.float32(0.5)


def _whole(labels: Labels) -> NDArray[np.uint8]:
    inside = (labels > 0).astype(np.uint8)
    for first, second in (
        ((slice(1, None),), (slice(None, -1),)),
        ((..., slice(1, None)), (..., slice(None, -1))),
    ):
        differs = labels[first] != labels[second]
        inside[first][differs] = 0
        inside[second][differs] = 0
    return inside


def relative_depth(labels: Labels, distance: Field) -> Field:
    """Scale `inner_distance` so that each cell's deepest point is 1."""
    deepest = np.full(int(labels.max()) + 1, 1e-6, np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    return distance / deepest[labels]


def per_cell(labels: Labels, values: NDArray[np.floating]) -> Field:
    """Spread one value per cell (index 0 is the background's) over the pixels."""
    return values.astype(np.float32)[labels]


def vary(labels: Labels, rng: np.random.Generator, low: float, high: float) -> Field:
    """Draw one value for each cell between two bounds, log-uniform, and spread it; 0 in the background."""
    values = np.exp(rng.uniform(np.log(low), np.log(high), int(labels.max()) + 1))
    values[0] = 0
    return per_cell(labels, values)


def round_cells(labels: Labels, distance: Field) -> NDArray[np.bool_]:
    """Tell for each label, 0 included, whether the cell is nearly a circle that lies whole in the image.

    The radius of its largest inner circle over that of the circle of its area is above 0.92; a square has 0.89.
    """
    count = int(labels.max()) + 1
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    area = np.bincount(labels.ravel(), minlength=count)
    roundness = deepest / np.maximum(np.sqrt(area / np.pi), 1)
    compact = roundness > 0.92
    # The visible part of a cell that the border cuts tells nothing about its shape.
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        compact[side] = False
    compact[0] = False
    return compact


def place_nuclei(labels: Labels, distance: Field, rng: np.random.Generator, size: float) -> Labels:
    """Put an oval nucleus at the deepest point of each cell.

    Parameters
    ----------
    labels : (y, x) uint32
    distance : (y, x) float32
        Of `inner_distance`.
    size : float
        Radius of the nucleus over the depth of the cell, about 0.3 to 0.8.

    Returns
    -------
    nuclei : (y, x) uint32
        The id of the cell inside its nucleus, 0 elsewhere.
    """
    nuclei = np.zeros(labels.shape, np.uint8)
    for label, box in enumerate(ndimage.find_objects(labels.astype(np.int32)), 1):
        if box is None:
            continue
        depth = np.where(labels[box] == label, distance[box], 0)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        radius = size * float(depth[y, x]) * rng.uniform(0.8, 1.2)
        long = radius * rng.uniform(1, 1.5)
        centre = round(16 * (x + box[1].start)), round(16 * (y + box[0].start))
        axes = round(16 * long), round(16 * radius)
        cv2.ellipse(nuclei, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1, shift=4)
    return np.where((nuclei > 0) & (distance > 1.5), labels, 0)


def spots(shape_px: tuple[int, int], size_px: float, rng: np.random.Generator, rarity: float = 1.2) -> Field:
    """Draw small soft spots of 0 to about 1 at random places; a higher `rarity` leaves fewer."""
    return np.maximum(noise_field(shape_px, size_px, rng) - np.float32(rarity), 0)


def fractal_noise(shape_px: tuple[int, int], scale_px: float, rng: np.random.Generator) -> Field:
    """Add smooth noise at three scales, each half as wide and a little weaker; about unit variance."""
    total = noise_field(shape_px, scale_px, rng)
    for octave in (1, 2):
        total += np.float32(0.7**octave) * noise_field(shape_px, max(1.6, scale_px / 2**octave), rng)
    return total * np.float32(0.76)


def fibres(shape_px: tuple[int, int], width_px: float, angle: float, rng: np.random.Generator) -> Field:
    """Draw a texture of wavy fibres along one direction, about unit variance."""
    side = int(np.hypot(*shape_px)) + 8
    field = cv2.resize(noise_field((side, side // 8 + 8), width_px, rng), (side, side), interpolation=cv2.INTER_LINEAR)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(np.degrees(angle)), 1.0)
    matrix[:, 2] += (np.array(shape_px[::-1]) - side) / 2
    return cv2.warpAffine(field, matrix, shape_px[::-1], borderMode=cv2.BORDER_REFLECT)


def dome(depth: Field, flatness: float) -> Field:
    """Turn relative depth into a rounded height of 0 to 1; `flatness` 1 is a sphere, small ones a slab."""
    slope = np.minimum(depth / np.float32(flatness), 1)
    return np.sqrt(np.maximum(1 - (1 - slope) ** 2, 0))


def nucleoli(nuclei: Labels, rng: np.random.Generator) -> Field:
    """Draw one to four dense round bodies into each nucleus: 1 inside, 0 elsewhere."""
    canvas = np.zeros(nuclei.shape, np.float32)
    for box in ndimage.find_objects(nuclei.astype(np.int32)):
        if box is None:
            continue
        size = np.array([side.stop - side.start for side in box])
        middle = np.array([side.start for side in box]) + size / 2
        for _ in range(int(rng.integers(1, 5))):
            y, x = middle + rng.uniform(-0.25, 0.25, 2) * size
            radius = max(0.7, float(size.min()) * rng.uniform(0.05, 0.13))
            cv2.circle(canvas, (round(16 * x), round(16 * y)), round(16 * radius), 1, -1, shift=4)
    return cv2.GaussianBlur(canvas, (0, 0), 0.7)


def granules(where: Field, per_px: float, size_px: float, rng: np.random.Generator) -> Field:
    """Scatter tiny soft dots, each about 1 high; `where` (0 to 1) is the share of `per_px` that a place gets."""
    dots = (rng.random(where.shape, np.float32) < where * np.float32(per_px)).astype(np.float32)
    return cv2.GaussianBlur(dots, (0, 0), size_px) * np.float32(2 * np.pi * size_px**2)


def free_sides(labels: Labels, distance: Field) -> NDArray[np.float64]:
    """Measure for each label, 0 included, which share of its edge lies at the background and not at a cell."""
    edge = (distance < 2) & (labels > 0)
    gap = cv2.distanceTransform((labels > 0).astype(np.uint8), cv2.DIST_L2, 3) < 2.5
    count = int(labels.max()) + 1
    return np.bincount(labels[edge & gap], minlength=count) / np.maximum(np.bincount(labels[edge], minlength=count), 1)


def spread_cell_phase(labels: Labels, rng: np.random.Generator, diameter_px: float, *, seams: bool = False) -> Field:
    """Draw the optical path through spread mammalian cells.

    A thin sheet with a ruffled edge, a body that rises towards the nucleus, the nucleus with its nucleoli,
    granules around it, and now and then a thick round cell that divides or comes off.

    Parameters
    ----------
    labels : (y, x) uint32
    diameter_px : float
        Typical diameter, which sets the sizes of the inner parts.
    seams : bool
        Draws the contacts between cells as thin seams, as in a confluent layer.

    Returns
    -------
    phase : (y, x) float32, radians; 0 outside the cells.
    """
    shape, inside = labels.shape, labels > 0
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    nuclei = place_nuclei(labels, distance, rng, rng.uniform(0.35, 0.65))
    phase = _sheet_and_body(labels, distance, depth, diameter_px, rng)
    texture = np.float32(rng.uniform(0.02, 0.2)) * fractal_noise(shape, max(2.0, diameter_px / rng.uniform(5, 20)), rng)
    if rng.random() < 0.2:
        width = max(1.2, diameter_px / rng.uniform(20, 50))
        texture += np.float32(rng.uniform(0.02, 0.08)) * fibres(shape, width, rng.uniform(0, np.pi), rng)
    phase *= 1 + texture
    within = inner_distance(nuclei)
    envelope = np.exp(-np.abs(within - 1) / np.float32(rng.uniform(0.7, 1.5))) * (nuclei > 0)
    phase += rng.uniform(-0.15, 0.25) * np.minimum(within / 3, 1) + rng.uniform(-0.1, 0.25) * envelope
    phase += np.float32(rng.uniform(0.1, 0.7)) * nucleoli(nuclei, rng)
    around = np.exp(-((depth - np.float32(rng.uniform(0.35, 0.65))) ** 2) * 14) * ((nuclei == 0) & inside)
    around = (around + np.float32(0.1) * inside) * np.minimum(vary(labels, rng, 0.1, 1.5), 1)
    for low, high, size in ((0.05, 0.4, 0.6), (-0.4, 0.25, 0.9), (-0.1, 0.5, max(0.8, diameter_px / 70))):
        per_px = 10 ** rng.uniform(-3.2, -1.5) / size**2
        phase += np.float32(rng.uniform(low, high)) * granules(around, per_px, size * rng.uniform(0.8, 1.3), rng)
    rim = np.exp(-distance / np.float32(rng.uniform(1, 0.03 * diameter_px + 1.5))) * inside
    ruffles = np.maximum(noise_field(shape, rng.uniform(0.12, 0.5) * diameter_px, rng) + np.float32(0.3), 0)
    phase += np.float32(rng.choice([0, rng.uniform(0, 0.6)])) * rim * ruffles
    if seams:
        # Next to tall bodies a seam of one depth for all would not be seen.
        seam = rng.uniform(0.3, 1) * max(0.25, float(np.quantile(phase[inside], 0.8))) * rng.choice([1, 1, 1, -0.6])
        width = rng.uniform(0.8, 0.02 * diameter_px + 1.2)
        phase -= np.float32(seam) * np.exp(-((distance / np.float32(width)) ** 2)) * inside
    thick = round_cells(labels, distance) & (free_sides(labels, distance) > 0.5)
    thick &= rng.random(len(thick)) < rng.choice([0.5, 1.0])
    phase += per_cell(labels, thick * rng.uniform(2, 8, len(thick))) * dome(depth, 1.0)
    return phase.astype(np.float32)


def _sheet_and_body(
    labels: Labels, distance: Field, depth: Field, diameter_px: float, rng: np.random.Generator
) -> Field:
    """Draw the height of spread cells: a thin flat sheet, and a body that rises towards the middle."""
    inside = labels > 0
    # Where cells lie on each other their contact is a low step and no furrow.
    merged = np.float32(rng.choice([0.0, rng.uniform(0.2, 0.6)]))
    open_px = np.minimum(cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5), np.float32(diameter_px))
    slope = np.float32(rng.uniform(0.8, 3))
    sheet = 1 - np.exp(-((1 - merged) * distance + merged * open_px) / slope)
    # The ridge of the distance along a cell's axis would show as a sharp line.
    body = cv2.GaussianBlur(depth ** np.float32(rng.uniform(1, 3)), (0, 0), 0.04 * diameter_px + 0.5)
    body *= 1 - np.exp(-distance / np.float32(0.06 * diameter_px + 1))
    flat = rng.uniform(1, 2.2)
    tallest = rng.choice([rng.uniform(0.03, 0.25), np.exp(rng.uniform(np.log(0.15), np.log(1.2)))])
    height = np.float32(tallest) * vary(labels, rng, 1 / flat, flat)
    total = np.float32(rng.uniform(0.08, 0.5)) * sheet * vary(labels, rng, 0.6, 1.5) + height * body
    if rng.random() < 0.2:
        # Some cells carry a mound of several radians in their middle, which glows white in phase contrast.
        mound = np.maximum(depth - np.float32(rng.uniform(0.25, 0.5)), 0) ** np.float32(rng.uniform(0.6, 1.2))
        total += cv2.GaussianBlur(mound, (0, 0), 0.02 * diameter_px + 0.5) * vary(labels, rng, 1, 3.5)
    if rng.random() < 0.3:
        total += np.float32(rng.uniform(0.05, 0.25)) * _reach_below(labels, diameter_px, slope, rng)
    return total * inside


def _reach_below(labels: Labels, diameter_px: float, slope_px: np.float32, rng: np.random.Generator) -> Field:
    """Draw the faint edges of cells that go on for a little below their neighbours: 1 where there is such a cell."""
    below = rng.random(int(labels.max()) + 1) < 0.4
    below[0] = False
    away = cv2.distanceTransform((~below[labels]).astype(np.uint8), cv2.DIST_L2, 5)
    reach = np.float32(rng.uniform(0.05, 0.2) * diameter_px) * noise_field(labels.shape, 0.4 * diameter_px, rng)
    return (1 - np.exp(-np.maximum(reach - away, 0) / slope_px)) * (away > 0)


def round_cell_phase(labels: Labels, rng: np.random.Generator, diameter_px: float) -> Field:
    """Draw the optical path through cells in suspension: spheres with a nucleus and grains, or dimpled discs.

    Returns
    -------
    phase : (y, x) float32, up to about 6 rad; 0 outside the cells.
    """
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    inside = (labels > 0).astype(np.float32)
    phase = dome(depth, rng.uniform(0.4, 1)) * vary(labels, rng, 0.7, 1.3)
    if rng.random() < 0.3:
        dimple = np.exp(-((1 - depth) ** 2) / np.float32(rng.uniform(0.05, 0.25)))
        return (phase * (1 - np.float32(rng.uniform(0.3, 1)) * dimple)).astype(np.float32)
    phase *= 1 + np.float32(rng.uniform(0, 0.12)) * fractal_noise(labels.shape, max(2.0, diameter_px / 6), rng)
    nuclei = place_nuclei(labels, distance, rng, rng.uniform(0.5, 0.85))
    within = np.minimum(inner_distance(nuclei) / 2, 1)
    phase += np.float32(rng.uniform(-0.12, 0.2)) * within
    grains = granules(inside, 10 ** rng.uniform(-2.5, -1), rng.uniform(0.6, 0.02 * diameter_px + 0.8), rng)
    phase += np.float32(rng.uniform(0, 0.2)) * grains * depth
    return (phase * np.float32(np.exp(rng.uniform(np.log(0.6), np.log(8))))).astype(np.float32)


def compact_cell_phase(labels: Labels, rng: np.random.Generator, *, vacuoles: bool) -> Field:
    """Draw the optical path through bacteria or yeast: a rounded body of 0 to about 1 rad.

    Parameters
    ----------
    vacuoles : bool
        Gives the cells a round inclusion that is thinner or denser, as yeast has.
    """
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    phase = dome(depth, rng.uniform(0.5, 1)) * vary(labels, rng, 0.7, 1.2)
    phase *= 1 + np.float32(rng.choice([0.02, rng.uniform(0, 0.12)])) * noise_field(
        labels.shape, rng.uniform(2, 5), rng
    )
    if vacuoles:
        vacuole = place_nuclei(labels, distance, rng, rng.uniform(0.3, 0.6)) > 0
        phase -= np.float32(rng.uniform(-0.3, 0.6)) * cv2.GaussianBlur(vacuole.astype(np.float32), (0, 0), 1) * depth
        phase += rng.uniform(0, 0.4) * spots(labels.shape, 2.5, rng, 1.6) * (labels > 0)
    return phase.astype(np.float32)
