"""Memory in use by a running contestant, read from outside while it runs.

RAM here is what the kernel cannot take back: the processes' own pages and shared memory. Pages of files (the page
cache, mapped libraries) are not counted: they fill whatever is free and are given up when memory is short. So a
container and a plain command are measured alike, and a limit that is kept here is kept under `docker run -m`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: version 2, or version 1 with a folder for each controller
CGROUP_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))
PROCESSES = Path("/proc")
#: where engines keep a container's cgroup: Docker's two drivers, rootless Docker, Podman
CGROUP_PATTERNS = (
    "docker/{id}",
    "system.slice/docker-{id}.scope",
    "user.slice/user-*.slice/user@*.service/user.slice/docker-{id}.scope",
    "machine.slice/libpod-{id}.scope",
    "user.slice/user-*.slice/user@*.service/user.slice/libpod-{id}.scope",
)
#: fields of a cgroup's memory.stat: version 2, and version 1, where only `total_` includes what lies below
CGROUP_FIELDS = ((b"anon ", b"shmem "), (b"total_rss ", b"total_shmem "))
PROCESS_FIELDS = (b"RssAnon:", b"RssShmem:")
UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def parse_memory(text: str) -> int:
    """Return the bytes of a limit as Docker writes it, as 28g or 512m.

    Raises
    ------
    ValueError
        For anything but a whole number above 0 with b, k, m, g or nothing behind it.
    """
    match = re.fullmatch(r"0*([1-9][0-9]*)([bkmg]?)", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no amount of memory; write it as 28g or 512m")
    return int(match[1]) * UNITS[match[2]]


def session_bytes(session: int) -> int | None:
    """Return the RAM of all processes of a session.

    Parameters
    ----------
    session : int
        Process id of the session's leader: a process started with `start_new_session`, with all its descendants.

    Returns
    -------
    int or None
        Bytes; None where the system has no /proc, or no process is left.

    Notes
    -----
    Pages that processes share after a fork count once for each. The kernel's own maximum (`ru_maxrss` of `os.wait4`)
    would miss nothing between two readings, but it starts at the size of the process that started the command,
    which has read the images.
    """
    amounts = [_session_process_bytes(process, session) for process in _processes()]
    return sum(amounts) if any(amounts) else None


def _processes() -> Iterator[int]:
    try:
        names = os.listdir(PROCESSES)  # noqa: PTH208 - a third of the time of Path.iterdir, fifty times a second
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def _session_process_bytes(process: int, session: int) -> int:
    try:
        if os.getsid(process) != session:
            return 0
        status = (PROCESSES / str(process) / "status").read_bytes()
    except OSError:
        # it ended in the meantime
        return 0
    return sum(_amount(status, field) or 0 for field in PROCESS_FIELDS) * UNITS["k"]


class ContainerMemory:
    """RAM of a container, found by its id.

    Parameters
    ----------
    id_file : Path
        File into which the engine writes the container's full id (`--cidfile`) before it starts.
    """

    def __init__(self, id_file: Path) -> None:
        self._id_file = id_file
        self._cgroup: Path | None = None

    def used_bytes(self) -> int | None:
        """Return the bytes; None before the container runs, after its end, or when its cgroup is in no known place."""
        if self._cgroup is None:
            self._cgroup = self._find_cgroup()
        return None if self._cgroup is None else _cgroup_bytes(self._cgroup)

    def _find_cgroup(self) -> Path | None:
        try:
            container = self._id_file.read_text(encoding="ascii").strip()
        except OSError:
            return None
        if not container:
            return None
        patterns = [pattern.format(id=container) for pattern in CGROUP_PATTERNS]
        folders = (found for root in CGROUP_ROOTS for pattern in patterns for found in root.glob(pattern))
        return next((folder for folder in folders if _cgroup_bytes(folder) is not None), None)


def _cgroup_bytes(folder: Path) -> int | None:
    try:
        stat = (folder / "memory.stat").read_bytes()
    except OSError:
        return None
    for fields in CGROUP_FIELDS:
        amounts = [_amount(stat, field) for field in fields]
        if None not in amounts:
            return sum(amount or 0 for amount in amounts)
    return None


def _amount(text: bytes, field: bytes) -> int | None:
    """Return the number behind a field that begins a line."""
    match = re.search(rb"^" + re.escape(field) + rb"\s*(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None


class GpuMemory:
    """Memory in use on NVIDIA's GPUs, by everybody; without a driver there are no GPUs.

    Parameters
    ----------
    device : int, optional
        Number of the one GPU to look at, as `nvidia-smi` counts; all where None.

    Notes
    -----
    Reads NVML, the library behind `nvidia-smi`, because starting that program takes longer than many a run. As beside
    a running `nvidia-smi` the driver stays loaded, so that no run pays for loading it.
    """

    def __init__(self, device: int | None = None) -> None:
        # only a meter needs it
        import pynvml

        self._nvml = pynvml
        self._handles = []
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError:
            return
        for index in range(count) if device is None else (device,):
            with suppress(pynvml.NVMLError):
                self._handles.append(pynvml.nvmlDeviceGetHandleByIndex(index))

    def used_bytes(self) -> list[int]:
        """Return the bytes in use on each GPU; 0 for one that does not say."""
        return [self._used(handle) for handle in self._handles]

    def _used(self, handle: object) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
        except self._nvml.NVMLError:
            return 0
