"""Cells of simple shapes that share the plane: each pixel goes to the cell in whose middle it lies deepest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaicell.training.drawing.layouts import Labels, clean_labels, noise_field
from mosaicell.training.drawing.shapes import Points


@dataclass(frozen=True)
class Spindle:
    """One long cell for `contest`: where it lies, its half axes, and how sharply it tapers."""

    centre: Points
    angle: float
    half_length_px: float
    half_width_px: float
    bend: float = 0.0
    #: 0 is an ellipse, 1 a lens with pointed ends, 2 a spindle with drawn-out ends
    taper: int = 1


def contest(
    shape_px: tuple[int, int],
    arms: Sequence[tuple[int, Spindle]],
    rng: np.random.Generator,
    *,
    waviness_px: float = 1.0,
    wave_px: float = 12.0,
    uneven: float = 0.0,
    min_area_px: int = 12,
) -> Labels:
    """Give every pixel to the cell in whose middle it lies deepest.

    Free edges follow the shapes, contacts the line of equal depth.

    Parameters
    ----------
    arms : sequence of (int, Spindle)
        Cell id, from 1, and a spindle of it; several with one id make a star.
    waviness_px, wave_px : float
        Sideways displacement of all edges and its scale.
    uneven : float
        How much stronger some cells are than others: 0 leaves contacts midway, above 0.5 cells lie on each other.
    min_area_px : int
        Smaller remains of cells that others cover become background.

    Returns
    -------
    labels : (y, x) uint32
        Cleaned as by `clean_labels`.
    """
    height, width = shape_px
    grid = [axis.astype(np.float32) for axis in np.mgrid[0:height, 0:width]]
    if waviness_px > 0:
        grid = [axis + np.float32(waviness_px) * noise_field(shape_px, wave_px, rng) for axis in grid]
    owner = np.zeros(shape_px, np.int32)
    best = np.full(shape_px, np.inf, np.float32)
    handicap = rng.uniform(0, uneven, max((label for label, _ in arms), default=0) + 1)
    for label, arm in arms:
        sine, cosine = np.sin(arm.angle), np.cos(arm.angle)
        sway = abs(arm.bend) * arm.half_length_px
        reach_y = np.hypot(arm.half_length_px * sine, arm.half_width_px * cosine) + sway + 3 * waviness_px + 1
        reach_x = np.hypot(arm.half_length_px * cosine, arm.half_width_px * sine) + sway + 3 * waviness_px + 1
        top, left = (max(0, int(c - r)) for c, r in zip(arm.centre, (reach_y, reach_x), strict=True))
        bottom, right = (max(0, int(c + r) + 2) for c, r in zip(arm.centre, (reach_y, reach_x), strict=True))
        box = slice(top, bottom), slice(left, right)
        y, x = (axis[box] - np.float32(c) for axis, c in zip(grid, arm.centre, strict=True))
        if y.size == 0:
            continue
        along = (x * np.float32(cosine) + y * np.float32(sine)) / np.float32(arm.half_length_px)
        across = (y * np.float32(cosine) - x * np.float32(sine)) / np.float32(arm.half_width_px)
        along *= along
        across -= np.float32(arm.bend * arm.half_length_px / arm.half_width_px) * along
        depth = along + (across * across if arm.taper == 0 else np.abs(across))
        if arm.taper == 2:
            depth = along + np.sqrt(np.abs(across))
        level = depth + np.float32(handicap[label])
        won = (depth < 1) & (level < best[box])
        owner[box][won] = label
        best[box][won] = level[won]
    return clean_labels(owner, min_area_px=min_area_px)
