"""What is inside drawn cells: depth, nuclei, granules, fibres and the optical path they add."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.drawing.layouts import Labels, noise_field

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
    """Tell for each label, 0 included, whether the cell is nearly a circle that lies whole in the image."""
    count = int(labels.max()) + 1
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    area = np.bincount(labels.ravel(), minlength=count)
    roundness = deepest / np.maximum(np.sqrt(area / np.pi), 1)
    compact = roundness > 0.85
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


def spread_cell_phase(labels: Labels, rng: np.random.Generator, diameter_px: float, *, loose: bool = True) -> Field:
    """Draw the optical path through spread mammalian cells.

    A thin sheet with a ruffled edge, a body that rises towards the nucleus, the nucleus with its nucleoli,
    granules around it, and now and then a thick round cell.

    Parameters
    ----------
    labels : (y, x) uint32
    diameter_px : float
        Typical diameter, which sets the sizes of the inner parts.
    loose : bool
        Lets round cells be thick, as cells are that divide or come off; otherwise, in a confluent layer, the
        contacts between cells are drawn as thin seams.

    Returns
    -------
    phase : (y, x) float32, radians; 0 outside the cells.
    """
    shape = labels.shape
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    grain = max(1.6, diameter_px / rng.uniform(14, 30))
    sheet = rng.uniform(0.12, 0.4) * (1 - np.exp(-distance / np.float32(rng.uniform(1, 3))))
    body = rng.uniform(0.1, 0.6) * depth ** np.float32(rng.uniform(1, 2.5))
    phase = (sheet + body) * vary(labels, rng, 0.7, 1.4)
    phase *= 1 + np.float32(rng.uniform(0.05, 0.3)) * fractal_noise(shape, 2.5 * grain, rng)
    nuclei = place_nuclei(labels, distance, rng, rng.uniform(0.35, 0.65))
    inside = inner_distance(nuclei)
    edge = np.exp(-np.abs(inside - 1) / np.float32(rng.uniform(0.7, 1.5))) * (nuclei > 0)
    phase += rng.uniform(-0.15, 0.25) * np.minimum(inside / 3, 1) + rng.uniform(-0.15, 0.3) * edge
    phase += rng.uniform(0.2, 0.7) * spots(shape, 1.3 * grain, rng, 1.5) * (inside > 2)
    around = np.exp(-((depth - 0.55) ** 2) * 12) * (nuclei == 0) * (labels > 0)
    phase += rng.uniform(-0.4, 0.6) * spots(shape, grain, rng, rng.uniform(0.6, 1.6)) * around
    rim = np.exp(-distance / np.float32(rng.uniform(1, 3))) * (labels > 0)
    phase += rng.uniform(0, 0.6) * rim * np.maximum(noise_field(shape, 4 * grain, rng) + 0.3, 0)
    if not loose:
        seam = rng.uniform(0.15, 0.6) * rng.choice([1, 1, 1, -0.6])
        phase -= seam * np.exp(-((distance / rng.uniform(0.8, 2)) ** 2)) * (labels > 0)
    thick = round_cells(labels, distance) & (rng.random(int(labels.max()) + 1) < 0.7 * loose)
    phase += per_cell(labels, thick * rng.uniform(1, 3, len(thick))) * dome(depth, 1.0)
    return phase.astype(np.float32)


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
    phase *= 1 + np.float32(rng.uniform(0, 0.15)) * noise_field(labels.shape, rng.uniform(2, 5), rng)
    if vacuoles:
        vacuole = place_nuclei(labels, distance, rng, rng.uniform(0.3, 0.6)) > 0
        phase -= np.float32(rng.uniform(-0.3, 0.6)) * cv2.GaussianBlur(vacuole.astype(np.float32), (0, 0), 1) * depth
        phase += rng.uniform(0, 0.4) * spots(labels.shape, 2.5, rng, 1.6) * (labels > 0)
    return phase.astype(np.float32)
