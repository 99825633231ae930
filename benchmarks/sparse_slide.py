"""Sparse slides of any size as OME-Zarr: islands of drawn tissue, and chunks that are absent everywhere else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.scenery import Pixels, Scenery

#: side of a chunk, of an island, and of the square of which each holds one island
CHUNK_PX, ISLAND_PX, SQUARE_PX = 1024, 512, 8192
#: islands begin at multiples of this, so that most reach over the borders of chunks, blocks and parts
STEP_PX = 200


def choose_side(megapixels: float) -> int:
    """Return the side of a square slide of so many megapixels, a multiple of 64 px."""
    return max(1, round(math.sqrt(megapixels * 1e6) / 64)) * 64


def write_sparse_slide(folder: Path, side_px: int, scenery: Scenery, seed: int = 0) -> float:
    """Write a square grey slide as OME-Zarr 0.4, one island in each square of it; return its megapixels of tissue.

    Parameters
    ----------
    folder
        To write, of a name that ends in `.zarr`.
    side_px
        Of the slide.
    scenery
        What islands show.
    seed
        Of their places and of what they show.
    """
    # an extra of the program
    import zarr

    rng = np.random.default_rng(seed)
    stored = zarr.create_array(
        folder / "0",
        shape=(side_px, side_px),
        dtype="uint8",
        chunks=(CHUNK_PX, CHUNK_PX),
        chunk_key_encoding={"name": "v2", "separator": "/"},
        zarr_format=2,
        fill_value=0,
    )
    tissue_px = 0
    for y, x in _place_islands(side_px, rng):
        island = _draw_island(scenery, rng)[: side_px - y, : side_px - x]
        stored[y : y + island.shape[0], x : x + island.shape[1]] = island
        tissue_px += island.size
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    said = {"multiscales": [{"version": "0.4", "name": "slide", "axes": axes, "datasets": datasets}]}
    (folder / ".zgroup").write_text('{"zarr_format": 2}\n', encoding="ascii")
    (folder / ".zattrs").write_text(json.dumps(said) + "\n", encoding="ascii")
    return tissue_px / 1e6


def _place_islands(side_px: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield the corner of the island of each square; what of the slide is less than a square may have none."""
    for top in range(0, side_px, SQUARE_PX):
        for left in range(0, side_px, SQUARE_PX):
            y, x = (int(rng.integers(0, (SQUARE_PX - ISLAND_PX) // STEP_PX)) * STEP_PX + at for at in (top, left))
            if y < side_px and x < side_px:
                yield y, x


def _draw_island(scenery: Scenery, rng: np.random.Generator) -> Pixels:
    scene = scenery.pixels[int(rng.integers(0, len(scenery.pixels)))]
    grey: Pixels = scene.max(axis=2)[:ISLAND_PX, :ISLAND_PX]
    return np.rot90(grey, int(rng.integers(0, 4)))
