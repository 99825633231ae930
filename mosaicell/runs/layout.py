"""The folders of grand-challenge.org: each image in `images/SLUG/` below the input, where SLUG names what it shows."""

from __future__ import annotations

import logging
from pathlib import Path

from mosaicell.errors import OptionError
from mosaicell.reading.images import SUFFIXES
from mosaicell.reading.ngff import FOLDER_SUFFIX, is_zarr
from mosaicell.runs.inputs import TIFF_SUFFIXES

log = logging.getLogger(__name__)

IMAGES = "images"


def find_image_folders(path: Path) -> list[Path]:
    """Return the folders that hold the images of an input.

    Parameters
    ----------
    path
        Folder or file that the user named.

    Returns
    -------
    list of Path
        By name, the sub-folders of `images` that hold files, where the input itself holds no image; otherwise the path
        as it is. Links to folders are not followed.

    Raises
    ------
    OptionError
        When a folder cannot be read.
    """
    try:
        if is_zarr(path) or not (path / IMAGES).is_dir() or any(map(_has_suffix, _list(path))):
            return [path]
        below = [entry for entry in _list(path / IMAGES) if entry.is_dir() and not entry.is_symlink()]
        folders = [folder for folder in below if _list(folder)]
    except OSError as error:
        raise OptionError(f"the input {error.filename or path} cannot be read: {error.strerror}") from error
    for folder in folders:
        log.info("images are taken from %s, as grand-challenge lays them out", folder)
    return folders or [path]


def _has_suffix(entry: Path) -> bool:
    return entry.suffix.lower() in (*SUFFIXES, *TIFF_SUFFIXES, FOLDER_SUFFIX)


def _list(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
