"""Blocks: decode an image piece by piece on several threads, with one owner for every object.

A block decodes its core and a margin around it, and keeps the objects whose bounding box has its middle in the core.
Neighbours see the same pixels around a shared object and so find the same object; exactly one of them owns it. Nothing
is merged afterwards, and the result depends neither on the number of threads nor on which is faster.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType

import numpy as np

from mosaicell.postprocess.bounds import Bounds, are_centred, bounding_boxes, overlap, touch_sides, widen
from mosaicell.postprocess.numbering import Labels

#: rows that one pass over a label image takes at a time
CHUNK_ROWS = 256
#: so many blocks are left to one thread, those of two rows at the end of a strip; each one more has another thread
SPARE_BLOCKS = 3


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


class Assembly:
    """A label image that is put together from blocks, which are decoded on other threads.

    Parameters
    ----------
    shape_px
        Height and width of the image.
    workers
        Number of threads.

    Attributes
    ----------
    shape_px
        Height and width of the image.
    labels
        uint32 (y, x): complete after `finish`.
    undecided
        Objects that were larger than the margins allow for, and may be cut.
    totals
        (k,): the sum of the evidence over all blocks; None before the first.

    Notes
    -----
    Decoding takes much more memory than waiting does. One block at a time is decoded while few wait, as that keeps pace
    with a network on the CPU; as many as there are threads when the caller waits.
    """

    def __init__(self, shape_px: tuple[int, int], workers: int) -> None:
        self.shape_px = shape_px
        self.labels: Labels = np.zeros(shape_px, np.uint32)
        self.undecided = 0
        self.totals: np.ndarray | None = None
        self._areas = [np.zeros(1, np.int64)]
        self._sources = [np.zeros(1, np.uint8)]
        self._likelihoods = [np.zeros(1, np.float32)]
        self._next_id = 1
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers)
        self._waiting: deque[Future[Owned]] = deque()
        self._turn = threading.Condition()
        self._running, self._allowed = 0, 1

    def __enter__(self) -> Assembly:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, decode: Decode, core: Bounds, margin_px: int, max_margin_px: int) -> None:
        """Have a block decoded, as `decode_block` does; waits while too many are under way."""
        # those that are done hold their labels
        while self._waiting and (len(self._waiting) >= self._workers + SPARE_BLOCKS or self._waiting[0].done()):
            self._take_first()
        self._waiting.append(self._pool.submit(self._decode, decode, core, margin_px, max_margin_px))
        self._allow(len(self._waiting) - SPARE_BLOCKS)

    def finish(self) -> Labels:
        """Wait for all blocks, and number what is there 1..n."""
        while self._waiting:
            self._take_first()
        kept = self._are_there()
        if not kept[1:].all():
            table = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
            for first in range(0, len(self.labels), CHUNK_ROWS):
                self.labels[first : first + CHUNK_ROWS] = table[self.labels[first : first + CHUNK_ROWS]]
        return self.labels

    def count_sources(self, count: int) -> list[int]:
        """Return how many objects are from each of `count` segmentations."""
        return np.bincount(self.sources, minlength=count).tolist()

    @property
    def sources(self) -> np.ndarray:
        """Which segmentation each object is from, (n,), of the ids from 1 that `finish` gives."""
        return np.concatenate(self._sources)[self._are_there()]

    @property
    def likelihoods(self) -> np.ndarray:
        """How likely each of them is right, (n,); NaN for unknown."""
        return np.concatenate(self._likelihoods)[self._are_there()]

    def _are_there(self) -> np.ndarray:
        """Which ids, from 0, were given to objects that nothing has taken away."""
        return np.concatenate(self._areas) > 0

    def _decode(self, decode: Decode, core: Bounds, margin_px: int, max_margin_px: int) -> Owned:
        """Decode a block as soon as another one may be."""
        with self._turn:
            self._turn.wait_for(lambda: self._running < self._allowed)
            self._running += 1
        try:
            return decode_block(decode, core, self.shape_px, margin_px, max_margin_px)
        finally:
            with self._turn:
                self._running -= 1
                self._turn.notify_all()

    def _allow(self, threads: int) -> None:
        """Let so many threads decode, but at least one; what is under way goes on."""
        with self._turn:
            self._allowed = max(1, threads)
            self._turn.notify_all()

    def _take_first(self) -> None:
        """Paste the block that was submitted first; while it is waited for all threads decode."""
        if not self._waiting[0].done():
            self._allow(self._workers)
        self._paste(self._waiting.popleft().result())

    def _paste(self, owned: Owned) -> None:
        """Write a block's objects where nothing is yet; one that is there already, for the most part, is dropped.

        Two neighbours that see one object differently may both own it: the earlier block's stays.
        """
        self.undecided += owned.undecided
        self.totals = owned.totals if self.totals is None else self.totals + owned.totals
        y0, x0, y1, x1 = owned.bounds
        target, labels = self.labels[y0:y1, x0:x1], owned.labels
        inside = labels > 0
        areas = np.bincount(labels[inside], minlength=1)
        taken = inside & (target > 0)
        if taken.any():
            lost = np.bincount(labels[taken], minlength=areas.size)
            areas = np.where(2 * lost > areas, 0, areas - lost)
            inside &= ~taken & (areas > 0)[labels]
        target[inside] = labels[inside] + np.uint32(self._next_id - 1)
        self._areas.append(areas[1:])
        self._sources.append(owned.sources)
        self._likelihoods.append(owned.likelihoods)
        self._next_id += areas.size - 1
