"""What lies in an image beside the cells, and is no cell: debris, scratches, walls, blurred floaters, captions."""

from __future__ import annotations

import cv2
import numpy as np

from mosaicell.training.drawing import optics
from mosaicell.training.drawing.anatomy import Field
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.layouts import Labels
from mosaicell.training.drawing.shapes import blob_outline, centreline

_SHIFT = 4


def clutter_phase(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw the optical path through unlabelled matter in focus: grit, threads, scratches, bubbles and pillars.

    Grit is much smaller than a cell and may lie on one; bubbles and pillars keep clear of the cells.

    Returns
    -------
    phase : (y, x) float32, radians; mostly 0.
    """
    canvas = np.zeros(labels.shape, np.float32)
    height, width = labels.shape
    if rng.random() < 0.6:
        largest = rng.uniform(0.02, 0.08) * diameter_px
        for _ in range(int(np.exp(rng.uniform(0, np.log(60))))):
            size = max(1.0, 2 * largest * rng.random() ** 2)
            outline = blob_outline(size, rng, aspect=rng.uniform(1, 2), roughness=0.15) + rng.uniform(
                0, (height, width)
            )
            _fill(canvas, outline, rng.uniform(0.4, 2.5) * rng.choice([1, 1, 1, -1]))
    if rng.random() < 0.1:
        for _ in range(int(rng.integers(1, 5))):
            straight = rng.random() < 0.5
            length = rng.uniform(0.5, 6) * diameter_px
            line = centreline(length, rng, angle=rng.uniform(0, 6.3), wiggle=0.0 if straight else 1.5)
            _trace(canvas, line + rng.uniform(0, (height, width)), rng.uniform(-0.8, 0.8))
    canvas = optics.blur(canvas, rng.uniform(0.3, 0.8))
    if rng.random() < 0.12:
        canvas += _clear_of_cells(_draw_pillar(labels.shape, diameter_px, rng), labels)
    if rng.random() < 0.05:
        canvas += _clear_of_cells(_draw_bubble(labels.shape, diameter_px, rng), labels)
    return canvas


def _fill(canvas: Field, outline: np.ndarray, value: float) -> None:
    corners = np.round(outline[:, ::-1] * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(canvas, [corners], value, lineType=cv2.LINE_8, shift=_SHIFT)


def _trace(canvas: Field, line: np.ndarray, value: float) -> None:
    points = np.round(line[:, ::-1] * 2**_SHIFT).astype(np.int32)
    cv2.polylines(canvas, [points], False, value, 1, cv2.LINE_8, _SHIFT)


def _clear_of_cells(phase: Field, labels: Labels) -> Field:
    """Leave out matter that would lie on a cell or next to it."""
    near = cv2.dilate((labels > 0).astype(np.uint8), np.ones((7, 7), np.uint8))
    return np.zeros_like(phase) if near[phase != 0].any() else phase


def _draw_pillar(shape_px: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw the resin of a microfluidic device: a straight wall, an angle or a post, seen as a slab."""
    slab = np.zeros(shape_px, np.uint8)
    corner = rng.uniform(0, shape_px)
    thick = max(2, round(rng.uniform(0.3, 1.2) * diameter_px))
    sides = rng.choice([-1, 1], 2) * rng.uniform(1, 12, 2) * diameter_px
    turn = rng.choice([0.0, rng.uniform(0, np.pi)])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    legs = np.array([[sides[0], 0], [0, 0], [0, sides[1]]])[: int(rng.integers(2, 4))]
    if rng.random() < 0.3:
        cv2.circle(slab, tuple(int(v) for v in corner[::-1]), 2 * thick, 1, -1)
    else:
        points = np.round((legs @ matrix + corner)[:, ::-1]).astype(np.int32)
        cv2.polylines(slab, [points], False, 1, thick)
    if rng.random() < 0.5:
        slab -= cv2.erode(slab, np.ones((5, 5), np.uint8))
    return optics.blur(slab.astype(np.float32), 0.8) * np.float32(rng.uniform(0.5, 3))


def _draw_bubble(shape_px: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw an air bubble or oil drop: so thick that only its rim lets light through to the lens."""
    y, x = np.ogrid[0 : shape_px[0], 0 : shape_px[1]]
    middle, radius = rng.uniform(0, shape_px), rng.uniform(0.4, 2) * diameter_px
    square = (y - middle[0]) ** 2 + (x - middle[1]) ** 2
    cap = np.sqrt(np.maximum(1 - square / radius**2, 0)) * radius * rng.uniform(0.3, 1)
    return cap.astype(np.float32)


def floaters(shape_px: tuple[int, int], diameter_px: float, rng: np.random.Generator) -> Field:
    """Draw what floats far above or below the focus: faint blurred discs and rings, as a factor of about 1."""
    # Blurred things need no fine grid.
    step = 3
    small = tuple(max(16, n // step) for n in shape_px)
    canvas = np.zeros(small, np.float32)
    largest = 0.0
    for _ in range(int(rng.integers(1, 12))):
        size = diameter_px / step * rng.uniform(0.1, 0.9)
        largest = max(largest, size)
        _fill(canvas, blob_outline(max(1.5, size), rng, roughness=0.1) + rng.uniform(0, small), rng.uniform(0.3, 1.5))
    away = max(2.0, largest * rng.uniform(0.6, 1.2)) * rng.choice([-1, 1])
    image = optics.defocused(optics.blur(canvas, 0.7), away)
    image = 1 + (image - 1) * np.float32(rng.uniform(0.05, 0.4))
    return cv2.resize(image, shape_px[::-1], interpolation=cv2.INTER_CUBIC)


def field_stop(labels: Labels, rng: np.random.Generator) -> Field:
    """Draw the round edge of the field of view, as a phone at an eyepiece shows it, where it hides no cell.

    Returns
    -------
    light : (y, x) float32, 1 inside and nearly 0 outside; all 1 where the cells lie too far apart.
    """
    height, width = labels.shape
    centre = rng.uniform(0.1, 0.9, 2) * labels.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    away = np.hypot(y - np.float32(centre[0]), x - np.float32(centre[1]))
    soft_px = rng.uniform(1, 8)
    radius = max(float(np.max(away[labels > 0])) + soft_px, 0.55 * float(np.max(away)))
    light = np.clip((np.float32(radius) - away) / np.float32(soft_px), 0, 1)
    return np.maximum(light, np.float32(rng.uniform(0, 0.1)))


def channel_walls(labels: Labels, rng: np.random.Generator) -> Field:
    """Draw the resin around rods that stand in narrow parallel channels (see `arrange_channels`).

    Returns
    -------
    phase : (y, x) float32, radians; 0 in the channels and in the trench that they open into.
    """
    occupied = labels > 0
    columns = np.flatnonzero(np.diff(np.concatenate([[0], occupied.any(axis=0), [0]])))
    runs = columns.reshape(-1, 2)
    first = np.array([occupied[:, left:right].any(axis=1).argmax() for left, right in runs])
    last = np.array([np.flatnonzero(occupied[:, left:right].any(axis=1))[-1] for left, right in runs])
    margin = int(rng.integers(1, 4))
    resin = np.ones(labels.shape, np.float32)
    # Channels begin at one height and are filled to different ones.
    upwards = len(runs) > 1 and np.ptp(first) > np.ptp(last)
    top, bottom = (0, int(last.max()) + 1 + margin) if upwards else (max(0, int(first.min()) - margin), len(labels))
    for left, right in runs:
        resin[top:bottom, max(0, left - margin) : right + margin] = 0
    reach = int(np.max(last - first)) + int(rng.uniform(0.5, 2) * np.mean(runs[:, 1] - runs[:, 0]))
    trench = slice(0, max(0, int(last.max()) - reach)) if upwards else slice(int(first.min()) + reach, None)
    resin[trench] = 0
    return optics.blur(resin, rng.uniform(0.5, 1.2)) * np.float32(rng.uniform(0.1, 0.9) * float(rng.choice([-1, 1])))


def burn_caption(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Write a scale bar, mostly with a text, into a corner of a recorded image, in place."""
    height, width = pixels.shape[:2]
    colour = (int(rng.choice([0, 255])),) * pixels.shape[2]
    length, thick = int(rng.uniform(0.08, 0.25) * width), max(1, round(height * rng.uniform(0.004, 0.014)))
    lower, right = rng.random() < 0.8, rng.random() < 0.7
    y = height - int(0.04 * height) - thick if lower else int(0.1 * height)
    x = width - int(0.04 * width) - length if right else int(0.04 * width)
    canvas = np.ascontiguousarray(pixels)
    cv2.rectangle(canvas, (x, y), (x + length, y + thick), colour, -1)
    if rng.random() < 0.7:
        text = f"{rng.choice([5, 10, 20, 25, 50, 100, 200])} um" if rng.random() < 0.7 else f"{rng.integers(200)}:00"
        cv2.putText(canvas, text, (x, y - 4), cv2.FONT_HERSHEY_SIMPLEX, max(0.3, height / 1000), colour, 1, cv2.LINE_AA)
    return canvas
