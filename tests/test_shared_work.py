"""Runs that share an output folder or go on after one another: no image twice, none lost, all figures in run.json."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import pytest

from mosaicell.reading.images import read_labels
from tests.test_reliability import ROOT, command, place, predict, results
from tests.toys import draw_discs, write_discs, write_judges

__all__ = ["place"]


def read_report(place: Path) -> dict[str, Any]:
    return json.loads((place / "out" / "run.json").read_text(encoding="utf-8"))


def images(place: Path) -> dict[str, dict[str, Any]]:
    return {image["image"]: image for image in read_report(place)["images"]}


def count_segmented(errors: str) -> int:
    return sum(" cells, " in line for line in errors.splitlines())


def hold_claim(place: Path, image: str) -> subprocess.Popen[str]:
    """Start a process that works on an image for ever, and says so."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mosaicell.runs.claims import claim\n"
        "with claim(Path(sys.argv[1]), wait=False) as held:\n"
        "    print(held, flush=True)\n"
        "    time.sleep(600)\n"
    )
    mask = place / "out" / f"{Path(image).stem}_label.tiff"
    mask.parent.mkdir(exist_ok=True)
    holder = subprocess.Popen([sys.executable, "-c", code, str(mask)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    return holder


def start_until_first_image(place: Path) -> subprocess.Popen[bytes]:
    """Start a run that has done a.png, has said so in a line of JSON, and works on a large image."""
    (place / "in" / "b.png").unlink()
    assert cv2.imwrite(str(place / "in" / "large.png"), draw_discs(100, 60))
    process = subprocess.Popen(command(place, "--report"), stderr=subprocess.DEVNULL)
    while not any(path.read_bytes().endswith(b"\n") for path in (place / "out").glob("run-*.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_two_runs_with_skip_existing_do_each_image_once(place: Path) -> None:
    for index in range(10):
        write_discs(place / "in" / f"n{index}.png", 1)
    runs = [
        subprocess.Popen(command(place, "--skip-existing", "--report"), stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=300)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum(map(count_segmented, said)) == 12
    assert {name: image.get("cells") for name, image in images(place).items()} == {
        **{f"n{index}.png": 1 for index in range(10)},
        "a.png": 2,
        "b.png": 3,
    }
    assert len(list((place / "out").iterdir())) == 13


def test_an_image_of_a_living_run_is_left_to_it_and_that_of_a_dead_one_is_taken_over(place: Path) -> None:
    holder = hold_claim(place, "a.png")
    done = predict(place, "--skip-existing", "--report")
    assert (done.returncode, count_segmented(done.stderr)) == (0, 1)
    assert "a.png: left to another run, which is working on it" in done.stderr
    assert images(place)["a.png"] == {"image": "a.png", "skipped": True}
    holder.kill()
    holder.communicate()
    done = predict(place, "--skip-existing")
    assert (done.returncode, count_segmented(done.stderr)) == (0, 1)
    (place / "out" / "run.json").unlink()
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


def test_a_run_that_replaces_waits_for_the_other(place: Path) -> None:
    holder = hold_claim(place, "a.png")
    process = subprocess.Popen(command(place), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    assert "another run works on a_label.tiff; waiting" in lines[1]
    holder.kill()
    holder.communicate()
    assert process.wait(timeout=300) == 0
    process.stderr.close()
    assert results(place) == {"a_label.tiff": 2, "b_label.tiff": 3}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_figures_survive_a_stop_and_are_kept_by_the_run_that_goes_on(place: Path, number: signal.Signals) -> None:
    process = start_until_first_image(place)
    process.send_signal(number)
    process.wait(timeout=60)
    if number == signal.SIGKILL:
        (journal,) = (place / "out").glob("run-*.jsonl")
        (first,) = map(json.loads, journal.read_text().splitlines())
    else:
        assert read_report(place)["complete"] is False
        (first,) = read_report(place)["images"]
        assert not list((place / "out").glob("run-*.jsonl"))
    assert (first["image"], first["cells"]) == ("a.png", 2)
    write_discs(place / "in" / "large.png", 5)
    done = predict(place, "--skip-existing", "--report")
    assert (done.returncode, count_segmented(done.stderr)) == (0, 1)
    found = images(place)
    assert found["a.png"] == {**first, "skipped": True}
    assert found["large.png"]["cells"] == 5
    assert read_report(place)["complete"] is True
    assert "awf-fluorescence" in read_report(place)["weights_sha256"]
    assert {path.name for path in (place / "out").iterdir()} == {"a_label.tiff", "large_label.tiff", "run.json"}


def test_an_image_is_done_again_when_options_or_weights_are_others(place: Path) -> None:
    def segmented(*options: str) -> int:
        done = predict(place, "--skip-existing", *options)
        assert done.returncode == 0
        return count_segmented(done.stderr)

    assert segmented() == 2
    # what changes no mask changes nothing
    assert segmented("--batch-size", "3", "--max-megapixels", "9", "--strict") == 0
    assert segmented("--channels", "1") == 2
    assert segmented() == 2
    assert segmented("--choose-by", "confidence") == 2
    assert segmented("--choose-by", "confidence") == 0
    assert segmented() == 2
    write_judges(place / "weights", offset=2.0)
    assert segmented() == 2
    assert segmented("--mask-dtype", "uint32") == 2
    write_discs(place / "in" / "a.png", 4)
    assert segmented("--mask-dtype", "uint32") == 1
    shutil.copy(place / "in" / "a.png", place / "copy.png")
    (place / "copy.png").replace(place / "in" / "a.png")
    # the same content under the same name, of another time
    os.utime(place / "in" / "a.png", (0, 0))
    assert segmented("--mask-dtype", "uint32") == 0


def test_parts_take_each_image_once_and_share_run_json(place: Path) -> None:
    for index in range(3):
        write_discs(place / "in" / f"n{index}.png", 1)
    (place / "in" / "broken.png").touch()
    environment = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "7", "SLURM_ARRAY_TASK_MAX": "9"}
    options: list[tuple[str, dict[str, str]]] = [("1/3", {}), ("2/3", {}), ("auto", environment)]
    done = [predict(place, "--report", "--part", part, env={**os.environ, **extra}) for part, extra in options]
    assert [count_segmented(run.stderr) for run in done] == [2, 2, 1]
    assert [run.returncode for run in done] == [0, 0, 1]
    found = images(place)
    assert {name: image.get("cells") for name, image in found.items()} == {
        "a.png": 2,
        "b.png": 3,
        "broken.png": None,
        "n0.png": 1,
        "n1.png": 1,
        "n2.png": 1,
    }
    assert "error" in found["broken.png"]


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "x", "auto"])
def test_what_is_no_part_is_refused(place: Path, part: str) -> None:
    done = predict(place, "--part", part)
    assert done.returncode == 2
    assert "allowed are I/N with I from 1 to N, auto and auto/N" in done.stderr


def test_a_failure_of_an_earlier_run_goes_with_its_image(place: Path) -> None:
    (place / "in" / "broken.png").touch()
    assert predict(place, "--report").returncode == 1
    (place / "in" / "broken.png").unlink()
    (place / "out" / "b_label.tiff").unlink()
    (place / "in" / "b.png").unlink()
    write_discs(place / "in" / "c.png", 1)
    assert predict(place, "--report", "--skip-existing").returncode == 0
    assert list(images(place)) == ["a.png", "c.png"]
    assert read_labels(place / "out" / "a_label.tiff").max() == 2
