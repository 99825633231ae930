"""SLURM, with the scripts of docs/cluster.md: the same masks and records as in one process, and each image once."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slurm import PATIENCE_S, Slurm, is_installed, running_slurm
from tests.toys import write_discs, write_weights

ROOT = Path(__file__).resolve().parent.parent
#: six images and a damaged one, which comes last by name
IMAGES = [f"{number}.png" for number in range(6)]
DAMAGED = "bad.png"
OPTIONS = ("--weights", "weights", "--device", "cpu")

pytestmark = [
    pytest.mark.consumers,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="SLURM is not installed: apt-get install slurm-wlm munge"),
]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """Start a SLURM; sockets have short paths."""
    with tempfile.TemporaryDirectory() as place, running_slurm(Path(place)) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make images in `IN`, one of them damaged, toy models in `weights`, and the masks of one process in `expected`."""
    write_weights(tmp_path / "weights")
    (tmp_path / "IN").mkdir()
    for number, name in enumerate(IMAGES):
        write_discs(tmp_path / "IN" / name, 1 + number % 5)
    (tmp_path / "IN" / DAMAGED).write_text("no image", encoding="ascii")
    assert segment(tmp_path) == 1
    return tmp_path


def segment(place: Path) -> int:
    """Segment the images in one process; returns its exit code."""
    command = [sys.executable, str(ROOT / "predict.py"), "-i", "IN", "-o", "expected", "--report", *OPTIONS]
    return subprocess.run(command, cwd=place, capture_output=True, timeout=PATIENCE_S, check=False).returncode


def documented(language: str, part: str) -> str:
    """Return the code block of docs/cluster.md that holds a text."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if part in block)
    return block


def write_array(place: Path, replaced: str = "", by: str = "") -> Path:
    """Write the script of an array of jobs, as documented, for the environment and models of the test."""
    text = documented("bash", "#SBATCH")
    program = ".venv/bin/python predict.py"
    assert text.count(program) == 1
    assert replaced in text
    text = text.replace(program, f"{sys.executable} {ROOT / 'predict.py'}").replace(replaced, by)
    path = place / "cells.sh"
    path.write_text(f"{text.rstrip()} {' '.join(OPTIONS)}\n", encoding="utf-8")
    return path


def submit(slurm: Slurm, script: Path, tasks: int) -> str:
    """Submit an array of jobs; return its number."""
    submitted = slurm.call("sbatch", "--parsable", f"--array=1-{tasks}", script.name, cwd=script.parent)
    assert submitted.returncode == 0, submitted.stderr + slurm.logs()
    return submitted.stdout.strip()


def finish(slurm: Slurm, job: str) -> dict[int, tuple[str, str]]:
    """Wait for the end of an array of jobs; return the state and the exit code of each."""
    end_s = time.monotonic() + PATIENCE_S
    while slurm.queue():
        assert time.monotonic() < end_s, slurm.logs()
        time.sleep(0.1)
    return slurm.tasks(job)


def add_images(place: Path) -> list[str]:
    """Add so many images that a job can be stopped among them; return the names of all that are none damaged."""
    for number in range(150):
        os.link(place / "IN" / IMAGES[number % len(IMAGES)], place / "IN" / f"more-{number:03}.png")
    return sorted(path.name for path in (place / "IN").iterdir() if path.name != DAMAGED)


def masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_label.tiff")}


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return content


def records(folder: Path) -> list[dict[str, object]]:
    """Return the images of run.json, without what differs from run to run."""
    unequal = ("seconds", "finished", "skipped")
    return [{key: value for key, value in image.items() if key not in unequal} for image in report(folder)["images"]]


def told(place: Path, job: str) -> list[str]:
    """List the images that the jobs of an array say they have segmented."""
    texts = [path.read_text(encoding="utf-8") for path in place.glob(f"slurm-{job}_*.out")]
    return sorted(name for text in texts for name in re.findall(r"INFO: (\S+): fluorescence, ", text))


def check_whole(place: Path) -> None:
    """Compare masks, records and files of `OUT` with those of one process."""
    assert masks(place / "OUT") == masks(place / "expected")
    assert len(masks(place / "OUT")) == len([path for path in (place / "IN").iterdir() if path.name != DAMAGED])
    assert records(place / "OUT") == records(place / "expected")
    assert sorted(path.name for path in (place / "OUT").iterdir()) == sorted(
        path.name for path in (place / "expected").iterdir()
    )


def wait_for_masks(folder: Path, count: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while len(masks(folder)) < count:
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_an_array_does_each_image_once(slurm: Slurm, place: Path) -> None:
    script = write_array(place)
    # the share of the first job holds the damaged image: by name it is the last of seven
    expected = {1: ("FAILED", "1:0"), 2: ("COMPLETED", "0:0"), 3: ("COMPLETED", "0:0")}
    job = submit(slurm, script, 3)
    assert finish(slurm, job) == expected, slurm.logs()
    check_whole(place)
    assert told(place, job) == IMAGES
    assert "ERROR: bad.png: is no image" in (place / f"slurm-{job}_1.out").read_text(encoding="utf-8")
    # again: what is done is skipped, what failed is tried
    job = submit(slurm, script, 3)
    assert finish(slurm, job) == expected, slurm.logs()
    assert told(place, job) == []
    check_whole(place)
    assert [image.get("skipped", False) for image in report(place / "OUT")["images"]] == [True] * len(IMAGES) + [False]


def test_jobs_without_shares_take_what_is_left(slurm: Slurm, place: Path) -> None:
    names = add_images(place)
    job = submit(slurm, write_array(place, "--part auto ", ""), 2)
    # each of them tries the damaged image
    assert finish(slurm, job) == dict.fromkeys((1, 2), ("FAILED", "1:0")), slurm.logs()
    assert told(place, job) == names
    assert segment(place) == 1
    check_whole(place)


def test_a_job_that_is_cancelled_is_gone_on_with(slurm: Slurm, place: Path) -> None:
    (place / "IN" / DAMAGED).unlink()
    names = add_images(place)
    script = write_array(place)
    job = submit(slurm, script, 1)
    wait_for_masks(place / "OUT", 4)
    slurm.call("scancel", job)
    ((state, _),) = finish(slurm, job).values()
    assert state == "CANCELLED"
    first = told(place, job)
    assert 4 <= len(first) < len(names)
    assert not report(place / "OUT")["complete"]
    job = submit(slurm, script, 2)
    assert finish(slurm, job) == dict.fromkeys((1, 2), ("COMPLETED", "0:0")), slurm.logs()
    assert sorted(first + told(place, job)) == names
    assert segment(place) == 0
    check_whole(place)


def test_dask_workers_are_jobs_and_others_do_what_a_cancelled_one_had(slurm: Slurm, place: Path) -> None:
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask-jobqueue is not installed: requirements-consumers.txt")
    names = add_images(place)
    text = documented("python", "SLURMCluster(")
    assert text.count('"--report"]') == 1
    options = ", ".join(f'"{option}"' for option in ("--report", *OPTIONS))
    (place / "on_slurm.py").write_text(text.replace('"--report"]', f"{options}]"), encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "on_slurm.py"],
        cwd=place,
        env={**slurm.environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for_masks(place / "OUT", 4)
            slurm.call("scancel", "--me", "--state=RUNNING")
            _, said = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 1, said
    assert "ERROR: failed: bad.png: is no image" in said
    assert f"{len(names)} images done (0 doubtful), 0 skipped, 1 failed" in said
    # its workers are gone with it
    assert slurm.queue() == []
    assert segment(place) == 1
    check_whole(place)
