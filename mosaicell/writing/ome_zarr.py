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
        write_group(part, {}, version)
        write_group(part / LABELS, {"labels": [NAME]}, version)
        folder = part / LABELS / NAME
        steps: list[int] = []
        for number, labels in enumerate(pages):
            place = tuple(map(int, np.unravel_index(number, tuple(outer.values())))) if outer else ()
            steps = [2**level for level in range(count_levels(labels.shape))]
            for level, step in enumerate(steps):
                reduced = labels[::step, ::step]
                if number == 0:
                    lengths = {**outer, "y": reduced.shape[0], "x": reduced.shape[1]}
                    describe_array(folder / str(level), lengths, version)
                _write_chunks(folder / str(level), place, reduced, version)
        write_group(folder, describe_labels(outer, steps, pixel_um), version)


def count_levels(shape_px: tuple[int, ...]) -> int:
    """Return how many levels the pyramid of a label image has, itself the first."""
    count = 1
    while max(shape_px) > SMALLEST_PX * 2 ** (count - 1):
        count += 1
    return count


def _is_zarr_3(version: str) -> bool:
    return version != NGFF_VERSIONS[0]


def write_group(folder: Path, said: dict[str, Any], version: str, further: dict[str, Any] | None = None) -> None:
    """Write a group with what NGFF says of it, nothing for one that only holds others, and with further attributes."""
    folder.mkdir(exist_ok=True)
    if _is_zarr_3(version):
        attributes = {**({"ome": {"version": version, **said}} if said else {}), **(further or {})}
        _write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
        return
    _write_json(folder / ".zgroup", {"zarr_format": 2})
    # there each part says its version
    parts: dict[str, Any] = {"multiscales": [{"version": version, **one} for one in said.get("multiscales", [])]}
    parts["image-label"] = {"version": version}
    described = {name: parts.get(name, value) for name, value in said.items()}
    _write_json(folder / ".zattrs", {**described, **(further or {})})


def describe_array(folder: Path, lengths: dict[str, int], version: str) -> None:
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


def describe_labels(outer: Iterable[str], steps: list[int], pixel_um: tuple[float, float] | None) -> dict[str, Any]:
    """Return what NGFF says of labels with these axes beside y and x, whose levels are every so many pixels."""
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
    for row, column, chunk in cut_chunks(labels):
        if chunk.any():
            path = find_chunk(folder, (*place, row, column), version)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pack_chunk(chunk, version))


def find_chunk(folder: Path, place: tuple[int, ...], version: str) -> Path:
    """Return where the chunk at a place of an array lies."""
    return folder.joinpath(*("c" for _ in range(_is_zarr_3(version))), *map(str, place))


def pack_chunk(chunk: np.ndarray, version: str) -> bytes:
    """Return what is stored of a chunk of labels (y, x), which at the end of an array may be smaller than others."""
    whole = np.zeros((CHUNK_PX, CHUNK_PX), DTYPE)
    whole[: chunk.shape[0], : chunk.shape[1]] = chunk
    stored = whole.tobytes()
    # without the time of day, so that equal labels are equal files
    return gzip.compress(stored, LEVEL, mtime=0) if _is_zarr_3(version) else zlib.compress(stored, LEVEL)


def unpack_chunk(packed: bytes, version: str) -> np.ndarray:
    """Return the labels (y, x) of a chunk from what `pack_chunk` gave."""
    stored = gzip.decompress(packed) if _is_zarr_3(version) else zlib.decompress(packed)
    return np.frombuffer(stored, DTYPE).reshape(CHUNK_PX, CHUNK_PX)


def cut_chunks(labels: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cut a label image (y, x) into chunks, each with its row and column."""
    for row, y in enumerate(range(0, labels.shape[0], CHUNK_PX)):
        for column, x in enumerate(range(0, labels.shape[1], CHUNK_PX)):
            yield row, column, labels[y : y + CHUNK_PX, x : x + CHUNK_PX]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
