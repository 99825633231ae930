"""Slides: images too large for whole-image maps, segmented band by band in memory that hardly grows with them.

While the networks run on the next row of tiles, the blocks of the last one are decoded on other threads, and there the
cells of all branches are judged and merged. What needs the whole image is measured on a sample of it: contrast on a
grid of pixels; branches, scale and the size of cells on a mosaic of windows.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import describe_evidence, predict_f1
from mosaicell.answers.strip import Branch, Strip
from mosaicell.networks.grid import Grid
from mosaicell.postprocess.assembly import Assembly
from mosaicell.postprocess.blocks import divide_columns, plan_blocks
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.objects import Labels
from mosaicell.reading.pixels import Pixels

log = logging.getLogger(__name__)

#: largest side of a block in px of the maps: wide and low, as bands of maps are held for a whole row of blocks
CORE_PX = (1024, 3072)
#: and in px of the image, which can have many more
MAX_CORE_PX = (2048, 4096)
#: wider images are segmented in strips from top to bottom, each at most so wide in px of the image and of the maps:
#: bands of maps are held over the width of one
STRIP_PX = 6144
#: width of the margin of a block in px of the maps, at first and when a cell does not fit into that
MARGIN_PX, MAX_MARGIN_PX = 96, 384
#: said of cells that no margin holds
UNDECIDED = "%d objects are larger than the margin of a block and may be cut"


@dataclass(frozen=True)
class Division:
    """How a slide is divided.

    Attributes
    ----------
    grid
        Of the slide and its maps.
    strips
        From left to right, each with its rows of blocks from the top.
    margins_px
        Width of the margin of a block at first, and at most.
    """

    grid: Grid
    strips: list[list[list[Bounds]]]
    margins_px: tuple[int, int]


def divide_slide(shape_px: tuple[int, int], scale: float) -> Division:
    """Divide a slide of this height and width that networks see resized by a factor."""
    grid = Grid(shape_px, (max(1, round(shape_px[0] * scale)), max(1, round(shape_px[1] * scale))))
    margins_px = (math.ceil(MARGIN_PX / scale), math.ceil(MAX_MARGIN_PX / scale))
    sides = [min(math.ceil(core / scale), most) for core, most in zip(CORE_PX, MAX_CORE_PX, strict=True)]
    strips = divide_columns(plan_blocks(shape_px, (sides[0], sides[1])), int(STRIP_PX / max(1.0, scale)))
    return Division(grid, strips, margins_px)


@dataclass(frozen=True)
class Slide:
    """What a slide holds.

    Attributes
    ----------
    labels
        uint32 (y, x), 0 = background, 1..n without gaps.
    cells
        How many cells each branch gave.
    predicted_f1
        From all cells, as `merging.predict_f1` says; None without judges or cells.
    seconds
        "network", with the reading of pixels, and "decode": what of it the networks did not hide.
    sources, likelihoods
        (n,), of the ids from 1, as in `merging.Judged`; None without judges.
    """

    labels: Labels
    cells: list[int]
    predicted_f1: float | None
    seconds: dict[str, float]
    sources: np.ndarray | None = None
    likelihoods: np.ndarray | None = None


def segment_bands(
    pixels: Pixels,
    branches: Sequence[Branch],
    scale: float,
    judges: Judges | None,
    batch_size: int,
    workers: int,
    *,
    skip_empty: bool,
) -> Slide:
    """Segment an image band by band.

    Parameters
    ----------
    pixels
        The image.
    branches
        One branch, or those whose cells the judges merge.
    scale
        Factor by which the image is resized for the networks.
    judges
        By what they judge; None with one branch whose cells all count.
    batch_size
        Tiles per network call; the result does not depend on it.
    workers
        Threads that decode; the result does not depend on it.
    skip_empty
        As in `tiling.stream_tiles`.
    """
    started_s = time.perf_counter()
    division = divide_slide(pixels.shape_px, scale)
    with Assembly(pixels.shape_px, workers) as assembly:
        waited_s = 0.0
        for block_rows in division.strips:
            strip = Strip(
                pixels, branches, division.grid, block_rows, division.margins_px, batch_size, skip_empty=skip_empty
            )
            waited_s += strip.decode(judges, assembly)
        since_s = time.perf_counter()
        del strip
        labels = assembly.finish()
        waited_s += time.perf_counter() - since_s
    if assembly.undecided:
        log.warning(UNDECIDED, assembly.undecided)
    predicted = predict_from(assembly.totals, judges)
    seconds = {"network": time.perf_counter() - started_s - waited_s, "decode": waited_s}
    return Slide(
        labels,
        assembly.count_sources(len(branches)),
        predicted,
        seconds,
        assembly.sources if judges else None,
        assembly.likelihoods if judges else None,
    )


def predict_from(totals: np.ndarray | None, judges: Judges | None) -> float | None:
    """Return the F1 at IoU 0.5 that judges expect of a slide whose evidence adds up to `totals`; None where unknown."""
    return predict_f1(describe_evidence(totals), judges) if judges and totals is not None else None
