"""Drawn slides of any size: fields taken from a few drawn scenes, with uneven density and empty glass.

A slide is laid out in fields. Each shows a part of one of a few scenes, cut at random, turned and mirrored; cells at
its border are whole and reach into its neighbours. A slow relief over the whole slide decides where it is glass, and
elsewhere how dense a scene is taken. It depends on the proportions of the slide and not on its size, so that slides of
all sizes are alike. One row of fields is drawn after the other, and only the last is held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.scenery import Labels, Pixels, Scenery, cut_scene
from mosaicell.postprocess.blocks import Bounds, plan_blocks, widen

#: largest side of a field, and how far beyond it its cells may reach; together they fit into a scene
FIELD_PX, REACH_PX = 1000, 32
GLASS_FRACTION = 0.2
#: standard deviation of the camera's noise on glass, in grey values
GLASS_NOISE = 0.7
#: px around a cell that belong to its image: the blur of the optics
RIM_PX = 3
#: half waves of the relief along either axis, and points along either axis at which its heights are ranked
RELIEF_WAVES, RELIEF_POINTS = 5, 100
TILE_PX = 512
#: noise does not become smaller with more effort
DEFLATE_LEVEL = 1


class Relief:
    """A smooth random surface over a slide, a sum of cosines: low is glass, high is dense.

    Attributes
    ----------
    shore : float
        Height below which there is glass.
    """

    def __init__(self, shape_px: tuple[int, int], rng: np.random.Generator, glass_fraction: float) -> None:
        self._shape_px = shape_px
        waves = np.arange(RELIEF_WAVES)
        self._weights = rng.standard_normal((RELIEF_WAVES, RELIEF_WAVES)) / (1 + np.add.outer(waves, waves))
        points = [(np.arange(RELIEF_POINTS) + 0.5) / RELIEF_POINTS * side for side in shape_px]
        self._ranked = np.sort(self.heights(points[0], points[1]).ravel())
        self._glass_fraction = glass_fraction
        self.shore = float(np.quantile(self._ranked, glass_fraction)) if glass_fraction else -math.inf

    def heights(self, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the heights (y, x) at rows and columns in px."""
        waves = np.arange(RELIEF_WAVES)
        along_y = np.cos(math.pi * np.outer(y / self._shape_px[0], waves))
        along_x = np.cos(math.pi * np.outer(waves, x / self._shape_px[1]))
        return along_y @ self._weights @ along_x

    def density(self, y: float, x: float) -> float:
        """Return the rank of the height at a place among those above the shore, 0 (or below the shore) to 1."""
        height = self.heights(np.array([y]), np.array([x]))[0, 0]
        rank = float(np.searchsorted(self._ranked, height)) / len(self._ranked)
        return max(0.0, (rank - self._glass_fraction) / (1 - self._glass_fraction))


def draw_rows(
    shape_px: tuple[int, int], scenery: Scenery, glass_fraction: float = GLASS_FRACTION
) -> Iterator[tuple[Pixels, Labels]]:
    """Draw a slide from top to bottom, some rows at a time.

    Parameters
    ----------
    shape_px : (int, int)
        Height and width, any.
    scenery : Scenery
        From `draw_scenery`; its seed also lays out the slide.
    glass_fraction : float
        Share of the slide without cells, 0 to less than 1.

    Yields
    ------
    pixels : (y, x, c) uint8
        The next rows, c in {1, 3}.
    labels : (y, x) uint32
        Their cells; ids 1..n over the whole slide, without gaps.

    Notes
    -----
    Where cells of two fields meet, those drawn first stay and the others are taken out: their place shows the ground.
    The border of the slide cuts cells.
    """
    relief = Relief(shape_px, np.random.default_rng([scenery.seed, *scenery.kind.encode()]), glass_fraction)
    fields = plan_blocks(shape_px, (FIELD_PX, FIELD_PX))
    canvas = _Canvas(shape_px, scenery)
    for row, blocks in enumerate(fields):
        is_last = row + 1 == len(fields)
        canvas.extend(min(blocks[0][2] + REACH_PX, shape_px[0]))
        for column, bounds in enumerate(blocks):
            rng = np.random.default_rng([scenery.seed, *scenery.kind.encode(), row, column])
            _draw_field(canvas, relief, bounds, rng)
        # fields of the next row reach into the last rows
        yield canvas.release(shape_px[0] if is_last else blocks[0][2] - REACH_PX)


class _Canvas:
    """The rows of a slide that are being drawn: glass at first.

    Attributes
    ----------
    first_px
        Row of the slide that is the first here.
    cells
        Number of cells drawn so far, on rows that were released too.
    """

    def __init__(self, shape_px: tuple[int, int], scenery: Scenery) -> None:
        self.shape_px, self.scenery = shape_px, scenery
        self.first_px = 0
        self.cells = 0
        self.pixels: Pixels = np.empty((0, shape_px[1], len(scenery.ground)), np.uint8)
        self.labels: Labels = np.empty((0, shape_px[1]), np.uint32)

    def extend(self, end_px: int) -> None:
        """Add empty rows, up to a row of the slide."""
        size = (end_px - self.first_px - len(self.labels), self.shape_px[1])
        rng = np.random.default_rng([self.scenery.seed, end_px])
        noise = rng.standard_normal((*size, len(self.scenery.ground)), dtype=np.float32)
        glass = np.clip(self.scenery.ground + np.float32(GLASS_NOISE) * noise + 0.5, 0, 255).astype(np.uint8)
        self.pixels = np.concatenate([self.pixels, glass])
        self.labels = np.concatenate([self.labels, np.zeros(size, np.uint32)])

    def release(self, end_px: int) -> tuple[Pixels, Labels]:
        """Remove the rows above a row of the slide and return them."""
        count = end_px - self.first_px
        done = self.pixels[:count], self.labels[:count]
        self.pixels, self.labels = self.pixels[count:].copy(), self.labels[count:].copy()
        self.first_px = end_px
        return done


