"""TIFF files: which axes are y, x and channels, which page is read, what its samples mean.

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

from inference.errors import ImageError
from inference.limits import DEFAULT_LIMITS, Limits
from inference.photometric import resolve_colour
from inference.quota import quota
from inference.tiff_pages import READ_AHEAD_BYTES, check_end, check_page, read_page

if TYPE_CHECKING:
    import tifffile

#: an axis without a name counts as channels up to this length, as a stack of pages beyond
MAX_CHANNELS = 5
#: CPU time for the tables of a file in s; those of 100,000 pages take a tenth of it
TABLES_CPU_S = 20.0
#: memory for the tables, and for each byte of the file, which holds them
TABLES_BYTES, TABLES_BYTES_PER_BYTE = 64 << 20, 16
#: CPU time for each byte of pixels in s; the slowest codec, lossless JPEG 2000, takes a tenth of it
DECODE_CPU_S_PER_BYTE = 1e-6
#: memory for buffers, and for each byte of pixels: JPEG XL decodes to 32 bits and keeps several copies
DECODE_BYTES, DECODE_BYTES_PER_BYTE = 512 << 20, 24


def decode_tiff(file: BinaryIO, limits: Limits) -> tuple[np.ndarray, str, list[str]]:
    """Decode the first full-resolution image of a TIFF file, and of a stack only its first page.

    Parameters
    ----------
    file:
        Open TIFF file.
    limits:
        What the image may take.

    Returns
    -------
    array:
        (y, x) or (y, x, c) in the sample type of the file, colours as grey or RGB; more than three channels where
        the file has further samples of a pixel.
    source_dtype:
        Sample type in the file, "1-bit" or a numpy name.
    notes:
        Every decision taken for the user, in words.

    Raises
    ------
    ImageError
        If the file is damaged, larger than allowed or of a kind that is not read.
    """
    notes = list[str]()
    with tiff_errors():
        with tables_quota(file):
            tif, count, series = open_series(file)
            if count > 1:
                notes.append(f"{count} images: the first is used")
            page = series.keyframe
            y, x, channel = _find_axes(series.axes, series.shape)
            decoded_bytes = _check_series(series, y, x, channel, limits)
            if channel is not None and series.axes[channel] != "S" and series.shape[channel] > 3:
                notes.append(f"{series.shape[channel]} channels: the first three are used")
            pages = math.prod(n for axis, n in enumerate(series.shape) if axis not in (y, x, channel))
            if pages > 1:
                notes.append(f"{pages} pages (axes {series.axes}): the first is used")
        with _decoding_quota(decoded_bytes, limits):
            array = _read_planes(tif, series, y, x, channel)
        source_dtype = "1-bit" if page.bitspersample == 1 else str(array.dtype)
        return resolve_colour(array, page, notes), source_dtype, notes


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
            tif, _, series = open_series(file)
            y, x, _ = _find_axes(series.axes, series.shape)
            if math.prod(series.shape) != series.shape[y] * series.shape[x]:
                raise ImageError(f"is no label image: its shape is {series.shape}; allowed is one plane, one channel")
            decoded_bytes = _check_series(series, y, x, None, DEFAULT_LIMITS)
        with _decoding_quota(decoded_bytes, DEFAULT_LIMITS):
            return _read_planes(tif, series, y, x, None)


def open_series(file: BinaryIO) -> tuple[tifffile.TiffFile, int, tifffile.TiffPageSeries]:
    """Read the tables, within `tables_quota`: the file, the number of its full-size images, and the first of them."""
    import tifffile

    tif = tifffile.TiffFile(file, _multifile=False)
    # before the other pages: what they are compared with must be an image
    check_page(tif.pages.first)
    # A thumbnail may come first; it says so.
    full = [series for series in tif.series if not series.keyframe.is_reduced] or tif.series[:1]
    if not full:
        raise ImageError("is cut short or damaged: the TIFF has no image")
    check_page(full[0].keyframe)
    if min(full[0].shape) < 1:
        raise ImageError(f"has no pixels: its shape is {full[0].shape}")
    return tif, len(full), full[0]


def _check_series(series: tifffile.TiffPageSeries, y: int, x: int, channel: int | None, limits: Limits) -> int:
    """Refuse an image that is too large; return the bytes that its planes decode to."""
    if series.dataoffset is not None or _has_whole_pages(series, min(y, x)):
        planes = {y, x, channel, *range(min(y, x), series.ndim)} - {None}
        decoded_bytes = math.prod(n for axis, n in enumerate(series.shape) if axis in planes) * series.dtype.itemsize
    else:
        decoded_bytes = math.prod(series.shape) * series.dtype.itemsize
    limits.check_image((series.shape[y], series.shape[x]), decoded_bytes)
    return decoded_bytes


def tables_quota(file: BinaryIO) -> AbstractContextManager[None]:
    """Limit what the tables of a file may take."""
    more_bytes = TABLES_BYTES + TABLES_BYTES_PER_BYTE * file.seek(0, os.SEEK_END)
    file.seek(0)
    return quota(TABLES_CPU_S, min(more_bytes, DECODE_BYTES))


def _decoding_quota(decoded_bytes: int, limits: Limits) -> AbstractContextManager[None]:
    more_bytes = DECODE_BYTES + decoded_bytes * DECODE_BYTES_PER_BYTE
    if limits.memory_bytes is not None:
        more_bytes = min(more_bytes, limits.memory_bytes)
    return quota(TABLES_CPU_S + decoded_bytes * DECODE_CPU_S_PER_BYTE, more_bytes)


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


def _find_axes(axes: str, shape: tuple[int, ...]) -> tuple[int, int, int | None]:
    """Return the positions of y, x and the channels among the axes tifffile names.

    Notes
    -----
    S is samples of a pixel, C channels as OME and ImageJ write them, I a sequence of separate pages, Q what
    nobody named: there the shape decides, and (40, 60, 3) may come as QYX.
    """
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"has axes {axes} of shape {shape}; allowed are images with y and x")
    y, x = axes.index("Y"), axes.index("X")
    for name in "SC":
        if name in axes:
            return y, x, axes.index(name)
    if axes.endswith("QYX"):
        if shape[-1] <= MAX_CHANNELS < min(shape[-3:-1]):
            return y - 1, y, x
        if 1 < shape[-3] <= MAX_CHANNELS:
            return y, x, y - 1
    return y, x, None


def _read_planes(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, y: int, x: int, channel: int | None
) -> np.ndarray:
    """Read (y, x) or (y, x, c) at index 0 of all other axes, without decoding pages that are not used.

    Notes
    -----
    Samples of a pixel are read whole, because alpha and CMYK have a fourth; of other channels three do.
    """
    axes = [axis for axis in (y, x, channel) if axis is not None]
    index: list[int | slice] = [slice(None) if axis in axes else 0 for axis in range(series.ndim)]
    if channel is not None and series.axes[channel] != "S":
        index[channel] = slice(3)
    if series.dataoffset is not None:
        lead = min(y, x)
        check_end(series.dataoffset + series.nbytes, tif.filehandle.size)
        plane_shape, dtype = series.shape[lead:], np.dtype(tif.byteorder + series.dtype.char)
        plane_bytes = math.prod(plane_shape) * dtype.itemsize
        planes = [
            tif.filehandle.read_array(dtype, math.prod(plane_shape), series.dataoffset + number * plane_bytes)
            for number in _plane_numbers(series.shape, index[:lead])
        ]
        planes = [plane.reshape(plane_shape) for plane in planes]
    elif _has_whole_pages(series, min(y, x)):
        lead = series.ndim - series.keyframe.ndim
        planes = [read_page(series.pages[number], tif) for number in _plane_numbers(series.shape, index[:lead])]
    else:
        lead = 0
        planes = [series.asarray(buffersize=READ_AHEAD_BYTES, maxworkers=1)]
    inner = tuple(index[lead:])
    several = any(isinstance(part, slice) for part in index[:lead])
    array = np.stack([plane[inner] for plane in planes]) if several else planes[0][inner]
    order = np.argsort(np.argsort(axes))
    return np.ascontiguousarray(array.transpose(order), dtype=series.dtype)


def _has_whole_pages(series: tifffile.TiffPageSeries, first: int) -> bool:
    """Say whether each page holds all axes from `first` on, so that pages can be read one by one."""
    lead = series.ndim - series.keyframe.ndim
    return series.shape[lead:] == series.keyframe.shape and first >= lead


def _plane_numbers(shape: tuple[int, ...], index: list[int | slice]) -> list[int]:
    """Return the numbers of the planes, in the order of the file, that an index of the leading axes takes."""
    numbers = [0]
    for length, part in zip(shape, index, strict=False):
        steps = range(length)[part] if isinstance(part, slice) else [part]
        numbers = [number * length + step for number in numbers for step in steps]
    return numbers
