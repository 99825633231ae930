"""Flows that Cellpose learns: the way to the middle of a cell, up the warmth that spreads from there.

Source: cvml paper, section 2.2, after Stringer et al. 2021. The same function makes the training target and judges a
decoded cell (the flow-error check), so the two cannot drift apart.

Heat spreads step by step, hundreds of times over a few thousand pixels each. Cells are put side by side on a canvas
that the processor's cache holds, each framed by zeros: one filter then serves all of them, and what touches in the
image does not mix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import look_up
from mosaicell.postprocess.bounds import bounding_boxes
from mosaicell.postprocess.numbering import number_objects

#: pixels of the boxes of the cells that share a canvas, unless a single one has more
CANVAS_PX = 2**15
#: of the filter that sums 3 x 3 pixels
ONES = np.ones(3)
#: what a source gets in each step: with 1 float32 would reach half as far
SOURCE = 2.0**100


def heat_flows(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Point every cell pixel up the gradient of the heat that spreads from the middle of its cell.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background, ids with any gaps. One id is one cell.

    Returns
    -------
    float32 array (2, y, x)
        dy and dx, of length 1; 0 in the background, in a cell of one pixel, where slopes cancel, and where no heat
        arrives: in pieces of a cell that do not hang together with its middle, and at the ends of cells that wind.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.

    Notes
    -----
    The middle is the pixel of the cell nearest to its centre of mass, the first of several. It gets 1 in each step;
    then each pixel of the cell becomes the mean of the 3 x 3 pixels around it, with 0 outside the cell and the image.
    There are twice as many steps as the cell's box has rows and columns together. Slopes are central differences of
    log(1 + heat), which is not rounded: at the end of a process 3 px wide and 150 px long the heat is 1e-50.

    The paper names the middle of the cell's box, earlier versions of the published code medians. With version 3.1 of
    that, which takes the centre of mass, the cosine is 0.99999.
    """
    cells, areas = number_objects(labels)
    flow = np.zeros((2, *cells.shape), np.float32)
    if areas.size == 1:
        return flow
    boxes = bounding_boxes(cells, areas.size)
    steps = 2 * ((boxes[:, 2] - boxes[:, 0]) + (boxes[:, 3] - boxes[:, 1]))
    # cells of like size share a canvas
    order = np.concatenate([[0], 1 + np.argsort(-steps[1:], kind="stable")])
    ranks = np.empty(order.size, np.uint16 if order.size < 2**16 else np.uint32)
    ranks[order] = np.arange(order.size)
    boxes, steps, areas = boxes[order], steps[order], areas[order]
    places = np.flatnonzero(cells)
    rank = look_up(ranks, cells).ravel()[places]
    sorting = np.argsort(rank, kind="stable")
    places, rank = places[sorting], rank[sorting].astype(np.intp)
    y, x = np.divmod(places, cells.shape[1])
    first_px = np.concatenate([[0, 0], np.cumsum(areas[1:])])
    middles = _middle_pixels(y, x, rank, first_px[1:-1])
    for first, last in _share_canvases(boxes):
        part = slice(first_px[first], first_px[last])
        corners, shape = _lay_out(boxes[first:last])
        shift = corners - boxes[first:last, :2]
        canvas = (y[part] + shift[rank[part] - first, 0]) * shape[1] + x[part] + shift[rank[part] - first, 1]
        sources = canvas[middles[first - 1 : last - 1] - first_px[first]]
        # in half the time
        heat = _spread(canvas, shape, sources, steps[first:last], np.float32)
        if heat.ravel()[canvas].min() < np.finfo(np.float32).tiny:
            heat = _spread(canvas, shape, sources, steps[first:last], np.float64)
        flow.reshape(2, -1)[:, places[part]] = _slopes(heat, canvas)
    return flow


