"""Contestants: one run of a command or a container, what it used, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedRandom
from pathlib import Path
from types import FrameType

import pytest

from mosaicell.evaluation import contestant
from mosaicell.evaluation.contestant import Command, Container, Usage

PYTHON = (sys.executable, "-I", "-S", "-c")
DOCKER = os.environ.get("DOCKER", "docker")
LONG_S = 600.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BufferedRandom]:
    with (tmp_path / "log").open("w+b") as file:
        yield file


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Make the folders of one run."""
    inputs, outputs = tmp_path / "work" / "inputs", tmp_path / "work" / "outputs"
    inputs.mkdir(parents=True)
    outputs.mkdir()
    (inputs / "a.png").write_bytes(b"image")
    return inputs, outputs


def run_python(source: str, folders: tuple[Path, Path], log: BufferedRandom, timeout_s: float = LONG_S) -> Usage:
    return Command([*PYTHON, source]).run(*folders, log, timeout_s)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def has_ended(process: int) -> bool:
    """Wait for the end of a process that was killed."""
    deadline_s = time.monotonic() + 10
    while is_running(process) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return not is_running(process)


@pytest.fixture
def interrupt_after() -> Iterator[Callable[[float], object]]:
    """Return a function that interrupts the test after so many seconds, as a key does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield partial(signal.setitimer, signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_command_gets_both_folders_behind_its_own_arguments(folders: tuple[Path, Path], log: BufferedRandom) -> None:
    words = [*PYTHON, "import sys; print(sys.argv[1:])", "two words", "$HOME"]
    Command(words).run(*folders, log, LONG_S)
    log.seek(0)
    expected = ["two words", "$HOME", "-i", str(folders[0]), "-o", str(folders[1])]
    assert log.read().decode().strip() == str(expected)


def test_a_command_cannot_read_the_keyboard_and_its_words_go_to_the_log(
    folders: tuple[Path, Path], log: BufferedRandom
) -> None:
    log.write(b"before\n")
    log.flush()
    source = "import sys; print('out', repr(sys.stdin.read()), flush=True); print('err', file=sys.stderr)"
    run_python(source, folders, log)
    log.seek(0)
    assert log.read().decode().splitlines() == ["before", "out ''", "err"]


@pytest.mark.parametrize(("end", "expected"), [("0", 0), ("3", 3), ("'no'", 1)])
def test_the_exit_code_is_the_programs(
    folders: tuple[Path, Path], log: BufferedRandom, end: str, expected: int
) -> None:
    assert run_python(f"raise SystemExit({end})", folders, log).exit_code == expected


def test_a_signal_counts_as_shells_count_it(folders: tuple[Path, Path], log: BufferedRandom) -> None:
    usage = run_python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", folders, log)
    assert (usage.exit_code, usage.timed_out) == (128 + signal.SIGSEGV, False)


def test_the_time_holds_the_whole_run(folders: tuple[Path, Path], log: BufferedRandom) -> None:
    start_s = time.perf_counter()
    usage = run_python("import time; time.sleep(0.2)", folders, log)
    assert 0.2 <= usage.seconds <= time.perf_counter() - start_s


def test_the_highest_memory_counts_and_the_timers_own_does_not(folders: tuple[Path, Path], log: BufferedRandom) -> None:
    mine = bytearray(b"x" * 400_000_000)
    source = "import time; data = b'x' * 150_000_000; time.sleep(0.3); del data; time.sleep(0.1)"
    usage = run_python(source, folders, log)
    assert usage.peak_ram_bytes is not None
    assert 150_000_000 < usage.peak_ram_bytes < 200_000_000 < len(mine)


def test_a_short_run_has_a_figure(folders: tuple[Path, Path], log: BufferedRandom) -> None:
    usage = run_python("import time; time.sleep(0.05)", folders, log)
    assert usage.peak_ram_bytes is not None


class FakeGpus:
    """GPUs that say one thing after the other; the last is said for ever."""

    def __init__(self, readings: list[list[int]]) -> None:
        self._readings = readings

    def used_bytes(self) -> list[int]:
        """Return the next reading."""
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]


@pytest.mark.parametrize(
    ("readings", "expected"),
    [([[50, 20], [50, 22], [49, 27], [50, 23]], 7), ([[50, 20], [40, 10]], 0), ([[]], None)],
)
def test_gpu_memory_is_the_largest_increase_on_one_gpu(
    folders: tuple[Path, Path],
    log: BufferedRandom,
    monkeypatch: pytest.MonkeyPatch,
    readings: list[list[int]],
    expected: int | None,
) -> None:
    monkeypatch.setattr(contestant, "GpuMemory", lambda: FakeGpus(readings))
    assert run_python("import time; time.sleep(0.3)", folders, log).peak_gpu_bytes == expected


def test_a_run_that_takes_too_long_is_stopped_with_its_descendants(
    folders: tuple[Path, Path], log: BufferedRandom
) -> None:
    usage = Command(["sh", "-c", "sleep 100 & echo $! >&2; wait"]).run(*folders, log, 0.3)
    assert (usage.timed_out, usage.exit_code) == (True, 137)
    assert 0.3 <= usage.seconds < 100
    log.seek(0)
    assert has_ended(int(log.read()))


def test_what_a_run_leaves_behind_is_stopped(folders: tuple[Path, Path], log: BufferedRandom) -> None:
    usage = Command(["sh", "-c", "sleep 100 & echo $!"]).run(*folders, log, LONG_S)
    assert (usage.exit_code, usage.timed_out) == (0, False)
    assert usage.seconds < 100
    log.seek(0)
    assert has_ended(int(log.read()))


def test_an_interrupt_stops_the_run(
    folders: tuple[Path, Path], log: BufferedRandom, interrupt_after: Callable[[float], object]
) -> None:
    interrupt_after(0.5)
    with pytest.raises(KeyboardInterrupt):
        Command(["sh", "-c", "echo $$; sleep 100"]).run(*folders, log, LONG_S)
    log.seek(0)
    assert has_ended(int(log.read()))


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeError, match="no program nowhere-to-be-found"):
        Command(["nowhere-to-be-found"]).check()
    with pytest.raises(RuntimeError, match="no program nowhere-to-be-found; install Docker"):
        Container("image", "28g", docker="nowhere-to-be-found").check()


@pytest.fixture
def fake_docker(tmp_path: Path) -> Path:
    """Write a docker that records how it is called, and fails for an image called missing."""
    path = tmp_path / "docker"
    source = f"""#!{sys.executable} -IS
