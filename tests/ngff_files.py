"""OME-Zarr folders as other programs write them, of both versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from mosaicell.reading.ngff import AXIS_TYPES

#: of NGFF, with Zarr's own
VERSIONS = {"0.4": 2, "0.5": 3}


def describe(
    axes: str, names: tuple[str, ...] = (), scale: float = 0.5, unit: str = "micrometer", path: str = "0"
) -> dict[str, Any]:
    """Return what NGFF says of an image with these axes and names of channels."""
    described = [
        {"name": axis, "type": AXIS_TYPES.get(axis, "space"), **({"unit": unit} if axis in "zyx" else {})}
        for axis in axes
    ]
    scales = [scale if axis in "yx" else 1.0 for axis in axes]
    dataset = {"path": path, "coordinateTransformations": [{"type": "scale", "scale": scales}]}
    said: dict[str, Any] = {"multiscales": [{"name": "cells", "axes": described, "datasets": [dataset]}]}
    if names:
        said["omero"] = {"channels": [{"label": name} for name in names]}
    return said


def write_group(folder: Path, said: dict[str, Any], version: str) -> None:
    """Write a group with what NGFF says of it."""
    folder.mkdir(parents=True, exist_ok=True)
    if VERSIONS[version] == 2:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(said))
    else:
        node = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": version, **said}}}
        (folder / "zarr.json").write_text(json.dumps(node))


def write_image(
    folder: Path,
    array: np.ndarray,
    axes: str,
    version: str = "0.4",
    *,
    names: tuple[str, ...] = (),
    side_px: int = 64,
    said: dict[str, Any] | None = None,
    **layout: Any,
) -> Path:
    """Write an image in chunks of so many px a side; returns the folder."""
    write_group(folder, describe(axes, names) if said is None else said, version)
    layout = {"chunks": (*(1 for _ in array.shape[:-2]), side_px, side_px), **layout}
    if VERSIONS[version] == 2:
        layout["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    layout["zarr_format"] = VERSIONS[version]
    stored = zarr.create_array(folder / "0", shape=array.shape, dtype=array.dtype, **layout)
    stored[...] = array
    return folder
