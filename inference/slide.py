"""Slides: images too large for whole-image maps, segmented band by band in memory that hardly grows with them.

While the network runs on the next row of tiles, the blocks of the last one are decoded on other threads. What needs the
whole image is measured beforehand on a sample: contrast on a grid of pixels; branch and scale on a mosaic of windows.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from inference.augmentation import choose_views
from inference.branches import Prediction, RunModel, keep_boxes, segment
from inference.heap import return_free_memory
from inference.manifest import Card
from inference.map_rows import MapRows
from inference.modality import analyse_sample
from inference.mosaic import draw_mosaic
from inference.normalize import Contrast, measure_contrast, stretch
from inference.pixels import PixelRows, Pixels
from inference.sample import Sample, take_sample
from inference.scale import shrink_part
from inference.session import Session
from inference.systems import Choice, Rule
from inference.tiling import Band, Read, Tiles, pad_image, plan_tiles, stream_tiles
from postprocess.blocks import Assembly, Bounds, divide_columns, plan_blocks, widen
from postprocess.objects import Labels

log = logging.getLogger(__name__)

#: largest side of a block in px of the maps: wide and low, as bands of maps are held for a whole row of blocks
CORE_PX = (1024, 3072)
#: and in px of the image, which can have many more
MAX_CORE_PX = (2048, 4096)
#: wider images are segmented in strips from top to bottom, each at most so wide in px: bands of maps are held over the
#: width of one
STRIP_PX = 6144
#: width of the margin of a block in px of the maps, at first and when a cell does not fit into that
MARGIN_PX, MAX_MARGIN_PX = 96, 384


def segment_as_slide(
    pixels: Pixels,
    rule: Rule,
    get_model: Callable[[str], tuple[Card, Session]],
    batch_size: int,
    workers: int,
    *,
    skip_empty: bool,
    tta: bool = False,
    keep_only: Callable[[str], None] = lambda name: None,
) -> tuple[str, Choice]:
    """Segment an image with a system: branch and scale are chosen on a mosaic of windows, one branch does the rest.

    Parameters
    ----------
    pixels
        The image.
    rule
        The system's.
    get_model
        Maps a model's name to its card and session.
    batch_size, workers
        Tiles per network call; threads that decode. The result does not depend on them.
    skip_empty
        Leave out tiles that are too even to show a cell.
    tta
        Take the mean of the network's answers over mirrored views of each tile; the mosaic is segmented without.
    keep_only
        Told the name of the model that does the rest: the memory of others can go.

    Returns
    -------
    modality and the system's choice, with the confidences that the branches had on the mosaic.
    """
    started_s = time.perf_counter()
    sample = take_sample(pixels)
    modality = analyse_sample(sample)
    choice = _choose_on_mosaic(pixels, sample, modality, rule, get_model, batch_size)
    keep_only(choice.best_alone)
    # the maps of both branches went with the mosaic
    return_free_memory()
    chosen_s = time.perf_counter()
    card, session = get_model(choice.best_alone)
    run_model = choose_views(session.run, card.kind, tta=tta)
    # a large image is never enlarged: it would cost more than the time tolerance has
    scale = min(choice.scale, 1.0)
    contrast = measure_contrast(sample, card.percentiles)
    labels, seconds = segment_bands(
        pixels, contrast, card, run_model, batch_size, scale, workers, skip_empty=skip_empty
    )
    return modality, replace(
        choice,
        labels=labels,
        branch=choice.best_alone,
        cells={choice.best_alone: int(labels.max(initial=0))},
        scale=scale,
        seconds={"sample": chosen_s - started_s, **seconds},
    )


def _choose_on_mosaic(
    pixels: Pixels,
    sample: Sample,
    modality: str,
    rule: Rule,
    get_model: Callable[[str], tuple[Card, Session]],
    batch_size: int,
) -> Choice:
    """Return the system's choice for a mosaic of windows of the image."""
    mosaic = draw_mosaic(pixels, sample.values)

    def segment_mosaic(name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        card, session = get_model(name)
        contrast = measure_contrast(sample, card.percentiles)
        image = np.concatenate(
            [
                np.concatenate([stretch(pixels.read(bounds), contrast, bounds[:2]) for bounds in row], axis=2)
                for row in mosaic
            ],
            axis=1,
        )
        return segment(image, card, choose_views(session.run, card.kind, tta=tta), batch_size, scale)

    return rule(modality, segment_mosaic)


def segment_bands(
    pixels: Pixels,
    contrast: Contrast,
    card: Card,
    run_model: RunModel,
    batch_size: int,
    scale: float,
    workers: int,
    *,
    skip_empty: bool,
) -> tuple[Labels, dict[str, float]]:
    """Segment an image with one branch at one scale, band by band.

    Parameters
    ----------
    pixels
        The image.
    contrast
        From `normalize.measure_contrast` of a sample of it.
    card, run_model, batch_size
        As in `branches.segment`.
    scale
        Factor by which the image is resized for the network, at most 1.
    workers
        Threads that decode; the result does not depend on it.
    skip_empty
        As in `tiling.stream_tiles`.

    Returns
    -------
    labels
        uint32 (y, x), 0 = background, 1..n without gaps.
    seconds
        "network", with the reading of pixels, and "decode": what of it the network did not hide.
    """
    started_s = time.perf_counter()
    shape_px = pixels.shape_px
    map_px = (max(1, round(shape_px[0] * scale)), max(1, round(shape_px[1] * scale)))
    tiles = plan_tiles(map_px, card.window_px, card.overlap_fraction, card.stride_px)
    margin_px, max_margin_px = (math.ceil(margin / scale) for margin in (MARGIN_PX, MAX_MARGIN_PX))
    sides = [min(math.ceil(core / scale), most) for core, most in zip(CORE_PX, MAX_CORE_PX, strict=True)]
    with Assembly(shape_px, workers) as assembly:
        waited_s = 0.0
        for block_rows in divide_columns(plan_blocks(shape_px, (sides[0], sides[1])), STRIP_PX):
            maps = MapRows(shape_px, map_px, card)
            first, last = (widen(block_rows[0][index], max_margin_px, shape_px) for index in (0, -1))
            wanted_px = (maps.map_bounds(first)[1], maps.map_bounds(last)[3])
            bands = stream_tiles(
                _make_reader(pixels, contrast, map_px, tiles, wanted_px),
                map_px,
                tiles,
                run_model,
                batch_size,
                lambda found: keep_boxes(found, card),
                columns_px=wanted_px,
                skip_empty=skip_empty,
            )
            waited_s += _decode_strip(bands, maps, block_rows, assembly, (margin_px, max_margin_px))
        since_s = time.perf_counter()
        del maps, bands
        labels = assembly.finish(card.decoder["min_size_fraction"])
        waited_s += time.perf_counter() - since_s
    if assembly.undecided:
        log.warning("%d objects are larger than the margin of a block and may be cut", assembly.undecided)
    network_s = time.perf_counter() - started_s - waited_s
    return labels, {"network": network_s, "decode": waited_s}


def _decode_strip(
    bands: Iterator[Band],
    maps: MapRows,
    block_rows: list[list[Bounds]],
    assembly: Assembly,
    margins_px: tuple[int, int],
) -> float:
    """Submit the blocks of a strip as their maps come; return the seconds that this took beyond those for the maps."""
    waited_s = 0.0
    rows = deque(block_rows)
    for band in bands:
        since_s = time.perf_counter()
        maps.append(band)
        # blocks hold the bands that they need, and nothing else is to
        del band
        while rows and maps.reaches(widen(rows[0][0], margins_px[1], assembly.shape_px)):
            for core in rows.popleft():
                assembly.submit(maps.cut(widen(core, margins_px[1], assembly.shape_px)), core, *margins_px)
            if rows:
                maps.drop_above(widen(rows[0][0], margins_px[1], assembly.shape_px))
            # what is left free between bands and blocks adds up from row to row
            return_free_memory()
        waited_s += time.perf_counter() - since_s
    return waited_s


def _make_reader(
    pixels: Pixels,
    contrast: Contrast,
    map_px: tuple[int, int],
    tiles: Tiles,
    wanted_px: tuple[int, int],
) -> Read:
    """Return what reads a tile for the network: stretched, reduced and padded, from rows of pixels read once."""
    height, width = pixels.shape_px
    columns = tiles.columns_over(*wanted_px)
    ratio = width / map_px[1]
    last = min(columns[-1] + tiles.shape_px[1], map_px[1])
    rows = PixelRows(pixels, (int(columns[0] * ratio), min(math.ceil(last * ratio), width)))

    def read_stretched(bounds: Bounds) -> np.ndarray:
        return stretch(rows.read(bounds), contrast, bounds[:2])

    def read_tile(bounds: Bounds) -> np.ndarray:
        y0, x0, y1, x1 = bounds
        inside = (y0, x0, min(y1, map_px[0]), min(x1, map_px[1]))
        return pad_image(shrink_part(read_stretched, inside, (height, width), map_px), (y1 - y0, x1 - x0))

    return read_tile