def _draw_field(canvas: _Canvas, relief: Relief, bounds: Bounds, rng: np.random.Generator) -> None:
    """Draw one field, with the parts of its cells that reach beyond its bounds."""
    region = widen(bounds, REACH_PX, canvas.shape_px)
    y0, x0, y1, x1 = region
    density = relief.density((y0 + y1) / 2, (x0 + x1) / 2)
    scene, labels = cut_scene(canvas.scenery, density, (y1 - y0, x1 - x0), rng)
    at = slice(y0 - canvas.first_px, y1 - canvas.first_px), slice(x0, x1)
    there = canvas.labels[at]
    tissue = relief.heights(np.arange(y0, y1) + 0.5, np.arange(x0, x1) + 0.5) >= relief.shore
    inside = np.zeros(labels.shape, bool)
    inside[bounds[0] - y0 : bounds[2] - y0, bounds[1] - x0 : bounds[3] - x0] = True
    inside &= tissue
    inner = (y0 > 0, x0 > 0, y1 < canvas.shape_px[0], x1 < canvas.shape_px[1])
    kept = _keep_cells(labels, inside, there > 0, inner)
    found = np.where(kept, np.cumsum(kept) + canvas.cells, 0).astype(np.uint32)[labels]
    shown = _weigh_scene(labels, found, there, inside)[..., None]
    mixed = canvas.pixels[at] * (1 - shown) + scene * shown
    canvas.pixels[at] = (mixed + np.float32(0.5)).astype(np.uint8)
    there[found > 0] = found[found > 0]
    canvas.cells += int(np.count_nonzero(kept))


def _keep_cells(
    labels: Labels, inside: NDArray[np.bool_], taken: NDArray[np.bool_], inner: tuple[bool, bool, bool, bool]
) -> NDArray[np.bool_]:
    """Say for every id whether its cell is drawn.

    It is when most of it lies inside the field, no pixel of it is taken, and it touches no side of the region (top,
    left, bottom, right) that is an inner one.
    """
    areas = np.bincount(labels.ravel())
    kept = 2 * np.bincount(labels[inside], minlength=areas.size) > areas
    kept[labels[taken]] = False
    for side, is_inner in zip((labels[0], labels[:, 0], labels[-1], labels[:, -1]), inner, strict=True):
        if is_inner:
            kept[side] = False
    kept[0] = False
    return kept


def _weigh_scene(labels: Labels, found: Labels, there: Labels, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the weight (y, x) of the scene over what is there: 1 for its cells, 0 for others and around them."""
    others = (there > 0) | ((labels > 0) & (found == 0))
    around = cv2.dilate(others.astype(np.uint8), np.ones((2 * RIM_PX + 1,) * 2, np.uint8)) > 0
    is_shown = (inside & ~around) | (found > 0)
    soft = cv2.GaussianBlur(is_shown.astype(np.float32), (0, 0), RIM_PX / 2)
    return np.where(there > 0, np.float32(0), np.maximum(soft, found > 0))


def write_slide(
    path: Path,
    shape_px: tuple[int, int],
    scenery: Scenery,
    glass_fraction: float = GLASS_FRACTION,
    truth: Labels | None = None,
) -> int:
    """Draw a slide into a tiled TIFF (deflate), tile by tile.

    Parameters
    ----------
    path : Path
        File to write.
    shape_px, scenery, glass_fraction
        As in `draw_rows`.
    truth : (y, x) uint32, optional
        Array of the slide's shape that takes the labels.

    Returns
    -------
    int
        Cells drawn.
    """
    cells = 0

    def watch(rows: Iterator[tuple[Pixels, Labels]]) -> Iterator[Pixels]:
        nonlocal cells
        y = 0
        for pixels, labels in rows:
            cells = max(cells, int(labels.max()))
            if truth is not None:
                truth[y : y + len(labels)] = labels
            y += len(labels)
            yield pixels

    colours = len(scenery.ground)
    tifffile.imwrite(
        path,
        _cut_tiles(watch(draw_rows(shape_px, scenery, glass_fraction)), shape_px[1], colours),
        shape=(*shape_px, colours) if colours == 3 else shape_px,
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="rgb" if colours == 3 else "minisblack",
        compression="zlib",
        compressionargs={"level": DEFLATE_LEVEL},
        metadata=None,
    )
    return cells


def _cut_tiles(rows: Iterator[Pixels], width_px: int, colours: int) -> Iterator[Pixels]:
    """Cut pixels (y, x, c), some rows at a time, into whole tiles, row by row; those at the far ends are filled up."""
    waiting: Pixels = np.empty((0, width_px, colours), np.uint8)
    for pixels in rows:
        waiting = np.concatenate([waiting, pixels])
        while len(waiting) >= TILE_PX:
            yield from _cut_row(waiting[:TILE_PX])
            waiting = waiting[TILE_PX:]
    if len(waiting):
        yield from _cut_row(waiting)


def _cut_row(pixels: Pixels) -> Iterator[Pixels]:
    for x in range(0, pixels.shape[1], TILE_PX):
        part = pixels[:, x : x + TILE_PX]
        tile = np.zeros((TILE_PX, TILE_PX, pixels.shape[2]), np.uint8)
        tile[: part.shape[0], : part.shape[1]] = part
        yield tile if tile.shape[2] == 3 else tile[..., 0]
