"""One heap for all threads, told from what the C library says of its heaps."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from mosaicell.machine import heap
from mosaicell.machine.heap import share_heap

PROGRAM = """
import ctypes, threading
from mosaicell.machine.heap import share_heap
{first}
library, ready = ctypes.CDLL(None), threading.Barrier(4)
def allocate():
    library.free(ctypes.c_void_p(library.malloc(100_000)))
    ready.wait(30)
library.malloc.restype = ctypes.c_void_p
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.malloc_stats()
"""


def count_heaps(first: str) -> int:
    """Count the heaps of a program that runs this statement and then allocates in four threads."""
    command = [sys.executable, "-c", PROGRAM.format(first=first)]
    run = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    return run.stderr.count("Arena ")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="the C library is not glibc")
def test_threads_share_a_heap() -> None:
    assert count_heaps("pass") > 1
    assert count_heaps("share_heap()") == 1


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    share_heap()
