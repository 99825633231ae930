"""The images of a run: which files of the input are segmented, and which are refused by their name or place."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from inference.enclosure import LEADS_OUT
from inference.errors import OptionError
from inference.images import SUFFIXES, mask_name
from inference.overlay import overlay_name

log = logging.getLogger(__name__)

#: why a file is refused, by its path
Refusals = dict[Path, str]


def find_images(path: Path, *, follow_links: bool = False) -> tuple[list[Path], Refusals]:
    """List the image files of a folder by name, or the one file.

    Parameters
    ----------
    path
        Folder or file.
    follow_links
        Also take symbolic links that lead out of the folder; a folder that others fill could name any file of this
        machine. A single file is taken whatever it is: the user named it.

    Returns
    -------
    images
        Sub-folders and other files are named in the log and left out, hidden files left out in silence.
    refused
        Links that lead out of the folder.

    Raises
    ------
    OptionError
        When the path does not exist or cannot be read, or a single file has no image suffix.
    """
    try:
        if path.is_file():
            if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
                raise OptionError(f"{path} is no image file; allowed are {', '.join(SUFFIXES)}")
            return [path], {}
        if not path.is_dir():
            said = "is neither a folder nor a file" if path.exists() else "does not exist"
            raise OptionError(f"the input {path} {said}")
        with os.scandir(path) as scan:
            entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise OptionError(f"the input {path} cannot be read: {error.strerror}") from error
    inside = os.path.join(os.path.realpath(path), "")  # noqa: PTH118, ends with the separator
    images, refused = [], Refusals()
    for entry in entries:
        file = path / entry.name
        if _is_folder(entry):
            log.warning("%s: a folder, left out; only the files of the input folder itself are segmented", entry.name)
        elif file.suffix.lower() not in SUFFIXES:
            log.warning("%s: no image suffix (%s), left out", entry.name, ", ".join(SUFFIXES))
        elif entry.is_symlink() and not follow_links and not os.path.realpath(file).startswith(inside):
            refused[file] = LEADS_OUT
        else:
            images.append(file)
    if not images and not refused:
        log.warning("%s holds no image", path)
    return images, refused


def check_names(images: list[Path], folder: Path) -> tuple[list[Path], Refusals]:
    """Refuse images whose mask would have an earlier one's name, or a name that the output folder cannot hold.

    Returns
    -------
    images
        In the order given.
    refused
        The others.
    """
    longest = os.pathconf(folder, "PC_NAME_MAX")
    owners: dict[str, Path] = {}
    refused = Refusals()
    for path in images:
        name = mask_name(path)
        length = max(len(os.fsencode(name)), len(os.fsencode(overlay_name(path))))
        if length > longest:
            refused[path] = f"its mask's name would have {length} bytes; allowed are {longest}: rename it"
        elif name in owners:
            refused[path] = f"its mask would have the name of {owners[name].name}'s, {name}; rename one of the two"
        else:
            owners[name] = path
    return list(owners.values()), refused


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # It cannot be looked at; reading it will say why.
        return False
