"""Label images as OME-Zarr (NGFF 0.4, Zarr 2): cut into chunks, with reduced copies for viewers.

Version 0.4 is what QuPath, MoBIE, vizarr and napari read. The form is small: JSON files that say what is there, and
chunks compressed with zlib. Chunks without a cell are not written, as the fill value stands for them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.writing.parts import write_whole_folder

#: side of a chunk, and that from which an image is reduced once more
CHUNK_PX, SMALLEST_PX = 1024, 512
#: of zlib
LEVEL = 1
VERSION = "0.4"
#: what viewers take for labels
DTYPE = np.dtype("<u4")
#: where the labels stand in the group, as NGFF wants it
LABELS, NAME = "labels", "mosaicell"


def write_ome_zarr(
    path: str | os.PathLike[str],
    pages: Iterable[np.ndarray],
    planes: tuple[int, int] = (1, 1),
    pixel_um: tuple[float, float] | None = None,
) -> None:
    """Write label images as a group that holds `labels/mosaicell`, whole or not at all.

    Parameters
    ----------
    path
        Folder to write or replace.
    pages
        (y, x), ids below 2**32; the planes of the first time, then those of the next.
    planes
        Of how many times, and of how many planes at each, the pages are. Axes of length 1 are left out.
    pixel_um
        Height and width of a pixel, where they are known.

    Raises
    ------
    OSError
        If it cannot be written.

    Notes
    -----
    A level of the pyramid is every second pixel of every second row of the one below: a label stays one, and a pixel
    of the level stands for the first of those that it was.
    """
    outer = tuple(count for count in planes if count > 1)
    with write_whole_folder(path) as part:
        _write_group(part, {})
        _write_group(part / LABELS, {"labels": [NAME]})
        folder = part / LABELS / NAME
        steps: list[int] = []
        for number, labels in enumerate(pages):
            place = tuple(map(int, np.unravel_index(number, outer))) if outer else ()
            steps = [2**level for level in range(_count_levels(labels.shape))]
            for level, step in enumerate(steps):
                reduced = labels[::step, ::step]
                if number == 0:
                    _describe_array(folder / str(level), (*outer, *reduced.shape))
                _write_chunks(folder / str(level), place, reduced)
        _write_group(folder, _describe_labels(planes, steps, pixel_um))


def _count_levels(shape_px: tuple[int, ...]) -> int:
    count = 1
    while max(shape_px) > SMALLEST_PX * 2 ** (count - 1):
        count += 1
    return count


def _write_group(folder: Path, attributes: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    _write_json(folder / ".zgroup", {"zarr_format": 2})
    _write_json(folder / ".zattrs", attributes)


def _describe_array(folder: Path, shape: tuple[int, ...]) -> None:
    folder.mkdir(parents=True)
    described = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": [*(1 for _ in shape[:-2]), CHUNK_PX, CHUNK_PX],
        "dtype": DTYPE.str,
        "compressor": {"id": "zlib", "level": LEVEL},
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }
    _write_json(folder / ".zarray", described)


def _describe_labels(planes: tuple[int, int], steps: list[int], pixel_um: tuple[float, float] | None) -> dict[str, Any]:
    kinds = [("t", "time"), ("z", "space")]
    outer = [{"name": name, "type": kind} for (name, kind), count in zip(kinds, planes, strict=True) if count > 1]
    unit = {} if pixel_um is None else {"unit": "micrometer"}
    own = pixel_um or (1.0, 1.0)
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [*(1.0 for _ in outer), *(size * step for size in own)]},
            ],
        }
        for level, step in enumerate(steps)
    ]
    axes = [*outer, *({"name": name, "type": "space", **unit} for name in "yx")]
    return {
        "multiscales": [{"version": VERSION, "name": NAME, "axes": axes, "datasets": datasets, "type": "nearest"}],
        "image-label": {"version": VERSION},
    }


def _write_chunks(folder: Path, place: tuple[int, ...], labels: np.ndarray) -> None:
    """Write the chunks of a label image (y, x) that hold a cell."""
    folder = folder.joinpath(*map(str, place))
    for row, column, chunk in _cut(labels):
        if chunk.any():
            whole = np.zeros((CHUNK_PX, CHUNK_PX), DTYPE)
            whole[: chunk.shape[0], : chunk.shape[1]] = chunk
            (folder / str(row)).mkdir(parents=True, exist_ok=True)
            (folder / str(row) / str(column)).write_bytes(zlib.compress(whole.tobytes(), LEVEL))


def _cut(labels: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    for row, y in enumerate(range(0, labels.shape[0], CHUNK_PX)):
        for column, x in enumerate(range(0, labels.shape[1], CHUNK_PX)):
            yield row, column, labels[y : y + CHUNK_PX, x : x + CHUNK_PX]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
