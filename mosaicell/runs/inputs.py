"""The images of a run: which files of the inputs are segmented, and which are refused by their name or place.

A folder of OME-Zarr is an image as a file is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from mosaicell.errors import ImageError, OptionError
from mosaicell.options import EXTRAS, NAME_RULES
from mosaicell.reading.enclosure import LEADS_OUT, open_anywhere
from mosaicell.reading.forms import SIGNATURES
from mosaicell.reading.images import SUFFIXES
from mosaicell.reading.ngff import has_zarr_name, holds_labels_alone, is_zarr
from mosaicell.runs.origin import read_origin
from mosaicell.writing.masks import LABEL_SUFFIX, extra_name, mask_name

log = logging.getLogger(__name__)

#: further endings that microscopes and scanners give to TIFF; any other is told by the first bytes of the file
TIFF_SUFFIXES = (".svs", ".ndpi", ".scn", ".qptiff", ".lsm", ".stk", ".btf", ".tf2", ".tf8")
#: endings of copies that editors and programs leave beside a file; such a copy is no image of its own
COPY_SUFFIXES = ("~", ".bak", ".old", ".orig", ".part", ".swp", ".tmp")
TIFF_SIGNATURES = tuple(signature for signature, form in SIGNATURES.items() if form == "TIFF")


@dataclass(frozen=True)
class Source:
    """A file of the input.

    Attributes
    ----------
    path
        The file, or folder of OME-Zarr.
    root
        The folder or file of the command line that it was found by.
    place
        Its folder below the root, empty unless sub-folders are searched; that of its results below the output folder.
    """

    path: Path
    root: Path
    place: Path = Path()

    @property
    def name(self) -> str:
        """What the log and run.json call it: its name, after its place."""
        return str(self.place / self.path.name)


#: why a file is refused
Refusals = dict[Source, str]


@dataclass(frozen=True)
class Search:
    """What is looked for in a folder.

    Attributes
    ----------
    follow_links
        Also take symbolic links that lead out of the folder; a folder that others fill could name any file of this
        machine.
    recursive
        Search sub-folders too, but for links to folders.
    include
        Take only files whose name, or place and name, one of these patterns of the shell matches; empty for all.
    without
        A sub-folder to leave out: that of the output.
    """

    follow_links: bool = False
    recursive: bool = False
    include: tuple[str, ...] = ()
    without: Path | None = None


@dataclass
class Found:
    """What is in the inputs.

    Attributes
    ----------
    images
        By name.
    refused
        Links that lead out of their folder, and sub-folders that cannot be read.
    left_out
        How many files and sub-folders are there that are not taken, hidden ones not counted.
    """

    images: list[Source] = field(default_factory=list)
    refused: Refusals = field(default_factory=dict)
    left_out: int = 0


def find_images(inputs: tuple[Path, ...], search: Search) -> Found:
    """List the image files of folders and the files that are named themselves, each once.

    Raises
    ------
    OptionError
        When an input does not exist or cannot be read, or a single file is no image by its suffix or first bytes.

    Notes
    -----
    A single file is taken wherever it leads and whatever the patterns: the user named it. Sub-folders, other files and
    masks, overlays and labels of this program are named in the log and left out, hidden files left out in silence.
    """
    found = Found()
    for path in inputs:
        try:
            if is_zarr(path):
                if not path.name.partition(".")[0]:
                    raise OptionError(f"{path} gives its mask no name; call the folder by one that begins with no dot")
                found.images.append(Source(path, path))
            elif path.is_file():
                if path.name.startswith(".") or not _has_image_name(path):
                    raise OptionError(f"{path} is no image file; allowed are {', '.join(SUFFIXES)}, and other TIFF")
                found.images.append(Source(path, path))
            elif path.is_dir():
                _search_folder(path, search, found)
            else:
                said = "is neither a folder nor a file" if path.exists() else "does not exist"
                raise OptionError(f"the input {path} {said}")
        except OSError as error:
            raise OptionError(f"the input {path} cannot be read: {error.strerror}") from error
    unique: dict[tuple[str, str], Source] = {}
    for source in found.images:
        unique.setdefault((os.path.realpath(source.path.parent), source.path.name), source)
    found.images = sorted(unique.values(), key=lambda source: source.name)
    return found


def check_names(
    images: list[Source], folder: Path, names: str, extras: Iterable[str] = ("overlay",)
) -> tuple[list[Source], Refusals]:
    """Refuse images whose mask would have an earlier one's name, or a name that the output folder cannot hold.

    Parameters
    ----------
    images
        From `find_images`.
    folder
        Of the output.
    names
        One of `NAME_RULES`.
    extras
        What else is written, of `EXTRAS`.

    Returns
    -------
    images
        In the order given. Of two with one name for their masks, the one with an image's suffix counts, or the first.
    refused
        The others.
    """
    longest = os.pathconf(folder, "PC_NAME_MAX")
    owners: dict[Path, Source] = {}
    refused = Refusals()
    for source in sorted(images, key=lambda source: source.path.suffix.lower() not in SUFFIXES):
        name = mask_name(source.path, names)
        written = (name, *(extra_name(source.path, extra, names) for extra in extras))
        length = max(len(os.fsencode(one)) for one in written)
        owner = owners.get(source.place / name)
        if length > longest:
            refused[source] = f"the name of a result would have {length} bytes; allowed are {longest}: rename it"
        elif owner is not None:
            # of two folders both may be called the same
            theirs = owner.path if owner.name == source.name else owner.name
            refused[source] = f"its mask would have the name of {theirs}'s, {name}; {_avoid_clash(names)}"
        else:
            owners[source.place / name] = source
    return [source for source in images if source not in refused], refused


def _avoid_clash(names: str) -> str:
    full, challenge = NAME_RULES
    return f"take --names {full}, or rename one of the two" if names == challenge else "rename one of the two"


def _search_folder(root: Path, search: Search, found: Found) -> None:
    without = os.path.realpath(search.without) if search.without is not None else None
    before = len(found.images) + len(found.refused) + found.left_out
    places = [Path()]
    while places:
        place = places.pop()
        try:
            with os.scandir(root / place) as scan:
                entries = [entry for entry in scan if not entry.name.startswith(".")]
        except OSError as error:
            if place == Path():
                raise
            found.refused[Source(root / place, root, place.parent)] = f"cannot be read: {error.strerror}"
            continue
        entries.sort(key=lambda entry: entry.name)
        results = _result_names([entry.name for entry in entries])
        for entry in entries:
            source = Source(root / place / entry.name, root, place)
            if not _is_folder(entry) or has_zarr_name(source.path):
                _sort_in(entry, source, results, search, found)
            elif search.recursive and not entry.is_symlink():
                if os.path.realpath(source.path) != without:
                    places.append(place / entry.name)
            else:
                found.left_out += 1
                why = "links to folders are not followed" if search.recursive else "--recursive segments what it holds"
                log.warning("%s: a folder, left out; %s", source.name, why)
    if len(found.images) + len(found.refused) + found.left_out == before:
        log.warning("%s holds no image", root)


def _sort_in(entry: os.DirEntry[str], source: Source, results: set[str], search: Search, found: Found) -> None:
    """Put a file where it belongs: among the images, the refused or those that are left out."""
    inside = os.path.join(os.path.realpath(source.root), "")  # noqa: PTH118, ends with the separator
    if search.include and not any(
        fnmatchcase(name, pattern) for pattern in search.include for name in (entry.name, source.name)
    ):
        found.left_out += 1
        log.debug("%s: not asked for by --include, left out", source.name)
    elif not _is_folder(entry) and not _has_image_suffix(source.path) and not _is_plain_tiff(entry, source.path):
        found.left_out += 1
        log.warning("%s: no image suffix (%s) and no TIFF, left out", source.name, ", ".join(SUFFIXES))
    elif _is_own_result(entry, source.path, results):
        found.left_out += 1
        what = "labels of an image" if _is_folder(entry) else "a mask or overlay beside its image"
        log.warning("%s: %s, left out", source.name, what)
    elif entry.is_symlink() and not search.follow_links and not os.path.realpath(source.path).startswith(inside):
        found.refused[source] = LEADS_OUT
    else:
        found.images.append(source)


def _has_image_suffix(path: Path) -> bool:
    return path.suffix.lower() in (*SUFFIXES, *TIFF_SUFFIXES)


def _has_image_name(path: Path) -> bool:
    """Say whether a file is an image by its suffix, or a TIFF by its first bytes."""
    if _has_image_suffix(path):
        return True
    if path.name.lower().endswith(COPY_SUFFIXES):
        return False
    try:
        descriptor = open_anywhere(os.fspath(path), os.O_RDONLY)
    except (ImageError, OSError):
        return False
    try:
        return os.read(descriptor, 4) in TIFF_SIGNATURES
    finally:
        os.close(descriptor)


def _result_names(names: list[str]) -> set[str]:
    """Return how the masks and overlays of files with these names may be called; empty where none ends as such."""
    overlay = EXTRAS["overlay"]
    if not any(name.endswith((LABEL_SUFFIX, overlay)) for name in names):
        return set()
    stems = {
        mask_name(name, rule).removesuffix(LABEL_SUFFIX)
        for name in names
        if _has_image_suffix(Path(name))
        for rule in NAME_RULES
    }
    masks = {name.removesuffix(LABEL_SUFFIX) for name in names if name.endswith(LABEL_SUFFIX)}
    return {stem + LABEL_SUFFIX for stem in stems} | {stem + overlay for stem in stems | masks}


def _is_own_result(entry: os.DirEntry[str], path: Path, results: set[str]) -> bool:
    """Say whether a file is a mask that says so, or a mask or overlay whose image, or mask, stands beside it.

    A folder is one that holds labels and no image.
    """
    if _is_folder(entry):
        return not entry.is_symlink() and holds_labels_alone(path)
    is_mask = entry.name.endswith(LABEL_SUFFIX)
    return entry.name in results or (is_mask and _is_plain(entry) and read_origin(path) is not None)


def _is_plain_tiff(entry: os.DirEntry[str], path: Path) -> bool:
    return _is_plain(entry) and _has_image_name(path)


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # It cannot be looked at; reading it will say why.
        return False
