"""Memory that this process may use: of the machine, of its control groups and of its own resource limits.

The kernel kills a process that goes beyond, and with it the rest of the run.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: a control group of version 1 without a limit has the largest multiple of a page
NO_LIMIT = 1 << 60


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return how large this process may become, in bytes, its present size included.

    Parameters
    ----------
    root
        Where proc and sys lie.

    Returns
    -------
    The least of what the machine, every control group above this process and its own limits leave. File caches count as
    free, as the kernel drops them first, and so does swap: it delays, but it does not kill. None where nothing tells.
    """
    machine = _read_table(root / "proc" / "meminfo")
    own = _read_table(root / "proc" / "self" / "status")
    if "MemAvailable" not in machine:
        return None
    swap = machine.get("SwapFree", 0)
    rooms = [machine["MemAvailable"] + swap, *_group_rooms(root, swap)]
    for limit, size in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            rooms.append(soft - own.get(size, 0))
    return max(0, min(rooms)) + own.get("RssAnon", 0)


def _group_rooms(root: Path, swap: int) -> Iterator[int]:
    """Yield what each control group of this process leaves, in bytes."""
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0":
            base, measure = root / "sys/fs/cgroup", _room_v2
        elif "memory" in controllers.split(","):
            base, measure = root / "sys/fs/cgroup/memory", _room_v1
        else:
            continue
        # In a container the group of this process is mounted as the topmost one, whatever its name is outside.
        inner = PurePosixPath(place.lstrip("/"))
        for folder in (base / inner, *(base / parent for parent in inner.parents), base):
            room = measure(folder, swap)
            if room is not None:
                yield room


def _room_v2(folder: Path, swap: int) -> int | None:
    limit, used = _read_number(folder / "memory.max"), _read_number(folder / "memory.current")
    if limit is None or used is None:
        return None
    caches = _read_table(folder / "memory.stat", unit=1)
    swap_limit, swap_used = _read_number(folder / "memory.swap.max"), _read_number(folder / "memory.swap.current")
    if swap_limit is not None and swap_used is not None:
        swap = min(swap, swap_limit - swap_used)
    return limit - used + caches.get("inactive_file", 0) + caches.get("active_file", 0) + swap


def _room_v1(folder: Path, swap: int) -> int | None:
    limit, used = _read_number(folder / "memory.limit_in_bytes"), _read_number(folder / "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    caches = _read_table(folder / "memory.stat", unit=1)
    cached = caches.get("total_inactive_file", 0) + caches.get("total_active_file", 0)
    room = limit - used + cached + swap
    both_limit = _read_number(folder / "memory.memsw.limit_in_bytes")
    both_used = _read_number(folder / "memory.memsw.usage_in_bytes")
    if both_limit is not None and both_used is not None:
        room = min(room, both_limit - both_used + cached)
    return room


def _read_number(path: Path) -> int | None:
    """Return the number in a file of a control group; None where there is none, or no limit."""
    try:
        number = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return number if number < NO_LIMIT else None


def _read_table(path: Path, unit: int = 1024) -> dict[str, int]:
    """Read lines of a name and a number, in bytes; other lines are left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    words = [line.replace(":", " ").split() for line in lines]
    return {line[0]: int(line[1]) * unit for line in words if len(line) > 1 and line[1].isdecimal()}