def _middle_pixels(y: NDArray, x: NDArray, rank: NDArray, first_px: NDArray) -> NDArray[np.intp]:
    """Return for each cell from 1 which of the pixels, sorted by cell, lies nearest to its centre of mass."""
    areas = np.diff(first_px, append=y.size)
    away = np.zeros(y.size)
    for coordinate in (y, x):
        away += np.square(coordinate - (np.add.reduceat(coordinate, first_px) / areas)[rank - 1])
    nearest = np.flatnonzero(away == np.minimum.reduceat(away, first_px)[rank - 1])
    return nearest[np.flatnonzero(np.diff(rank[nearest], prepend=0))]


def _share_canvases(boxes: NDArray) -> Iterator[tuple[int, int]]:
    """Divide the cells from 1 on into ranges whose boxes have `CANVAS_PX` pixels at most, or that are of one cell."""
    areas = (boxes[1:, 2] - boxes[1:, 0]) * (boxes[1:, 3] - boxes[1:, 1])
    first, filled = 1, 0
    for cell, area in enumerate(areas.tolist(), start=1):
        if filled and filled + area > CANVAS_PX:
            yield first, cell
            first, filled = cell, 0
        filled += area
    yield first, len(boxes)


def _lay_out(boxes: NDArray) -> tuple[NDArray[np.intp], tuple[int, int]]:
    """Put boxes on a canvas, row by row, tall ones first, with a pixel between them and around.

    Returns
    -------
    corners : int array (n, 2)
        Row and column of their first pixels.
    shape : (int, int)
        Height and width of the canvas.
    """
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    width = max(int(widths.max()), math.isqrt(int(((heights + 1) * (widths + 1)).sum())))
    corners = np.empty((len(boxes), 2), np.intp)
    top, left, tall = 1, 1, 0
    for box in np.argsort(-heights, kind="stable").tolist():
        if left > 1 and left + int(widths[box]) > width + 1:
            top, left, tall = top + tall + 1, 1, 0
        corners[box] = top, left
        left += int(widths[box]) + 1
        tall = max(tall, int(heights[box]))
    return corners, (top + tall + 1, width + 2)


def _spread(
    canvas: NDArray, shape: tuple[int, int], sources: NDArray, steps: NDArray, dtype: type[np.floating]
) -> NDArray[np.floating]:
    """Let heat spread within cells.

    Parameters
    ----------
    canvas : int array (k,)
        Places of the pixels of cells on the canvas, flat.
    shape : (int, int)
        Height and width of the canvas.
    sources, steps : int arrays (n,)
        Places that get `SOURCE` in each step, and for how many steps, falling.
    dtype
        Of the numbers.

    Returns
    -------
    array (y, x)
        Heat in units of 1 / `SOURCE`.
    """
    shares = np.zeros(shape, dtype)
    shares.ravel()[canvas] = 1 / 9
    heat, sums = np.zeros(shape, dtype), np.zeros(shape, dtype)
    # cells of fewer steps begin later: all end together
    ends = [*np.flatnonzero(np.diff(steps)) + 1, len(steps)]
    for begun, (now, following) in zip(ends, pairwise([*(int(steps[end - 1]) for end in ends), 0]), strict=True):
        for _ in range(now - following):
            heat.ravel()[sources[:begun]] += dtype(SOURCE)
            cv2.sepFilter2D(heat, -1, ONES, ONES, dst=sums)
            np.multiply(sums, shares, out=heat)
    return heat


def _slopes(heat: NDArray[np.floating], canvas: NDArray) -> NDArray[np.float64]:
    """Return the unit vectors (2, k) up the slope of log(1 + heat) at places of the canvas, 0 where there is none."""
    level = np.log1p(heat.astype(np.float64) / SOURCE).ravel()
    slope = np.stack([level[canvas + step] - level[canvas - step] for step in (heat.shape[1], 1)])
    # the largest number first: squares of 1e-200 vanish
    slope /= np.maximum(np.abs(slope).max(axis=0), np.finfo(np.float64).tiny)
    length = np.sqrt(np.square(slope).sum(axis=0))
    return np.divide(slope, length, out=np.zeros_like(slope), where=length > 0)
