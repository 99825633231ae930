"""Sliding-window inference: tile plan, Gaussian blending of maps, one owner per candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from mosaicell.networks.raw import Raw, Run

#: largest contrast of an empty tile: of 18,327 labelled cells, of every fourth image, all but 5 show more, and all do
#: where only the brightest pixel of the image counts in its contrast, as in the sparsest one (docs/performance.md)
EMPTY_CONTRAST = 1 / 64
#: floor of the blending weights: the corner of a Gaussian with sigma = n / 8 would vanish in float32 sums
MIN_WEIGHT = 1e-3

#: maps candidates (n, 5 + k) to the indices of those that stay beside each other
Keep = Callable[[np.ndarray], np.ndarray]
#: maps bounds (y0, x0, y1, x1) in px to that part of an image, (c, y, x)
Read = Callable[[tuple[int, int, int, int]], np.ndarray]


@dataclass(frozen=True)
class Tiles:
    """Tiles of one shape over an image.

    Attributes
    ----------
    shape_px
        Height and width of every tile, multiples of the network's stride.
    starts
        Row starts and column starts in px, evenly spaced, the last tile flush with the padded image.
    padded_px
        Image shape after padding at bottom and right.
    """

    shape_px: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    padded_px: tuple[int, int]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((row, column) for row in self.starts[0] for column in self.starts[1])

    def __len__(self) -> int:
        return len(self.starts[0]) * len(self.starts[1])

    def columns_over(self, low: int, high: int) -> list[int]:
        """Return the starts of the columns of tiles that overlap these columns of px."""
        return [start for start in self.starts[1] if low - self.shape_px[1] < start < high]

    def core(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Region (y0, x0, y1, x1) in px that the tile starting at (row, column) owns.

        Cores are bounded by the middles of the overlaps and, at the image's border, unbounded: every point of the
        plane belongs to exactly one tile.
        """
        low, high = [], []
        for axis, start in enumerate((row, column)):
            starts, length = self.starts[axis], self.shape_px[axis]
            place = starts.index(start)
            low.append((starts[place - 1] + length + start) / 2 if place else -math.inf)
            high.append((start + length + starts[place + 1]) / 2 if place + 1 < len(starts) else math.inf)
        return low[0], low[1], high[0], high[1]


def plan_tiles(shape_px: tuple[int, int], window_px: int, overlap_fraction: float, stride_px: int) -> Tiles:
    """Cover an image with as few tiles as possible, each no larger than needed.

    Parameters
    ----------
    shape_px
        Image height and width.
    window_px
        Largest tile side, a multiple of `stride_px`.
    overlap_fraction
        Smallest overlap of neighbours, as a fraction of `window_px`.
    stride_px
        Tile sides are multiples of it.

    Notes
    -----
    With the number of tiles fixed by the window, their side shrinks to what covers the image with the overlap asked
    for: a 1000 px image takes two tiles of 544 px a side, not two of 640.
    """
    if window_px % stride_px or not 0 <= overlap_fraction < 1:
        raise ValueError(
            f"window {window_px} px must be a multiple of {stride_px}, overlap {overlap_fraction} in [0, 1)"
        )
    overlap = math.ceil(window_px * overlap_fraction)
    sides, starts, padded = [], [], []
    for length in shape_px:
        count = max(1, math.ceil((length - overlap) / (window_px - overlap)))
        side = math.ceil((length + (count - 1) * overlap) / count / stride_px) * stride_px
        total = max(length, side)
        sides.append(side)
        padded.append(total)
        starts.append(tuple(round(k * (total - side) / max(count - 1, 1)) for k in range(count)))
    return Tiles((sides[0], sides[1]), (starts[0], starts[1]), (padded[0], padded[1]))


def gaussian_window(shape_px: tuple[int, int]) -> np.ndarray:
    """Blending weights float32 (y, x): a Gaussian with sigma = side / 8 about (n - 1) / 2, at least 1e-3."""
    profiles = []
    for length in shape_px:
        distance = np.arange(length) - (length - 1) / 2
        profiles.append(np.exp(-0.5 * (distance / (length / 8)) ** 2))
    return np.maximum(np.outer(*profiles), MIN_WEIGHT).astype(np.float32)


