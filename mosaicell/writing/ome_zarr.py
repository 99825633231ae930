"""Label images as OME-Zarr: cut into chunks, with reduced copies for viewers.

NGFF 0.4 (Zarr 2) is what QuPath, MoBIE, vizarr and napari read; 0.5 (Zarr 3) is for those that ask for it. The form is
small: JSON files that say what is there, and chunks that are deflated. Chunks without a cell are not written, as the
fill value stands for them.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.options import NGFF_VERSIONS
from mosaicell.writing.parts import write_whole_folder

#: side of a chunk, and that from which an image is reduced once more
CHUNK_PX, SMALLEST_PX = 1024, 512
#: of zlib and gzip
LEVEL = 1
#: what viewers take for labels
DTYPE = np.dtype("<u4")
#: where the labels stand in the group, as NGFF wants it
LABELS, NAME = "labels", "mosaicell"


def write_ome_zarr(
    path: str | os.PathLike[str],
    pages: Iterable[np.ndarray],
    planes: tuple[int, int] = (1, 1),
    pixel_um: tuple[float, float] | None = None,
    version: str = NGFF_VERSIONS[0],
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
    version
        One of `NGFF_VERSIONS`.

    Raises
    ------
    ValueError
        If there is no such version.
    OSError
        If it cannot be written.

    Notes
    -----
    A level of the pyramid is every second pixel of every second row of the one below: a label stays one, and a pixel
    of the level stands for the first of those that it was.
    """
    if version not in NGFF_VERSIONS:
        raise ValueError(f"{version!r} is no version of NGFF that is written; allowed are {', '.join(NGFF_VERSIONS)}")
    outer = {axis: count for axis, count in zip("tz", planes, strict=True) if count > 1}
    with write_whole_folder(path) as part:
        _write_group(part, {}, version)
        _write_group(part / LABELS, {"labels": [NAME]}, version)
        folder = part / LABELS / NAME
        steps: list[int] = []
        for number, labels in enumerate(pages):
            place = tuple(map(int, np.unravel_index(number, tuple(outer.values())))) if outer else ()
            steps = [2**level for level in range(_count_levels(labels.shape))]
            for level, step in enumerate(steps):
                reduced = labels[::step, ::step]
                if number == 0:
                    lengths = {**outer, "y": reduced.shape[0], "x": reduced.shape[1]}
                    _describe_array(folder / str(level), lengths, version)
                _write_chunks(folder / str(level), place, reduced, version)
        _write_group(folder, _describe_labels(outer, steps, pixel_um), version)


def _count_levels(shape_px: tuple[int, ...]) -> int:
    count = 1
    while max(shape_px) > SMALLEST_PX * 2 ** (count - 1):
        count += 1
    return count


def _is_zarr_3(version: str) -> bool:
    return version != NGFF_VERSIONS[0]


def _write_group(folder: Path, said: dict[str, Any], version: str) -> None:
    """Write a group with what NGFF says of it, nothing for one that only holds others."""
    folder.mkdir(exist_ok=True)
    if _is_zarr_3(version):
        attributes = {"ome": {"version": version, **said}} if said else {}
        _write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
        return
    _write_json(folder / ".zgroup", {"zarr_format": 2})
    # there each part says its version
    parts: dict[str, Any] = {"multiscales": [{"version": version, **one} for one in said.get("multiscales", [])]}
    parts["image-label"] = {"version": version}
    _write_json(folder / ".zattrs", {name: parts.get(name, value) for name, value in said.items()})


def _describe_array(folder: Path, lengths: dict[str, int], version: str) -> None:
    """Describe an array by the lengths of its axes."""
    folder.mkdir(parents=True)
    shape = list(lengths.values())
    chunks = [*(1 for _ in shape[:-2]), CHUNK_PX, CHUNK_PX]
    if _is_zarr_3(version):
        described = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": DTYPE.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "gzip", "configuration": {"level": LEVEL}},
            ],
            "fill_value": 0,
            "attributes": {},
            "dimension_names": list(lengths),
        }
        _write_json(folder / "zarr.json", described)
        return
    described = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": DTYPE.str,
        "compressor": {"id": "zlib", "level": LEVEL},
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }
    _write_json(folder / ".zarray", described)


def _describe_labels(outer: Iterable[str], steps: list[int], pixel_um: tuple[float, float] | None) -> dict[str, Any]:
    others = [{"name": name, "type": "time" if name == "t" else "space"} for name in outer]
    unit = {} if pixel_um is None else {"unit": "micrometer"}
    own = pixel_um or (1.0, 1.0)
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [*(1.0 for _ in others), *(size * step for size in own)]},
            ],
        }
        for level, step in enumerate(steps)
    ]
    axes = [*others, *({"name": name, "type": "space", **unit} for name in "yx")]
    return {
        "multiscales": [{"name": NAME, "axes": axes, "datasets": datasets, "type": "nearest"}],
        "image-label": {},
    }


def _write_chunks(folder: Path, place: tuple[int, ...], labels: np.ndarray, version: str) -> None:
    """Write the chunks of a label image (y, x) that hold a cell."""
    folder = folder.joinpath(*("c" for _ in range(_is_zarr_3(version))), *map(str, place))
    for row, column, chunk in _cut(labels):
        if chunk.any():
            whole = np.zeros((CHUNK_PX, CHUNK_PX), DTYPE)
            whole[: chunk.shape[0], : chunk.shape[1]] = chunk
            (folder / str(row)).mkdir(parents=True, exist_ok=True)
            stored = whole.tobytes()
            # without the time of day, so that equal labels are equal files
            deflated = gzip.compress(stored, LEVEL, mtime=0) if _is_zarr_3(version) else zlib.compress(stored, LEVEL)
            (folder / str(row) / str(column)).write_bytes(deflated)


def _cut(labels: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    for row, y in enumerate(range(0, labels.shape[0], CHUNK_PX)):
        for column, x in enumerate(range(0, labels.shape[1], CHUNK_PX)):
            yield row, column, labels[y : y + CHUNK_PX, x : x + CHUNK_PX]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
