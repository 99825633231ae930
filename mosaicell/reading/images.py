"""Image files and label files: every supported form in, one label form out.

A file is recognised by its first bytes, not by its name, so that a TIFF called .png is read as what it is.
TIFF is decoded in `tiff_stacks`, MetaImage in `metaimage`, the rest in `raster`. Whatever happens to the name of a file
meanwhile, what was checked is what is read.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS, Limits
from mosaicell.pictures.pictures import Pictures
from mosaicell.pictures.selection import MAX_JOINED, Selection
from mosaicell.reading.enclosure import Opener, check_regular, open_anywhere
from mosaicell.reading.metaimage import decode_metaimage
from mosaicell.reading.pixel_size import Resolution, read_resolution
from mosaicell.reading.pixels import ArrayPixels, Pixels, read_all
from mosaicell.reading.raster import decode_raster
from mosaicell.reading.samples import limit_samples
from mosaicell.reading.stack import Stack
from mosaicell.reading.tiff import decode_tiff_plane
from mosaicell.reading.tiff_stacks import open_stacks
from mosaicell.writing.label_pages import LabelPages
from mosaicell.writing.parts import write_whole

#: file name endings, in lower case, of what may be an image in a folder
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".mha")
#: ends the names of label files
LABEL_SUFFIX = "_label.tiff"
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
    b"ObjectType": "MetaImage",
    b"NDims = ": "MetaImage",
}
#: size up to which the offsets of a TIFF have 32 bits
LONG_BYTES = 1 << 32
#: uncompressed size from which a label file is BigTIFF; classic TIFF ends at 4 GiB, and tables need room too
BIGTIFF_BYTES = 3_900_000_000
#: label images of more pixels are stored in tiles of this side: viewers read what they show
TILES_FROM_PX, TILE_PX = 16_000_000, 512
#: bytes that are compressed at once
WRITE_AHEAD_BYTES = 16 << 20
#: deflate level of label files; on a slide of 154,000 cells a quarter faster than the default 6, not larger
DEFLATE_LEVEL = 3
#: nothing is asked for
DEFAULT_SELECTION = Selection()


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


def mask_name(path: str | os.PathLike[str], names: str = "challenge") -> str:
    """Return the name of an image's label file.

    Parameters
    ----------
    path:
        The image.
    names:
        "challenge": its name up to the first dot, `a.b.tif` -> `a_label.tiff`; the challenge's scorer does not find
        files named otherwise. "full": without the suffix only, `a.b_label.tiff`.

    Raises
    ------
    ImageError
        If nothing stands before the first dot.
    """
    name = Path(path).name
    if not name.split(".")[0]:
        raise ImageError(f"the name {name!r} begins with a dot, so its mask would have no name")
    return (Path(name).stem if names == "full" else name.split(".")[0]) + LABEL_SUFFIX


def find_mask(folder: Path, image: str | os.PathLike[str]) -> Path:
    """Return the label file of an image in a folder: by its full name where there is one, else as the challenge says.

    Raises
    ------
    ImageError
        As `mask_name`.
    """
    full = folder / mask_name(image, "full")
    # a name of any length may stand in a report
    return full if os.path.isfile(full) else folder / mask_name(image)  # noqa: PTH113


def read_image(
    path: str | os.PathLike[str],
    limits: Limits = DEFAULT_LIMITS,
    opener: Opener = open_anywhere,
    selection: Selection = DEFAULT_SELECTION,
) -> Image:
    """Read an image of any supported form.

    Parameters
    ----------
    path:
        TIFF (tiled, pyramidal, OME, ImageJ, compressed in any common way), PNG, JPEG, BMP, WebP or MetaImage file.
    limits:
        What the image may take; without them, a billion pixels.
    opener:
        What opens the file, and may refuse to.
    selection:
        Which of several pictures.

    Returns
    -------
    Image
        uint8 and uint16 samples are kept, 1-bit becomes 0 and 255, everything else float32. NaN and infinity
        become 0. Of a pyramid the full resolution is read. EXIF rotation is not applied, so that the mask has the
        shape of the stored pixels.

    Raises
    ------
    ImageError
        If there is no such file, it cannot be read, is no image, is damaged, larger than allowed, or has no such
        picture.

    Notes
    -----
    Of several pictures the defaults take one, as in a run (`mosaicell.pictures.defaults`); but where a run takes the
    channel whose answer is expected to be best, those with a signal are seen together, three at most.
    """
    with _open_image(path, opener) as (file, form):
        opened = _open_pictures(file, form, limits, selection, None)
        pixels = read_all(opened.pixels)
    return Image(pixels, opened.source_dtype, opened.notes)


class OpenImage:
    """An image file that is open, of which pictures are read part by part, or whole where the file asks for that.

    Attributes
    ----------
    pictures
        What is there, and what is taken.
    source_dtype
        As in `Image`.
    resolution:
        Pixels for a unit of length, where a TIFF says so.
    """

    def __init__(self, pictures: Pictures, resolution: Resolution | None = None) -> None:
        self.pictures = pictures
        self.resolution = resolution
        self.source_dtype = pictures.stack.source_dtype

    @cached_property
    def pixels(self) -> Pixels:
        """The first picture; of channels that only their answers would tell apart, all that are seen together."""
        candidates = self.pictures.candidates
        joined = tuple(channel for candidate in candidates for channel in candidate)[:MAX_JOINED]
        candidate = joined if self.pictures.joins else candidates[0]
        return self.pictures.open(candidate, self.pictures.first_page())

    @property
    def notes(self) -> tuple[str, ...]:
        """Every decision taken for the user while pictures were read, in words."""
        return tuple(self.pictures.stack.notes)

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels in memory; 0 when they stay in the file."""
        return self.pixels.array.nbytes if isinstance(self.pixels, ArrayPixels) else 0


