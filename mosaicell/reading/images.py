"""Image files of every supported form.

TIFF is decoded in `tiff_stacks`, MetaImage in `metaimage`, folders of OME-Zarr in `zarr_stacks`, the rest in `raster`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mosaicell.machine.limits import DEFAULT_LIMITS, Limits
from mosaicell.pictures.pictures import Pictures
from mosaicell.pictures.selection import MAX_JOINED, Selection
from mosaicell.reading.enclosure import Opener, open_anywhere
from mosaicell.reading.forms import open_form
from mosaicell.reading.metaimage import decode_metaimage, read_spacing
from mosaicell.reading.ngff import has_zarr_name, is_zarr
from mosaicell.reading.pixel_size import Resolution, read_resolution
from mosaicell.reading.pixels import ArrayPixels, Pixels, read_all
from mosaicell.reading.raster import decode_raster
from mosaicell.reading.samples import limit_samples
from mosaicell.reading.stack import Stack
from mosaicell.reading.tiff_stacks import open_stacks

#: file name endings, in lower case, of what may be an image in a folder
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".mha")
#: nothing is asked for
DEFAULT_SELECTION = Selection()


def has_image_name(path: Path) -> bool:
    """Say whether a path is called as an image: a file by its suffix, or a folder of OME-Zarr."""
    if path.is_file():
        return path.suffix.lower() in SUFFIXES
    return has_zarr_name(path) and path.is_dir()


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
        TIFF (tiled, pyramidal, OME, ImageJ, compressed in any common way), PNG, JPEG, BMP, WebP or MetaImage file, or
        folder of OME-Zarr.
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
    with _open(path, limits, None, opener, selection) as opened:
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
        Pixels for a unit of length, where a TIFF, MetaImage or OME-Zarr says so.
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
    """Open an image to read it part by part: OME-Zarr, and TIFF of grey or RGB, in tiles, strips or uncompressed.

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
    with _open(path, limits, workers, opener, selection) as opened:
        yield opened


@contextmanager
def _open(
    path: str | os.PathLike[str], limits: Limits, workers: int | None, opener: Opener, selection: Selection
) -> Iterator[OpenImage]:
    if is_zarr(Path(path)):
        # few images are, and the start of each run counts
        from mosaicell.reading.zarr_stacks import open_zarr

        found = open_zarr(Path(path), opener, workers)
        pictures = Pictures([stack for stack, _ in found], selection, limits)
        yield OpenImage(pictures, found[pictures.scene][1])
        return
    with open_form(path, opener) as (file, form):
        yield _open_pictures(file, form, limits, selection, workers)


def _open_pictures(
    file: io.BufferedReader, form: str, limits: Limits, selection: Selection, workers: int | None
) -> OpenImage:
    if form == "TIFF":
        pictures = Pictures(open_stacks(file, limits, workers), selection, limits)
        return OpenImage(pictures, read_resolution(file, pictures.stack.shape_px))
    resolution = None
    if form == "MetaImage":
        array, source_dtype, notes = decode_metaimage(file, limits)
        resolution = read_spacing(file)
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
    return OpenImage(Pictures([stack], selection, Limits(limits.max_pixels)), resolution)
