"""Opening input files: never waiting, never something else than a file, and never out of the input folder.

Whether a name leads out of the folder is decided by what is opened, not by what stood there when the folder was listed:
who fills the folder may have put a link in the place of a file, or of the folder, in the meantime.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mosaicell.errors import ImageError, OptionError

#: opens the file of a path with flags of `os.open` and returns its descriptor
Opener = Callable[[str, int], int]
#: what has become a named pipe would block until somebody writes into it
AT_ONCE = os.O_NONBLOCK | os.O_CLOEXEC
LEADS_OUT = "is a link that leads out of the input folder; --follow-links allows that"


def check_regular(mode: int) -> None:
    """Refuse what is no regular file, by its mode, with an ImageError: to open a device may start something."""
    if stat.S_ISDIR(mode):
        raise ImageError("is a folder; allowed are image files")
    if not stat.S_ISREG(mode):
        raise ImageError("is not a regular file; allowed are image files")


def open_anywhere(path: str, flags: int) -> int:
    """Open a file wherever links lead."""
    check_regular(os.stat(path).st_mode)  # noqa: PTH116, openers get texts
    return os.open(path, flags | AT_ONCE)


@contextmanager
def enclose_input(path: Path, *, follow_links: bool) -> Iterator[Opener]:
    """Give what opens the files of an input: those of a folder as long as they lie in it, unless links are followed.

    The folder itself may be a link, and a single file too: the user named it.

    Raises
    ------
    OptionError
        When the folder cannot be read.
    """
    try:
        is_enclosed = not follow_links and path.is_dir()
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if is_enclosed else None
    except OSError as error:
        raise OptionError(f"the input {path} cannot be read: {error.strerror}") from error
    if folder is None:
        yield open_anywhere
        return
    listed = path
    inside = os.path.join(os.path.realpath(path), "")  # noqa: PTH118, ends with the separator

    def open_inside(path: str, flags: int) -> int:
        try:
            return _open_below(folder, list(Path(path).relative_to(listed).parts), flags)
        except OSError as error:
            # a sub-folder that became a link is ENOTDIR
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        # a link, perhaps within the folder
        target = os.path.realpath(path)
        if not target.startswith(inside):
            raise ImageError(LEADS_OUT)
        try:
            return _open_below(folder, list(Path(target.removeprefix(inside)).parts), flags)
        except OSError as error:
            # a part of the way became a link after it was resolved
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise ImageError(LEADS_OUT) from error
            raise

    try:
        yield open_inside
    finally:
        os.close(folder)


def _open_below(folder: int, names: list[str], flags: int) -> int:
    """Open the file that these names lead to from an open folder; a link on the way is an error, ELOOP or ENOTDIR."""
    *between, name = names
    folder = os.dup(folder)
    try:
        for one in between:
            inner = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        check_regular(mode)
        return os.open(name, flags | os.O_NOFOLLOW | AT_ONCE, dir_fd=folder)
    finally:
        os.close(folder)
