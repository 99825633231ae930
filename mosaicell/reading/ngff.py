"""What an OME-Zarr folder says of itself: which images it holds, their axes, channels and the size of their pixels.

Versions 0.4 (Zarr 2) and 0.5 (Zarr 3) of NGFF: https://ngff.openmicroscopy.org
"""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import Opener, open_anywhere
from mosaicell.reading.pixel_size import UNITS_UM, Resolution, from_um

#: ends the name of a folder that is an image
FOLDER_SUFFIX = ".zarr"
#: files that say what a folder is: Zarr 3; Zarr 2, attributes and whether it is a group or an array
NODE_FILE, ATTRIBUTES_FILE, GROUP_FILE, ARRAY_FILE = "zarr.json", ".zattrs", ".zgroup", ".zarray"
#: longer ones are not read, of groups and of arrays; that of a plate of 1,536 wells has a tenth of it
MAX_JSON_BYTES, MAX_ARRAY_BYTES = 4 << 20, 64 << 10
#: scenes of a file, and characters of a path in it
MAX_SCENES, MAX_PATH = 1000, 1000
#: axes by their type, or else their name
AXES = "tczyx"
AXIS_TYPES = {"time": "t", "channel": "c"}


@dataclass(frozen=True)
class NgffImage:
    """One image of a folder, at full resolution.

    Attributes
    ----------
    name
        As the metadata has it, or where it stands.
    path
        Of its array in the folder.
    axes
        A letter of `AXES` for each, y and x among them.
    resolution
        Pixels for a unit of length, None where nothing, or nonsense, is said.
    channels
        Their names, as many as are said, "" for one without.
    """

    name: str
    path: str
    axes: str
    resolution: Resolution | None
    channels: tuple[str, ...]


def is_zarr(path: Path) -> bool:
    """Say whether a path is a folder of Zarr, by its name or what lies in it."""
    names = (NODE_FILE, ATTRIBUTES_FILE, GROUP_FILE, ARRAY_FILE)
    return path.is_dir() and (has_zarr_name(path) or any((path / name).is_file() for name in names))


def has_zarr_name(path: Path) -> bool:
    """Say whether a folder is called as those of Zarr are."""
    return path.suffix.lower() == FOLDER_SUFFIX


def holds_labels_alone(path: Path) -> bool:
    """Say whether a folder is what `--ome-zarr` writes: labels of an image, which it does not hold itself."""
    if not (path / "labels").is_dir():
        return False
    try:
        return not _read_group(path, "", open_anywhere)
    except ImageError:
        return False


def read_ngff(folder: Path, opener: Opener) -> list[NgffImage]:
    """Read which images a folder holds: one, those of a well, or the scenes that bioformats2raw has written.

    Raises
    ------
    ImageError
        If it holds none, or is a plate of many, or damaged.
    """
    root = _read_group(folder, "", opener)
    if root is None:
        raise ImageError(f"is no image: the folder holds neither {NODE_FILE} nor {ATTRIBUTES_FILE}")
    if "multiscales" in root:
        return [_describe(root, "")]
    if "plate" in root:
        raise ImageError(_say_plate(root["plate"], folder.name))
    found = [_describe(_read_scene(folder, place, opener), f"{place}/") for place in _list_scenes(root, folder, opener)]
    if not found:
        raise ImageError("is Zarr but no OME-Zarr: its metadata names no image (multiscales)")
    return found


def read_json(
    folder: Path, path: str, opener: Opener, most_bytes: int = MAX_JSON_BYTES
) -> tuple[bytes, dict[str, Any]] | None:
    """Read an object from a file of a folder, as it is stored and parsed; None where there is no such file.

    Raises
    ------
    ImageError
        If it is no object, or far too long.
    """
    try:
        with io.FileIO(os.fspath(folder / path), opener=opener) as file:
            stored = file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ImageError(f"cannot be read: {path}: {error.strerror or error}") from error
    if len(stored) > most_bytes:
        raise ImageError(f"is damaged: {path} has more than {most_bytes:,} bytes")
    try:
        parsed = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"is damaged: {path} is no JSON") from error
    if not isinstance(parsed, dict):
        raise ImageError(f"is damaged: {path} holds no object")
    return stored, parsed


def read_attributes(folder: Path, place: str, opener: Opener) -> dict[str, Any]:
    """Return all attributes of a group at a place of a folder, "" or one that ends with a slash; none where none are.

    Raises
    ------
    ImageError
        As `read_json`.
    """
    node = read_json(folder, f"{place}{NODE_FILE}", opener)
    said = (
        node[1].get("attributes") if node else (read_json(folder, f"{place}{ATTRIBUTES_FILE}", opener) or ({}, {}))[1]
    )
    return said if isinstance(said, dict) else {}


