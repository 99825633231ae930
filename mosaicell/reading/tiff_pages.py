"""Pages of a TIFF file: which are decoded, and what is checked before a codec sees their data."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.reading.headers import MAX_SCANS, count_scans

if TYPE_CHECKING:
    import tifffile

#: strips or tiles of a page; more cost minutes of bookkeeping
MAX_SEGMENTS = 1_000_000
#: compressed data read ahead, and threads that decode it
READ_AHEAD_BYTES, MAX_WORKERS = 64 << 20, 8
#: Compressions that are read, by their number in the file. JPEG XR is not: its decoder writes beyond its memory on
#: damaged files. Nor is PNG inside TIFF: its decoder drops a reference to None at each damaged one, until the
#: interpreter ends.
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32946: "deflate",
    50013: "deflate",
    32773: "PackBits",
    34925: "LZMA",
    34926: "Zstandard",
    50000: "Zstandard",
    34887: "LERC",
    2: "CCITT",
    3: "CCITT",
    4: "CCITT",
    6: "JPEG",
    7: "JPEG",
    33007: "JPEG",
    34892: "JPEG",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    50002: "JPEG XL",
    52546: "JPEG XL",
    50001: "WebP",
}

#: why a page that is not there is refused
MISSING_PAGE = "is cut short or damaged: a page of the TIFF is missing"
#: tag of a description, and the bytes of a value of each type of tag
DESCRIPTION_TAG = 270
ENTRY = {12: "{}HHII", 20: "{}HHQQ"}
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check_page(page: tifffile.TiffPage) -> None:
    """Refuse a page whose tables make no sense, or whose pixels are not decoded.

    Raises
    ------
    ImageError
        With the reason.
    """
    if min(page.shaped) < 0:
        raise ImageError(f"is damaged: its TIFF says that its shape is {page.shape}")
    if int(page.compression) not in COMPRESSIONS:
        allowed = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise ImageError(f"is compressed in a way that is not read, {page.compression!s}; allowed are {allowed}")
    segments = math.prod(page.chunked)
    if segments > MAX_SEGMENTS:
        raise ImageError(f"is divided into {segments:,} strips or tiles; allowed are {MAX_SEGMENTS:,}")


def check_tables(tif: tifffile.TiffFile) -> None:
    """Refuse a file that ends before its description or its last table of pages does, which tifffile only logs.

    Raises
    ------
    ImageError
        With how long the file would have to be.
    """
    file, form = tif.filehandle, tif.tiff
    first, last = tif.pages.first.offset, tif.pages[len(tif.pages) - 1].offset
    file.seek(first)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    for entry in range(count):
        file.seek(first + form.tagnosize + entry * form.tagsize)
        code, kind, values, start = struct.unpack(ENTRY[form.tagsize].format(form.byteorder), file.read(form.tagsize))
        length = TYPE_BYTES.get(kind, 1) * values
        if code == DESCRIPTION_TAG and length > form.offsetsize:
            check_end(start + length, file.size)
    file.seek(last)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(last + form.tagnosize + count * form.tagsize)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    check_end(following, file.size)


def read_page(page: tifffile.TiffPage | tifffile.TiffFrame | None, tif: tifffile.TiffFile) -> np.ndarray:
    """Decode a page whose data lies within the file; tifffile itself fills what is missing with zeros.

    Raises
    ------
    ImageError
        If data is missing, or made to stall its codec.
    """
    if page is None or page.keyframe is None:
        raise ImageError(MISSING_PAGE)
    check_segments(page, page.keyframe, tif)
    return page.asarray(buffersize=READ_AHEAD_BYTES, maxworkers=min(page.keyframe.maxworkers, MAX_WORKERS))


def check_segments(
    page: tifffile.TiffPage | tifffile.TiffFrame, keyframe: tifffile.TiffPage, tif: tifffile.TiffFile
) -> None:
    """Refuse a page whose strips or tiles do not lie within the file, or are made to stall their codec.

    Parameters
    ----------
    page, keyframe
        The page, and the one whose tables it shares: often the same.
    tif
        Their file.

    Raises
    ------
    ImageError
        With the reason.
    """
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if any(start < 0 or count < 0 for start, count in segments):
        raise ImageError("is damaged: the TIFF has strips or tiles before its beginning")
    if not page.is_contiguous and len(segments) < math.prod(keyframe.chunked):
        raise ImageError(f"is cut short: the TIFF has {len(segments):,} of {math.prod(keyframe.chunked):,} parts")
    check_end(max((start + count for start, count in segments), default=0), tif.filehandle.size)
    if COMPRESSIONS[int(keyframe.compression)] == "JPEG":
        _check_scans(segments, tif)


def check_end(end: int, file_bytes: int) -> None:
    """Refuse a file that ends before its data does, with an ImageError."""
    if end > file_bytes:
        raise ImageError(f"is cut short: the TIFF has {file_bytes:,} of {end:,} bytes")


def _check_scans(segments: list[tuple[int, int]], tif: tifffile.TiffFile) -> None:
    """Refuse a strip or tile with more scans than any program writes; each costs as much as decoding the whole."""
    for start, count in segments:
        tif.filehandle.seek(start)
        scans = count_scans(tif.filehandle.read(count))
        if scans > MAX_SCANS:
            raise ImageError(f"is made to stall: a JPEG in the TIFF has {scans:,} scans; allowed are {MAX_SCANS}")
