"""How a program is run on one image, as a container or as a plain command, and what the run used."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from mosaicell.evaluation.memory import ContainerMemory, GpuMemory, session_bytes

#: seconds between two readings of the memory in use; a reading takes a fifth of a millisecond
SAMPLING_S = 0.02
#: seconds that an engine may take to create a container which is to be removed again
CREATION_S = 10.0


@dataclass(frozen=True)
class Usage:
    """What one run used.

    Attributes
    ----------
    seconds : float
        Wall time from before the start to after the end of the process or of `docker container run`.
    exit_code : int
        128 and the number of the signal for a process that was killed by one, as shells and Docker count.
    timed_out : bool
        The run was stopped because it took too long.
    peak_ram_bytes : int or None
        Highest of all readings, 20 ms apart, of `evaluation.memory.session_bytes` or `ContainerMemory`; None when
        there was none.
    peak_gpu_bytes : int or None
        Largest increase on any one GPU over what was in use before the run; None without a GPU.
    """

    seconds: float
    exit_code: int
    timed_out: bool
    peak_ram_bytes: int | None
    peak_gpu_bytes: int | None


class Contestant(Protocol):
    """A program that reads images from one folder and writes masks into another."""

    def check(self) -> None:
        """Raise RuntimeError with the reason when the program cannot be started."""

    def describe(self) -> str:
        """Return what is run, in one line."""

    def run(self, inputs: Path, outputs: Path, log: BinaryIO, timeout_s: float) -> Usage:
        """Run once, to the end or to the time limit; stdout and stderr go to the log.

        Parameters
        ----------
        inputs, outputs : Path
            Absolute; existing folders.
        log : BinaryIO
            Open file.
        timeout_s : float
            Seconds after which the run is stopped.
        """


class Command:
    """A program on this machine, called with `-i INPUTS -o OUTPUTS` behind its own arguments.

    Parameters
    ----------
    words : sequence of str
        Program and arguments; no shell reads them.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._gpu = GpuMemory()

    def check(self) -> None:
        """Raise RuntimeError when there is no such program."""
        if shutil.which(self._words[0]) is None:
            raise RuntimeError(f"there is no program {self._words[0]}")

    def describe(self) -> str:
        """Return the command line."""
        return shlex.join(self._words)

    def run(self, inputs: Path, outputs: Path, log: BinaryIO, timeout_s: float) -> Usage:
        """Run once; see `Contestant.run`."""
        words = [*self._words, "-i", str(inputs), "-o", str(outputs)]
        return _Run(words, log, session_bytes, self._gpu, _kill_session).finish(timeout_s)


class Container:
    """An image of Docker or of a program with Docker's command line, run as the challenge runs it.

    Parameters
    ----------
    image : str
        Name of the image; `:latest` is added where it has no tag.
    memory : str
        Limit of RAM as Docker takes it, as 28g.
    gpu : str
        Number of the GPU that the container may use, "all", or "" for none.
    docker : str
        Program to call.
    """

    def __init__(self, image: str, memory: str, gpu: str = "", docker: str = "docker") -> None:
        # a colon before the last slash belongs to the port of a registry
        tagged = "@" in image or ":" in image.rpartition("/")[2]
        self._image = image if tagged else f"{image}:latest"
        self._memory = memory
        self._gpus = [] if not gpu else ["--gpus", "all" if gpu == "all" else f"device={gpu}"]
        self._gpu = GpuMemory(int(gpu)) if gpu.isdecimal() else GpuMemory() if gpu else None
        self._docker = docker

    def check(self) -> None:
        """Raise RuntimeError when there is no Docker, no engine or no such image."""
        if shutil.which(self._docker) is None:
            raise RuntimeError(f"there is no program {self._docker}; install Docker, or name it in DOCKER")
        words = [self._docker, "image", "inspect", "--format", "{{.Id}}", self._image]
        inspected = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if inspected.returncode:
            reason = " ".join(inspected.stderr.split()) or f"exit code {inspected.returncode}"
            raise RuntimeError(f"the image {self._image} cannot be used: {reason}")

    def describe(self) -> str:
        """Return the image and its GPU."""
        return " ".join([self._image, *self._gpus])

    def run(self, inputs: Path, outputs: Path, log: BinaryIO, timeout_s: float) -> Usage:
        """Run once in a container of its own, which is removed; see `Contestant.run`."""
        name = f"timing-{secrets.token_hex(8)}"
        # in the outputs' parent, because the engine wants the file to be new and the folders are the container's
        id_file = outputs.parent / f"{name}.id"
        words = [self._docker, "container", "run", *self._gpus, "-m", self._memory, "--name", name, "--rm"]
        # beyond the challenge's own line only --cidfile, which changes nothing within the container
        words += ["--cidfile", str(id_file), "-v", f"{inputs}/:/workspace/inputs/"]
        words += ["-v", f"{outputs}/:/workspace/outputs/", self._image, "/bin/bash", "-c", "sh predict.sh"]

        def stop(process: subprocess.Popen[bytes]) -> None:
            # a container that is still being created cannot be removed yet, and would stay
            deadline_s = time.monotonic() + CREATION_S
            while not _has_content(id_file) and process.poll() is None and time.monotonic() < deadline_s:
                time.sleep(SAMPLING_S)
            _kill_session(process)
            remove = [self._docker, "container", "rm", "--force", name]
            subprocess.run(remove, capture_output=True, check=False, stdin=subprocess.DEVNULL)

        memory = ContainerMemory(id_file)
        return _Run(words, log, lambda _: memory.used_bytes(), self._gpu, stop).finish(timeout_s)