@contextmanager
def open_pixels(
    path: str | os.PathLike[str],
    limits: Limits,
    workers: int,
    opener: Opener = open_anywhere,
    selection: Selection = DEFAULT_SELECTION,
) -> Iterator[OpenImage]:
    """Open an image to read it part by part: TIFF of grey or RGB, in tiles, strips or without compression.

    Parameters
    ----------
    path:
        As in `read_image`.
    limits:
        What the image may take.
    workers:
        Threads that decode tiles or strips.
    opener, selection:
        As in `read_image`.

    Raises
    ------
    ImageError
        As `read_image`; where the file is damaged, when that part is read.
    """
    with _open_image(path, opener) as (file, form):
        yield _open_pictures(file, form, limits, selection, workers)


def _open_pictures(
    file: io.BufferedReader, form: str, limits: Limits, selection: Selection, workers: int | None
) -> OpenImage:
    if form == "TIFF":
        pictures = Pictures(open_stacks(file, limits, workers), selection, limits)
        return OpenImage(pictures, read_resolution(file, pictures.stack.shape_px))
    if form == "MetaImage":
        array, source_dtype, notes = decode_metaimage(file, limits)
    else:
        array, source_dtype, notes = decode_raster(file, form, limits)
    pixels = ArrayPixels(limit_samples(array, notes))
    stack = Stack(
        name="",
        shape_px=pixels.shape_px,
        source_dtype=source_dtype,
        # it was compared with the limits before it was decoded
        held_bytes=0,
        times=1,
        planes=1,
        channels=("",),
        open_plane=lambda plane: pixels,
        has_colours=pixels.array.shape[2] > 1,
        notes=notes,
    )
    return OpenImage(Pictures([stack], selection, Limits(limits.max_pixels)))


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
    with _open_image(path) as (file, form):
        if form == "TIFF":
            labels = decode_tiff_plane(file)
        elif form == "PNG":
            labels = decode_raster(file, form, DEFAULT_LIMITS)[0]
        else:
            raise ImageError(f"is no label image: {form} does not keep ids; allowed are TIFF and PNG")
    if labels.ndim != 2:
        raise ImageError(f"is no label image: its shape is {labels.shape}; allowed is one channel")
    if labels.dtype.kind not in "biu":
        raise ImageError(f"is no label image: its samples are {labels.dtype}; allowed are integers")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.uint32).max):
        raise ImageError(f"holds ids from {labels.min()} to {labels.max()}; allowed are 0 to 2^32 - 1")
    return labels.astype(np.uint32)


