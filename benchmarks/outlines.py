"""Irregular round shapes: of nuclei, lumps of debris, pieces of tissue."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

POINTS = 96


def draw_lobed(
    shape_px: tuple[int, int],
    centre: tuple[float, float],
    radius_px: float,
    rng: np.random.Generator,
    *,
    roughness: float = 0.05,
    lobes: int = 4,
    aspect: float = 1.0,
) -> NDArray[np.bool_]:
    """Draw one filled shape (y, x) whose radius wavers around a circle's or an upright ellipse's.

    Parameters
    ----------
    shape_px : (int, int)
        Height and width of the canvas.
    centre : (float, float)
        Row and column.
    radius_px : float
    rng : numpy.random.Generator
    roughness : float
        Standard deviation of the strength of every wave of the outline, as a fraction of the radius.
    lobes : int
        Most waves along the outline.
    aspect : float
        Width over height.
    """
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    radii = np.full(POINTS, radius_px)
    for waves in range(2, lobes + 1):
        radii += radius_px * rng.normal(0, roughness) * np.cos(waves * angles + rng.uniform(0, 2 * np.pi))
    points = np.stack([centre[1] + aspect * radii * np.cos(angles), centre[0] + radii * np.sin(angles)], axis=1)
    canvas = np.zeros(shape_px, np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas > 0
