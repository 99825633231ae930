"""The content of an image that is a folder, as far as it tells whether the image is still the same."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from mosaicell.reading.enclosure import Opener

#: files that are read, spread evenly, and how much of each
PIECES, PIECE_BYTES = 32, 1 << 20


def measure_folder(folder: Path) -> tuple[int, int]:
    """Return the bytes of all files in a folder, and the latest time in ns at which one changed."""
    found = [stat for _, stat in _walk(folder)]
    return sum(stat.st_size for stat in found), max((stat.st_mtime_ns for stat in found), default=0)


def digest_folder(folder: Path, opener: Opener) -> hashlib._Hash:
    """Digest names and sizes of all files of a folder, and the content of some.

    Raises
    ------
    ImageError, OSError
        When one of these cannot be read.
    """
    digest = hashlib.sha256()
    files = sorted((path, stat.st_size) for path, stat in _walk(folder))
    for path, size in files:
        digest.update(os.fsencode(f"{path.relative_to(folder)}\0{size}\n"))
    step = max(1, len(files) // PIECES)
    for path, _ in files[::step]:
        with io.FileIO(os.fspath(path), opener=opener) as file:
            digest.update(file.read(PIECE_BYTES))
    return digest


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """List the files of a folder; links are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):
                yield path, path.lstat()
