"""Choice between two segmentations of one image, cell by cell: what tells a good cell, and which of both stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.numbering import Labels
from mosaicell.postprocess.objects import energy_of_labels

#: what `describe_cells` returns of each cell, in this order
CELL_FEATURES = (
    "foreground_awf",
    "foreground_omnipose",
    "energy_error",
    "outline_boundary",
    "inner_boundary",
    "agreement",
    "box_iou",
    "box_score",
    "relative_size",
    "outline",
    "size",
    "at_border",
    "debris",
)
#: a cell stays where at least this share of it is not covered by better ones
MIN_FREE_FRACTION = 0.7


def describe_cells(
    labels: Labels,
    agreement: NDArray[np.float64],
    awf: NDArray[np.float32],
    omnipose: NDArray[np.float32],
    boxes: NDArray[np.float32],
    typical_size: float,
) -> NDArray[np.float64]:
    """Measure each cell against the maps of both branches.

    Parameters
    ----------
    labels : (y, x) uint32 array
        Cells of either branch in px of the maps, 0 = background. Ids need not all occur.
    agreement : (n + 1,) array
        Best IoU of each id with a cell of the other branch, as `best_ious` gives it.
    awf : (2, y, x) array
        Foreground probability and energy of the AWF branch.
    omnipose : (2, y, x) array
        Foreground and boundary probability of the Omnipose-style branch.
    boxes : (m, 5) array
        Boxes of the AWF branch as (y0, x0, y1, x1, score) in px of the maps.
    typical_size : float
        Of the branch's cells in the whole image, as `median_size` gives it.

    Returns
    -------
    (n + 1, len(CELL_FEATURES)) float64 array
        A row for each id; that of the background, and those of ids that do not occur, say nothing:

        - foreground_awf, foreground_omnipose: mean probabilities
        - energy_error: root of the mean squared distance between the energy map and the energy of the cell's shape
        - outline_boundary, inner_boundary: mean boundary probability on the outermost pixels and on the others
        - agreement
        - box_iou, box_score: IoU of the cell's bounding box with the best box whose centre lies in the cell, that box's
          score
        - size, relative_size, debris: logarithm of the area, the same relative to the typical one, its square below
          that
        - outline: outermost pixels squared over area, 1 for a disc
        - at_border: 1 for a cell that touches the border of the image
    """
    count = agreement.size
    inside = labels > 0
    outermost = _find_outermost(labels)
    ids, outer_ids = labels[inside], labels[outermost]
    inner = inside & ~outermost
    areas = count_pixels(labels)
    areas = np.pad(areas, (0, count - areas.size)).astype(np.float64)
    size = np.log(areas.clip(1))
    relative = size - typical_size
    errors = np.square(awf[1][inside] - energy_of_labels(labels)[inside])
    foreground = [_mean(ids, maps[0][inside], count) for maps in (awf, omnipose)]
    box_iou, box_score = _match_boxes(labels, boxes, count)
    outline = np.bincount(outer_ids, minlength=count) ** 2 / (4 * np.pi * areas.clip(1))
    at_border = np.zeros(count)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        at_border[side] = 1
    return np.column_stack(
        (
            *foreground,
            np.sqrt(_mean(ids, errors, count)),
            _mean(outer_ids, omnipose[1][outermost], count),
            _mean(labels[inner], omnipose[1][inner], count),
            agreement,
            box_iou,
            box_score,
            relative,
            outline,
            size,
            at_border,
            np.minimum(relative, 0) ** 2,
        )
    )


def median_size(labels: Labels) -> float:
    """Return the median logarithm of the areas of the cells of a label image (y, x); 0 without cells."""
    areas = count_pixels(labels)[1:]
    return float(np.median(np.log(areas[areas > 0]))) if areas.any() else 0.0


def count_shared(first: Labels, second: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels that pairs of cells of two label images (y, x) share.

    Returns
    -------
    pairs : (k, 2) int64 array
        Ids of the pairs that share a pixel.
    shared_px : (k,) int64 array
    """
    one, two = first.ravel(), second.ravel()
    # runs of equal pairs: a hundredth of the pixels is left to sort
    starts = np.flatnonzero(np.concatenate(([True], (one[1:] != one[:-1]) | (two[1:] != two[:-1]))))
    lengths = np.diff(starts, append=one.size)
    both = (one[starts] > 0) & (two[starts] > 0)
    codes = (one[starts[both]].astype(np.int64) << 32) | two[starts[both]]
    found, index = np.unique(codes, return_inverse=True)
    shared = np.bincount(index, lengths[both], minlength=found.size).astype(np.int64)
    return np.stack((found >> 32, found & 0xFFFFFFFF), axis=1), shared