def write_labels(
    path: str | os.PathLike[str],
    labels: np.ndarray | LabelPages,
    *,
    description: str | None = None,
    resolution: Resolution | None = None,
    wide: bool = False,
) -> None:
    """Write a label image as TIFF, or several as its pages, whole or not at all.

    Parameters
    ----------
    path:
        File to write or replace.
    labels:
        (y, x), any integer type, ids >= 0, or pages of such. Stored as uint16 up to id 65,535, as uint32 beyond;
        deflate; in tiles above 16 megapixels; BigTIFF from 3.9 GB.
    description:
        Text in ASCII that the file carries.
    resolution:
        Pixels for a unit of length.
    wide:
        Store uint32 whatever the ids; viewers take that for labels, and uint16 for an image.

    Raises
    ------
    ValueError
        If labels are not two-dimensional, empty, not integers, negative or beyond uint32.
    OSError
        If the file cannot be written.
    """
    highest = labels.highest if isinstance(labels, LabelPages) else _check_labels(labels)
    import tifffile

    dtype = np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max and not wide else np.uint32)
    pages, size = [labels] if isinstance(labels, np.ndarray) else labels, math.prod(labels.shape)
    data: np.ndarray | Iterator[np.ndarray]
    layout: dict[str, Any] = {"shape": labels.shape, "dtype": dtype}
    if math.prod(labels.shape[-2:]) > TILES_FROM_PX:
        data = (tile for page in pages for tile in _cut_tiles(page, dtype))
        layout |= {"tile": (TILE_PX, TILE_PX)}
    elif isinstance(labels, LabelPages):
        data = (page.astype(dtype, copy=False) for page in labels)
    else:
        data, layout = labels.astype(dtype, copy=False), {}
    if resolution is not None:
        layout |= {"resolution": (resolution.x, resolution.y), "resolutionunit": resolution.unit}
    with write_whole(path) as part:
        tifffile.imwrite(
            part,
            data,
            bigtiff=size * dtype.itemsize > BIGTIFF_BYTES,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": DEFLATE_LEVEL},
            # what is held to be compressed at once; by default hundreds of MB
            buffersize=WRITE_AHEAD_BYTES,
            metadata=None,
            description=description,
            **layout,
        )


def _check_labels(labels: np.ndarray) -> int:
    """Refuse what is no label image with a ValueError; return its highest id."""
    if labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"labels have shape {labels.shape}; allowed is (y, x) with pixels")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels are {labels.dtype}; allowed are integers")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest > np.iinfo(np.uint32).max:
        raise ValueError(f"labels go from {lowest} to {highest}; allowed are 0 to 2^32 - 1")
    return highest


def _cut_tiles(labels: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Cut a label image into the tiles of a TIFF, which needs no copy of the whole."""
    for y in range(0, labels.shape[0], TILE_PX):
        for x in range(0, labels.shape[1], TILE_PX):
            yield labels[y : y + TILE_PX, x : x + TILE_PX].astype(dtype)


@contextmanager
def _open_image(
    path: str | os.PathLike[str], opener: Opener = open_anywhere
) -> Iterator[tuple[io.BufferedReader, str]]:
    """Open a file and recognise its form by its first bytes; every refusal is one sentence."""
    try:
        with io.FileIO(os.fspath(path), opener=opener) as opened, _LoneFile(opened) as file:
            # what the opener looked at before may be something else by now
            check_regular(os.fstat(opened.fileno()).st_mode)
            yield file, _recognise(file)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror or error}") from error


class _LoneFile(io.BufferedReader):
    """An open file that names no others.

    Of a set of files that belong together, tifffile opens those that one of them names, wherever they are, but only for
    a file that it can map into memory. So the pages of other files never pass for this one's.
    """

    def __init__(self, opened: io.FileIO) -> None:
        super().__init__(opened)
        self._opened = opened

    @property
    def name(self) -> str:
        """The file's name for tifffile, which takes that of a scanner's file for a sign of offsets of 64 bits.

        Only files beyond 4 GiB have such; any other is what its bytes say, and what it would be under another name.
        """
        is_long = os.fstat(self._opened.fileno()).st_size > LONG_BYTES
        return str(self._opened.name) if is_long else ""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("not to be mapped into memory: the program would end when the file is cut")


def _recognise(file: io.BufferedReader) -> str:
    """Return the form of an open file, or refuse it."""
    head = file.read(12)
    if not head:
        raise ImageError("is empty: 0 bytes")
    form = next((form for signature, form in SIGNATURES.items() if head.startswith(signature)), None)
    if form is None or (form == "WebP" and head[8:] != b"WEBP"):
        raise ImageError(f"is no image: it begins with {head!r}; allowed are TIFF, PNG, JPEG, BMP, WebP and MetaImage")
    file.seek(0)
    return form
