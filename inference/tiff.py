"""TIFF files: which axes are y, x and channels, which page is read, what its samples mean.

tifffile decodes them, the only library here that knows axes, tiles and pyramids. It is imported when first
needed: start-up is part of every run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ImageError

if TYPE_CHECKING:
    import tifffile

#: an axis without a name counts as channels up to this length, as a stack of pages beyond
MAX_CHANNELS = 5


def decode_tiff(path: Path, max_pixels: int) -> tuple[np.ndarray, str, list[str]]:
    """Decode the first full-resolution image of a TIFF file, and of a stack only its first page.

    Parameters
    ----------
    path:
        TIFF file.
    max_pixels:
        Largest height times width.

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
    import tifffile

    notes = list[str]()
    with _tiff_errors(), tifffile.TiffFile(path) as tif:
        # A thumbnail may come first; it says so.
        full = [series for series in tif.series if not series.keyframe.is_reduced] or tif.series[:1]
        if not full:
            raise ImageError("is cut short or damaged: the TIFF has no image")
        series, page = full[0], full[0].keyframe
        if len(full) > 1:
            notes.append(f"{len(full)} images: the first is used")
        y, x, channel = _find_axes(series.axes, series.shape)
        check_size((series.shape[y], series.shape[x]), max_pixels)
        if 0 in series.shape:
            raise ImageError(f"has no pixels: its shape is {series.shape}")
        if channel is not None and series.axes[channel] != "S" and series.shape[channel] > 3:
            notes.append(f"{series.shape[channel]} channels: the first three are used")
        pages = int(np.prod([n for axis, n in enumerate(series.shape) if axis not in (y, x, channel)]))
        if pages > 1:
            notes.append(f"{pages} pages (axes {series.axes}): the first is used")
        array = _read_planes(tif, series, y, x, channel)
        return (
            _resolve_colour(array, page, notes),
            "1-bit" if page.bitspersample == 1 else str(array.dtype),
            notes,
        )


def decode_tiff_plane(path: Path) -> np.ndarray:
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
    import tifffile

    with _tiff_errors(), tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        y, x, _ = _find_axes(series.axes, series.shape)
        if series.size != series.shape[y] * series.shape[x]:
            raise ImageError(f"is no label image: its shape is {series.shape}; allowed is one plane, one channel")
        return _read_planes(tif, series, y, x, None)


def check_size(shape: tuple[int, ...], max_pixels: int) -> None:
    """Refuse an image of more than `max_pixels`.

    Parameters
    ----------
    shape:
        (height, width) in px.
    max_pixels:
        Largest height times width.

    Raises
    ------
    ImageError
        If the image is larger.
    """
    if shape[0] * shape[1] > max_pixels:
        raise ImageError(f"has {shape[0]} x {shape[1]} pixels; allowed are {max_pixels:,} in all")


@contextmanager
def _tiff_errors() -> Iterator[None]:
    """Turn whatever a damaged TIFF raises into one sentence."""
    # tifffile logs what it works around; what remains wrong is said in the sentence.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        yield
    except ImageError:
        raise
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
    index = tuple(slice(None) if axis in axes else 0 for axis in range(series.ndim))
    if channel is not None and series.axes[channel] != "S":
        index = (*index[:channel], slice(3), *index[channel + 1 :])
    lead = series.ndim - series.keyframe.ndim
    if series.dataoffset is not None:
        _check_end(series.dataoffset + series.nbytes, tif.filehandle.size)
        stored = tif.filehandle.memmap_array(tif.byteorder + series.dtype.char, series.shape, series.dataoffset)
        # A copy: pixels that stayed in the file would change, or crash the program, when the file does.
        array = np.array(stored[index])
    elif series.shape[lead:] == series.keyframe.shape and min(y, x) >= lead:
        numbers = np.arange(np.prod(series.shape[:lead], dtype=int)).reshape(series.shape[:lead])[index[:lead]]
        planes = [_read_page(series.pages[number], tif.filehandle.size) for number in numbers.ravel().tolist()]
        array = np.stack([plane[index[lead:]] for plane in planes]) if numbers.ndim else planes[0][index[lead:]]
    else:
        array = series.asarray()[index]
    order = np.argsort(np.argsort(axes))
    return np.ascontiguousarray(array.transpose(order), dtype=series.dtype)


def _read_page(page: tifffile.TiffPage | tifffile.TiffFrame | None, file_bytes: int) -> np.ndarray:
    """Decode a page whose data lies within the file; tifffile itself fills what is missing with zeros."""
    if page is None:
        raise ImageError("is cut short or damaged: a page of the TIFF is missing")
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
    _check_end(max(ends, default=0), file_bytes)
    return page.asarray()


def _check_end(end: int, file_bytes: int) -> None:
    if end > file_bytes:
        raise ImageError(f"is cut short: the TIFF has {file_bytes:,} of {end:,} bytes")


def _resolve_colour(array: np.ndarray, page: tifffile.TiffPage, notes: list[str]) -> np.ndarray:
    """Turn palette, inverted, CMYK and YCbCr samples into grey or RGB, and drop alpha."""
    from tifffile import COMPRESSION, PHOTOMETRIC

    if array.ndim == 3 and page.extrasamples and page.extrasamples[-1] != 0 and array.shape[2] > 1:
        notes.append("the alpha channel is dropped")
        array = array[..., :-1]
    kind, white = page.photometric, 2**page.bitspersample - 1
    # JPEG data has become RGB while it was decoded.
    ycbcr = kind == PHOTOMETRIC.YCBCR and page.compression not in (COMPRESSION.JPEG, COMPRESSION.OJPEG)
    if kind == PHOTOMETRIC.PALETTE and page.colormap is not None:
        notes.append("the palette is replaced by its colours")
        colours = page.colormap.T if page.colormap.max() < 256 else page.colormap.T >> 8
        array = colours.astype(np.uint8)[array]
    elif kind == PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu" and "PhotometricInterpretation" in page.tags:
        notes.append("0 is white in this file: the values are inverted")
        array = ~array if array.dtype == bool else array.dtype.type(white) - array
    elif kind == PHOTOMETRIC.SEPARATED and array.ndim == 3 and array.shape[2] >= 4:
        notes.append("CMYK is converted to RGB")
        ink = array[..., :4].astype(np.float32) / white
        array = (white * (1 - ink[..., :3]) * (1 - ink[..., 3:])).round().astype(array.dtype)
    elif ycbcr and array.ndim == 3:
        import cv2

        notes.append("YCbCr is converted to RGB")
        array = cv2.cvtColor(np.ascontiguousarray(array[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    elif kind not in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        raise ImageError(f"has TIFF colours of kind {kind!s}; allowed are grey, palette, RGB, CMYK and YCbCr")
    return array
