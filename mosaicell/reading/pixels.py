"""Pixels that are read part by part, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mosaicell.postprocess.bounds import Bounds


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


@dataclass(frozen=True)
class ChannelPixels:
    """Channels (y, x, 1) seen as red, green and blue; of two, blue is 0."""

    channels: tuple[Pixels, ...]

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.channels[0].shape_px

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, 3) within bounds."""
        return _join([channel.read(bounds) for channel in self.channels])

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, 3)."""
        return _join([channel.sample(step) for channel in self.channels])


def _join(parts: list[np.ndarray]) -> np.ndarray:
    if len(parts) == 2:
        parts = [*parts, np.zeros_like(parts[0])]
    return np.concatenate(parts, axis=2)


@dataclass(frozen=True)
class SamplePixels:
    """Some of the colours of an image."""

    pixels: Pixels
    samples: tuple[int, ...]

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape_px

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, 1 or 3) within bounds."""
        return self._take(self.pixels.read(bounds))

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, 1 or 3)."""
        return self._take(self.pixels.sample(step))

    def _take(self, part: np.ndarray) -> np.ndarray:
        parts = [part[..., sample : sample + 1] for sample in self.samples]
        return np.ascontiguousarray(parts[0]) if len(parts) == 1 else _join(parts)


@dataclass(frozen=True)
class PartPixels:
    """Part of an image, as an image of its own.

    Attributes
    ----------
    pixels, bounds
        The image, and where in it the part lies.
    """

    pixels: Pixels
    bounds: Bounds

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        y0, x0, y1, x1 = self.bounds
        return y1 - y0, x1 - x0

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds of the part."""
        (top, left), (y0, x0, y1, x1) = self.bounds[:2], bounds
        return self.pixels.read((top + y0, left + x0, top + y1, left + x1))

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, c)."""
        return self.pixels.read(self.bounds)[::step, ::step]


#: how planes become one picture
REDUCTIONS = ("max", "mean")


@dataclass(frozen=True)
class ReducedPixels:
    """The maximum or the mean of planes, of which one at a time is opened and held.

    Attributes
    ----------
    planes
        What opens each.
    shape_px
        Height and width.
    reduction
        One of `REDUCTIONS`; a mean is float32.
    """

    planes: tuple[Callable[[], Pixels], ...]
    shape_px: tuple[int, int]
    reduction: str

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds."""
        return self._reduce(lambda pixels: pixels.read(bounds))

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, c)."""
        return self._reduce(lambda pixels: pixels.sample(step))

    def _reduce(self, read: Callable[[Pixels], np.ndarray]) -> np.ndarray:
        result: np.ndarray | None = None
        for opener in self.planes:
            part = read(opener())
            if result is None:
                result = part.astype(np.float32 if self.reduction == "mean" else part.dtype)
            elif self.reduction == "mean":
                result += part
            else:
                np.maximum(result, part, out=result)
        assert result is not None
        return result / np.float32(len(self.planes)) if self.reduction == "mean" else result


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
