"""Stop signals: the exit code says which, and nothing half-written stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: a program that has written half a file and goes on for ten minutes; SIGHUP may be ignored from the start. It never
#: waits long at once: a signal that comes just before a wait begins is handled after it
WRITER = """
import sys, time
from pathlib import Path
from mosaicell.writing.parts import write_whole
from mosaicell.machine.stop import end_on_signals
end_on_signals()
def go_on():
    for _ in range(6000):
        time.sleep(0.1)
class Deaf:
    def __del__(self):
        go_on()
with write_whole(Path(sys.argv[1]) / "x.txt") as part:
    part.write_text("half")
    print("ready", flush=True)
    Deaf()
    go_on()
"""


def start(folder: Path, *before: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*before, sys.executable, "-c", WRITER, str(folder)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "stopped by SIGTERM"),
        (signal.SIGHUP, 129, "stopped by SIGHUP"),
    ],
)
def test_a_stop_leaves_nothing_even_where_exceptions_are_lost(
    tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    process = start(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, f"predict.py: {said}\n")
    assert not list(tmp_path.iterdir())


def test_a_pipe_that_nobody_empties_holds_nothing_up(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    os.set_blocking(writer, True)
    process = start(tmp_path, stderr=writer)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not list(tmp_path.iterdir())
    os.close(reader)
    os.close(writer)


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    process = start(tmp_path, "nohup")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_the_first_process_of_a_container_can_be_stopped(tmp_path: Path) -> None:
    """The kernel drops SIGTERM for process 1 of a PID namespace unless it handles it."""
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    process = start(tmp_path, *alone)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not list(tmp_path.iterdir())
