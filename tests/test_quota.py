"""The quota of reading one file: time and memory end, and everything is as before."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import mosaicell.machine.quota as module
from mosaicell.errors import ImageError
from mosaicell.machine.quota import quota

MB = 1 << 20


def spin() -> None:
    """Never end, whatever is raised that a reader might catch."""
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue


def test_time_ends() -> None:
    with pytest.raises(ImageError, match="takes more than 0 s"), quota(0.05, 64 * MB):
        spin()


def stay_in_the_kernel() -> None:
    """Never end, and leave nearly all of the work to the kernel, as where it refuses memory again and again."""
    while True:
        os.urandom(MB)


def spin_twice(ended: list[BaseException]) -> None:
    """Go on after the first end, which is noted."""
    try:
        spin()
    except BaseException as error:
        ended.append(error)
    spin()


def test_time_in_the_kernel_counts() -> None:
    with pytest.raises(ImageError, match="takes more than 0 s"), quota(0.05, 64 * MB):
        stay_in_the_kernel()


def test_an_end_that_is_not_heard_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPEAT_S", 0.05)
    ended: list[BaseException] = []
    with pytest.raises(ImageError, match="takes more than 0 s"), quota(0.05, 64 * MB):
        spin_twice(ended)
    assert len(ended) == 1


def test_time_of_others_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time that other threads use beside the block goes by faster than the clock: here the clock stands."""
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    used_s = time.process_time()
    with quota(0.05, 64 * MB):
        while time.process_time() - used_s < 0.3:
            sum(range(1000))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs proc")
def test_memory_ends() -> None:
    with quota(60, 256 * MB):
        assert np.ones(128 * MB, np.uint8).all()
    with pytest.raises(MemoryError), quota(60, 64 * MB):
        np.ones(128 * MB, np.uint8)
    assert np.ones(128 * MB, np.uint8).all()


def test_nothing_stays_limited() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGPROF)
    with quota(60, 64 * MB):
        pass
    with pytest.raises(ZeroDivisionError), quota(60, 64 * MB):
        _ = 1 / 0
    with pytest.raises(ImageError), quota(0.05, 64 * MB):
        spin()
    assert (resource.getrlimit(resource.RLIMIT_DATA), signal.getsignal(signal.SIGPROF)) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def test_a_tighter_limit_of_the_user_stays() -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (4096 * MB, hard))
    try:
        with quota(60, 1 << 50):
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == 4096 * MB
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, hard))


def test_other_threads_are_not_limited() -> None:
    """The limits are the process's: two threads would set them back in the wrong order."""
    seen = []

    def work() -> None:
        with quota(0.01, 1):
            seen.append(np.ones(64 * MB, np.uint8).all())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