class _Run:
    """A running process, and a thread that reads its memory and stops it when it takes too long.

    The main thread does nothing but wait: to wait with a time limit, Python looks in growing intervals, and the
    running time would be up to 50 ms too long.
    """

    def __init__(
        self,
        words: Sequence[str],
        log: BinaryIO,
        read_ram: Callable[[int], int | None],
        gpu: GpuMemory | None,
        stop: Callable[[subprocess.Popen[bytes]], None],
    ) -> None:
        self._read_ram = read_ram
        self._gpu = gpu
        self._stop = stop
        self._peak_ram_bytes: int | None = None
        self._gpu_before_bytes = gpu.used_bytes() if gpu else []
        self._peak_gpu_bytes = 0 if self._gpu_before_bytes else None
        self._timed_out = False
        self._ended = threading.Event()
        self._start_s = time.perf_counter()
        # a session of its own: an interrupt from the keyboard reaches this program alone, which then stops the run
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def finish(self, timeout_s: float) -> Usage:
        """Wait for the end; whatever ends the waiting early ends the process too."""
        watch = threading.Thread(target=self._watch, args=(self._start_s + timeout_s,))
        try:
            watch.start()
            self._process.wait()
            seconds = time.perf_counter() - self._start_s
        except BaseException:
            self._stop(self._process)
            self._process.wait()
            raise
        finally:
            self._ended.set()
            if watch.is_alive():
                watch.join()
            # what the program left running would slow the next run down
            _kill_session(self._process)
        code = self._process.returncode
        exit_code = 128 - code if code < 0 else code
        return Usage(seconds, exit_code, self._timed_out, self._peak_ram_bytes, self._peak_gpu_bytes)

    def _watch(self, deadline_s: float) -> None:
        while True:
            self._read_memory()
            if self._ended.wait(SAMPLING_S):
                return
            if time.perf_counter() > deadline_s and self._process.returncode is None:
                self._timed_out = True
                self._stop(self._process)
                return

    def _read_memory(self) -> None:
        ram_bytes = self._read_ram(self._process.pid)
        if ram_bytes is not None:
            self._peak_ram_bytes = max(ram_bytes, self._peak_ram_bytes or 0)
        if self._gpu is not None and self._peak_gpu_bytes is not None:
            now_bytes = self._gpu.used_bytes()
            increases = (current - before for current, before in zip(now_bytes, self._gpu_before_bytes, strict=True))
            self._peak_gpu_bytes = max(self._peak_gpu_bytes, *increases)


def _has_content(path: Path) -> bool:
    """Say whether an id is in its file, which Docker makes empty before it creates the container."""
    return path.is_file() and path.stat().st_size > 0


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its descendants; a session's leader has the id of its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
