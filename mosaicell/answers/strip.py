"""Part of a slide, whose maps come band by band while its blocks are decoded, judged and merged on other threads."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mosaicell.answers.branches import read_with
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import EVIDENCE, Sizes, judge_cells
from mosaicell.contrast.normalize import Contrast
from mosaicell.machine.heap import return_free_memory
from mosaicell.networks.grid import Grid
from mosaicell.networks.manifest import Card
from mosaicell.networks.map_rows import MapRows, Predict
from mosaicell.networks.raw import RunModel
from mosaicell.networks.scale import read_resized
from mosaicell.networks.tiling import Band, Read, Tiles, pad_image, plan_tiles, stream_tiles
from mosaicell.networks.views import read_stretched
from mosaicell.postprocess.block_queue import BlockQueue
from mosaicell.postprocess.blocks import Decode, Found
from mosaicell.postprocess.bounds import Bounds, bounding_boxes, widen
from mosaicell.reading.pixels import PixelRows, Pixels


@dataclass(frozen=True)
class Branch:
    """One of the branches that segment a slide.

    Attributes
    ----------
    card, run_model
        As in `branches.segment`.
    contrast
        Of the image, between the card's percentiles.
    sizes
        Of the branch's cells in the image.
    """

    card: Card
    run_model: RunModel
    contrast: Contrast
    sizes: Sizes


class Strip:
    """Columns of a slide, or some rows of them, whose maps come band by band.

    Parameters
    ----------
    pixels
        The slide.
    branches
        As in `slide.segment_bands`.
    grid
        Of the slide and its maps.
    block_rows
        Rows of blocks that lie side by side, one below the other.
    margins_px
        As in `slide.Division`.
    batch_size, skip_empty
        As in `slide.segment_bands`.

    Notes
    -----
    A block is decoded from the same maps whichever rows are above it.
    """

    def __init__(
        self,
        pixels: Pixels,
        branches: Sequence[Branch],
        grid: Grid,
        block_rows: list[list[Bounds]],
        margins_px: tuple[int, int],
        batch_size: int,
        *,
        skip_empty: bool,
    ) -> None:
        self._branches, self._block_rows, self._margins_px = branches, block_rows, margins_px
        self._shape_px = grid.shape_px
        self._rows = [MapRows(grid, branch.card, branch.sizes.least_px) for branch in branches]
        first, last = (widen(block_rows[0][index], margins_px[1], grid.shape_px) for index in (0, -1))
        first_row_px, columns_px = grid.map_bounds(first)[0], (grid.map_bounds(first)[1], grid.map_bounds(last)[3])
        plans = [_plan(branch, grid) for branch in branches]
        readers = {
            (tiles, percentiles): _make_reader(
                pixels, branch.contrast, grid, tiles, columns_px, is_shared=plans.count((tiles, percentiles)) > 1
            )
            for branch, (tiles, percentiles) in zip(branches, plans, strict=True)
        }
        self._bands: list[Iterator[Band]] = [
            stream_tiles(
                readers[plan],
                grid.map_px,
                plan[0],
                read_with(branch.card, branch.run_model),
                batch_size,
                branch.card.keep,
                columns_px=columns_px,
                first_row_px=first_row_px,
                skip_empty=skip_empty,
                slack_px=branch.card.decoder.slack_px,
            )
            for branch, plan in zip(branches, plans, strict=True)
        ]

    def decode(self, judges: Judges | None, queue: BlockQueue) -> float:
        """Submit the blocks as their maps come; return the seconds that this took beyond those for the maps."""
        waited_s = 0.0
        for index, blocks in enumerate(self._block_rows, start=1):
            self._fetch(self._widest(blocks[0]))
            since_s = time.perf_counter()
            for core in blocks:
                predicts = [rows.cut(self._widest(core)) for rows in self._rows]
                queue.submit(self._make_decoder(predicts, judges), core, *self._margins_px)
            for following in self._block_rows[index : index + 1]:
                for rows in self._rows:
                    rows.drop_above(self._widest(following[0]))
            # what is left free between bands and blocks adds up from row to row
            return_free_memory()
            waited_s += time.perf_counter() - since_s
        return waited_s

    def _widest(self, core: Bounds) -> Bounds:
        return widen(core, self._margins_px[1], self._shape_px)

    def _fetch(self, bounds: Bounds) -> None:
        """Run the networks until the maps of all branches reach the end of bounds, a row of tiles of each in turn."""
        while not all(rows.reaches(bounds) for rows in self._rows):
            for rows, bands in zip(self._rows, self._bands, strict=True):
                if not rows.reaches(bounds):
                    rows.append(next(bands))

    def _make_decoder(self, predicts: Sequence[Predict], judges: Judges | None) -> Decode:
        """Return what decodes a block with all branches and merges their cells."""
        sizes = [branch.sizes.typical for branch in self._branches]
        height, width = self._shape_px

        def decode(asked: Bounds) -> Found:
            if judges is None:
                (predict,) = predicts
                return Found(predict(asked).labels)
            predictions = [predict(asked) for predict in predicts]
            if not any(one.labels.any() for one in predictions):
                evidence, likelihoods = np.zeros((0, len(EVIDENCE))), np.zeros(0, np.float32)
                sources = np.zeros(0, np.uint8)
                return Found(predictions[0].labels, sources, evidence=evidence, likelihoods=likelihoods)
            y0, x0, y1, x1 = asked
            cut_sides = (y0 > 0, x0 > 0, y1 < height, x1 < width)
            judged = judge_cells(predictions, judges, sizes, cut_sides)
            boxes = [bounding_boxes(one.labels, int(one.labels.max(initial=0)) + 1)[1:] for one in predictions]
            return Found(
                judged.labels,
                judged.sources,
                np.concatenate(boxes),
                judged.evidence,
                judged.unsure,
                judged.likelihoods,
            )

        return decode


def _plan(branch: Branch, grid: Grid) -> tuple[Tiles, tuple[float, float]]:
    """Return the tiles of a branch and the percentiles that they are stretched between."""
    card = branch.card
    tiles = plan_tiles(grid.map_px, card.window_px, card.overlap_fraction, card.stride_px)
    return tiles, card.percentiles


def _make_reader(
    pixels: Pixels, contrast: Contrast, grid: Grid, tiles: Tiles, columns_px: tuple[int, int], *, is_shared: bool
) -> Read:
    """Return what reads a tile for the networks: stretched, resized and padded, from rows of pixels read once.

    A reader that is shared by several branches keeps a row of tiles, which each of them asks for in turn.
    """
    (height, width), map_px = grid.shape_px, grid.map_px
    columns = tiles.columns_over(*columns_px)
    ratio = width / map_px[1]
    last = min(columns[-1] + tiles.shape_px[1], map_px[1])
    # enlarging looks at one pixel more on either side
    rows = PixelRows(pixels, (max(0, int(columns[0] * ratio) - 1), min(math.ceil(last * ratio) + 1, width)))
    kept: dict[Bounds, np.ndarray] = {}

    def read_part(bounds: Bounds) -> np.ndarray:
        return read_stretched(rows, bounds, contrast)

    def read_tile(bounds: Bounds) -> np.ndarray:
        if bounds in kept:
            return kept[bounds]
        y0, x0, y1, x1 = bounds
        inside = (y0, x0, min(y1, map_px[0]), min(x1, map_px[1]))
        tile = pad_image(read_resized(read_part, inside, (height, width), map_px), (y1 - y0, x1 - x0))
        if is_shared:
            if any(other[0] != y0 for other in kept):
                kept.clear()
            kept[bounds] = tile
        return tile

    return read_tile
