"""Pixels that are read part by part, wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from postprocess.blocks import Bounds


class Pixels(Protocol):
    """An image that is read part by part."""

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds; c in {1, 3}; uint8, uint16 or finite float32."""
        ...

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, c)."""
        ...


@dataclass(frozen=True)
class ArrayPixels:
    """An image that is in memory."""

    array: np.ndarray

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.array.shape[0], self.array.shape[1]

    def read(self, bounds: Bounds) -> np.ndarray:
        """Return a view of the pixels (y, x, c) within bounds."""
        y0, x0, y1, x1 = bounds
        return self.array[y0:y1, x0:x1]

    def sample(self, step: int) -> np.ndarray:
        """Return a view of every `step`-th pixel of every `step`-th row, (y, x, c)."""
        return self.array[::step, ::step]


class PixelRows:
    """Columns of an image, of which the rows that were read last stay in memory."""

    def __init__(self, pixels: Pixels, columns: tuple[int, int]) -> None:
        self._pixels, self._columns = pixels, columns
        self._rows = (0, 0)
        self._part = np.empty(0)

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds, from the rows that are there when those are asked for again."""
        y0, x0, y1, x1 = bounds
        first, last = self._columns
        if self._rows != (y0, y1):
            # the old rows go before the new ones come; a read that fails leaves none
            self._rows, self._part = (0, 0), np.empty(0)
            self._part = self._pixels.read((y0, first, y1, last))
            self._rows = (y0, y1)
        return self._part[:, x0 - first : x1 - first]


def read_all(pixels: Pixels) -> np.ndarray:
    """Read all pixels (y, x, c)."""
    return pixels.read((0, 0, *pixels.shape_px))
