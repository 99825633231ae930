"""The stacks of a TIFF file: which of its axes are times, planes in z, channels and colours, and how a plane is opened.

S is samples of a pixel, C channels as OME and ImageJ write them, I a sequence of separate pages, Q what nobody named:
there the shape decides, and (40, 60, 3) may come as QYX.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.limits import Limits
from mosaicell.reading.descriptions import imagej_channels, page_names, read_ome
from mosaicell.reading.photometric import is_grey_palette, is_inverted, resolve_colour
from mosaicell.reading.pixels import ArrayPixels, Pixels
from mosaicell.reading.samples import limit_samples
from mosaicell.reading.stack import Plane, Stack
from mosaicell.reading.tiff import (
    DECODE_CPU_S_PER_BYTE,
    TABLES_CPU_S,
    decoding_quota,
    has_whole_pages,
    open_series,
    plane_number,
    read_plane,
    tables_quota,
    tiff_errors,
)
from mosaicell.reading.tiff_pages import MISSING_PAGE, check_end, check_segments
from mosaicell.reading.tiff_pixels import TiffPixels, held_bytes, is_readable

if TYPE_CHECKING:
    import tifffile

#: values of TIFF's tags: colours of red, green and blue; samples stored one after the other
PHOTOMETRIC_RGB, PLANES_APART = 2, 2
#: an axis without a name that comes last counts as channels up to this length
MAX_LAST_CHANNELS = 5
#: axes that say what their positions are
CHANNEL_AXES, UNNAMED_AXES = "CE", "IQ"
#: programs whose palettes are for display: the values are what was measured
DISPLAY_PALETTES = ("imagej", "ome", "lsm", "stk", "metaseries", "micromanager", "fluoview", "nih", "sis", "scanimage")
#: names of images beside the picture of a slide
BESIDE_SLIDES = ("label", "macro", "thumbnail", "map", "overview")


@dataclass(frozen=True)
class Axes:
    """Positions of the axes of a series: None or empty for those that it does not have.

    Attributes
    ----------
    samples
        Of a pixel, all taken together.
    channel
        Channels, or samples of a pixel that are no colours.
    unnamed, others
        Pages without a name; positions, mosaics and whatever else makes pictures of their own.
    """

    y: int
    x: int
    samples: int | None
    channel: int | None
    z: int | None
    time: int | None
    unnamed: tuple[int, ...]
    others: tuple[int, ...]


def find_axes(axes: str, shape: tuple[int, ...], *, is_colour: bool) -> Axes:
    """Say what the axes of a series are, which tifffile names by letters.

    Raises
    ------
    ImageError
        If there is no y or x.
    """
    if "Y" not in axes or "X" not in axes:
        raise ImageError(f"has axes {axes} of shape {shape}; allowed are images with y and x")
    named = list(axes)
    if axes.endswith("QYX") and shape[-1] <= MAX_LAST_CHANNELS < min(shape[-3:-1]):
        named[-3:] = "YXC"
    taken = {name: named.index(name) for name in "YXSZT" if name in named}
    channel = next((named.index(name) for name in CHANNEL_AXES if name in named), None)
    if "S" in taken and not is_colour and channel is None:
        channel = taken.pop("S")
    unnamed = tuple(axis for axis, name in enumerate(named) if name in UNNAMED_AXES)
    used = {*taken.values(), channel, *unnamed}
    others = tuple(axis for axis in range(len(named)) if axis not in used)
    z, time = taken.get("Z"), taken.get("T")
    if channel is not None and unnamed:
        # with channels of a name, the pages are planes or times
        if z is None and len(unnamed) == 1:
            z, unnamed = unnamed[0], ()
        elif time is None and len(unnamed) == 1:
            time, unnamed = unnamed[0], ()
        else:
            others, unnamed = (*others, *unnamed), ()
    return Axes(taken["Y"], taken["X"], taken.get("S"), channel, z, time, unnamed, others)


def open_stacks(file: BinaryIO, limits: Limits, workers: int | None) -> list[Stack]:
    """Open a TIFF file: its full-size images, without those that show the label or all of a slide.

    Parameters
    ----------
    file
        Open TIFF file.
    limits
        What an image may take; to be checked before a plane is opened.
    workers
        Threads that decode tiles or strips. None to decode every plane whole.

    Raises
    ------
    ImageError
        If the file is damaged, cut short or of a kind that is not read.
    """
    with tiff_errors(), tables_quota(file):
        tif, full = open_series(file)
        kept = [one for one in full if one.name.lower() not in BESIDE_SLIDES] or full[:1]
        names = _channel_names(tif, full)
        return [
            stack for one in kept for stack in _stacks_of(tif, one, names.get(full.index(one), ()), limits, workers)
        ]


def _channel_names(tif: tifffile.TiffFile, full: list[tifffile.TiffPageSeries]) -> dict[int, tuple[str, ...]]:
    """Return the names of the channels that the description of the file gives, by number of the series."""
    if tif.is_ome and tif.ome_metadata:
        images = read_ome(tif.ome_metadata)
        if len(images) == len(full):
            return {number: image.channels for number, image in enumerate(images)}
        by_name = {image.name: image.channels for image in images}
        return {number: by_name.get(one.name, ()) for number, one in enumerate(full)}
    if tif.is_imagej and tif.imagej_metadata:
        channels = tif.imagej_metadata.get("channels", 1)
        return {0: imagej_channels(tif.imagej_metadata, channels) if isinstance(channels, int) else ()}
    return {}


def _stacks_of(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    names: tuple[str, ...],
    limits: Limits,
    workers: int | None,
) -> Iterator[Stack]:
    """Make the stacks of a series, one for each position of the axes that make pictures of their own."""
    page = series.keyframe
    for_display = page.bitspersample == 16 or any(getattr(tif, f"is_{name}", False) for name in DISPLAY_PALETTES)
    has_colours = _has_colours(page, for_display=for_display)
    axes = find_axes(series.axes, series.shape, is_colour=has_colours or _alpha_alone(page))
    pages = None
    if page.photometric == PHOTOMETRIC_RGB and page.planarconfig == PLANES_APART and axes.samples is not None:
        pages = find_axes(series.axes.replace("S", "Q"), series.shape, is_colour=False)
    for position in np.ndindex(*(series.shape[axis] for axis in axes.others)):
        planes = _Planes(tif, series, axes, position, limits, workers, for_display=for_display)
        stack = planes.stack(names, has_colours=has_colours)
        if pages is not None and pages.unnamed == (axes.samples,):
            apart = _Planes(tif, series, pages, position, limits, workers, for_display=True)
            stack = replace(stack, as_pages=apart.stack((), has_colours=False))
        yield stack


def _has_colours(page: tifffile.TiffPage, *, for_display: bool) -> bool:
    """Say whether a pixel has red, green and blue."""
    from tifffile import PHOTOMETRIC

    if page.photometric == PHOTOMETRIC.PALETTE:
        return not for_display and page.colormap is not None and not is_grey_palette(page.colormap)
    return page.samplesperpixel > 2 and page.photometric not in (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)


def _alpha_alone(page: tifffile.TiffPage) -> bool:
    """Say whether a pixel has one sample and alpha."""
    return page.samplesperpixel == 2 and bool(page.extrasamples) and page.extrasamples[-1] != 0


class _Planes:
    """The planes of a stack in a file, opened one by one."""

    def __init__(
        self,
        tif: tifffile.TiffFile,
        series: tifffile.TiffPageSeries,
        axes: Axes,
        position: tuple[int, ...],
        limits: Limits,
        workers: int | None,
        *,
        for_display: bool,
    ) -> None:
        self._tif, self._series, self._axes, self._position = tif, series, axes, position
        self._limits, self._workers, self._for_display = limits, workers, for_display
        self._notes = list[str]()
        self._inverted: bool | None = None
        self._spare_s = TABLES_CPU_S
        page = series.keyframe
        whole_pages = has_whole_pages(series, min(axes.y, axes.x))
        self._by_region = workers is not None and whole_pages and is_readable(page, for_display=for_display)
        if self._by_region:
            self._held_bytes = held_bytes(page)
        elif series.dataoffset is not None or whole_pages:
            inner = math.prod(series.shape[min(axes.y, axes.x) :])
            self._held_bytes = max(page.size if whole_pages else 0, inner) * series.dtype.itemsize
        else:
            self._held_bytes = math.prod(series.shape) * series.dtype.itemsize

    def stack(self, names: tuple[str, ...], *, has_colours: bool) -> Stack:
        """Return what the planes make up, with channels of these names where there are as many."""
        series, axes, page = self._series, self._axes, self._series.keyframe
        apart = (axes.channel,) if axes.channel is not None else axes.unnamed
        count = math.prod(series.shape[axis] for axis in apart)
        if (
            axes.channel is not None
            and series.axes[axes.channel] == "S"
            and page.extrasamples
            and page.extrasamples[-1]
        ):
            # alpha
            count = max(1, count - 1)
        if len(names) != count and 1 < count == len(series.pages):
            names = page_names(list(series.pages))
        named = len(names) == count
        return Stack(
            name=series.name,
            shape_px=(series.shape[axes.y], series.shape[axes.x]),
            source_dtype="1-bit" if page.bitspersample == 1 else str(series.dtype),
            held_bytes=self._held_bytes,
            times=1 if axes.time is None else series.shape[axes.time],
            planes=1 if axes.z is None else series.shape[axes.z],
            channels=names if named else ("",) * count,
            open_plane=self.open,
            by_region=self._by_region,
            has_colours=has_colours,
            unnamed=bool(axes.unnamed) and count > 1 and not (named and any(names)),
            notes=self._notes,
        )

    def open(self, plane: Plane) -> Pixels:
        """Open a plane: (y, x, 1) or (y, x, 3)."""
        series, axes = self._series, self._axes
        index: list[int | slice] = [0] * series.ndim
        for axis in (axes.y, axes.x, axes.samples):
            if axis is not None:
                index[axis] = slice(None)
        at = {axes.time: plane.time, axes.z: plane.z, axes.channel: plane.channel}
        at |= dict(zip(axes.others, self._position, strict=True))
        if axes.unnamed:
            lengths = [series.shape[axis] for axis in axes.unnamed]
            position = [int(number) for number in np.unravel_index(plane.channel, lengths)]
            at |= dict(zip(axes.unnamed, position, strict=True))
        for axis, number in at.items():
            if axis is not None:
                index[axis] = number
        with tiff_errors():
            if self._by_region and self._workers is not None:
                return self._open_region(index)
            started_s = time.process_time()
            with decoding_quota(self._held_bytes, self._limits, self._spare_s):
                array = read_plane(self._tif, series, axes.y, axes.x, axes.samples, index)
            # what one plane takes beyond its share is missing for the others
            spent_s = time.process_time() - started_s - self._held_bytes * DECODE_CPU_S_PER_BYTE
            self._spare_s = max(0.0, self._spare_s - max(0.0, spent_s))
            return ArrayPixels(self._finish(array))

    def _open_region(self, index: list[int | slice]) -> TiffPixels:
        series, page = self._series, self._series.keyframe
        number = plane_number(series, index)
        assert self._workers is not None
        if page.extrasamples:
            self._note("the alpha channel is dropped")
        if series.dataoffset is not None:
            start = series.dataoffset + number * page.size * series.dtype.itemsize
            check_end(start + page.size * series.dtype.itemsize, self._tif.filehandle.size)
            return TiffPixels(self._tif, page, [start], [0], self._workers, for_display=self._for_display)
        frame = series.pages[number]
        if frame is None:
            raise ImageError(MISSING_PAGE)
        check_segments(frame, page, self._tif)
        offsets, counts = frame.dataoffsets, frame.databytecounts
        return TiffPixels(self._tif, page, offsets, counts, self._workers, for_display=self._for_display)

    def _finish(self, array: np.ndarray) -> np.ndarray:
        """Return samples as (y, x, 1 or 3) of a type that is segmented."""
        page = self._series.keyframe
        if self._inverted is None:
            self._inverted = not self._for_display and is_inverted(array, page)
        notes = list[str]()
        array = resolve_colour(array, page, notes, inverted=self._inverted, for_display=self._for_display)
        pixels = limit_samples(array, notes)
        for note in notes:
            self._note(note)
        return pixels

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)
