"""Seams: whether cells that cross the borders of blocks come out as they do without blocks."""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mosaicell.answers import slide
from mosaicell.answers.branches import segment
from mosaicell.answers.quality import merge_branches, read_judges
from mosaicell.evaluation.matching import count_overlaps
from mosaicell.networks.manifest import read_card
from mosaicell.networks.session import Session
from mosaicell.networks.views import Views, read_stretched
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.postprocess.blocks import plan_blocks
from mosaicell.reading.images import read_image
from mosaicell.reading.pixels import ArrayPixels

Labels = NDArray[np.uint32]

#: of cells that differ, those that share at least this much with a cell of the other result differ little
NEAR_IOU = 0.9
#: largest part of a slide that is also decoded in one piece
COMPARED_PX = 25_000_000


@dataclass(frozen=True)
class Crossing:
    """Cells of one result that cross a seam, held against another result.

    Attributes
    ----------
    cells : int
        Cells that lie on both sides of a seam.
    differing : int
        Those of them that the other result has no cell of exactly the same pixels for.
    near : int
        Those of the differing that a cell of the other result matches with an IoU of 0.9 or more.
    """

    cells: int
    differing: int
    near: int

    @property
    def differing_fraction(self) -> float:
        """Share of the crossing cells that differ; 0 without any."""
        return self.differing / self.cells if self.cells else 0.0


@dataclass(frozen=True)
class Comparison:
    """A part of a slide decoded in one piece and in blocks.

    Attributes
    ----------
    shape_px : (int, int)
        Height and width of the part.
    blocks : (int, int)
        Rows and columns of blocks.
    whole, in_blocks : Crossing
        Crossing cells of the one result, held against the other: a cell that blocks lose is found in `whole`, one that
        they add in `in_blocks`.
    """

    shape_px: tuple[int, int]
    blocks: tuple[int, int]
    whole: Crossing
    in_blocks: Crossing

    @property
    def differing_fraction(self) -> float:
        """The larger share of crossing cells that differ, of the two results'."""
        return max(self.whole.differing_fraction, self.in_blocks.differing_fraction)


def count_crossing(labels: Labels, other: Labels, seams_px: tuple[list[int], list[int]]) -> Crossing:
    """Count the cells that cross a seam, and those among them that another result has otherwise or not at all.

    Parameters
    ----------
    labels, other : (y, x) uint32
        Ids 1..n without gaps.
    seams_px : (list of int, list of int)
        Rows and columns at which a block begins, ascending; the border of the image is none.
    """
    crosses = np.zeros(int(labels.max()) + 1, bool)
    boxes = ndimage.find_objects(labels.astype(np.int32))
    for axis, seams in enumerate(seams_px):
        first = np.searchsorted(seams, [box[axis].start for box in boxes], "right")
        last = np.searchsorted(seams, [box[axis].stop - 1 for box in boxes], "right")
        crosses[1:] |= first != last
    overlaps = count_overlaps(labels, other)
    best = np.zeros(len(crosses))
    np.maximum.at(best, overlaps.truth_ids[overlaps.pairs[:, 0]], overlaps.ious())
    differing = crosses & (best < 1)
    return Crossing(int(crosses.sum()), int(differing.sum()), int((differing & (best >= NEAR_IOU)).sum()))


def compare_seams(path: Path, names: tuple[str, str], threads: int) -> Comparison:
    """Decode the middle of a slide in one piece and in blocks, at full size.

    Parameters
    ----------
    path : Path
        Image file.
    names : (str, str)
        Of the models whose cells are merged.
    threads : int
        Threads of the networks and of the decoding.

    Notes
    -----
    Tiles that show nothing are not left out in either way, so that both decode the same maps; what blocks take from a
    sample is measured on the whole.
    """
    pixels = ArrayPixels(_cut_middle(read_image(path).pixels))
    shape_px = pixels.shape_px
    cv2.setNumThreads(threads)
    judges = read_judges(WEIGHTS_FOLDER)
    views = Views(pixels)
    branches, predictions = [], []
    for name in names:
        card = read_card(name, WEIGHTS_FOLDER)
        run_model = Session(card.path, "cpu", threads, 1.0).run
        contrast = views.contrast(card.percentiles)
        image = read_stretched(pixels, (0, 0, *shape_px), contrast)
        predictions.append(segment(image, card, run_model, 1, 1.0))
        branches.append((card, run_model, contrast))
    first, second = predictions
    whole = merge_branches(first, second, judges)
    del predictions, first, second
    bands = slide.segment_bands(
        pixels,
        [slide.Branch(*branch, sizes) for branch, sizes in zip(branches, whole.sizes, strict=True)],
        1.0,
        judges,
        1,
        threads,
        skip_empty=False,
    )
    height_px, width_px = (min(sides) for sides in zip(slide.CORE_PX, slide.MAX_CORE_PX, strict=True))
    blocks = plan_blocks(shape_px, (height_px, width_px))
    seams_px = [row[0][0] for row in blocks[1:]], [block[1] for block in blocks[0][1:]]
    return Comparison(
        shape_px,
        (len(blocks), len(blocks[0])),
        count_crossing(whole.labels, bands.labels, seams_px),
        count_crossing(bands.labels, whole.labels, seams_px),
    )


def _cut_middle(pixels: NDArray) -> NDArray:
    """Cut the middle out of an image (y, x, c), of its proportions, so that it has no more pixels than are compared."""
    share = min(1.0, math.sqrt(COMPARED_PX / (pixels.shape[0] * pixels.shape[1])))
    sides = [int(side * share) for side in pixels.shape[:2]]
    y, x = ((full - side) // 2 for full, side in zip(pixels.shape, sides, strict=False))
    return pixels[y : y + sides[0], x : x + sides[1]]


def compare_seams_apart(path: Path, names: tuple[str, str], threads: int) -> Comparison:
    """Call `compare_seams` in a process of its own, whose memory is given back at its end."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(compare_seams, path, names, threads).result()
