"""Which file a mask is of and what made it: written into the description of its TIFF, and read there by later runs.

Names alone do not tell: `a.1.tif` and `a.2.tif` may share one mask's name, and so do files of two folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from enum import Enum, auto
from pathlib import Path

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import Opener, open_anywhere
from mosaicell.reading.tiff import tables_quota, tiff_errors
from mosaicell.runs.folder_content import digest_folder, measure_folder

#: a file of up to this many bytes is compared whole, of a larger one so many pieces of such a size
WHOLE_BYTES, PIECES, PIECE_BYTES = 32 << 20, 32, 1 << 20
#: hexadecimal digits of a digest: enough for the files of a folder
DIGITS = 16
#: marks a description as ours
PROGRAM = "mosaicell"
OME_DESCRIPTION = re.compile(r"<Description>([^<]*)</Description>")


class Sameness(Enum):
    """What the file of an earlier mask is to the one at hand."""

    SAME = auto()
    #: in the same folder, of the same name, with other content
    CHANGED = auto()
    ANOTHER = auto()


@dataclass(frozen=True)
class Origin:
    """Which file a mask is of.

    Attributes
    ----------
    image
        Name of the file, or of the folder that is the image.
    bytes, modified_ns
        Its size and time of change; of a folder those of all its files.
    folder
        Digest of the path of its folder, which says no more than whether two are the same.
    digest
        Of the content; empty until it is needed, as a large file has to be read for it.
    settings
        Digest of the options and weights that the mask is made with.
    """

    image: str
    bytes: int
    modified_ns: int
    folder: str
    digest: str = ""
    settings: str = ""

    @classmethod
    def of(cls, path: Path, opener: Opener, settings: str) -> Origin:
        """Return what a mask of a file would say, but for the digest; a file that cannot be opened has -1 bytes."""
        size, modified_ns = -1, 0
        if path.is_dir():
            size, modified_ns = measure_folder(path)
        else:
            with contextlib.suppress(ImageError, OSError), io.FileIO(os.fspath(path), opener=opener) as file:
                found = os.fstat(file.fileno())
                size, modified_ns = found.st_size, found.st_mtime_ns
        return cls(path.name, size, modified_ns, digest_bytes(os.fsencode(os.path.realpath(path.parent))), "", settings)

    def with_digest(self, path: Path, opener: Opener) -> Origin:
        """Return the same with the digest of the content, as far as the file can still be read."""
        with contextlib.suppress(ImageError, OSError):
            return replace(self, digest=_digest_content(path, opener))
        return self

    def compare(self, earlier: Origin, path: Path, opener: Opener) -> Sameness:
        """Say whether a mask that is there is of this file.

        Parameters
        ----------
        earlier
            What that mask says.
        path, opener
            This file, which is read when name, size, place and time leave a doubt.
        """
        if earlier.image != self.image:
            return Sameness.ANOTHER
        is_same_place = earlier.folder == self.folder
        if is_same_place and self.bytes < 0:
            # nothing says that it has changed
            return Sameness.SAME
        if earlier.bytes == self.bytes:
            if is_same_place and earlier.modified_ns == self.modified_ns:
                return Sameness.SAME
            with contextlib.suppress(ImageError, OSError):
                if _digest_content(path, opener) == earlier.digest:
                    return Sameness.SAME
        return Sameness.CHANGED if is_same_place else Sameness.ANOTHER

    def describe(self) -> str:
        """Return the text for a mask's description, ASCII in one line."""
        return json.dumps({"program": PROGRAM, **asdict(self)})

    @classmethod
    def parse(cls, description: str) -> Origin | None:
        """Read what `describe` wrote, as it is or in OME's XML; None for any other text."""
        if description.startswith("<?xml"):
            # few masks are OME's
            from html import unescape

            description = unescape("".join(OME_DESCRIPTION.findall(description)[:1]))
        try:
            entries = json.loads(description)
        except (ValueError, RecursionError):
            return None
        if not isinstance(entries, dict) or entries.pop("program", None) != PROGRAM:
            return None
        try:
            origin = cls(**entries)
        except TypeError:
            return None
        texts = (origin.image, origin.folder, origin.digest, origin.settings)
        numbers = (origin.bytes, origin.modified_ns)
        is_whole = all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)
        return origin if is_whole else None


def read_origin(mask: Path) -> Origin | None:
    """Read which file a mask is of; None when it does not say, or is not there, or neither TIFF nor OME-Zarr."""
    if mask.is_dir():
        return _read_folder_origin(mask)
    if not mask.is_file():
        return None
    import tifffile

    try:
        with mask.open("rb") as opened, tiff_errors(), tables_quota(opened):
            description = tifffile.TiffFile(opened, _multifile=False).pages.first.description
    except (ImageError, OSError):
        return None
    return Origin.parse(description)


def _read_folder_origin(folder: Path) -> Origin | None:
    # few masks are folders
    from mosaicell.reading.ngff import read_attributes
    from mosaicell.writing.ome_zarr import LABELS, NAME

    try:
        said = read_attributes(folder, f"{LABELS}/{NAME}/", open_anywhere).get(PROGRAM)
    except (ImageError, OSError):
        return None
    return Origin.parse(said) if isinstance(said, str) else None


def digest_bytes(content: bytes) -> str:
    """Return a short digest, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _digest_content(path: Path, opener: Opener) -> str:
    """Digest a file or folder, or pieces spread evenly over a large one."""
    if path.is_dir():
        return digest_folder(path, opener).hexdigest()[:DIGITS]
    digest = hashlib.sha256()
    with io.FileIO(os.fspath(path), opener=opener) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= WHOLE_BYTES:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
        else:
            for number in range(PIECES):
                file.seek((size - PIECE_BYTES) * number // (PIECES - 1))
                digest.update(file.read(PIECE_BYTES))
    return digest.hexdigest()[:DIGITS]