def pad_image(image: np.ndarray, padded_px: tuple[int, int]) -> np.ndarray:
    """Mirror (c, y, x) at bottom and right up to `padded_px`; an image thinner than its padding is mirrored again."""
    rows = padded_px[0] - image.shape[1]
    columns = padded_px[1] - image.shape[2]
    return np.pad(image, ((0, 0), (0, rows), (0, columns)), "symmetric") if rows or columns else image


@dataclass(frozen=True)
class Band:
    """Rows of the blended maps that no later tile changes.

    Attributes
    ----------
    start_px
        First row and column in px of the image.
    maps
        float32 (m, rows, x).
    candidates
        float32 (n, 5 + k) as in `Raw`, in px of the image. With the band that ends at row y come all candidates whose
        centre lies above y, and some further ones.
    summaries
        Of each tile of this row of tiles, as in `Raw`.
    """

    start_px: tuple[int, int]
    maps: np.ndarray
    candidates: np.ndarray
    summaries: tuple[np.ndarray, ...] = ()


def is_empty(tile: np.ndarray) -> bool:
    """Say whether a tile of a normalised image, float32 (c, y, x), is too even to show a cell.

    That is so when in every channel the means of 4 x 4 px differ by at most a 64th of the image's contrast.
    """
    height, width = (max(1, side // 4) for side in tile.shape[1:])
    for plane in tile:
        means = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
        if means.max() - means.min() > EMPTY_CONTRAST:
            return False
    return True


def stream_tiles(
    read: Read,
    shape_px: tuple[int, int],
    tiles: Tiles,
    run: Run,
    batch_size: int,
    keep: Keep,
    *,
    columns_px: tuple[int, int] | None = None,
    first_row_px: int = 0,
    skip_empty: bool = False,
    slack_px: float = 0.0,
) -> Iterator[Band]:
    """Run a network over all tiles, row of tiles by row of tiles, and hand out the blended maps from top to bottom.

    Parameters
    ----------
    read
        Reads part of the image padded to `tiles.padded_px`, float32 (c, y, x); asked once for each tile.
    shape_px
        Height and width of the image without its padding.
    tiles
        From `plan_tiles` of that shape.
    run
        What the network says about each tile of a batch.
    keep
        Chooses between the candidates within a tile.
    columns_px
        First and last column of the maps that are wanted; by default all.
    first_row_px
        First row of the maps that is wanted.
    skip_empty
        Take 0 for the maps of tiles that `is_empty`, without asking the network.
    slack_px
        As `Decoder.slack_px`.

    Notes
    -----
    Maps are the Gaussian-weighted mean over the tiles. A tile contributes the candidates whose centre lies in its core,
    or within `slack_px` of it, where it sees a cell up to as large as the overlap whole. The result does not depend on
    `batch_size`, and what is said of a row not on the rows above it that are wanted. No more than one row of tiles is
    held.
    """
    height, width = tiles.shape_px
    window = gaussian_window(tiles.shape_px)
    low, high = columns_px or (0, shape_px[1])
    rows, columns = [y for y in tiles.starts[0] if y > first_row_px - height], tiles.columns_over(low, high)
    left, right = columns[0], columns[-1] + width
    sums = None
    weights = np.zeros((height, right - left), np.float32)
    # rows of the sums that tiles were added to: most of a sparse slide has none
    filled = 0
    for y, following in zip(rows, (*rows[1:], tiles.padded_px[0]), strict=True):
        found: list[np.ndarray] = []
        summaries: list[np.ndarray] = []
        for chosen in _batch_tiles(read, y, columns, tiles.shape_px, batch_size, skip_empty, is_first=sums is None):
            answers = run(np.stack([tile for _, tile, _ in chosen]))
            if sums is None:
                sums = np.zeros((len(answers[0].maps), *weights.shape), np.float32)
                nothing = answers[0].candidates[:0]
            for (x, _, counts), raw in zip(chosen, answers, strict=True):
                if not counts:
                    continue
                filled = height
                found.append(_own_candidates(raw.candidates, tiles.core(y, x), (y, x), keep, slack_px))
                sums[:, :, x - left : x - left + width] += raw.maps * window
                summaries.append(raw.summary)
        for x in columns:
            weights[:, x - left : x - left + width] += window
        assert sums is not None
        start, stop = max(y, first_row_px), min(following, shape_px[0])
        wanted = (slice(start - y, max(start, stop) - y), slice(low - left, high - left))
        # not kept here either, while the next tiles are run
        maps = [sums[:, *wanted] / weights[wanted] if filled else np.zeros(sums[:, *wanted].shape, np.float32)]
        _move_up((*sums, weights) if filled else (weights,), following - y)
        filled = max(0, filled - (following - y))
        if y == rows[-1]:
            # the last rows are decoded meanwhile, often more than at other times
            del sums, weights
        yield Band((start, low), maps.pop(), np.concatenate([nothing, *found]), tuple(summaries))


def _move_up(planes: Iterable[np.ndarray], count: int) -> None:
    """Drop the first rows of planes (y, x), so many, move the others to the top and put zeros below."""
    for plane in planes:
        plane[: len(plane) - count] = plane[count:]
        plane[len(plane) - count :] = 0


def _batch_tiles(
    read: Read,
    y: int,
    columns: list[int],
    shape_px: tuple[int, int],
    batch_size: int,
    skip_empty: bool,
    *,
    is_first: bool,
) -> Iterator[list[tuple[int, np.ndarray, bool]]]:
    """Read the tiles of a row and hand out those that are run in batches: first column, pixels, and whether it counts.

    Of the first row the first tile is run in any case: it tells how many maps there are.
    """
    batch: list[tuple[int, np.ndarray, bool]] = []
    for x in columns:
        tile = read((y, x, y + shape_px[0], x + shape_px[1]))
        counts = not skip_empty or not is_empty(tile)
        if counts or (is_first and x == columns[0]):
            batch.append((x, tile, counts))
        if batch and (len(batch) == batch_size or x == columns[-1]):
            yield batch
            batch = []


def run_tiles(image: np.ndarray, tiles: Tiles, run: Run, batch_size: int, keep: Keep, slack_px: float = 0.0) -> Raw:
    """Run a network over all tiles of an image float32 (c, y, x) and put together what it says, in px of the image.

    Maps and candidates are those that `stream_tiles` hands out.
    """
    padded = pad_image(image, tiles.padded_px)
    if len(tiles) == 1:
        # the whole image: nothing to blend
        (raw,) = run(padded[None])
        maps = raw.maps.astype(np.float32, copy=False)
        candidates = raw.candidates.astype(np.float32)
        return Raw(maps[:, : image.shape[1], : image.shape[2]], candidates[keep(candidates)], raw.summary)
    shape_px = (image.shape[1], image.shape[2])
    maps, found = np.empty((0, *shape_px), np.float32), []
    summaries: list[np.ndarray] = []

    def read(bounds: tuple[int, int, int, int]) -> np.ndarray:
        return padded[:, bounds[0] : bounds[2], bounds[1] : bounds[3]]

    for band in stream_tiles(read, shape_px, tiles, run, batch_size, keep, slack_px=slack_px):
        if not len(maps):
            maps = np.empty((len(band.maps), *shape_px), np.float32)
        maps[:, band.start_px[0] : band.start_px[0] + band.maps.shape[1]] = band.maps
        found.append(band.candidates)
        summaries += band.summaries
    return Raw(maps, np.concatenate(found), np.stack(summaries).mean(axis=0, dtype=np.float32))


def _own_candidates(
    candidates: np.ndarray,
    core: tuple[float, float, float, float],
    start: tuple[int, int],
    keep: Keep,
    slack_px: float,
) -> np.ndarray:
    """Return the candidates of a tile that stay and whose centre lies in its core or near it, in px of the image."""
    kept = candidates[keep(candidates)].astype(np.float32)
    kept[:, :4] += np.array((*start, *start), np.float32)
    y, x = (kept[:, 0] + kept[:, 2]) / 2, (kept[:, 1] + kept[:, 3]) / 2
    y0, x0, y1, x1 = core
    return kept[(y >= y0 - slack_px) & (x >= x0 - slack_px) & (y < y1 + slack_px) & (x < x1 + slack_px)]
