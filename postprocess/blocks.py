"""Blocks: decode an image piece by piece, with one owner for every object.

A block decodes its core and a margin around it, and keeps the objects whose bounding box has its middle in the core.
Neighbours see the same pixels around a shared object and so find the same object; exactly one of them owns it. Nothing
is merged afterwards, and the result depends neither on the number of threads nor on which is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mosaicell.postprocess.bounds import Bounds, are_centred, bounding_boxes, overlap, touch_sides, widen
from mosaicell.postprocess.numbering import Labels


@dataclass(frozen=True)
class Found:
    """What lies in a part of an image.

    Attributes
    ----------
    labels
        uint32 (y, x), 1..n without gaps.
    sources
        (n,), of the ids from 1: which segmentation an object is from. None where there is one only.
    boxes
        int (m, 4) as (y0, x0, y1, x1) in px of the part, the ends exclusive: places at which something is known.
    evidence
        float64 (m, k): what is known there. What the blocks own is summed up.
    unsure
        bool (m,): where more of the image may change an object.
    likelihoods
        float32 (n,), of the ids from 1: how likely an object is right. None where nothing says so.
    """

    labels: Labels
    sources: np.ndarray | None = None
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    evidence: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    unsure: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    likelihoods: np.ndarray | None = None


#: decodes the part of the image within bounds
Decode = Callable[[Bounds], Found]


@dataclass(frozen=True)
class Owned:
    """What a block contributes.

    Attributes
    ----------
    bounds
        Where `labels` lies in the image.
    labels
        uint32 (y, x): the objects that the block owns, 1..n without gaps.
    sources, likelihoods
        (n,), of the ids from 1: which segmentation an object is from, and how likely it is right, NaN for unknown.
    totals
        (k,): the sum of the evidence at the places that the block owns.
    undecided
        Number of objects that reach into the core and beyond the largest margin.
    """

    bounds: Bounds
    labels: Labels
    sources: np.ndarray
    likelihoods: np.ndarray
    totals: np.ndarray
    undecided: int


def plan_blocks(shape_px: tuple[int, int], core_px: tuple[int, int]) -> list[list[Bounds]]:
    """Divide an image into rows of blocks of even size, each side at most that of `core_px`."""
    edges = []
    for length, core in zip(shape_px, core_px, strict=True):
        count = max(1, math.ceil(length / core))
        edges.append([round(index * length / count) for index in range(count + 1)])
    rows, columns = edges
    return [[(y0, x0, y1, x1) for x0, x1 in pairwise(columns)] for y0, y1 in pairwise(rows)]


def divide_columns(blocks: list[list[Bounds]], width_px: int) -> list[list[list[Bounds]]]:
    """Divide rows of blocks into strips from top to bottom, of even width, of `width_px` at most or one block wide."""
    columns = len(blocks[0])
    widest = max(x1 - x0 for _, x0, _, x1 in blocks[0])
    count = math.ceil(columns / max(1, width_px // widest))
    edges = [round(index * columns / count) for index in range(count + 1)]
    return [[row[first:last] for row in blocks] for first, last in pairwise(edges)]


def decode_block(decode: Decode, core: Bounds, shape_px: tuple[int, int], margin_px: int, max_margin_px: int) -> Owned:
    """Decode one block and keep what it owns.

    Parameters
    ----------
    decode
        Decoder; asked for the core with its margin.
    core
        Bounds of the block.
    margin_px, max_margin_px
        Width of the margin. Where an object reaches from the core to the end of the margin, or hangs by what does, it
        cannot be said yet what it is, and the block is decoded again with twice the margin, up to the maximum.
    """
    while True:
        region = widen(core, margin_px, shape_px)
        found = decode(region)
        corner = np.array((region[0], region[1], region[0], region[1]))
        boxes, places = (
            bounding_boxes(found.labels, int(found.labels.max(initial=0)) + 1)[1:] + corner,
            found.boxes + corner,
        )
        cut = touch_sides(boxes, region, shape_px) & overlap(boxes, core)
        is_sure = not cut.any() and not overlap(places[found.unsure], core).any()
        if is_sure or margin_px >= max_margin_px:
            totals = found.evidence[are_centred(places, core)].sum(axis=0)
            return _keep_owned(found, boxes, region, core, totals, int(cut.sum()))
        margin_px = min(2 * margin_px, max_margin_px)


def _keep_owned(
    found: Found, boxes: np.ndarray, region: Bounds, core: Bounds, totals: np.ndarray, undecided: int
) -> Owned:
    owned = are_centred(boxes, core)
    sources = np.zeros(len(boxes), np.uint8) if found.sources is None else found.sources
    likelihoods = np.full(len(boxes), np.nan, np.float32) if found.likelihoods is None else found.likelihoods
    if not owned.any():
        nowhere = (core[0], core[1], core[0], core[1])
        return Owned(nowhere, np.zeros((0, 0), np.uint32), sources[owned], likelihoods[owned], totals, undecided)
    table = np.concatenate([[0], np.where(owned, np.cumsum(owned), 0)]).astype(np.uint32)
    bounds = (*boxes[owned, :2].min(axis=0).tolist(), *boxes[owned, 2:].max(axis=0).tolist())
    part = found.labels[bounds[0] - region[0] : bounds[2] - region[0], bounds[1] - region[1] : bounds[3] - region[1]]
    return Owned(bounds, table[part], sources[owned], likelihoods[owned], totals, undecided)
