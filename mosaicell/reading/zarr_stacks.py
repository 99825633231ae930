"""The stacks of an OME-Zarr folder, whose planes are read by region: only the chunks that a part needs are decoded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.quota import quota
from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.ngff import NgffImage, read_ngff
from mosaicell.reading.pixel_size import Resolution
from mosaicell.reading.samples import limit_samples
from mosaicell.reading.stack import Plane, Stack
from mosaicell.reading.tiff import DECODE_BYTES, DECODE_CPU_S_PER_BYTE, TABLES_CPU_S
from mosaicell.reading.tiff_pixels import BAND_ROWS, OTHERS_BYTES
from mosaicell.reading.zarr_arrays import ArrayHead, read_array_head

#: chunks that are decoded at once take at most so many bytes, unless one alone has more
AT_ONCE_BYTES = 256 << 20
#: seconds after which whoever waits for chunks looks up
AWAKE_S = 0.1
#: names of channels that may as well be the colours of a pixel
COLOUR_NAME = re.compile(r"(?:r(?:ed)?|g(?:reen)?|b(?:lue)?|(?:ch?|channel)?[ _:-]*\d*)", re.IGNORECASE)
MISSING = "is OME-Zarr, for which the package zarr is missing: pip install 'zarr>=3.1.3'"


def open_zarr(folder: Path, opener: Opener, workers: int | None) -> list[tuple[Stack, Resolution | None]]:
    """Open the images of a folder at full resolution, each with the size of its pixels.

    Parameters
    ----------
    folder
        The OME-Zarr.
    opener
        Opens its files.
    workers
        Threads that decode chunks; None for one.

    Raises
    ------
    ImageError
        If it is damaged, holds no image, is of a kind that is not read, or the zarr library is missing.
    """
    found = []
    with zarr_errors(), quota(TABLES_CPU_S, DECODE_BYTES):
        for image in read_ngff(folder, opener):
            head = read_array_head(folder, image.path, opener)
            if len(head.shape) != len(image.axes):
                raise ImageError(f"is damaged: its array of shape {head.shape} has the axes {image.axes}")
            planes = _ZarrPlanes(_open_array(folder, head, opener), head, image, workers or 1)
            found.append((planes.stack(), image.resolution))
    return found


def measure_zarr(folder: Path, opener: Opener, scene: int | None = None) -> int:
    """Count the pixels of an image of a folder, by number from 1, or of the largest; its arrays are not opened.

    Raises
    ------
    ImageError
        As `open_zarr`, and if there is no such image.
    """
    found = []
    for image in read_ngff(folder, opener):
        shape = read_array_head(folder, image.path, opener).shape
        found.append(math.prod(shape[image.axes.index(axis)] for axis in "yx") if len(shape) == len(image.axes) else 0)
    if scene is not None and scene > len(found):
        raise ImageError(f"has no scene {scene}")
    return max(found) if scene is None else found[scene - 1]


def _open_array(folder: Path, head: ArrayHead, opener: Opener) -> Any:
    try:
        import zarr

        from mosaicell.reading.zarr_store import FolderStore
    except ImportError as error:
        raise ImageError(MISSING) from error
    store = FolderStore(folder, head, opener)
    return zarr.open_array(store, path=head.path, mode="r", zarr_format=3 if head.version == 3 else 2)


@contextmanager
def zarr_errors() -> Iterator[None]:
    """Turn whatever a damaged array raises into one sentence."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("asks for more memory than its pixels need: it is damaged or made to stall") from error
    except Exception as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(f"is damaged or of an unknown kind of Zarr: {reason}") from error


