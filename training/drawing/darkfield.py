"""Large bodies on black, lit from the side, as embryos look in dark field."""

from __future__ import annotations

import numpy as np

from mosaicell.training.drawing import camera, optics
from mosaicell.training.drawing.anatomy import dome, fractal_noise, inner_distance, relative_depth, spots, vary
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.glow import specks
from mosaicell.training.drawing.layouts import Labels, noise_field


def paint_darkfield(labels: Labels, diameter_px: float, rng: np.random.Generator) -> Pixels:
    """Paint bright bodies on black with a clear rim, a lit side, glints and coloured edges."""
    shape = labels.shape
    distance = inner_distance(labels)
    depth = relative_depth(labels, distance)
    texture = 1 + np.float32(rng.uniform(0.05, 0.2)) * fractal_noise(shape, diameter_px / rng.uniform(2, 8), rng)
    body = dome(depth, rng.uniform(0.3, 0.9)) * vary(labels, rng, 0.4, 1) * np.maximum(texture, 0.2)
    body = body * (1 + rng.uniform(-0.3, 0.5) * np.exp(-distance / np.float32(0.03 * diameter_px + 1)))
    side = optics.differential_contrast(dome(depth, 0.5), 0.06 * diameter_px, rng.uniform(0, 6.3), 1.0) - 1
    rim = np.exp(-((distance - 0.03 * diameter_px) ** 2) / 3) * (labels > 0)
    glints = rim * np.maximum(noise_field(shape, 0.15 * diameter_px, rng) - 0.8, 0)
    lit = np.maximum(body + np.float32(rng.uniform(0, 0.8)) * side, 0) + np.float32(rng.uniform(0.2, 1)) * glints
    lit = lit + rng.uniform(0, 0.4) * spots(shape, 2.5, rng, 1.8) * (labels > 0)
    if rng.random() < 0.3:
        lit = lit + specks(shape, rng, int(rng.integers(1, 15)), 0.08 * diameter_px)
    # Red and blue are focused apart, and a little of the light is spread.
    shift = rng.uniform(-1, 1, 2) * rng.choice([0.0, 1.5])
    lit = (lit + rng.uniform(0, 0.08) * optics.blur(lit.astype(np.float32), 0.2 * diameter_px)).astype(np.float32)
    planes = [np.roll(lit, tuple(np.round(sign * shift).astype(int)), (0, 1)) for sign in (-1, 0, 1)]
    colour = rng.uniform(0.6, 1, 3).astype(np.float32)
    image = 0.8 * (np.dstack(planes) + np.float32(rng.uniform(0, 0.03))) * colour
    return camera.mar(camera.record_colour(image.astype(np.float32), rng), rng)
