"""Masks: label images in files, written in one form and read from two, and how they are named after their images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS
from mosaicell.options import EXTRAS
from mosaicell.reading.forms import open_form
from mosaicell.reading.pixel_size import Resolution
from mosaicell.reading.raster import decode_raster
from mosaicell.reading.tiff import decode_tiff_plane
from mosaicell.writing.label_pages import LabelPages
from mosaicell.writing.parts import write_whole

#: ends the names of label files
LABEL_SUFFIX = "_label.tiff"
#: uncompressed size from which a label file is BigTIFF; classic TIFF ends at 4 GiB, and tables need room too
BIGTIFF_BYTES = 3_900_000_000
#: label images of more pixels are stored in tiles of this side: viewers read what they show
TILES_FROM_PX, TILE_PX = 16_000_000, 512
#: bytes that are compressed at once
WRITE_AHEAD_BYTES = 16 << 20
#: deflate level of label files; on a slide of 154,000 cells a quarter faster than the default 6, not larger
DEFLATE_LEVEL = 3


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


def extra_name(path: str | os.PathLike[str], extra: str, names: str = "challenge") -> str:
    """Return the name of what is written beside an image's mask: the same but for the ending.

    Parameters
    ----------
    path, names:
        As in `mask_name`.
    extra:
        One of `options.EXTRAS`.
    """
    return mask_name(path, names).removesuffix(LABEL_SUFFIX) + EXTRAS[extra]


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
    with open_form(path) as (file, form):
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
    ome_planes: tuple[int, int] | None = None,
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
    ome_planes:
        Of how many times, and of how many planes at each, the pages are: the file is OME-TIFF then, and the text the
        description of its image. None for TIFF alone.

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
    metadata: dict[str, Any] | None = None
    if ome_planes is not None:
        metadata = _describe_ome(description or "", resolution, ome_planes)
        description = None
        layout |= {"shape": (*(count for count in ome_planes if count > 1), *labels.shape[-2:]), "dtype": dtype}
        data = iter([data]) if isinstance(data, np.ndarray) else data
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
            ome=ome_planes is not None,
            metadata=metadata,
            description=description,
            **layout,
        )


def _describe_ome(description: str, resolution: Resolution | None, planes: tuple[int, int]) -> dict[str, Any]:
    """Return what tifffile puts into OME's XML."""
    from uuid import NAMESPACE_URL, uuid5

    axes = "".join(axis for axis, count in zip("TZ", planes, strict=True) if count > 1) + "YX"
    described: dict[str, Any] = {
        "axes": axes,
        "Name": "labels",
        "Channel": {"Name": ["labels"]},
        "Description": description,
        # the same again for the same mask; by default it is that of the moment
        "UUID": str(uuid5(NAMESPACE_URL, f"mosaicell {description}")),
    }
    if resolution is not None and resolution.pixel_um is not None:
        described["PhysicalSizeY"], described["PhysicalSizeX"] = resolution.pixel_um
    return described


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