def _read_group(folder: Path, place: str, opener: Opener) -> dict[str, Any] | None:
    """Return what NGFF says of a group, None where there is none."""
    node = read_json(folder, f"{place}{NODE_FILE}", opener)
    if node is not None:
        attributes = node[1].get("attributes")
        ome = attributes.get("ome") if isinstance(attributes, dict) else None
        return ome if isinstance(ome, dict) else {}
    said = read_json(folder, f"{place}{ATTRIBUTES_FILE}", opener)
    if said is None:
        # a group may have no attributes
        return None if read_json(folder, f"{place}{GROUP_FILE}", opener) is None else {}
    return said[1]


def _read_scene(folder: Path, place: str, opener: Opener) -> dict[str, Any]:
    group = _read_group(folder, f"{place}/", opener)
    if group is None or "multiscales" not in group:
        raise ImageError(f"is damaged: it names an image {place!r} that is not there")
    return group


def _list_scenes(root: dict[str, Any], folder: Path, opener: Opener) -> list[str]:
    """Return where the images of a well, or of what bioformats2raw has written, stand."""
    if "well" in root:
        listed = _get(root, ("well", "images"), list)
        return [_check_path(_get(one, ("path",), str)) for one in listed[:MAX_SCENES]]
    if "bioformats2raw.layout" not in root:
        return []
    series = (_read_group(folder, "OME/", opener) or {}).get("series")
    if isinstance(series, list):
        return [_check_path(place) for place in series[:MAX_SCENES]]
    places = list[str]()
    while len(places) < MAX_SCENES and _read_group(folder, f"{len(places)}/", opener) is not None:
        places.append(str(len(places)))
    return places


def _describe(group: dict[str, Any], place: str) -> NgffImage:
    multiscale = _get(group, ("multiscales", 0), dict)
    axes = _get(multiscale, ("axes",), list)
    letters = ""
    for axis in axes:
        kind, name = (axis.get("type"), axis.get("name")) if isinstance(axis, dict) else (None, None)
        letters += AXIS_TYPES.get(str(kind)) or (str(name).lower() if str(name).lower() in set(AXES) else "?")
    if len(set(letters)) < len(letters) or not set("yx") <= set(letters) <= set(AXES):
        raise ImageError(f"has axes {axes!s:.200}; allowed are t, c, z, y and x, each once")
    dataset = _get(multiscale, ("datasets", 0), dict)
    name = multiscale.get("name")
    return NgffImage(
        name=name if isinstance(name, str) else place.rstrip("/"),
        path=place + _check_path(_get(dataset, ("path",), str)),
        axes=letters,
        resolution=_find_resolution(multiscale, dataset, letters),
        channels=_name_channels(group.get("omero")),
    )


def _find_resolution(multiscale: dict[str, Any], dataset: dict[str, Any], axes: str) -> Resolution | None:
    """Multiply the scales of the full resolution and of all; without units they say nothing."""
    sizes_um = []
    for letter in "xy":
        at = axes.index(letter)
        size_um = UNITS_UM.get(str(multiscale["axes"][at].get("unit")), math.nan)
        for holder in (dataset, multiscale):
            transformations = holder.get("coordinateTransformations")
            for one in transformations if isinstance(transformations, list) else []:
                scale = one.get("scale") if isinstance(one, dict) else None
                if isinstance(scale, list) and len(scale) == len(axes) and isinstance(scale[at], int | float):
                    size_um *= scale[at]
        sizes_um.append(size_um)
    return from_um(sizes_um[0], sizes_um[1])


def _name_channels(omero: Any) -> tuple[str, ...]:
    channels = omero.get("channels") if isinstance(omero, dict) else None
    labels = [one.get("label") if isinstance(one, dict) else None for one in channels or []]
    return tuple(label.strip() if isinstance(label, str) else "" for label in labels)


def _say_plate(plate: Any, name: str) -> str:
    wells = plate.get("wells") if isinstance(plate, dict) else None
    first = wells[0].get("path") if isinstance(wells, list) and wells and isinstance(wells[0], dict) else "A/1"
    return f"is a plate of {len(wells or [])} wells: give its wells as inputs, as {name}/{first!s:.100}"


def _check_path(path: Any) -> str:
    """Refuse what does not lead to a place within the folder."""
    parts = path.split("/") if isinstance(path, str) and len(path) <= MAX_PATH else [""]
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ImageError(f"is damaged: its metadata names {path!r:.100}, which is no place in the folder")
    return str(path)


def _get(value: Any, keys: tuple[str | int, ...], kind: type) -> Any:
    """Return what lies under keys, of a kind."""
    for key in keys:
        is_there = key in value if isinstance(value, dict) else isinstance(value, list) and key == 0 < len(value)
        if not is_there:
            raise ImageError(f"is damaged: the metadata has no {'.'.join(map(str, keys))}")
        value = value[key]
    if not isinstance(value, kind):
        raise ImageError(f"is damaged: {'.'.join(map(str, keys))} in the metadata is {value!r:.100}")
    return value
