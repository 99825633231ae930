"""Claims: of several runs that share an output folder, one works on an image at a time.

A claim is a lock on a hidden file beside the result. The kernel frees it when the process ends, however it ends, so
what a dead run had claimed is taken over at once. Where the file system knows no locks nothing is claimed.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from mosaicell.runs.origin import digest_bytes
from mosaicell.writing.parts import add_part, remove_part

log = logging.getLogger(__name__)


@contextlib.contextmanager
def claim(result: Path, *, wait: bool) -> Iterator[bool]:
    """Claim a result while a block of code works on it.

    Parameters
    ----------
    result
        The file that the work leads to; it need not exist, its folder should.
    wait
        Wait while another process has the claim, instead of going without.

    Yields
    ------
    bool
        Whether the claim is held; True also where a file cannot be locked or made, as writing the result will tell.
    """
    path = result.with_name(f".mosaicell-{digest_bytes(os.fsencode(result.name))}.part.claim")
    try:
        descriptor = _lock(path, result.name, wait=wait)
    except BlockingIOError:
        yield False
        return
    except OSError as error:
        log.debug("%s: not claimed: %s", result.name, error)
        with contextlib.suppress(OSError):
            path.unlink()
        yield True
        return
    try:
        yield True
    finally:
        # before the lock goes, so that whoever waits for it sees that it locked a file that is gone
        remove_part(path)
        os.close(descriptor)


def _lock(path: Path, name: str, *, wait: bool) -> int:
    """Open and lock the file of a claim; it may be removed by its holder, or as a left-over, before it is locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                log.info("another run works on %s; waiting", name)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                # not earlier: a stop while another holds it must not remove it
                add_part(path)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
