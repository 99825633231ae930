"""What is said: one line per message, to whoever listens."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from mosaicell.machine.console import LineFormatter, printable

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name µ 細胞.png", "plain name µ 細胞.png"),
        ("a\nERROR: b.png", "a\\nERROR: b.png"),
        ("\x1b[2J\r\t\x07", "\\x1b[2J\\r\\t\\x07"),
        ("\udcff\u202e\u2028\x85", "\\udcff\\u202e\\u2028\\x85"),
        ("", ""),
    ],
)
def test_a_text_is_one_line_of_what_prints(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert len(printable(text).splitlines()) <= 1


def test_no_message_forges_another_line() -> None:
    formatter = LineFormatter()
    hostile = "x\nERROR: y.png: failed"
    try:
        raise ValueError(hostile)
    except ValueError:
        record = logging.LogRecord("n", logging.INFO, "p", 1, "%s: %s", (hostile, hostile), sys.exc_info())
    first, *rest = formatter.format(record).splitlines()
    assert first == f"INFO: {printable(hostile)}: {printable(hostile)}"
    assert rest
    assert all(line.startswith("    ") for line in rest)


def say(after: str, shell: str) -> subprocess.CompletedProcess[str]:
    """Run a program that logs, says an error and ends well, with its streams as the shell sets them."""
    code = (
        "import contextlib, logging, os, sys\n"
        "from mosaicell.machine.console import *\n"
        "open_streams(); start_log(verbose=False)\n"
        "logging.getLogger('x').info('one'); logging.getLogger('x').info('two')\n"
        f"{after}\n"
        "say_error('three')\n"
        "with contextlib.suppress(OSError): print('out')\n"
        "close_streams()\n"
        "sys.exit(7)\n"
    )
    command = f'set -o pipefail; "$0" -c "$1" {shell}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, code], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_messages_go_to_standard_error() -> None:
    done = say("", "")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr == "INFO: one\nINFO: two\npredict.py: error: three\n"


@pytest.mark.parametrize(
    "shell", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-", "2>&1 | head -n 1", "2>&1 | true", "2> /dev/full", "> /dev/full"]
)
def test_nobody_listening_changes_nothing(shell: str) -> None:
    assert say("", shell).returncode == 7


def test_a_closed_stream_is_not_taken_by_a_file(tmp_path: Path) -> None:
    target = tmp_path / "mask"
    after = f"fd = os.open({str(target)!r}, os.O_WRONLY | os.O_CREAT); os.write(2, b'noise'); os.write(1, b'noise')"
    assert say(after, "<&- >&- 2>&-").returncode == 7
    assert target.read_bytes() == b""
