"""Many machines: the same masks and records as in one process, whatever befalls a worker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell import cluster as module
from mosaicell.cluster import count_gpus, main, share_machine
from mosaicell.options import Options
from mosaicell.training.synthesis import draw_scene
from tests.toys import write_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 24
#: a cluster of two workers, which says its address and ends when nobody listens any more
CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=":0", memory_limit=0) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""

#: the same, but an image ends whichever worker has it
DEADLY = """
import os, signal
from distributed import Client, LocalCluster, WorkerPlugin

class Deadly(WorkerPlugin):
    def setup(self, worker):
        from mosaicell.runs.one_process import OneProcess
        do = OneProcess.segment
        def segment(process, images, known):
            if [image.name for image in images] == ["05.png"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return do(process, images, known)
        OneProcess.segment = segment

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster:
        with Client(cluster) as client:
            client.register_plugin(Deadly())
            print(cluster.scheduler_address, flush=True)
            input()
"""

#: the same, but a worker's first image waits until the other worker has one, too
PAIRED = """
import os, sys, time
from pathlib import Path
from distributed import Client, LocalCluster, WorkerPlugin

class Paired(WorkerPlugin):
    def __init__(self, place):
        self.place = place

    def setup(self, worker):
        from mosaicell.runs.one_process import OneProcess
        do, place = OneProcess.segment, self.place
        def segment(process, images, known):
            (Path(place) / str(os.getpid())).touch()
            give_up_s = time.monotonic() + 60
            while len(os.listdir(place)) < 2 and time.monotonic() < give_up_s:
                time.sleep(0.01)
            return do(process, images, known)
        OneProcess.segment = segment

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0) as cluster:
        with Client(cluster) as client:
            client.register_plugin(Paired(sys.argv[1]))
            print(cluster.scheduler_address, flush=True)
            input()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a folder with images in `in`, one of them damaged, and toy models in `weights`."""
    write_weights(tmp_path / "weights")
    (tmp_path / "in").mkdir()
    for number in range(IMAGES):
        write_discs(tmp_path / "in" / f"{number:02}.png", 1 + number % 5)
    (tmp_path / "in" / "bad.png").write_text("no image", encoding="ascii")
    return tmp_path


def command(place: Path, out: str, *options: object, on_cluster: bool = True) -> list[str]:
    program = ["-m", "mosaicell.cluster"] if on_cluster else ["predict.py"]
    given = ["-i", place / "in", "-o", place / out, "--weights", place / "weights", "--device", "cpu", "--report"]
    return [sys.executable, *program, *map(str, [*given, *options])]


def perform(place: Path, out: str, *options: object, on_cluster: bool = True) -> subprocess.CompletedProcess[str]:
    asked = command(place, out, *options, on_cluster=on_cluster)
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.endswith("_label.tiff")}


def records(folder: Path) -> list[dict[str, object]]:
    """Return the images of run.json, without what differs from run to run."""
    images = json.loads((folder / "run.json").read_text(encoding="utf-8"))["images"]
    return [{key: value for key, value in image.items() if key not in ("seconds", "finished")} for image in images]


def workers_of(process: int) -> list[int]:
    """List the processes that a process started to do the work."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            line = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == process and b"spawn_main" in line:
            found.append(int(path.parent.name))
    return found