def best_ious(
    pairs: NDArray[np.int64], shared_px: NDArray[np.int64], areas: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best IoU of each id (n + 1,) of the first and of the second label image with a cell of the other."""
    ious = shared_px / (areas[0][pairs[:, 0]] + areas[1][pairs[:, 1]] - shared_px)
    best = (np.zeros(areas[0].size), np.zeros(areas[1].size))
    for side in (0, 1):
        np.maximum.at(best[side], pairs[:, side], ious)
    return best


@dataclass(frozen=True)
class Selection:
    """Which cells of two segmentations stay.

    Attributes
    ----------
    labels : (y, x) uint32 array
        Ids 1..k without gaps, the likeliest first.
    sources : (k + 1,) uint8 array
        By id, 0 for a cell of the first segmentation and 1 for one of the second.
    stays : (n + 1,) and (m + 1,) bool arrays
        By id in either segmentation: what stays, and what would stay if it were likely enough.
    unsure : (n + 1,) and (m + 1,) bool arrays
        Whose fate or form depends on cells of which not all was seen.
    """

    labels: Labels
    sources: NDArray[np.uint8]
    stays: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    unsure: tuple[NDArray[np.bool_], NDArray[np.bool_]]


def find_unsure(
    cut: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    pairs: NDArray[np.int64],
    shared_px: NDArray[np.int64],
    areas: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Flag the cells whose likelihood is not that in the whole image.

    Parameters
    ----------
    cut : (n + 1,) and (m + 1,) bool arrays
        By id in either segmentation, which cells go on beyond what is seen.
    pairs, shared_px
        From `count_shared`.
    areas
        Pixels of each id.

    Notes
    -----
    They are the cells that are cut, and those that share pixels with a cut one and so may agree with it better than is
    seen. An uncut cell of the other segmentation with an IoU of 0.5 or more is the best match whatever is beyond.
    """
    one, two = pairs[:, 0], pairs[:, 1]
    whole = ~cut[0][one] & ~cut[1][two]
    matched = best_ious(pairs[whole], shared_px[whole], areas)
    unsure = (cut[0].copy(), cut[1].copy())
    unsure[0][one[cut[1][two] & (matched[0][one] < 0.5)]] = True
    unsure[1][two[cut[0][one] & (matched[1][two] < 0.5)]] = True
    return unsure


def merge_cells(
    labels: tuple[Labels, Labels],
    likelihoods: tuple[NDArray[np.float64], NDArray[np.float64]],
    pairs: NDArray[np.int64],
    shared_px: NDArray[np.int64],
    min_likelihood: float,
    unsure: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
) -> Selection:
    """Keep the better cells of two segmentations of one image.

    From the best cell downwards a cell stays unless better cells of the other segmentation cover more than
    1 - `MIN_FREE_FRACTION` of it; where two that stay overlap, the better one has the pixel.

    Parameters
    ----------
    labels : two (y, x) uint32 arrays
        The segmentations, ids 1..n and 1..m.
    likelihoods : (n + 1,) and (m + 1,) arrays
        How likely each cell is right, by id. Of two equal ones the first segmentation's goes first.
    pairs, shared_px
        From `count_shared`.
    min_likelihood : float
        Less likely cells are dropped.
    unsure : (n + 1,) and (m + 1,) bool arrays, optional
        Cells of another likelihood than in the whole image, from `find_unsure`; none by default.
    """
    areas = [count_pixels(one) for one in labels]
    side = np.concatenate([np.full(one.size - 1, index, np.uint8) for index, one in enumerate(areas)])
    ids = np.concatenate([np.arange(1, one.size) for one in areas])
    chance = np.concatenate([one[1:] for one in likelihoods])
    conflicts: list[dict[int, list[tuple[int, int]]]] = [{}, {}]
    for (one, two), pixels in zip(pairs.tolist(), shared_px.tolist(), strict=True):
        conflicts[0].setdefault(one, []).append((two, pixels))
        conflicts[1].setdefault(two, []).append((one, pixels))
    # new ids by old ones; what is not taken has the last of all ranks
    merged_ids = [np.zeros(one.size, np.uint32) for one in areas]
    doubtful = [np.zeros(one.size, bool) for one in areas] if unsure is None else [one.copy() for one in unsure]
    kept: list[int] = []
    for index in np.argsort(-chance, kind="stable").tolist():
        mine, cell = int(side[index]), int(ids[index])
        most_px = (1 - MIN_FREE_FRACTION) * int(areas[mine][cell])
        others = conflicts[mine].get(cell, ())
        covered_px = sum(pixels for other, pixels in others if merged_ids[1 - mine][other])
        if covered_px <= most_px and most_px:
            kept.append(index)
            merged_ids[mine][cell] = len(kept)
        if unsure is not None:
            known_px = sum(px for other, px in others if merged_ids[1 - mine][other] and not doubtful[1 - mine][other])
            possible_px = sum(px for other, px in others if merged_ids[1 - mine][other] or doubtful[1 - mine][other])
            doubtful[mine][cell] |= known_px <= most_px < possible_px
    stays = (merged_ids[0] > 0, merged_ids[1] > 0)
    # one that stays beside a doubtful one may lose pixels to it
    one, two = pairs[:, 0], pairs[:, 1]
    beside = (one[stays[0][one] & doubtful[1][two]], two[stays[1][two] & doubtful[0][one]])
    for flags, cells in zip(doubtful, beside, strict=True):
        flags[cells] = True
    count = int(np.count_nonzero(chance[kept] >= min_likelihood))
    for table in merged_ids:
        table[table > count] = 0
    first, second = (table[one] for table, one in zip(merged_ids, labels, strict=True))
    # the smaller id is the likelier cell; 0 wraps round to the largest number
    merged = np.minimum(first - np.uint32(1), second - np.uint32(1)) + np.uint32(1)
    sources = np.concatenate(([0], side[kept[:count]])).astype(np.uint8)
    return Selection(merged, sources, stays, (doubtful[0], doubtful[1]))


def _find_outermost(labels: Labels) -> NDArray[np.bool_]:
    """Mark the pixels of cells with another cell or background above, below, left or right."""
    edges = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges & (labels > 0)


def _mean(ids: NDArray[np.uint32], values: NDArray, count: int) -> NDArray[np.float64]:
    return np.bincount(ids, values, minlength=count) / np.bincount(ids, minlength=count).clip(1)


def _match_boxes(
    labels: Labels, boxes: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, by id, the IoU of its bounding box with the best box centred in it, and that box's score."""
    iou, score = np.zeros(count), np.zeros(count)
    if not len(boxes):
        return iou, score
    bounds = bounding_boxes(labels, count)
    rows, columns = (
        np.clip(((boxes[:, axis] + boxes[:, axis + 2]) / 2).astype(np.int64), 0, labels.shape[axis] - 1)
        for axis in (0, 1)
    )
    ids = labels[rows, columns]
    cells = bounds[ids]
    sides = np.minimum(boxes[:, 2:4], cells[:, 2:]) - np.maximum(boxes[:, :2], cells[:, :2])
    shared = sides.clip(0).prod(1)
    ious = shared / ((boxes[:, 2:4] - boxes[:, :2]).prod(1) + (cells[:, 2:] - cells[:, :2]).prod(1) - shared).clip(1e-6)
    order = np.argsort(ious, kind="stable")
    iou[ids[order]], score[ids[order]] = ious[order], boxes[order, 4]
    iou[0] = score[0] = 0
    return iou, score


def bounding_boxes(labels: Labels, count: int) -> NDArray[np.int64]:
    """Return (y0, x0, y1, x1) by id, the ends exclusive, of ids below `count`; one that is not there has no place."""
    width = labels.shape[1]
    flat = labels.ravel()
    changes = flat[1:] != flat[:-1]
    # runs of equal ids end with the row
    changes[width - 1 :: width] = True
    starts = np.flatnonzero(np.concatenate(([True], changes)))
    ends = np.append(starts[1:], flat.size) - 1
    ids = flat[starts]
    bounds = np.empty((count, 4), np.int64)
    bounds[:, :2], bounds[:, 2:] = labels.size, 0
    np.minimum.at(bounds[:, 0], ids, starts // width)
    np.minimum.at(bounds[:, 1], ids, starts % width)
    np.maximum.at(bounds[:, 2], ids, starts // width + 1)
    np.maximum.at(bounds[:, 3], ids, ends % width + 1)
    return bounds
