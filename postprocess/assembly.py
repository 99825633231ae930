"""A label image that is put together from blocks."""

from __future__ import annotations

import numpy as np

from mosaicell.postprocess.block_queue import BlockQueue
from mosaicell.postprocess.blocks import Owned
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.numbering import Labels

#: rows that one pass over a label image takes at a time
CHUNK_ROWS = 256


class Assembly(BlockQueue):
    """A label image that is put together from blocks, which are decoded on other threads.

    Parameters
    ----------
    shape_px
        Height and width of the image.
    workers
        Number of threads.

    Attributes
    ----------
    labels
        uint32 (y, x): complete after `finish`.
    undecided
        Objects that were larger than the margins allow for, and may be cut.
    totals
        (k,): the sum of the evidence over all blocks; None before the first.
    """

    def __init__(self, shape_px: tuple[int, int], workers: int) -> None:
        super().__init__(shape_px, workers, self._paste)
        self.labels: Labels = np.zeros(shape_px, np.uint32)
        self.undecided = 0
        self.totals: np.ndarray | None = None
        self._areas = [np.zeros(1, np.int64)]
        self._sources = [np.zeros(1, np.uint8)]
        self._likelihoods = [np.zeros(1, np.float32)]
        self._next_id = 1

    def finish(self) -> Labels:
        """Wait for all blocks, and number what is there 1..n."""
        self.take_all()
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

    def _paste(self, _: Bounds, owned: Owned) -> None:
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
