"""Memory readings: limits as Docker writes them, processes of a session, a container's cgroup, NVIDIA's library."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from mosaicell.evaluation import memory
from mosaicell.evaluation.memory import ContainerMemory, GpuMemory, parse_memory, session_bytes

ROOT = Path(__file__).resolve().parent.parent
CONTAINER = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [("28g", 28 * 2**30), ("28G", 28 * 2**30), ("512m", 2**29), ("1k", 1024), ("7b", 7), ("0900", 900)],
)
def test_a_limit_is_read_as_docker_does(text: str, expected: int) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0g", "-1g", "1.5g", "28gb", "g", "28 g", "1e9", "\u0663g"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 28g"):
        parse_memory(text)


def read_session(source: str) -> int | None:
    """Read the memory of a Python program that says when it is ready and then waits for its stdin to close."""
    command = [sys.executable, "-I", "-S", "-c", f"{source}\nprint(flush=True)\ninput()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        return session_bytes(process.pid)


def test_memory_of_a_process_is_counted_and_that_of_its_starter_is_not() -> None:
    mine = bytearray(b"x" * 400_000_000)
    plain, large = read_session(""), read_session("data = b'x' * 150_000_000")
    assert plain is not None
    assert large is not None
    assert plain < 50_000_000 < len(mine)
    assert 149_000_000 < large - plain < 160_000_000


FORKED = """
import os
data = b"x" * 60_000_000
ready, done = os.pipe(), os.pipe()
if os.fork() == 0:
    # the child of a child that has ended, as a program's own helper may be
    if os.fork() == 0:
        own = b"y" * 90_000_000
        os.write(ready[1], b".")
        os.close(done[1])
        os.read(done[0], 1)
    os._exit(0)
os.wait()
os.read(ready[0], 1)"""


def test_memory_of_all_descendants_is_counted() -> None:
    amount = read_session(FORKED)
    assert amount is not None
    # what the inner one inherited counts for both
    assert 205_000_000 < amount < 260_000_000


def test_pages_of_files_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 80_000_000)
    source = f"import mmap\nfile = open({str(path)!r}, 'rb')\n"
    source += "pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
    source += f"sum(pages[at] for at in range(0, len(pages), {mmap.PAGESIZE}))"
    amount = read_session(source)
    assert amount is not None
    assert amount < 50_000_000


def test_shared_memory_is_counted() -> None:
    amount = read_session("import mmap\npages = mmap.mmap(-1, 90_000_000)\npages.write(b'x' * 90_000_000)")
    assert amount is not None
    assert amount > 90_000_000


def test_an_ended_session_has_no_memory() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "pass"], start_new_session=True) as process:
        process.wait()
        assert session_bytes(process.pid) is None


def test_without_proc_the_memory_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PROCESSES", tmp_path / "nowhere")
    assert session_bytes(os.getsid(0)) is None


VERSION_1 = "cache 999\nrss 1\nshmem 2\ntotal_cache 999\ntotal_rss 3000\ntotal_rss_huge 7\ntotal_shmem 400\n"
VERSION_2 = "anon 3000\nfile 999\nkernel 50\nshmem 400\nfile_mapped 8\nanon_thp 7\ninactive_anon 5\n"


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ContainerMemory]:
    """Return a function that makes a cgroup with a memory.stat and the meter of its container."""
    roots = (tmp_path / "cgroup", tmp_path / "cgroup" / "memory")
    monkeypatch.setattr(memory, "CGROUP_ROOTS", roots)
    id_file = tmp_path / "id"

    def make(folder: str, stat: str) -> ContainerMemory:
        path = roots[0] / folder.format(id=CONTAINER)
        path.mkdir(parents=True)
        (path / "memory.stat").write_text(stat)
        id_file.write_text(CONTAINER)
        return ContainerMemory(id_file)

    return make


@pytest.mark.parametrize(
    ("folder", "stat"),
    [
        ("memory/docker/{id}", VERSION_1),
        ("memory/system.slice/docker-{id}.scope", VERSION_1),
        ("docker/{id}", VERSION_2),
        ("system.slice/docker-{id}.scope", VERSION_2),
        ("user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope", VERSION_2),
        ("machine.slice/libpod-{id}.scope", VERSION_2),
    ],
)
def test_a_container_is_found_wherever_engines_keep_it(
    container: Callable[[str, str], ContainerMemory], folder: str, stat: str
) -> None:
    assert container(folder, stat).used_bytes() == 3400


def test_a_container_is_looked_for_until_it_runs_and_is_gone_afterwards(
    container: Callable[[str, str], ContainerMemory], tmp_path: Path
) -> None:
    id_file, folder = tmp_path / "id", tmp_path / "cgroup" / "docker" / CONTAINER
    meter = ContainerMemory(id_file)
    assert meter.used_bytes() is None
    id_file.touch()
    assert meter.used_bytes() is None
    id_file.write_text(CONTAINER)
    assert meter.used_bytes() is None
    container("docker/{id}", VERSION_2)
    assert meter.used_bytes() == 3400
    (folder / "memory.stat").write_text(VERSION_2.replace("anon 3000", "anon 5000"))
    assert meter.used_bytes() == 5400
    (folder / "memory.stat").unlink()
    assert meter.used_bytes() is None


def test_a_cgroup_without_the_fields_says_nothing(container: Callable[[str, str], ContainerMemory]) -> None:
    assert container("docker/{id}", "file 999\nanon_thp 7\ninactive_anon 5\n").used_bytes() is None


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have NVML know two GPUs, of which the second does not say how much it holds; return what it is asked."""
    asked: list[str] = []

    def answer(name: str, function: Callable[..., object]) -> None:
        def call(*arguments: object) -> object:
            asked.append(name)
            return function(*arguments)

        monkeypatch.setattr(pynvml, name, call)

    def find(index: int) -> int:
        if index > 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return 100 + index

    def read(handle: int) -> SimpleNamespace:
        if handle == 101:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(total=11_000_000_000, free=6_000_000_000, used=5_000_000_000)

    answer("nvmlInit", lambda: None)
    answer("nvmlDeviceGetCount", lambda: 2)
    answer("nvmlDeviceGetHandleByIndex", find)
    answer("nvmlDeviceGetMemoryInfo", read)
    return asked


@pytest.mark.parametrize(("device", "expected"), [(None, [5_000_000_000, 0]), (0, [5_000_000_000]), (1, [0]), (2, [])])
def test_gpus_say_what_is_in_use(two_gpus: list[str], device: int | None, expected: list[int]) -> None:
    meter = GpuMemory(device)
    assert meter.used_bytes() == expected
    assert meter.used_bytes() == expected
    assert two_gpus.count("nvmlInit") == 1


@pytest.mark.parametrize("name", ["nvmlInit", "nvmlDeviceGetCount"])
def test_a_driver_that_does_not_answer_has_no_gpus(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(pynvml, name, refuse)
    assert GpuMemory().used_bytes() == []
    assert "nvmlDeviceGetHandleByIndex" not in two_gpus


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "CDLL", refuse)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    assert GpuMemory().used_bytes() == []
    assert GpuMemory(0).used_bytes() == []


def test_the_library_is_loaded_with_the_first_meter() -> None:
    code = (
        "import sys\n"
        "from mosaicell.evaluation.memory import GpuMemory\n"
        "assert 'pynvml' not in sys.modules\n"
        "GpuMemory()\n"
        "assert 'pynvml' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
