"""Labelled folders in the challenge's layout: images/NAME.* beside labels/NAME_label.tiff."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mosaicell.errors import ImageError, OptionError
from mosaicell.reading.images import SUFFIXES, find_mask, read_image, read_labels


def list_images(root: Path) -> list[Path]:
    """List the images of a folder by name; hidden files are left out, as the program leaves them out.

    Parameters
    ----------
    root
        Folder with images/.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    OptionError
        When the folder is missing or holds no image, or when two images would share a label file.
    """
    folder = root / "images"
    if not folder.is_dir():
        raise OptionError(f"{folder} is not a folder")
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not images:
        raise OptionError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    owners: dict[str, Path] = {}
    for path in images:
        name = find_mask(root / "labels", path).name
        owner = owners.setdefault(name, path)
        if owner != path:
            raise OptionError(f"{owner} and {path.name} share the label file {name}: rename one of them")
    return images


def find_labels(root: Path, image: Path) -> Path:
    """Return the label file of an image, named as the program names masks: after its full name or up to the first dot.

    Raises
    ------
    OptionError
        When there is no such file.
    """
    path = find_mask(root / "labels", image)
    if not path.is_file():
        raise OptionError(f"{path}, the labels of {image.name}, is missing")
    return path


def read_pixels(path: Path) -> np.ndarray:
    """Read an image as `read_image` gives it, (y, x, c) with c in {1, 3}.

    Raises
    ------
    OptionError
        When the file cannot be read.
    """
    try:
        return read_image(path).pixels
    except ImageError as error:
        raise OptionError(f"{path} {error}") from error


def read_pair(root: Path, image: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an image of `list_images` and its labels.

    Returns
    -------
    pixels
        (y, x, c) with c in {1, 3}.
    labels
        uint32 (y, x), ids as stored.

    Raises
    ------
    OptionError
        When the labels are missing, one of the two files cannot be read, or their sizes differ.
    """
    label_path = find_labels(root, image)
    pixels = read_pixels(image)
    try:
        labels = read_labels(label_path)
    except ImageError as error:
        raise OptionError(f"{label_path} {error}") from error
    if labels.shape != pixels.shape[:2]:
        raise OptionError(f"{label_path} has shape {labels.shape}, its image {pixels.shape[:2]}")
    return pixels, labels


def read_sources(root: Path) -> dict[str, str]:
    """Return "source/modality" by image name from the manifest.csv in a folder or in its parent, empty without one."""
    for folder in (root, root.parent):
        if (folder / "manifest.csv").exists():
            with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
                return {row["image"]: f"{row['source']}/{row['modality']}" for row in csv.DictReader(stream)}
    return {}


def in_sources(source: str, names: tuple[str, ...]) -> bool:
    """Whether a source "source/modality" is one of those named, in full or by the part before the slash."""
    return source in names or source.split("/")[0] in names


def pick_images(root: Path, sources: tuple[str, ...] = (), per_source: int = 0) -> dict[str, list[Path]]:
    """List images by source.

    Parameters
    ----------
    root
        Folder with images/.
    sources
        Those to take, all when empty.
    per_source
        At most this many images of each, evenly over their names; 0 for all.

    Returns
    -------
    Paths by source, sources sorted; images that no manifest.csv names have the source "".

    Raises
    ------
    OptionError
        When no image is left, or as in `list_images`.
    """
    known = read_sources(root)
    groups: dict[str, list[Path]] = {}
    for path in list_images(root):
        source = known.get(path.name, "")
        if not sources or in_sources(source, sources):
            groups.setdefault(source, []).append(path)
    if not groups:
        raise OptionError(f"{root} holds no image of the sources {', '.join(sources)}")
    for source, paths in groups.items():
        count = min(len(paths), per_source or len(paths))
        groups[source] = [paths[index] for index in np.linspace(0, len(paths) - 1, count).round().astype(int)]
    return dict(sorted(groups.items()))