@contextlib.contextmanager
def running(program: str, *arguments: object) -> Iterator[str]:
    """Run a program that starts a cluster; give its address."""
    started = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with started:
        assert started.stdin is not None
        assert started.stdout is not None
        yield started.stdout.readline().strip()
        started.stdin.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a cluster of two workers."""
    pytest.importorskip("distributed")
    with running(CLUSTER) as said:
        yield said


@pytest.mark.slow
@pytest.mark.consumers
def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(place: Path) -> None:
    pytest.importorskip("distributed")
    assert perform(place, "one", on_cluster=False).returncode == 1
    with subprocess.Popen(
        command(place, "many", "--workers", 2), cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        give_up_s = time.monotonic() + 120
        while len(list((place / "many").glob("*_label.tiff"))) < 4 and time.monotonic() < give_up_s:
            time.sleep(0.01)
        first, _ = workers_of(process.pid)
        os.kill(first, signal.SIGKILL)
        # as a worker leaves that is killed while it writes
        (place / "many" / ".mosaicell-0123456789abcdef.part.tiff").touch()
        said = process.stderr.read()
    assert process.returncode == 1
    assert masks(place / "many") == masks(place / "one")
    assert len(masks(place / "one")) == IMAGES
    assert records(place / "many") == records(place / "one")
    assert sorted(path.name for path in (place / "many").iterdir() if "label" not in path.name) == ["run.json"]
    report = json.loads((place / "many" / "run.json").read_text(encoding="utf-8"))
    assert (report["complete"], report["device"]) == (True, "cpu")
    # the one that was killed may have done none, and who follows it comes too late for any
    assert 1 <= report["workers"] <= 3
    # each image is told once, as a run in one process tells it
    told = re.findall(r"INFO: (\d\d)\.png: fluorescence, awf-fluorescence, \d cells", said)
    assert sorted(told) == [f"{number:02}" for number in range(IMAGES)]
    assert re.search(r"ERROR: failed: bad\.png: is no image.*\n.*24 images done .*, 0 skipped, 1 failed", said)


@pytest.mark.slow
@pytest.mark.consumers
def test_the_workers_that_did_images_are_counted(place: Path) -> None:
    pytest.importorskip("distributed")
    (place / "begun").mkdir()
    with running(PAIRED, place / "begun") as address:
        done = perform(place, "many", "--scheduler", address)
    assert done.returncode == 1
    report = json.loads((place / "many" / "run.json").read_text(encoding="utf-8"))
    assert report["workers"] == 2


@pytest.mark.slow
@pytest.mark.consumers
def test_an_image_that_ends_every_worker_fails_alone(place: Path) -> None:
    pytest.importorskip("distributed")
    with running(DEADLY) as address:
        done = perform(place, "many", "--scheduler", address)
    assert done.returncode == 1
    assert "ERROR: failed: 05.png: 4 workers died while they had it" in done.stderr
    assert f"{IMAGES - 1} images done (0 doubtful), 0 skipped, 2 failed" in done.stderr
    assert masks(place / "many").keys() == {f"{number:02}_label.tiff" for number in range(IMAGES) if number != 5}


@pytest.mark.slow
@pytest.mark.consumers
def test_a_cluster_that_is_there_gives_the_masks_of_one_process(address: str, tmp_path: Path) -> None:
    """With the shipped models."""
    (tmp_path / "in").mkdir()
    for number, kind in enumerate(("fluorescence_nuclei", "brightfield_blood", "phase_rods", "dic_yeast")):
        pixels, _ = draw_scene(kind, (150, 170), np.random.default_rng(number))
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), pixels[..., ::-1])
    (tmp_path / "weights").symlink_to(ROOT / "weights")
    extras = ("--overlay", "--table", "--geojson")
    assert perform(tmp_path, "one", *extras, on_cluster=False).returncode == 0
    done = perform(tmp_path, "many", *extras, "--scheduler", address)
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "one").iterdir():
        if path.name != "run.json":
            assert (tmp_path / "many" / path.name).read_bytes() == path.read_bytes(), path.name
    assert records(tmp_path / "many") == records(tmp_path / "one")
    again = perform(tmp_path, "many", *extras, "--scheduler", address, "--skip-existing")
    assert (again.returncode, "0 images done (0 doubtful), 4 skipped" in again.stderr) == (0, True)
    assert [record["cells"] for record in records(tmp_path / "many")] == [
        record["cells"] for record in records(tmp_path / "one")
    ]


@pytest.mark.slow
@pytest.mark.consumers
def test_a_model_that_no_worker_can_load_ends_the_run(address: str, place: Path) -> None:
    (place / "weights" / "awf-fluorescence.onnx").write_bytes(b"other")
    done = perform(place, "many", "--scheduler", address)
    assert done.returncode == 2
    assert re.search(r"python -m mosaicell\.cluster: error: .*SHA-256 differs", done.stderr)
    assert not masks(place / "many")


@pytest.mark.consumers
def test_a_scheduler_that_does_not_answer_is_a_sentence(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    assert main([str(place / "in"), "-o", str(place / "out"), "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "the scheduler tcp://127.0.0.1:1 does not answer" in capsys.readouterr().err
    assert main([str(place / "in"), "-o", str(place / "out"), "--scheduler", "x", "--workers", "2"]) == 2
    assert "--workers are started on this machine" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_without_dask_it_is_said_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([str(place / "in"), "-o", str(place / "out")]) == 2
    assert "Dask is missing: pip install 'mosaicell[cluster]'" in capsys.readouterr().err


def test_threads_and_gpus_are_shared_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaicell.networks.session.available_threads", lambda: 12)
    monkeypatch.setattr(
        "mosaicell.networks.session.resolve_device",
        lambda device: {"auto": "cuda:0", "cuda": "cuda:0"}.get(device, device),
    )

    def share(device: str, workers: int = 0, gpus: int = 0, threads: int = 0) -> tuple[int, int, tuple[str, ...]]:
        asked = Options(Path("in"), Path("out"), device=device, threads=threads)
        options, devices, count = share_machine(asked, workers, gpus)
        return count, options.threads, devices

    assert share("cpu") == (6, 2, ())
    assert share("cpu", workers=4) == (4, 3, ())
    assert share("cpu", workers=20) == (20, 1, ())
    assert share("cpu", threads=5) == (6, 5, ())
    assert share("auto", gpus=3) == (3, 4, ("cuda:0", "cuda:1", "cuda:2"))
    assert share("cuda", workers=2, gpus=4) == (2, 6, ("cuda:0", "cuda:1", "cuda:2", "cuda:3"))
    # one that the user named
    assert share("cuda:1", gpus=4) == (1, 12, ())


def test_gpus_are_counted_by_their_devices(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia10"):
        (tmp_path / name).touch()
    assert count_gpus(tmp_path) == 3
    assert count_gpus(tmp_path / "nowhere") == 0
