"""TIFF slides that are read part by part: only the tiles or strips that a part needs are decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.quota import quota
from mosaicell.postprocess.bounds import Bounds
from mosaicell.reading.photometric import resolve_colour
from mosaicell.reading.tiff import DECODE_BYTES, TABLES_CPU_S, tiff_errors

if TYPE_CHECKING:
    import tifffile

#: a strip or tile decodes to at most this many bytes; a file of larger ones is read whole
MAX_SEGMENT_BYTES = 64 << 20
#: rows of an image that are read at once at most, unless it is read whole
BAND_ROWS = 6400
#: rows that are taken from data without compression at a time
PLAIN_ROWS = 256
#: segments that tell whether an alpha channel is more than zeros
ALPHA_SEGMENTS = 16
#: memory that the threads which segment may take while a part is read
OTHERS_BYTES = 4 << 30


class TiffPixels:
    """Pixels of one page.

    Parameters
    ----------
    tif, page
        Open file, and the page or another one with the same tables, of which `is_readable` is true.
    offsets, counts
        Where its tiles or strips begin in the file, and their bytes.
    workers
        Threads that decode tiles or strips.
    for_display
        As in `resolve_colour`.

    Notes
    -----
    What the last part needed stays decoded, as the next one often overlaps it.
    """

    def __init__(
        self,
        tif: tifffile.TiffFile,
        page: tifffile.TiffPage,
        offsets: Sequence[int],
        counts: Sequence[int],
        workers: int,
        *,
        for_display: bool,
    ) -> None:
        self._file, self._page, self._workers = tif.filehandle, page, workers
        self._offsets, self._counts, self._for_display = offsets, counts, for_display
        self._dtype = sample_dtype(page)
        self._plain = bool(page.is_contiguous)
        self._side_px = (PLAIN_ROWS, page.imagewidth) if self._plain else (page.chunks[0], page.chunks[1])
        self._columns = math.ceil(page.imagewidth / self._side_px[1])
        self._decoded: dict[int, np.ndarray] = {}
        self._alpha_counts = False
        if page.extrasamples:
            self._alpha_counts = self._has_visible_pixel()

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self._page.imagelength, self._page.imagewidth

    def read(self, bounds: Bounds) -> np.ndarray:
        """Read the pixels (y, x, c) within bounds; c in {1, 3}, uint8 or uint16.

        Raises
        ------
        ImageError
            If the file is damaged there.
        """
        y0, x0, y1, x1 = bounds
        height, width = self._side_px
        needed = [
            row * self._columns + column
            for row in range(y0 // height, math.ceil(y1 / height))
            for column in range(x0 // width, math.ceil(x1 / width))
        ]
        # what is not needed any more goes before the rest is decoded
        self._decoded = {number: self._decoded[number] for number in needed if number in self._decoded}
        with tiff_errors(), quota(TABLES_CPU_S, DECODE_BYTES + OTHERS_BYTES):
            self._decode(set(needed) - self._decoded.keys())
        part = np.empty((y1 - y0, x1 - x0, self._decoded[needed[0]].shape[2]), self._dtype)
        for number, segment in self._decoded.items():
            top, left = (number // self._columns) * height, (number % self._columns) * width
            rows, columns = slice(max(y0 - top, 0), y1 - top), slice(max(x0 - left, 0), x1 - left)
            inside = segment[rows, columns]
            y, x = max(top - y0, 0), max(left - x0, 0)
            part[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return part

    def sample(self, step: int) -> np.ndarray:
        """Read every `step`-th pixel of every `step`-th row, (y, x, c)."""
        height, width = self.shape_px
        bands = []
        for y0 in range(0, height, self._side_px[0]):
            first = -y0 % step
            band = self.read((y0, 0, min(y0 + self._side_px[0], height), width))
            bands.append(band[first::step, ::step].copy())
        return np.concatenate(bands)

    def _has_visible_pixel(self) -> bool:
        """Say whether a pixel, in segments spread over the page, is not transparent."""
        count = math.ceil(self._page.imagelength / self._side_px[0]) * self._columns
        numbers = sorted(set(np.linspace(0, count - 1, ALPHA_SEGMENTS).round().astype(int).tolist()))
        with tiff_errors(), quota(TABLES_CPU_S, DECODE_BYTES + OTHERS_BYTES):
            return any(self._decode_samples(self._read_segment(number), number)[..., -1].any() for number in numbers)

    def _decode(self, numbers: set[int]) -> None:
        """Decode segments; the file is read by this thread alone."""
        ordered = sorted(numbers)
        stored = [self._read_segment(number) for number in ordered]
        if len(ordered) == 1:
            self._decoded[ordered[0]] = self._decode_segment(stored[0], ordered[0])
            return
        with ThreadPoolExecutor(self._workers) as pool:
            self._decoded |= dict(zip(ordered, pool.map(self._decode_segment, stored, ordered), strict=True))

    def _read_segment(self, number: int) -> bytes | None:
        if self._plain:
            row_bytes = self._page.imagewidth * self._page.samplesperpixel * self._dtype.itemsize
            start = self._offsets[0] + number * PLAIN_ROWS * row_bytes
            count = min(PLAIN_ROWS, self._page.imagelength - number * PLAIN_ROWS) * row_bytes
        else:
            start, count = self._offsets[number], self._counts[number]
        if not count:
            return None
        self._file.seek(start)
        stored = self._file.read(count)
        if len(stored) < count:
            raise ImageError(f"is cut short: the TIFF ends within its data, at {start + len(stored):,} bytes")
        return stored

    def _decode_segment(self, stored: bytes | None, number: int) -> np.ndarray:
        samples = self._decode_samples(stored, number)
        colours = resolve_colour(
            samples, self._page, [], alpha_counts=self._alpha_counts, for_display=self._for_display
        )
        return colours.astype(self._dtype, copy=False)

    def _decode_samples(self, stored: bytes | None, number: int) -> np.ndarray:
        page = self._page
        if self._plain:
            assert stored is not None
            order = page.parent.byteorder + self._dtype.char
            return np.frombuffer(stored, order).reshape(-1, page.imagewidth, page.samplesperpixel)
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        decoded, _, shape = page.decode(stored, number, **tables)
        # a part that was never written is background
        return np.full(shape[1:], page.nodata, self._dtype) if decoded is None else decoded[0]


def held_bytes(page: tifffile.TiffPage) -> int:
    """Return what is decoded of a page at a time: of a slide a band, with the tiles or strips it begins and ends in."""
    rows = min(page.imagelength, BAND_ROWS + 2 * (PLAIN_ROWS if page.is_contiguous else page.chunks[0]))
    return int(rows * page.imagewidth * page.samplesperpixel * sample_dtype(page).itemsize)


def is_readable(page: tifffile.TiffPage, *, for_display: bool) -> bool:
    """Say whether a page can be read part by part: grey or RGB, 8 or 16 bits, in small pieces.

    Parameters
    ----------
    page
        With its tables.
    for_display
        A palette is there for display, as in `resolve_colour`.
    """
    from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG

    alpha = len(page.extrasamples) == 1 and page.extrasamples[0] != 0
    colours = page.samplesperpixel - alpha
    jpeg = page.compression in (COMPRESSION.JPEG, COMPRESSION.OJPEG)
    display = (PHOTOMETRIC.PALETTE, PHOTOMETRIC.MINISWHITE) if for_display else ()
    kinds = {
        1: (PHOTOMETRIC.MINISBLACK, *display),
        3: (PHOTOMETRIC.RGB, *((PHOTOMETRIC.YCBCR,) if jpeg else ())),
    }
    return (
        page.axes in ("YX", "YXS")
        and (page.samplesperpixel == 1 or page.planarconfig == PLANARCONFIG.CONTIG)
        and page.photometric in kinds.get(colours, ())
        and page.bitspersample in (8, 16)
        and page.dtype in (np.uint8, np.uint16)
        and (page.is_contiguous or math.prod(page.chunks) * sample_dtype(page).itemsize <= MAX_SEGMENT_BYTES)
    )


def sample_dtype(page: tifffile.TiffPage) -> np.dtype:
    """Return the type of the samples of a page that `is_readable`, in the machine's byte order."""
    return np.dtype(page.dtype)