class _ZarrPlanes:
    """The planes of an array, opened one by one."""

    def __init__(self, array: Any, head: ArrayHead, image: NgffImage, workers: int) -> None:
        self._array, self._head, self._image = array, head, image
        self._workers = max(1, min(workers, AT_ONCE_BYTES // head.file_bytes))
        self._notes = list[str]()

    def stack(self) -> Stack:
        """Return what the planes make up."""
        count = self._length("c")
        names = self._image.channels if len(self._image.channels) == count else ("",) * count
        height, width = self._length("y"), self._length("x")
        rows = min(height, BAND_ROWS + 2 * self._head.chunks[self._image.axes.index("y")])
        band_bytes = rows * width * self._head.dtype.itemsize
        stack = Stack(
            name=self._image.name,
            shape_px=(height, width),
            source_dtype=str(self._head.dtype),
            # rows that are kept, those handed out, and chunks as they are stored and decoded
            held_bytes=2 * band_bytes + 2 * self._workers * self._head.file_bytes,
            times=self._length("t"),
            planes=self._length("z"),
            channels=names,
            open_plane=self.open,
            by_region=True,
            notes=self._notes,
        )
        if count == 3 and self._head.dtype in (np.uint8, np.uint16) and all(map(COLOUR_NAME.fullmatch, names)):
            return replace(
                stack,
                channels=("",),
                has_colours=True,
                held_bytes=3 * stack.held_bytes,
                open_plane=self.open_colours,
                as_pages=stack,
            )
        return stack

    def open(self, plane: Plane) -> ZarrPixels:
        """Open a plane: (y, x, 1)."""
        return self._open({"t": plane.time, "z": plane.z, "c": plane.channel})

    def open_colours(self, plane: Plane) -> ZarrPixels:
        """Open a plane: (y, x, 3)."""
        return self._open({"t": plane.time, "z": plane.z, "c": slice(None)})

    def _open(self, at: dict[str, int | slice]) -> ZarrPixels:
        index = [at.get(axis, slice(None)) for axis in self._image.axes]
        return ZarrPixels(self._array, self._head, self._image.axes, index, self._workers, self._notes)

    def _length(self, axis: str) -> int:
        return self._head.shape[self._image.axes.index(axis)] if axis in self._image.axes else 1


class ZarrPixels:
    """Pixels of one plane.

    Parameters
    ----------
    array, head
        Of the zarr library, and what is known of it.
    axes
        A letter for each of its axes.
    index
        Where the plane stands along each, slices for y, x and the colours of a pixel.
    workers
        Chunks that are decoded at once.
    notes
        Gets every decision taken for the user, in words.

    Notes
    -----
    The rows of chunks that the last part needed stay decoded, as the next one often overlaps it.
    """

    def __init__(
        self,
        array: Any,
        head: ArrayHead,
        axes: str,
        index: Sequence[int | slice],
        workers: int,
        notes: list[str],
    ) -> None:
        self._array, self._head, self._index = array, head, list(index)
        self._workers, self._notes = workers, notes
        self._y, self._x = axes.index("y"), axes.index("x")
        left = [axis for axis, at in enumerate(index) if isinstance(at, slice)]
        wanted = [self._y, self._x, *(axis for axis in left if axis not in (self._y, self._x))]
        self._order = [left.index(axis) for axis in wanted]
        self._bounds: Bounds = (0, 0, 0, 0)
        self._part = np.empty((0, 0, 1))

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self._head.shape[self._y], self._head.shape[self._x]

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds; c in {1, 3}; uint8, uint16 or finite float32.

        Raises
        ------
        ImageError
            If the array is damaged there.
        """
        y0, x0, y1, x1 = bounds
        self._fetch(self._widen(bounds))
        top, left = self._bounds[:2]
        return np.ascontiguousarray(self._part[y0 - top : y1 - top, x0 - left : x1 - left])

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, c)."""
        height, width = self.shape_px
        return self._decode(slice(0, height, step), slice(0, width, step))

    def _widen(self, bounds: Bounds) -> Bounds:
        """Return the bounds of the chunks that a part needs."""
        height, width = self.shape_px
        chunk_y, chunk_x = self._head.chunks[self._y], self._head.chunks[self._x]
        y0, x0, y1, x1 = bounds
        return (
            y0 // chunk_y * chunk_y,
            x0 // chunk_x * chunk_x,
            min(math.ceil(y1 / chunk_y) * chunk_y, height),
            min(math.ceil(x1 / chunk_x) * chunk_x, width),
        )

    def _fetch(self, wanted: Bounds) -> None:
        """Have the pixels of whole chunks decoded, with rows that are so already."""
        y0, x0, y1, x1 = wanted
        top, left, bottom, right = self._bounds
        same_columns = left <= x0 and x1 <= right
        if same_columns and top <= y0 and y1 <= bottom:
            return
        kept = np.empty(0)
        if same_columns and top <= y0 < bottom:
            x0, x1 = left, right
            # a copy, so that what is above goes
            kept = self._part[y0 - top :].copy()
        start = y0 + len(kept)
        self._bounds, self._part = (0, 0, 0, 0), np.empty((0, 0, 1))
        read = self._decode(slice(start, y1), slice(x0, x1))
        self._part = np.concatenate([kept, read]) if len(kept) else read
        self._bounds = (y0, x0, y1, x1)

    def _decode(self, rows: slice, columns: slice) -> np.ndarray:
        import zarr

        index = list(self._index)
        index[self._y], index[self._x] = rows, columns
        decoded_bytes = self._count_chunks(rows, columns) * self._head.file_bytes
        at_once_bytes = 4 * self._workers * self._head.file_bytes
        with (
            zarr_errors(),
            quota(
                TABLES_CPU_S + decoded_bytes * DECODE_CPU_S_PER_BYTE,
                DECODE_BYTES + OTHERS_BYTES + 2 * self._count_bytes(rows, columns) + at_once_bytes,
            ),
            zarr.config.set({"async.concurrency": self._workers}),
            # its end waits for chunks that are being decoded, so that no thread of the library outlives the limits
            ThreadPoolExecutor(1) as reader,
        ):
            reading = reader.submit(self._array.__getitem__, tuple(index))
            try:
                # the end of the quota reaches a thread that wakes up
                while not reading.done():
                    wait([reading], timeout=AWAKE_S)
                part = np.asarray(reading.result())
            except BaseException:
                self._array.store.stop()
                raise
        part = part.astype(self._head.dtype, copy=False).transpose(self._order)
        notes = list[str]()
        pixels = limit_samples(part, notes)
        if notes and not self._notes:
            # how many differs from part to part
            self._notes.append("values that are NaN, infinite or beyond float32 are set to 0")
        return pixels

    def _count_chunks(self, rows: slice, columns: slice) -> int:
        sides = ((rows, self._head.shards[self._y]), (columns, self._head.shards[self._x]))
        return math.prod(math.ceil(part.stop / side) - part.start // side for part, side in sides)

    def _count_bytes(self, rows: slice, columns: slice) -> int:
        lengths = [len(range(part.start, part.stop, part.step or 1)) for part in (rows, columns)]
        return math.prod(lengths) * 3 * self._head.dtype.itemsize
