"""The memory that the process may use: the least of what machine, control groups and its own limits leave."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mosaicell.machine.capacity import available_bytes

ROOT = Path(__file__).resolve().parent.parent
MB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Make a machine with 8000 MB free and a process of 100 MB, in no control group."""
    write(
        tmp_path, "proc/meminfo", f"MemTotal: {16000 * 1024} kB\nMemAvailable: {8000 * 1024} kB\nHugePages_Total: 0\n"
    )
    write(tmp_path, "proc/self/status", f"Name:\tpython\nRssAnon:\t{100 * 1024} kB\n")
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    return tmp_path


def write(root: Path, name: str, text: object) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(f"{text}")


def write_v2(root: Path, group: str, limit: object, used: int, **files: object) -> None:
    folder = f"sys/fs/cgroup{group}/memory"
    write(root, f"{folder}.max", f"{limit}\n")
    write(root, f"{folder}.current", f"{used}\n")
    for name, value in files.items():
        write(root, f"{folder}.{name.replace('_', '.')}", f"{value}\n")


def test_the_machine_alone(machine: Path) -> None:
    assert available_bytes(machine) == 8100 * MB
    with (machine / "proc/meminfo").open("a") as file:
        file.write(f"SwapFree: {1000 * 1024} kB\n")
    assert available_bytes(machine) == 9100 * MB


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None


def test_a_container_of_version_2(machine: Path) -> None:
    """Its own group is mounted as the topmost; caches are dropped first, so they count as free."""
    write_v2(machine, "", 2000 * MB, 700 * MB, stat=f"anon 1\ninactive_file {150 * MB}\nactive_file {50 * MB}")
    assert available_bytes(machine) == (2000 - 700 + 200 + 100) * MB


def test_the_tightest_group_counts(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "0::/user.slice/job.scope\n")
    write_v2(machine, "/user.slice/job.scope", "max", 200 * MB)
    write_v2(machine, "/user.slice", 3000 * MB, 500 * MB)
    assert available_bytes(machine) == 2600 * MB
    write_v2(machine, "/user.slice/job.scope", 1000 * MB, 200 * MB)
    assert available_bytes(machine) == 900 * MB


def test_swap_of_a_group_ends_with_the_machines(machine: Path) -> None:
    write_v2(machine, "", 1000 * MB, 200 * MB, swap_max=500 * MB, swap_current=100 * MB)
    assert available_bytes(machine) == 900 * MB
    with (machine / "proc/meminfo").open("a") as file:
        file.write(f"SwapFree: {3000 * 1024} kB\n")
    assert available_bytes(machine) == 1300 * MB


@pytest.mark.parametrize("place", ["/", "/docker/0123abcd"])
def test_a_container_of_version_1(machine: Path, place: str) -> None:
    """The name of its group is that of the host, while it is mounted as the topmost."""
    write(machine, "proc/self/cgroup", f"12:cpu,cpuacct:/\n4:memory:{place}\n0::/\n")
    write(machine, "sys/fs/cgroup/memory/memory.limit_in_bytes", 2000 * MB)
    write(machine, "sys/fs/cgroup/memory/memory.usage_in_bytes", 700 * MB)
    write(machine, "sys/fs/cgroup/memory/memory.stat", f"cache 1\ntotal_inactive_file {200 * MB}\n")
    assert available_bytes(machine) == 1600 * MB
    write(machine, "sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", 2000 * MB)
    write(machine, "sys/fs/cgroup/memory/memory.memsw.usage_in_bytes", 900 * MB)
    assert available_bytes(machine) == 1400 * MB


def test_version_1_without_a_limit(machine: Path) -> None:
    write(machine, "proc/self/cgroup", "4:memory:/\n")
    write(machine, "sys/fs/cgroup/memory/memory.limit_in_bytes", 0x7FFFFFFFFFFFF000)
    write(machine, "sys/fs/cgroup/memory/memory.usage_in_bytes", 700 * MB)
    assert available_bytes(machine) == 8100 * MB


def test_a_group_beyond_its_limit_leaves_what_the_process_has(machine: Path) -> None:
    write_v2(machine, "", 1000 * MB, 1100 * MB)
    assert available_bytes(machine) == 100 * MB


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="needs proc")
@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_limits_of_the_process_itself(limit: int) -> None:
    code = "from mosaicell.machine.capacity import available_bytes; print(available_bytes())"

    def measure(most: int | None) -> int:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
            preexec_fn=lambda: resource.setrlimit(limit, (most, most)) if most else None,
        )
        return int(done.stdout)

    assert measure(None) > measure(300 * MB)
    assert 200 * MB < measure(300 * MB) <= 310 * MB
