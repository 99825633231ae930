"""What the headers of PNG, JPEG, BMP and WebP files say, read before a decoder trusts them.

A decoder allocates what a header asks for. Where a form bounds how many pixels its data can hold, a header that asks
for more is a lie, and the file is refused at once.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from mosaicell.errors import ImageError

#: deflate does not compress better than 1032 : 1
DEFLATE_RATIO = 1032
#: chunks of a PNG, scans of a progressive JPEG: what no program writes, and what takes a decoder hours
MAX_CHUNKS, MAX_SCANS = 1_000_000, 50
#: a JPEG spends at least a bit on a block of 64 pixels
JPEG_PIXELS_PER_BYTE = 512
#: a run in a BMP takes 2 bytes and is at most 255 pixels long
RUN_PIXELS_PER_BYTE = 255 / 2
#: how the pixels of a BMP are stored: plainly, with masks for the channels or without, or as runs
BMP_PLAIN, BMP_RUNS = (0, 3, 6), (1, 2)
#: data beyond what the pixels of a PNG can need: deflate stores what it cannot compress, with 5 bytes each 16 KB
PNG_SLACK = 1 << 16
#: a marker of a JPEG that is neither stuffing nor a restart
JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


@dataclass(frozen=True)
class Header:
    """What is known of an image before it is decoded.

    Attributes
    ----------
    shape_px
        Height and width.
    pixel_bytes
        Most bytes that OpenCV decodes a pixel to.
    bits
        Bits of a sample.
    grey
        The file is known to hold no colours.
    """

    shape_px: tuple[int, int]
    pixel_bytes: int
    bits: int = 8
    grey: bool = False


def read_header(form: str, data: bytes) -> Header:
    """Read the header of an image.

    Parameters
    ----------
    form
        "PNG", "JPEG", "BMP" or "WebP".
    data
        The whole file, which begins with the signature of its form.

    Raises
    ------
    ImageError
        If the file is cut short, or cannot hold what its header says.
    """
    try:
        return {"PNG": _read_png, "JPEG": _read_jpeg, "BMP": _read_bmp, "WebP": _read_webp}[form](data)
    except (struct.error, IndexError) as error:
        raise ImageError(f"is cut short: the {form} ends in its header") from error


def count_scans(data: bytes) -> int:
    """Count the scans of a JPEG; a progressive one has about ten."""
    return _walk_jpeg(data)[1]


def _read_png(data: bytes) -> Header:
    # IHDR: width, height, bits, colour type (0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA).
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    at, stored, chunks, name = 8, 0, 0, b""
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        if not name:
            raise ImageError("is cut short: the PNG has no end")
        stored += length if name == b"IDAT" else 0
        chunks += 1
        at += length + 12
        if chunks > MAX_CHUNKS:
            raise ImageError(f"is damaged: the PNG has more than {MAX_CHUNKS:,} chunks")
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 4)
    needed = height * ((width * bits * samples + 7) // 8)
    if needed > stored * DEFLATE_RATIO:
        raise ImageError(f"is cut short: {stored:,} bytes of PNG data cannot hold {height} x {width} pixels")
    if stored > needed * 1.1 + PNG_SLACK + 8 * height:
        raise ImageError(f"is damaged: {stored:,} bytes of PNG data for {height} x {width} pixels")
    return Header((height, width), 4 * max(1, bits // 8), bits, kind in (0, 4))


def _read_jpeg(data: bytes) -> Header:
    frame, scans = _walk_jpeg(data)
    if not frame or not scans:
        raise ImageError("is cut short: the JPEG has no image")
    if scans > MAX_SCANS:
        raise ImageError(f"is made to stall: the JPEG has {scans:,} scans; allowed are {MAX_SCANS}")
    height, width = struct.unpack_from(">HH", data, frame + 5)
    if height * width > len(data) * JPEG_PIXELS_PER_BYTE:
        raise ImageError(f"is cut short: {len(data):,} bytes of JPEG cannot hold {height} x {width} pixels")
    return Header((height, width), 3)


def _walk_jpeg(data: bytes) -> tuple[int, int]:
    """Return where the marker of the first frame stands, 0 without one, and the number of scans up to the end."""
    at, frame, scans = 2, 0, 0
    while found := JPEG_MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == 0xD9:
            break
        if marker in (0x01, 0xD8):
            continue
        # A frame of any kind; C4, C8 and CC are tables.
        if not frame and 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = found.start(1) - 1
        scans += marker == 0xDA
        # A length below 2 is damage that the decoder will name.
        at += max(2, int.from_bytes(data[at : at + 2]))
    return frame, scans


def _read_bmp(data: bytes) -> Header:
    start, header_bytes = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        # Signed: rows stored from the top have a negative height.
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height, width = abs(height), abs(width)
    needed = start + height * ((width * bits + 31) // 32 * 4)
    if compression in BMP_PLAIN and needed > len(data):
        raise ImageError(f"is cut short: the BMP has {len(data):,} of {needed:,} bytes")
    stored = max(0, len(data) - start)
    if compression in BMP_RUNS and height * width > stored * RUN_PIXELS_PER_BYTE:
        raise ImageError(f"is cut short: {stored:,} bytes of BMP data cannot hold {height} x {width} pixels")
    return Header((height, width), 4, bits)


def _read_webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        # the canvas, two numbers of 3 bytes
        canvas = struct.unpack_from("<HBHB", data, 24)
        width, height = (canvas[0] | canvas[1] << 16) + 1, (canvas[2] | canvas[3] << 16) + 1
    else:
        raise ImageError("is cut short or damaged: it begins as WebP but has no image")
    return Header((height, width), 4)
