"""Label images of the planes of a stack, held compressed until all are there."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

#: deflate level; label images are mostly runs
LEVEL = 1


class LabelPages:
    """Label images of one shape, in the order in which they were added.

    Attributes
    ----------
    shape
        (pages, y, x).
    highest
        Highest id of all.
    """

    def __init__(self) -> None:
        self._packed: list[tuple[bytes, np.dtype]] = []
        self._shape_px = (0, 0)
        self.highest = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Pages, height and width."""
        return len(self._packed), *self._shape_px

    def add(self, labels: np.ndarray) -> None:
        """Add a label image (y, x) with ids from 1.

        Raises
        ------
        ValueError
            If its shape is not that of the others.
        """
        if self._packed and labels.shape != self._shape_px:
            raise ValueError(f"labels have shape {labels.shape}; those before have {self._shape_px}")
        self._shape_px = labels.shape
        highest = int(labels.max(initial=0))
        self.highest = max(self.highest, highest)
        narrow = np.ascontiguousarray(labels, np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)
        self._packed.append((zlib.compress(narrow.tobytes(), LEVEL), narrow.dtype))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Unpack one label image (y, x) after the other."""
        for packed, dtype in self._packed:
            yield np.frombuffer(zlib.decompress(packed), dtype).reshape(self._shape_px)
