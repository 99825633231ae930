"""Files and folders that appear whole or not at all: written under a temporary name, locked while its writer lives.

Process ids do not tell whose a left-over is: every container numbers from 1, and hosts may share a folder. A lock does:
the kernel frees it when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

#: names of our temporary files and of nothing else; short, so that the longest allowed name of a result fits too
PART_NAME = re.compile(r"\.mosaicell-[0-9a-f]{16}\.part(\.\w+)?")
#: how the names of results end that are folders
FOLDER_SUFFIX = ".zarr"
#: age from which a left-over is removed where the file system knows no locks
STALE_S = 24 * 3600

#: temporary files that this process is writing
_current: set[Path] = set()


@contextlib.contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name in the same folder that becomes `path` on success and vanishes on failure.

    Notes
    -----
    The temporary name keeps the ending, from which writers choose the format. Replacing is atomic within a file system:
    nobody sees half a file, and a symbolic link at `path` is replaced, not followed.
    """
    path = Path(path)
    descriptor = -1
    try:
        while descriptor < 0:
            part = path.with_name(f".mosaicell-{os.urandom(8).hex()}.part{path.suffix}")
            _current.add(part)
            descriptor = _create_locked(part)
        yield part
        part.replace(path)
    finally:
        # before the lock goes, so that no other run meets the file unlocked
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        _current.discard(part)
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def write_whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder of a temporary name beside `path` that becomes `path` on success and vanishes on failure.

    Notes
    -----
    The name of `path` has to end in `FOLDER_SUFFIX`, by which a later run knows what a killed one left. Where a folder
    stands at `path`, it is moved away before: for a moment nobody sees either.
    """
    path = Path(path)
    part, old = (path.with_name(f".mosaicell-{os.urandom(8).hex()}.part{path.suffix}") for _ in range(2))
    descriptor = -1
    try:
        _current.update((part, old))
        part.mkdir()
        descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            # where the file system knows no locks, age alone tells a left-over
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
        if os.path.lexists(path):
            path.replace(old)
        part.replace(path)
    finally:
        for left in (part, old):
            with contextlib.suppress(OSError):
                remove_any(left)
            _current.discard(left)
        if descriptor >= 0:
            os.close(descriptor)


def remove_any(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; nothing where nothing is.

    Raises
    ------
    OSError
        When it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        # few results are folders
        from shutil import rmtree

        rmtree(path)
    else:
        path.unlink(missing_ok=True)


def try_folder(folder: Path) -> None:
    """Write an empty temporary file into a folder and remove it: permissions do not tell what a mount refuses.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    part = folder / f".mosaicell-{os.urandom(8).hex()}.part"
    _current.add(part)
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        _current.discard(part)


def add_part(part: Path) -> None:
    """Have a temporary file, which this process has locked, removed when the process is stopped."""
    _current.add(part)


def remove_part(part: Path) -> None:
    """Remove a temporary file of this process."""
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
    _current.discard(part)


def remove_current_parts() -> None:
    """Remove the temporary files of this process, which is about to end."""
    for part in tuple(_current):
        with contextlib.suppress(OSError):
            remove_any(part)


def remove_stale_parts(folder: Path) -> None:
    """Remove temporary files that no living process holds; what cannot be removed stays.

    Raises
    ------
    OSError
        When the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if PART_NAME.fullmatch(entry.name)]
    for name in names:
        with contextlib.suppress(OSError):
            if remove_unless_held(folder / name):
                log.info("%s: left behind by a run that was killed; removed", name)


def _create_locked(part: Path) -> int:
    """Create a file and lock it; return its descriptor, or -1 when another run removed it before it was locked."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    except OSError:
        # No locks on this file system: age alone tells a left-over.
        return descriptor
    if os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        return -1
    return descriptor


def remove_unless_held(part: Path) -> bool:
    """Remove a file that no living process has locked, and say whether it was; without locks its age decides.

    Raises
    ------
    OSError
        When it is gone, neither file nor folder, or cannot be opened or removed.
    """
    # of folders only those of our results
    way = os.O_RDONLY | os.O_DIRECTORY if part.suffix == FOLDER_SUFFIX and part.is_dir() else os.O_RDWR | os.O_NONBLOCK
    descriptor = os.open(part, way | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            if time.time() - os.fstat(descriptor).st_mtime < STALE_S:
                return False
        remove_any(part)
        return True
    finally:
        os.close(descriptor)
