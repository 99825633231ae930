"""MetaImage files (.mha): a header of `Key = value` lines, then the pixels of one plane, plain or compressed.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.limits import Limits
from mosaicell.reading.pixel_size import Resolution, from_um

#: a header ends within so many bytes, and nothing that is read of it is longer than so many characters
MAX_HEADER_BYTES, MAX_VALUE = 64 << 10, 60
UM_PER_MM = 1000.0
#: sample types by their names; "long" has 4 bytes there
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def decode_metaimage(file: BinaryIO, limits: Limits) -> tuple[np.ndarray, str, list[str]]:
    """Decode an image.

    Parameters
    ----------
    file
        Open file, at its beginning.
    limits
        What the image may take.

    Returns
    -------
    array:
        (y, x) or (y, x, 3), of any integer or float type.
    source_dtype:
        Sample type in the file.
    notes:
        Every decision taken for the user, in words: none.

    Raises
    ------
    ImageError
        If the file is damaged, larger than allowed, a volume, or keeps its pixels elsewhere.
    OSError
        If it cannot be read.
    """
    fields = _read_header(file)
    height, width = _read_shape(fields)
    channels = _whole(fields, "ElementNumberOfChannels", 1)
    if channels not in (1, 3):
        raise ImageError(f"has {channels} channels; allowed in a MetaImage are 1 (grey) and 3 (red, green and blue)")
    named = fields.get("ElementType", "")
    if named not in TYPES:
        raise ImageError(f"has samples of type {named or 'unknown'}; allowed are {', '.join(TYPES)}")
    dtype = np.dtype(TYPES[named])
    needed = height * width * channels * dtype.itemsize
    # a compressed file is in memory beside its pixels
    compressed = _flag(fields, "CompressedData")
    start = file.tell()
    stored = file.seek(0, os.SEEK_END) - start
    limits.check_image((height, width), needed + (min(stored, 2 * needed) if compressed else 0))
    file.seek(start)
    data = _inflate(file.read(2 * needed + MAX_HEADER_BYTES), needed) if compressed else file.read(needed)
    if len(data) < needed:
        raise ImageError(f"is cut short: the MetaImage has {len(data):,} of {needed:,} bytes of pixels")
    most_first = _flag(fields, "BinaryDataByteOrderMSB") or _flag(fields, "ElementByteOrderMSB")
    array = np.frombuffer(data, dtype.newbyteorder(">" if most_first else "<")).astype(dtype, copy=False)
    return array.reshape((height, width) if channels == 1 else (height, width, channels)), str(dtype), []


def read_spacing(file: BinaryIO) -> Resolution | None:
    """Read the size of the pixels, which ITK gives in mm, of a file that `decode_metaimage` has decoded.

    None where it says nothing, or what programs write that know nothing: 1 mm.
    """
    file.seek(0)
    fields = _read_header(file)
    try:
        x_mm, y_mm = map(float, (fields.get("ElementSpacing") or fields.get("ElementSize", "")).split()[:2])
    except ValueError:
        return None
    resolution = from_um(x_mm * UM_PER_MM, y_mm * UM_PER_MM)
    return resolution if resolution is not None and resolution.pixel_um is not None else None


def _read_header(file: BinaryIO) -> dict[str, str]:
    """Read the lines up to the one that says where the pixels are; they begin after it."""
    fields = dict[str, str]()
    left = MAX_HEADER_BYTES
    while "ElementDataFile" not in fields:
        line = file.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            raise ImageError("is cut short or damaged: the header of the MetaImage does not end")
        key, _, value = line.decode("latin-1").partition("=")
        fields[key.strip()] = value.strip()[:MAX_VALUE]
    if fields["ElementDataFile"] != "LOCAL":
        raise ImageError("keeps its pixels in another file, which is not opened; write one .mha file")
    if not _flag(fields, "BinaryData", "True") or _whole(fields, "HeaderSize", 0):
        raise ImageError("is a MetaImage of a kind that is not read; write its pixels as binary data after the header")
    return fields


def _read_shape(fields: dict[str, str]) -> tuple[int, int]:
    """Return height and width of an image, which may be a volume of one plane."""
    try:
        sides = [int(side) for side in fields.get("DimSize", "").split()]
    except ValueError:
        sides = []
    if len(sides) < 2 or min(sides) < 1 or len(sides) != _whole(fields, "NDims", 2):
        raise ImageError(f"is damaged: the sides of the MetaImage are {fields.get('DimSize', 'unknown')!r}")
    planes = int(np.prod(np.array(sides[2:], dtype=object), initial=1))
    if planes > 1:
        raise ImageError(f"is a volume of {planes:,} planes; allowed in a MetaImage is one: write one file for each")
    return sides[1], sides[0]


def _inflate(stored: bytes, needed: int) -> bytes:
    """Return the first `needed` bytes of compressed data, never more."""
    try:
        return zlib.decompressobj().decompress(stored, needed)
    except zlib.error as error:
        raise ImageError(f"is damaged: the pixels of the MetaImage cannot be decompressed ({error})") from error


def _flag(fields: dict[str, str], name: str, default: str = "False") -> bool:
    return fields.get(name, default).lower() in ("true", "1")


def _whole(fields: dict[str, str], name: str, default: int) -> int:
    try:
        return int(fields.get(name, default))
    except ValueError as error:
        raise ImageError(f"is damaged: {name} of the MetaImage is {fields[name]!r}, no whole number") from error
