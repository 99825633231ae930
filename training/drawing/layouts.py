"""Ways in which drawn cells fill an image, as exact label images.

Stamps are pasted one after another (sparse and clustered layouts), centrelines share the plane between them
(colonies), seeds divide it (confluent layers). No pixel belongs to two cells; touching cells have no gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing.shapes import SUBPIXEL_BITS, Points, Stamp

Labels = NDArray[np.uint32]


def noise_field(shape_px: tuple[int, int], scale_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a smooth random field of about unit variance whose bumps are about `scale_px` wide.

    Returns
    -------
    field : (y, x) float32
    """
    if scale_px <= 1.5:
        return rng.standard_normal(shape_px, dtype=np.float32)
    height, width = (int(np.ceil(n / scale_px)) + 3 for n in shape_px)
    grid = rng.standard_normal((height, width), dtype=np.float32)
    # A random sub-cell shift keeps the grid's nodes, where the variance is highest, from standing still.
    dy, dx = rng.random(2)
    matrix = np.array([[1 / scale_px, 0, 0.5 + dx], [0, 1 / scale_px, 0.5 + dy]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return 1.25 * cv2.warpAffine(grid, matrix, shape_px[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)


def scatter(
    shape_px: tuple[int, int],
    draw: Callable[[], Stamp],
    count: int,
    rng: np.random.Generator,
    *,
    clusters: int = 0,
    max_overlap: float = 0.0,
) -> Labels:
    """Paste stamps at random places; one that would lose too much to earlier cells is not placed.

    Parameters
    ----------
    draw : callable
        Gives a new stamp at each call.
    count : int
        Cells to try; the first always lies inside the image, later ones may be cut by its border.
    clusters : int
        0 spreads the cells evenly; otherwise most touch one of the cells before, starting from this many.
    max_overlap : float
        Fraction of a stamp that earlier cells may cover; the covered part stays theirs.

    Returns
    -------
    labels : (y, x) uint32
        Cleaned as by `clean_labels`.
    """
    labels = np.zeros(shape_px, np.uint32)
    size = np.array(shape_px)
    placed: list[tuple[NDArray[np.float64], float]] = []
    for index in range(max(1, count)):
        stamp = draw()
        reach = 0.5 * float(np.sqrt(np.count_nonzero(stamp) * 4 / np.pi))
        for _ in range(6):
            centre = rng.uniform(-0.3 * reach, size + 0.3 * reach) if placed else rng.uniform(0.2, 0.8, 2) * size
            if placed and len(placed) >= clusters > 0 and rng.random() < 0.93:
                near, near_reach = placed[int(rng.integers(len(placed)))]
                turn = rng.uniform(0, 2 * np.pi)
                centre = near + (reach + near_reach) * rng.uniform(0.85, 1.1) * np.array([np.sin(turn), np.cos(turn)])
            if _paste(labels, stamp, centre, index + 1, max_overlap):
                placed.append((centre, reach))
                break
    return clean_labels(labels)


def _paste(labels: Labels, stamp: Stamp, centre: NDArray[np.float64], label: int, max_overlap: float) -> bool:
    """Paste a stamp into the free pixels of `labels` in place; False where it does not fit."""
    top, left = (round(c - n / 2) for c, n in zip(centre, stamp.shape, strict=True))
    bottom, right = min(top + stamp.shape[0], labels.shape[0]), min(left + stamp.shape[1], labels.shape[1])
    y, x = max(top, 0), max(left, 0)
    if bottom <= y or right <= x:
        return False
    window = labels[y:bottom, x:right]
    inside = stamp[y - top : bottom - top, x - left : right - left] > 0
    free = inside & (window == 0)
    if np.count_nonzero(inside) - np.count_nonzero(free) > max_overlap * np.count_nonzero(stamp):
        return False
    window[free] = label
    return bool(free.any())


def grow(shape_px: tuple[int, int], skeletons: Sequence[Points], radius_px: NDArray[np.float64]) -> Labels:
    """Give every pixel within a cell's radius to the nearest skeleton.

    Parameters
    ----------
    skeletons : sequence of (n, 2) float64
        Centrelines as (y, x) in px; a later one is drawn over an earlier one where they cross.
    radius_px : (cells,) float64

    Returns
    -------
    labels : (y, x) uint32
        Cleaned as by `clean_labels`. Contacts lie midway between skeletons, free ends are round.
    """
    # A frame keeps cells whose skeleton lies just outside the image.
    frame = int(np.ceil(radius_px.max())) + 2
    owner = np.zeros((shape_px[0] + 2 * frame, shape_px[1] + 2 * frame), np.int32)
    for label, skeleton in enumerate(skeletons, 1):
        xy = np.round((skeleton + frame)[:, ::-1] * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.polylines(owner, [xy], False, label, shift=SUBPIXEL_BITS)
    if not owner.any():
        return np.zeros(shape_px, np.uint32)
    distance, nearest = cv2.distanceTransformWithLabels(
        (owner == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner_of = np.zeros(int(nearest.max()) + 1, np.int32)
    seeds = owner > 0
    owner_of[nearest[seeds]] = owner[seeds]
    labels = owner_of[nearest]
    labels[distance > np.concatenate([[0.0], radius_px])[labels]] = 0
    # What an earlier cell keeps where two skeletons cross is a shard, not a cell.
    shard = int(2.5 * float(np.median(radius_px)) ** 2)
    return clean_labels(labels[frame:-frame, frame:-frame].astype(np.uint32), min_area_px=max(12, shard))


def tessellate(
    shape_px: tuple[int, int],
    diameter_px: float,
    rng: np.random.Generator,
    *,
    regularity: int = 2,
    stretch: float = 1.0,
    waviness: float = 0.05,
) -> Labels:
    """Fill the plane with touching polygonal cells: a relaxed Voronoi diagram with bent sides.

    Parameters
    ----------
    regularity : int
        Rounds of moving every seed to the centre of its cell (Lloyd's relaxation), at a coarse grid.
    stretch : float
        Length over width of the cells in one random direction.
    waviness : float
        Sideways displacement of the sides over the diameter.

    Returns
    -------
    labels : (y, x) uint32, without background.
    """
    height, width = shape_px
    side = int(np.hypot(height, width) * np.sqrt(stretch) + 2 * diameter_px)
    # Seeds are relaxed on a grid on which a cell is about 12 px wide.
    scale = 12 / diameter_px
    coarse = int(np.ceil(side * scale))
    seeds = rng.uniform(0, coarse, (max(4, round(coarse**2 / 12**2 * 4 / np.pi)), 2))
    for _ in range(regularity):
        regions = _voronoi(coarse, seeds).ravel()
        area = np.bincount(regions)
        y, x = np.divmod(np.arange(coarse**2, dtype=np.float64), coarse)
        seeds = np.stack([np.bincount(regions, y) / area, np.bincount(regions, x) / area], axis=1)
    regions = _voronoi(side, seeds / scale)
    turn, half = rng.uniform(0, np.pi), side / 2
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for scale_px, share in ((0.4, 0.5), (0.12, 0.5)):
        size = np.float32(waviness * diameter_px * share)
        y += size * noise_field(shape_px, max(3.0, scale_px * diameter_px), rng)
        x += size * noise_field(shape_px, max(3.0, scale_px * diameter_px), rng)
    y, x = y - height / 2, x - width / 2
    along = (x * np.cos(turn) + y * np.sin(turn)) / np.sqrt(stretch)
    across = (y * np.cos(turn) - x * np.sin(turn)) * np.sqrt(stretch)
    maps = (along + half).astype(np.float32), (across + half).astype(np.float32)
    bent = cv2.remap(regions.astype(np.float32), *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    labels = clean_labels(bent.astype(np.uint32) + 1)
    # Scraps that a bent side cut off go to the cell next to them.
    nearest = cv2.distanceTransformWithLabels(
        (labels == 0).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    owner_of = np.zeros(int(nearest.max()) + 1, np.uint32)
    owner_of[nearest[labels > 0]] = labels[labels > 0]
    return clean_labels(owner_of[nearest])


def _voronoi(side: int, seeds: NDArray[np.float64]) -> NDArray[np.int32]:
    """Give each pixel of a square the number of its nearest seed, from 0 and without gaps."""
    taken = np.ones((side, side), np.uint8)
    y, x = np.clip(seeds.astype(int), 0, side - 1).T
    taken[y, x] = 0
    nearest = cv2.distanceTransformWithLabels(taken, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    return nearest - 1


def clean_labels(labels: NDArray[np.integer], *, min_area_px: int = 12) -> Labels:
    """Keep the largest 4-connected piece of every label, drop tiny ones and number the rest from 1.

    Parameters
    ----------
    labels : (y, x) integer
    min_area_px : int
        Labels whose largest piece is smaller become background.

    Returns
    -------
    labels : (y, x) uint32
        1..n without gaps, in the order of the ids given.
    """
    height, width = labels.shape
    # On a grid of twice the size a link between two pixels is set only where both have one label, so one
    # pass of plain component labelling separates touching cells.
    links = np.zeros((2 * height - 1, 2 * width - 1), np.uint8)
    links[::2, ::2] = labels > 0
    links[1::2, ::2] = (labels[1:] == labels[:-1]) & (labels[1:] > 0)
    links[::2, 1::2] = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0)
    count, pieces = cv2.connectedComponents(links, connectivity=4)
    pieces = pieces[::2, ::2]
    area = np.bincount(pieces.ravel(), minlength=count)
    label_of = np.zeros(count, np.int64)
    label_of[pieces] = labels
    order = np.lexsort((-area, label_of))
    largest = order[np.flatnonzero(np.diff(label_of[order], prepend=-1))]
    largest = largest[(label_of[largest] > 0) & (area[largest] >= min_area_px)]
    number = np.zeros(count, np.uint32)
    number[largest] = np.arange(1, len(largest) + 1)
    return number[pieces]
