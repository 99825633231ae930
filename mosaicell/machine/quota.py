"""A quota of time and memory for reading one file, whose tables may lie about what they describe.

What the checks of the readers miss ends here: a list of pages that forms a loop, a series of 10^11 pages in a few bytes
of description, a tile that decodes to gigabytes.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from mosaicell.errors import ImageError

#: CPU time in s after which the end of the time is said once more: where memory is out, too, a reader may not hear it
REPEAT_S = 2.0


class _OutOfTimeError(BaseException):
    """No Exception: a reader that goes on after any of those must not go on after this one."""


@contextlib.contextmanager
def quota(cpu_s: float, more_bytes: int) -> Iterator[None]:
    """Limit what a block of code may take.

    Parameters
    ----------
    cpu_s
        CPU time of all threads in s, that of the kernel for them too, and as much time on the clock: neither a slow
        disk ends the block, nor other threads that work meanwhile. It ends Python code, and a call into a library when
        that returns.
    more_bytes
        Memory that may be taken in addition to what the process has.

    Raises
    ------
    ImageError
        When the time is over. An allocation beyond the memory raises MemoryError, or what the library makes of it.

    Notes
    -----
    Both limits hold for the whole process, so they are set in its main thread alone; elsewhere nothing is limited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    started_s, ended = time.monotonic(), False

    def stop(_: int, __: FrameType | None) -> None:
        if not ended and time.monotonic() - started_s >= cpu_s:
            raise _OutOfTimeError

    with _memory_limit(more_bytes):
        earlier = signal.signal(signal.SIGPROF, stop)
        try:
            signal.setitimer(signal.ITIMER_PROF, cpu_s, REPEAT_S)
            yield
        except _OutOfTimeError:
            raise ImageError(f"takes more than {cpu_s:.0f} s to decode: it is damaged or made to stall") from None
        finally:
            ended = True
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, earlier)


@contextlib.contextmanager
def _memory_limit(more_bytes: int) -> Iterator[None]:
    size = _data_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = size + more_bytes
    if not size or (soft != resource.RLIM_INFINITY and soft <= limit):
        yield
        return
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return the size of the private, writable memory of this process; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
