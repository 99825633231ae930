"""TIFF files: their tables, and the samples of a plane as they are stored.

tifffile decodes them, the only library here that knows axes, tiles and pyramids. It is imported when first
needed: start-up is part of every run. It believes what a file says, so every file is held to a quota of time and
memory. Nothing is mapped into memory: the program would end when another one cuts the file.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS, Limits
from mosaicell.machine.quota import quota
from mosaicell.reading.descriptions import check_promises
from mosaicell.reading.tiff_pages import READ_AHEAD_BYTES, check_end, check_page, check_tables, read_page

if TYPE_CHECKING:
    import tifffile

#: CPU time for the tables of a file in s; those of 100,000 pages take a tenth of it
TABLES_CPU_S = 20.0
#: memory for the tables, and for each byte of the file, which holds them
TABLES_BYTES, TABLES_BYTES_PER_BYTE = 64 << 20, 16
#: CPU time for each byte of pixels in s; the slowest codec, lossless JPEG 2000, takes a tenth of it
DECODE_CPU_S_PER_BYTE = 1e-6
#: memory for buffers, and for each byte of pixels: JPEG XL decodes to 32 bits and keeps several copies
DECODE_BYTES, DECODE_BYTES_PER_BYTE = 512 << 20, 24


def decode_tiff_plane(file: BinaryIO) -> np.ndarray:
    """Decode the first image of a TIFF file that holds one plane of one channel, samples as stored.

    Returns
    -------
    numpy.ndarray
        (y, x) in the sample type of the file.

    Raises
    ------
    ImageError
        If the file is damaged, or holds more than one plane or channel.
    """
    with tiff_errors():
        with tables_quota(file):
            tif, found = open_series(file)
            series = found[0]
            if "Y" not in series.axes or "X" not in series.axes:
                raise ImageError(f"is no label image: its axes are {series.axes}; allowed are y and x")
            y, x = series.axes.index("Y"), series.axes.index("X")
            if math.prod(series.shape) != series.shape[y] * series.shape[x]:
                raise ImageError(f"is no label image: its shape is {series.shape}; allowed is one plane, one channel")
            decoded_bytes = math.prod(series.shape) * series.dtype.itemsize
            DEFAULT_LIMITS.check_image((series.shape[y], series.shape[x]), decoded_bytes)
        with decoding_quota(decoded_bytes, DEFAULT_LIMITS):
            index = [slice(None) if axis in (y, x) else 0 for axis in range(series.ndim)]
            return read_plane(tif, series, y, x, None, index)


def open_series(file: BinaryIO) -> tuple[tifffile.TiffFile, list[tifffile.TiffPageSeries]]:
    """Read the tables, within `tables_quota`: the file, and its images without those that are reduced copies.

    Raises
    ------
    ImageError
        If the file is damaged, cut short or of a kind that is not read.
    """
    import tifffile

    tif = tifffile.TiffFile(file, _multifile=False)
    # before the other pages: what they are compared with must be an image
    check_page(tif.pages.first)
    # A thumbnail may come first; it says so.
    full = [series for series in tif.series if not series.keyframe.is_reduced] or tif.series[:1]
    if not full:
        raise ImageError("is cut short or damaged: the TIFF has no image")
    if not tif.is_ndpi:
        # whose tables have a form of their own
        check_tables(tif)
    check_promises(tif)
    for series in full:
        check_page(series.keyframe)
        if min(series.shape) < 1:
            raise ImageError(f"has no pixels: its shape is {series.shape}")
        _check_pages(series)
    return tif, full


def _check_pages(series: tifffile.TiffPageSeries) -> None:
    """Refuse an image of more pages than there are."""
    if series.dataoffset is not None:
        # the end of the file is compared with what is read
        return
    held = sum(page is not None for page in series.pages)
    needed = math.ceil(math.prod(series.shape) / max(1, series.keyframe.size))
    if held < needed:
        raise ImageError(f"is cut short: its description says {needed:,} pages, the file holds {held:,}")


def tables_quota(file: BinaryIO) -> AbstractContextManager[None]:
    """Limit what the tables of a file may take."""
    more_bytes = TABLES_BYTES + TABLES_BYTES_PER_BYTE * file.seek(0, os.SEEK_END)
    file.seek(0)
    return quota(TABLES_CPU_S, min(more_bytes, DECODE_BYTES))


def decoding_quota(decoded_bytes: int, limits: Limits, spare_s: float = TABLES_CPU_S) -> AbstractContextManager[None]:
    """Limit what decoding so many bytes may take, with so much CPU time beyond that of the slowest codec."""
    more_bytes = DECODE_BYTES + decoded_bytes * DECODE_BYTES_PER_BYTE
    if limits.memory_bytes is not None:
        more_bytes = min(more_bytes, limits.memory_bytes)
    return quota(spare_s + decoded_bytes * DECODE_CPU_S_PER_BYTE, more_bytes)


@contextmanager
def tiff_errors() -> Iterator[None]:
    """Turn whatever a damaged TIFF raises into one sentence."""
    # tifffile logs what it works around; what remains wrong is said in the sentence.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("asks for more memory than its pixels need: it is damaged or made to stall") from error
    except Exception as error:
        # Damaged tables end in a dozen kinds of error, from struct.error to the codecs' own.
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(f"is cut short, damaged or of an unknown TIFF kind: {reason}") from error


def read_plane(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    y: int,
    x: int,
    samples: int | None,
    index: list[int | slice],
) -> np.ndarray:
    """Read a plane (y, x) or (y, x, samples) in the sample type of the file, without decoding pages of others.

    Parameters
    ----------
    tif, series
        Open file, and its image.
    y, x, samples
        Positions of the axes that are read whole.
    index
        Position along every other axis.

    Raises
    ------
    ImageError
        If the file ends before the plane does.
    """
    first = min(y, x)
    if series.dataoffset is not None:
        # everything from y and x on lies together
        lead = first if samples is None else min(first, samples)
        shape, dtype = series.shape[lead:], np.dtype(tif.byteorder + series.dtype.char)
        number = _count_before(series.shape[:lead], index)
        start = series.dataoffset + number * math.prod(shape) * dtype.itemsize
        check_end(start + math.prod(shape) * dtype.itemsize, tif.filehandle.size)
        plane = tif.filehandle.read_array(dtype, math.prod(shape), start).reshape(shape)
    elif has_whole_pages(series, first):
        lead = series.ndim - series.keyframe.ndim
        plane = read_page(series.pages[plane_number(series, index)], tif).reshape(series.shape[lead:])
    else:
        lead = 0
        plane = series.asarray(buffersize=READ_AHEAD_BYTES, maxworkers=1)
    order = np.argsort(np.argsort([axis for axis in (y, x, samples) if axis is not None]))
    return np.ascontiguousarray(plane[tuple(index[lead:])].transpose(order), dtype=series.dtype)


def plane_number(series: tifffile.TiffPageSeries, index: list[int | slice]) -> int:
    """Return which of the pages of an image that `has_whole_pages` an index of all axes means."""
    return _count_before(series.shape[: series.ndim - series.keyframe.ndim], index)


def _count_before(shape: tuple[int, ...], index: list[int | slice]) -> int:
    """Return how many planes of leading axes of this shape stand before the one that an index means."""
    number = 0
    for length, at in zip(shape, index, strict=False):
        assert isinstance(at, int)
        number = number * length + at
    return number


def has_whole_pages(series: tifffile.TiffPageSeries, first: int) -> bool:
    """Say whether each page holds all axes from `first` on, so that pages can be read one by one."""
    lead = series.ndim - series.keyframe.ndim
    return series.shape[lead:] == series.keyframe.shape and first >= lead
