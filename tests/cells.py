"""Random label images with cells of every awkward form: touching, cut, of one pixel, with holes and in pieces."""

from __future__ import annotations

import cv2
import numpy as np

from mosaicell.postprocess.numbering import number_objects


def draw_cells(
    rng: np.random.Generator, shape_px: tuple[int, int] = (180, 230), count: int = 60, most_px: int = 20
) -> np.ndarray:
    """Draw ellipses over each other, cut by lines: uint32 (y, x), 1..n without gaps."""
    labels = np.zeros(shape_px, np.int32)
    for number in range(1, count + 1):
        centre = (int(rng.integers(shape_px[1])), int(rng.integers(shape_px[0])))
        axes = (int(rng.integers(1, most_px)), int(rng.integers(1, most_px)))
        cv2.ellipse(labels, centre, axes, float(rng.integers(180)), 0, 360, number, -1)
        if number % 4 == 0:
            cv2.circle(labels, centre, max(1, min(axes) // 2), 0, -1)
    labels[:, :: shape_px[1] // 5 + 1] = 0
    # single pixels, diagonal pairs and crosses
    for number, (down, right) in enumerate([((0,), (0,)), ((0, 1), (0, 1)), ((1, 0, 1, 2, 1), (0, 1, 1, 1, 2))]):
        y, x = (int(rng.integers(5, side - 8)) for side in shape_px)
        labels[y - 2 : y + 5, x - 2 : x + 5] = 0
        labels[y + np.array(down), x + np.array(right)] = count + 1 + number
    return number_objects(labels)[0]