import json, sys
with open({str(tmp_path / "calls")!r}, "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
if "inspect" in sys.argv:
    sys.exit("Error: No such\\n image" if "missing:latest" in sys.argv else 0)
"""
    path.write_text(source)
    path.chmod(0o755)
    return path


def read_calls(tmp_path: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [("", []), ("0", ["--gpus", "device=0"]), ("3", ["--gpus", "device=3"]), ("all", ["--gpus", "all"])],
)
def test_a_container_is_run_with_the_challenges_line(
    folders: tuple[Path, Path], log: BufferedRandom, tmp_path: Path, fake_docker: Path, gpu: str, expected: list[str]
) -> None:
    team = Container("team", "28g", gpu, str(fake_docker))
    for _ in range(2):
        assert team.run(*folders, log, LONG_S).exit_code == 0
    calls = read_calls(tmp_path)
    names, id_files = ({call[call.index(option) + 1] for call in calls} for option in ("--name", "--cidfile"))
    assert len(calls) == len(names) == len(id_files) == 2
    name, id_file = (calls[0][calls[0].index(option) + 1] for option in ("--name", "--cidfile"))
    assert Path(id_file).parent not in folders
    mounts = ["-v", f"{folders[0]}/:/workspace/inputs/", "-v", f"{folders[1]}/:/workspace/outputs/"]
    limits = [*expected, "-m", "28g", "--name", name, "--rm", "--cidfile", id_file]
    assert calls[0] == ["container", "run", *limits, *mounts, "team:latest", "/bin/bash", "-c", "sh predict.sh"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("team", "team:latest"),
        ("team:v2", "team:v2"),
        ("host:5000/team", "host:5000/team:latest"),
        ("host:5000/team:v2", "host:5000/team:v2"),
        ("team@sha256:00", "team@sha256:00"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, expected: str, tmp_path: Path, fake_docker: Path) -> None:
    team = Container(image, "28g", docker=str(fake_docker))
    team.check()
    assert read_calls(tmp_path)[0][-1] == team.describe() == expected


def test_an_image_that_is_not_there_is_named(fake_docker: Path) -> None:
    with pytest.raises(RuntimeError, match=r"the image missing:latest cannot be used: Error: No such image$"):
        Container("missing", "28g", docker=str(fake_docker)).check()


SLOW_DOCKER = """
import pathlib, sys, time
state = pathlib.Path(sys.argv[0]).with_name("state")
if "rm" in sys.argv:
    state.write_text(f"{sys.argv[-1]} removed while {state.read_text()}")
else:
    id_file = pathlib.Path(sys.argv[sys.argv.index("--cidfile") + 1])
    id_file.touch()
    state.write_text("creating")
    time.sleep(0.5)
    state.write_text("created")
    id_file.write_text("id")
    time.sleep(100)
"""


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_container_is_removed_only_once_the_engine_has_created_it(
    folders: tuple[Path, Path],
    log: BufferedRandom,
    tmp_path: Path,
    interrupt_after: Callable[[float], object],
    interrupted: bool,
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!{sys.executable} -IS\n{SLOW_DOCKER}")
    docker.chmod(0o755)
    team = Container("team", "28g", docker=str(docker))
    if interrupted:
        interrupt_after(0.2)
        with pytest.raises(KeyboardInterrupt):
            team.run(*folders, log, LONG_S)
    else:
        assert team.run(*folders, log, 0.01).timed_out
    assert re.fullmatch(r"timing-[0-9a-f]{16} removed while created", (tmp_path / "state").read_text())


# With a real engine. The base image needs a shell, nothing else.

PROGRAM = """
case "$(cat inputs/a.png)" in
sleep) sleep 100 ;;
fail) exit 3 ;;
allocate) head -c 200000000 /dev/zero | tail -c 150000000 >/dev/null ;;
file) head -c 200000000 /dev/zero >/tmp/large ;;
greedy) exec tail /dev/zero ;;
esac
ls inputs outputs; echo complained >&2; cp inputs/a.png outputs/copy
"""


@pytest.fixture(scope="module")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build an image whose predict.sh does what the input says."""
    folder = tmp_path_factory.mktemp("image")
    base = os.environ.get("BASE_IMAGE", "debian:bookworm-slim")
    (folder / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /workspace\nCOPY predict.sh ./\n")
    (folder / "predict.sh").write_text(PROGRAM)
    name = f"mosaicell-test-contestant-{os.getpid()}"
    subprocess.run([DOCKER, "build", "--tag", name, str(folder)], check=True, capture_output=True)
    yield name
    subprocess.run([DOCKER, "image", "rm", "--force", name], check=True, capture_output=True)


def run_container(
    image: str,
    word: str,
    folders: tuple[Path, Path],
    log: BufferedRandom,
    memory: str = "512m",
    timeout_s: float = LONG_S,
) -> Usage:
    """Run the image on an input that holds a word, and see that no container stays."""
    (folders[0] / "a.png").write_text(word)
    try:
        return Container(image, memory, docker=DOCKER).run(*folders, log, timeout_s)
    finally:
        listed = [DOCKER, "ps", "--all", "--quiet", "--filter", f"ancestor={image}"]
        deadline_s = time.monotonic() + 10
        # what the engine was still creating shows up late, and what has ended goes late
        time.sleep(0.5)
        while subprocess.run(listed, check=True, capture_output=True).stdout:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


@pytest.mark.docker
def test_a_container_reads_and_writes_the_challenges_folders(
    tiny_image: str, folders: tuple[Path, Path], log: BufferedRandom
) -> None:
    Container(tiny_image, "28g", docker=DOCKER).check()
    usage = run_container(tiny_image, "", folders, log)
    assert (usage.exit_code, usage.timed_out) == (0, False)
    assert (usage.peak_ram_bytes or 0) > 0
    assert usage.peak_gpu_bytes is None
    log.seek(0)
    assert sorted(log.read().decode().split()) == ["a.png", "complained", "inputs:", "outputs:"]
    assert [path.name for path in folders[1].iterdir()] == ["copy"]


@pytest.mark.docker
@pytest.mark.parametrize(
    ("word", "lowest_mb", "highest_mb"), [("allocate", 150, 200), ("file", 0, 100)], ids=["processes", "page cache"]
)
def test_memory_of_a_container_is_that_of_its_processes(
    tiny_image: str, folders: tuple[Path, Path], log: BufferedRandom, word: str, lowest_mb: int, highest_mb: int
) -> None:
    usage = run_container(tiny_image, word, folders, log)
    assert usage.peak_ram_bytes is not None
    assert lowest_mb < usage.peak_ram_bytes / 1e6 < highest_mb


@pytest.mark.docker
@pytest.mark.parametrize(("word", "expected"), [("fail", 3), ("greedy", 137)])
def test_the_exit_code_is_the_containers(
    tiny_image: str, folders: tuple[Path, Path], log: BufferedRandom, word: str, expected: int
) -> None:
    usage = run_container(tiny_image, word, folders, log, memory="64m")
    assert (usage.exit_code, usage.timed_out) == (expected, False)


@pytest.mark.docker
@pytest.mark.parametrize("timeout_s", [0.01, 0.1, 0.3, 2.0])
def test_a_container_that_takes_too_long_is_removed(
    tiny_image: str, folders: tuple[Path, Path], log: BufferedRandom, timeout_s: float
) -> None:
    usage = run_container(tiny_image, "sleep", folders, log, timeout_s=timeout_s)
    assert (usage.exit_code, usage.timed_out) == (137, True)


@pytest.mark.docker
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.4, 2.0])
def test_an_interrupt_removes_the_container(
    tiny_image: str,
    folders: tuple[Path, Path],
    log: BufferedRandom,
    interrupt_after: Callable[[float], object],
    seconds: float,
) -> None:
    interrupt_after(seconds)
    with pytest.raises(KeyboardInterrupt):
        run_container(tiny_image, "sleep", folders, log)


@pytest.mark.docker
def test_an_image_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RuntimeError, match="the image mosaicell-test-nothing:latest cannot be used"):
        Container("mosaicell-test-nothing", "28g", docker=DOCKER).check()
