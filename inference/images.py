"""Image files and label files: every supported form in, one label form out.

A file is recognised by its first bytes, not by its name, so that a TIFF called .png is read as what it is.
TIFF is decoded in `inference.tiff`; the rest goes through OpenCV, which keeps 16 bits per colour and decodes
a JPEG in half of Pillow's time. OpenCV is imported when first needed: start-up is part of every run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.errors import ImageError
from inference.tiff import check_size, decode_tiff, decode_tiff_plane

#: file name endings, in lower case, of what may be an image in a folder
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp")
#: first bytes of every supported form
SIGNATURES = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"RIFF": "WebP",
}
#: pixels above which an image is refused before it is decoded: a small damaged header can ask for terabytes
MAX_PIXELS = 1_000_000_000
#: uncompressed size from which a label file is BigTIFF; classic TIFF ends at 4 GiB, and tables need room too
BIGTIFF_BYTES = 3_900_000_000
#: deflate level of label files; on a slide of 154,000 cells a quarter faster than the default 6, not larger
DEFLATE_LEVEL = 3


@dataclass(frozen=True)
class Image:
    """One decoded image.

    Attributes
    ----------
    pixels:
        (y, x, c) with c in {1, 3}; uint8, uint16 or finite float32, C-contiguous.
    source_dtype:
        Sample type in the file, "1-bit" or a numpy name.
    notes:
        Every decision taken for the user, in words.
    """

    pixels: np.ndarray
    source_dtype: str
    notes: tuple[str, ...] = ()


def mask_name(path: str | os.PathLike[str]) -> str:
    """Return the name of an image's label file: the stem up to the first dot, then `_label.tiff`.

    Raises
    ------
    ImageError
        If nothing stands before the first dot.

    Notes
    -----
    This is the challenge's rule, `a.b.tif` -> `a_label.tiff`: its scorer does not find files named otherwise.
    """
    name = Path(path).name
    stem = name.split(".")[0]
    if not stem:
        raise ImageError(f"the name {name!r} begins with a dot, so its mask would have no name")
    return f"{stem}_label.tiff"


def read_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image of any supported form.

    Parameters
    ----------
    path:
        TIFF (any compression, tiled, pyramidal, OME, ImageJ), PNG, JPEG, BMP or WebP file.
    max_pixels:
        Largest height times width.

    Returns
    -------
    Image
        uint8 and uint16 samples are kept, 1-bit becomes 0 and 255, everything else float32. NaN and infinity
        become 0. Of a pyramid the full resolution is read, of a stack the first page. EXIF rotation is not
        applied, so that the mask has the shape of the stored pixels.

    Raises
    ------
    ImageError
        If there is no such file, it cannot be read, is no image, is damaged or larger than allowed.

    Notes
    -----
    Axes named in a TIFF decide which one holds the channels; without names an axis of at most 5
    does. One channel stays one; two become red and green, with blue 0; of more than three the first three are
    taken; an alpha channel is dropped before counting.
    """
    form = _recognise(Path(path))
    if form == "TIFF":
        array, source_dtype, notes = decode_tiff(Path(path), max_pixels)
    else:
        array, source_dtype, notes = _decode_raster(Path(path), form, max_pixels)
    if array.size == 0:
        raise ImageError(f"has no pixels: its shape is {array.shape}")
    pixels = _limit_channels(array, notes)
    return Image(_limit_dtype(pixels, notes), source_dtype, tuple(notes))


