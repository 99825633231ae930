"""Labelled images as a training has them in memory, made by hand."""

from __future__ import annotations

import numpy as np

from mosaicell.training.dataset import Sample


def make_sample(labels: np.ndarray, source: str = "a", modality: str = "grey") -> Sample:
    """Cells of level 200 on a ground of level 50."""
    image = np.where(labels > 0, 200, 50).astype(np.uint8)[..., None]
    areas = np.bincount(labels.ravel())
    diameter = float(np.median(2 * np.sqrt(areas[1:] / np.pi))) if len(areas) > 1 else 30.0
    return Sample(source, modality, image, labels.astype(np.uint16), np.empty((0, 4), np.int32), areas, diameter)


def draw_grid(side: int = 400, pitch: int = 50, radius: int = 15) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    inside = (rows % pitch - pitch // 2) ** 2 + (columns % pitch - pitch // 2) ** 2 < radius**2
    return np.where(inside, rows // pitch * (side // pitch) + columns // pitch + 1, 0).astype(np.uint16)
