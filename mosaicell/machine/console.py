"""What the program says: one line for each message whatever a file is called, and no harm when nobody listens."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any


def program_name() -> str:
    """Return what the program was called as: `mosaicell` where it is installed, else `predict.py`."""
    name = os.path.basename(sys.argv[0] if sys.argv else "")  # noqa: PTH119, at the start of each run
    if name == "cluster.py":
        return "python -m mosaicell.cluster"
    return "mosaicell" if name.startswith(("mosaicell", "__main__")) else "predict.py"


def printable(text: str) -> str:
    r"""Return the text in one line, with a backslash escape for every character that does not print.

    A file name may hold a line break, an escape sequence of the terminal or bytes of no encoding; it could forge a line
    of the log otherwise.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class LineFormatter(logging.Formatter):
    """`LEVEL: message` in one line; a traceback follows in indented lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging calls it
        """Return the line of a record."""
        return printable(f"{record.levelname}: {record.message}")

    def formatException(self, ei: Any) -> str:  # noqa: N802, logging calls it
        """Return a traceback, indented so that no line of it passes for a message."""
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).splitlines())


def open_streams() -> None:
    """Give a closed standard stream the null device.

    The next file opened would take its number, and what a C library prints to it would land in a mask.
    """
    with contextlib.suppress(OSError):
        for number in range(3):
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
    # Python has none of these for a stream that was closed from the start.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115, open until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115, open until the end


def start_log(*, verbose: bool) -> None:
    """Send log messages to standard error; a reader who has gone away is no failure."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.raiseExceptions = False


def say_error(text: str) -> None:
    """Print why the program ends, in one line."""
    with contextlib.suppress(OSError):
        print(f"{program_name()}: error: {printable(text)}", file=sys.stderr)


def close_streams() -> None:
    """Flush what was said; a stream that nobody reads is sent to the null device, where Python's own flush succeeds."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
