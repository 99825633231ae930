"""Stop signals: end at once, without a half-written file, also as the first process of a container.

The kernel ignores SIGTERM for process 1 of a container unless there is a handler. This one ends the process itself
instead of raising: an exception would be lost inside a destructor or a callback, and unwinding takes time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from mosaicell.machine.console import program_name
from mosaicell.writing.parts import remove_current_parts

#: what a terminal, `docker stop` and a closed session send
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: what a stop still does
_last_acts: list[Callable[[], None]] = []


@contextlib.contextmanager
def before_end(act: Callable[[], None]) -> Iterator[None]:
    """Have a stop during a block of code do something before the process ends; it must be short and never wait."""
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


def end_on_signals() -> None:
    """Install the handler for each stop signal that is not ignored, as `nohup` and background jobs have it."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _: FrameType | None) -> None:
    for act in _last_acts:
        # wherever the process was stopped, also where memory was short
        with contextlib.suppress(Exception):
            act()
    remove_current_parts()
    said = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    with contextlib.suppress(OSError, ValueError):
        # a full pipe that nobody reads would hold the process up
        if select.select([], [2], [], 0)[1]:
            # on a terminal a progress bar may stand there, which has no end of line
            before = "\n" if os.isatty(2) else ""
            os.write(2, f"{before}{program_name()}: {said}\n".encode())
    os._exit(128 + number)