def read_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a label image from a TIFF or PNG file.

    Returns
    -------
    numpy.ndarray
        uint32 (y, x), ids as stored: not renumbered.

    Raises
    ------
    ImageError
        If the file cannot be read, holds more than one plane or channel, or ids that do not fit uint32.
    """
    form = _recognise(Path(path))
    if form == "TIFF":
        labels = decode_tiff_plane(Path(path))
    elif form == "PNG":
        labels = _decode_raster(Path(path), form, MAX_PIXELS)[0]
        if labels.ndim != 2:
            raise ImageError(f"is no label image: its shape is {labels.shape}; allowed is one channel")
    else:
        raise ImageError(f"is no label image: {form} does not keep ids; allowed are TIFF and PNG")
    if labels.dtype.kind not in "biu":
        raise ImageError(f"is no label image: its samples are {labels.dtype}; allowed are integers")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.uint32).max):
        raise ImageError(f"holds ids from {labels.min()} to {labels.max()}; allowed are 0 to 2^32 - 1")
    return labels.astype(np.uint32)


def write_labels(path: str | os.PathLike[str], labels: np.ndarray) -> None:
    """Write a label image as TIFF, whole or not at all.

    Parameters
    ----------
    path:
        File to write or replace.
    labels:
        (y, x), any integer type, ids >= 0. Stored as uint16 up to id 65,535, as uint32 beyond; deflate;
        BigTIFF from 3.9 GB.

    Raises
    ------
    ValueError
        If labels are not two-dimensional, empty, not integers, negative or beyond uint32.
    OSError
        If the file cannot be written.
    """
    if labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"labels have shape {labels.shape}; allowed is (y, x) with pixels")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype}; allowed are integers")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > np.iinfo(np.uint32).max:
        raise ValueError(f"labels go from {lowest} to {highest}; allowed are 0 to 2^32 - 1")
    import tifffile

    stored = labels.astype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32, copy=False)
    with write_whole(path) as part:
        tifffile.imwrite(
            part,
            stored,
            bigtiff=stored.nbytes > BIGTIFF_BYTES,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": DEFLATE_LEVEL},
            metadata=None,
        )


@contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name in the same folder that becomes `path` on success and vanishes on failure.

    Notes
    -----
    The temporary name keeps the ending, from which writers choose the format, and the process id, so that two
    runs into one folder do not meet. Replacing is atomic within a file system: nobody sees half a file.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _recognise(path: Path) -> str:
    """Return the form of a file by its first bytes, or refuse it."""
    with _reading_errors():
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ImageError("is a folder; allowed are image files")
        if not stat.S_ISREG(mode):
            # A named pipe would block the run until somebody writes into it.
            raise ImageError("is not a regular file; allowed are image files")
        with path.open("rb") as file:
            head = file.read(12)
    if not head:
        raise ImageError("is empty: 0 bytes")
    form = next((form for signature, form in SIGNATURES.items() if head.startswith(signature)), None)
    if form is None or (form == "WebP" and head[8:] != b"WEBP"):
        raise ImageError(f"is no image: it begins with {head!r}; allowed are TIFF, PNG, JPEG, BMP and WebP")
    return form


@contextmanager
def _reading_errors() -> Iterator[None]:
    """Turn a refusal of the file system into one sentence."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def _decode_raster(path: Path, form: str, max_pixels: int) -> tuple[np.ndarray, str, list[str]]:
    """Decode PNG, JPEG, BMP or WebP; OpenCV resolves palettes, CMYK and less than 8 bits."""
    import cv2

    with _reading_errors():
        data = path.read_bytes()
    notes = list[str]()
    bits, grey, height, width = 8, False, 0, 0
    if form == "PNG" and len(data) >= 26:
        # IHDR: width, height, bits, colour type (0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA).
        height, width = int.from_bytes(data[20:24]), int.from_bytes(data[16:20])
        bits, grey = data[24], data[25] in (0, 4)
        if data.rfind(b"IEND") < 0:
            raise ImageError("is cut short: the PNG has no end")
    elif form == "BMP" and len(data) >= 30:
        # Signed: rows stored from the top have a negative height.
        height, width = (abs(int.from_bytes(data[at : at + 4], "little", signed=True)) for at in (22, 18))
        bits = data[28]
    check_size((height, width), max_pixels)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        # Among others, OpenCV's own limit of 2^30 pixels, which is what stops an oversized JPEG.
        raise ImageError(f"cannot be decoded as {form}: {error.err}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if array is None:
        raise ImageError(f"is cut short or damaged: it begins as {form} but cannot be decoded")
    check_size(array.shape[:2], max_pixels)
    if array.ndim == 3 and array.shape[2] == 4:
        notes.append("the alpha channel is dropped")
    if array.ndim == 3 and grey:
        # Grey with alpha comes as BGRA with three equal colours.
        array = array[..., 0]
    elif array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_BGRA2RGB if array.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return array, "1-bit" if bits == 1 else str(array.dtype), notes


def _limit_channels(array: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return (y, x, 1) or (y, x, 3) by the rule of `read_image`."""
    if array.ndim == 2:
        return array[..., None]
    channels = array.shape[2]
    if channels == 2:
        notes.append("2 channels: used as red and green, blue is 0")
        return np.concatenate([array, np.zeros_like(array[..., :1])], axis=2)
    if channels > 3:
        notes.append(f"{channels} channels: the first three are used")
        return array[..., :3]
    return array


def _limit_dtype(pixels: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return uint8, uint16 or finite float32, by the rule of `read_image`."""
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind not in "iuf":
        raise ImageError(f"has samples of type {pixels.dtype}; allowed are integers and floats")
    with np.errstate(over="ignore"):
        pixels = pixels.astype(np.float32, order="C")
    finite = np.isfinite(pixels)
    if not finite.all():
        notes.append(f"{finite.size - np.count_nonzero(finite):,} values are NaN, infinite or beyond float32: set to 0")
        pixels[~finite] = 0
    return pixels
