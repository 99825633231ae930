"""The timing command: what it gives a program, how it judges what comes back, and the tables that it leaves."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.evaluation import tolerance
from mosaicell.evaluation.contestant import Command, Usage
from mosaicell.evaluation.outcome import check_mask
from mosaicell.evaluation.timed_image import COLUMNS, TimedImage, summarise
from mosaicell.evaluation.timing import Rules, main, merge_reports, time_image
from mosaicell.evaluation.timing_folder import prepare_output
from mosaicell.evaluation.tolerance import seconds_over, tolerance_s
from mosaicell.reading.images import write_labels
from tests.test_imports import ROOT

TimeProgram = Callable[..., tuple[int, list[dict[str, str]], str]]
SHAPE = (40, 60)
PRELUDE = """
import json, os, shutil, sys, time
from pathlib import Path
prepared, inputs, outputs = Path(sys.argv[1]), Path(sys.argv[3]), Path(sys.argv[5])
assert sys.argv[2::2] == ["-i", "-o"]
image, = inputs.iterdir()
stem = image.name.split(".")[0]
mask = f"{stem}_label.tiff"
def write(name="good.tiff", to=mask):
    shutil.copy(prepared / name, outputs / to)
"""


def draw_labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint32)
    labels[3:9, 4:12], labels[20:30, 20:50], labels[35:40, 55:60] = 1, 2, 3
    return labels


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write masks, good and bad, that a program may return."""
    folder, labels = tmp_path_factory.mktemp("prepared"), draw_labels()
    write_labels(folder / "good.tiff", labels)
    write_labels(folder / "empty.tiff", np.zeros(SHAPE, np.uint8))
    write_labels(folder / "turned.tiff", labels.T)
    write_labels(folder / "gap.tiff", np.where(labels == 2, 7, labels))
    write_labels(folder / "large.tiff", np.where(labels == 2, 4_000_000_000, labels))
    tifffile.imwrite(folder / "float.tiff", labels.astype(np.float32))
    tifffile.imwrite(folder / "negative.tiff", -labels.astype(np.int16))
    tifffile.imwrite(folder / "planes.tiff", np.stack([labels] * 4), photometric="minisblack")
    cv2.imwrite(str(folder / "mask.png"), labels.astype(np.uint8))
    (folder / "garbage.tiff").write_bytes(b"II*\0 this is no image")
    (folder / "nothing.tiff").touch()
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write two images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.v2.png"):
        cv2.imwrite(str(folder / name), np.full(SHAPE, 90, np.uint8))
    return folder


@pytest.fixture
def time_program(tmp_path: Path, images: Path, prepared: Path, capfd: pytest.CaptureFixture[str]) -> TimeProgram:
    """Return a function that times a program: exit status, rows of timing.csv, stderr."""

    def run(body: str, *options: object) -> tuple[int, list[dict[str, str]], str]:
        output = tmp_path / "out"
        status = main(["-i", str(images), "-o", str(output), "--command", command(body, prepared), *map(str, options)])
        assert not list(output.glob(".timing-*"))
        return status, read_rows(output), capfd.readouterr().err

    return run


def command(body: str, prepared: Path) -> str:
    """Return the command line of a program that is made of `PRELUDE` and a body."""
    return shlex.join([sys.executable, "-I", "-S", "-c", PRELUDE + body, str(prepared)])


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "timing.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


# The rule.


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (None, 10.0),
        (1, 10.0),
        (640 * 480, 10.0),
        (999_999, 10.0),
        (1_000_000, 10.0),
        (1_000_001, 10.00001),
        (2_000_000, 20.0),
        (88_300_000, 883.0),
    ],
)
def test_ten_seconds_are_free_and_ten_for_each_megapixel_of_a_larger_image(pixels: int | None, expected: float) -> None:
    assert tolerance_s(pixels) == pytest.approx(expected, rel=1e-12)
    assert seconds_over(expected, pixels) == pytest.approx(0, abs=1e-9)
    assert seconds_over(expected / 2, pixels) == 0
    assert seconds_over(expected + 4, pixels) == pytest.approx(4)


# A good program.


def test_a_good_program_leaves_masks_logs_and_tables(
    time_program: TimeProgram,
    tmp_path: Path,
    prepared: Path,
) -> None:
    status, rows, errors = time_program("write(); print('said', image.name); print('complained', file=sys.stderr)")
    output = tmp_path / "out"
    assert status == 0
    assert (output / "timing.csv").read_text().splitlines()[0] == (
        "Img Name,Real Running Time,Rank Running Time,Slowest Running Time,Height,Width,Pixels,Tolerance,"
        "Peak RAM MB,Peak GPU MB,Exit Code,Mask,Failure"
    )
    assert [row["Img Name"] for row in rows] == ["a.png", "b.v2.png"]
    for row in rows:
        sizes = [row[column] for column in ("Height", "Width", "Pixels", "Exit Code", "Mask", "Failure")]
        assert sizes == ["40", "60", "2400", "0", "valid", ""]
        assert 0 < float(row["Real Running Time"]) == float(row["Slowest Running Time"])
        assert (float(row["Rank Running Time"]), float(row["Tolerance"])) == (0, 10)
    names = ["a_label.tiff", "b_label.tiff", "logs", "timing.csv", "timing.md"]
    assert sorted(path.name for path in output.iterdir()) == names
    for stem, image in (("a", "a.png"), ("b", "b.v2.png")):
        assert (output / f"{stem}_label.tiff").read_bytes() == (prepared / "good.tiff").read_bytes()
        log = (output / "logs" / f"{stem}.log").read_text().splitlines()
        assert sorted(log) == ["complained", f"said {image}"]
    assert [line.split(":")[0] for line in errors.splitlines()] == ["1/2 a.png", "2/2 b.v2.png"]


def test_every_image_gets_new_folders_of_its_own(time_program: TimeProgram, images: Path) -> None:
    body = """
assert inputs.is_absolute() and outputs.is_absolute() and not list(outputs.iterdir())
write()
(outputs / "stray").mkdir()
(outputs / "stray" / "file").touch()
image.unlink()
"""
    assert time_program(body, "--runs", 2)[0] == 0
    assert len(list(images.iterdir())) == 2


def test_the_page_is_printed_and_kept(
    tmp_path: Path, images: Path, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["-i", str(images), "-o", str(tmp_path / "out"), "--command", command("write()", prepared)])
    page = (tmp_path / "out" / "timing.md").read_text()
    assert capsys.readouterr().out == page
    assert "- images: 2\n- failures: 0\n- out-of-tolerance seconds: 0.00 in 0 images\n" in page


def test_the_size_is_the_readers_not_the_arrays(time_program: TimeProgram, images: Path) -> None:
    shutil.rmtree(images)
    images.mkdir()
    planes = np.zeros((3, *SHAPE), np.uint8)
    tifffile.imwrite(images / "a.tif", planes, photometric="rgb", planarconfig="separate")
    status, rows, _ = time_program("write()")
    assert (status, rows[0]["Height"], rows[0]["Width"], rows[0]["Pixels"]) == (0, "40", "60", "2400")


def test_an_image_that_cannot_be_read_is_run_and_named(time_program: TimeProgram, images: Path, tmp_path: Path) -> None:
    (images / "c.png").write_bytes(b"no image")
    status, rows, errors = time_program("write()")
    cells = [rows[2][column] for column in ("Img Name", "Height", "Width", "Pixels", "Tolerance", "Mask", "Failure")]
    assert (status, cells) == (0, ["c.png", "", "", "", "10.0000", "valid", ""])
    sentence = "the image is no image: it begins with b'no image'"
    assert sentence in errors.splitlines()[2]
    assert f"- c.png: {sentence}" in (tmp_path / "out" / "timing.md").read_text()


def test_other_files_are_named_and_left_out(time_program: TimeProgram, images: Path) -> None:
    (images / "notes.txt").touch()
    (images / ".hidden.png").touch()
    (images / "folder.png").mkdir()
    (images / "gone.png").symlink_to(images / "nowhere.png")
    status, rows, errors = time_program("write()")
    assert (status, len(rows)) == (0, 2)
    assert [line.split(":")[0] for line in errors.splitlines()[:3]] == ["folder.png", "gone.png", "notes.txt"]


def test_a_program_may_name_its_masks_in_full(time_program: TimeProgram, tmp_path: Path) -> None:
    status, rows, _ = time_program("write(to=image.stem + '_label.tiff')")
    assert (status, [row["Mask"] for row in rows]) == (0, ["valid", "valid"])
    assert {path.name for path in (tmp_path / "out").glob("*.tiff")} == {"a_label.tiff", "b.v2_label.tiff"}
    # a second timing takes the first one's out
    time_program("write()")
    assert {path.name for path in (tmp_path / "out").glob("*.tiff")} == {"a_label.tiff", "b_label.tiff"}


# Programs that fail.


@pytest.mark.parametrize(
    ("body", "code", "mask", "failure"),
    [
        ("write(); sys.exit(3)", "3", "valid", "exit code 3"),
        ("sys.exit(3)", "3", "missing", "exit code 3; no a_label.tiff"),
        ("raise ValueError", "1", "missing", "exit code 1 (ValueError); no a_label.tiff"),
        ("write(); os.kill(os.getpid(), 9)", "137", "valid", "exit code 137: killed, as for too much RAM"),
        ("pass", "0", "missing", "no a_label.tiff"),
        ("(outputs / mask).mkdir()", "0", "missing", "no a_label.tiff"),
        ("write(to='a.png_label.tiff')", "0", "missing", "no a_label.tiff, but a.png_label.tiff"),
        (
            "[write(to=f'{name}.tif') for name in 'vwxyz']",
            "0",
            "missing",
            "no a_label.tiff, but v.tif, w.tif, x.tif and 2 more",
        ),
        (
            "write('turned.tiff')",
            "0",
            "is 60 x 40 pixels, the image 40 x 60",
            "the mask is 60 x 40 pixels, the image 40 x 60",
        ),
    ],
)
def test_a_failing_program_is_counted_and_the_next_image_is_run(
    time_program: TimeProgram,
    tmp_path: Path,
    body: str,
    code: str,
    mask: str,
    failure: str,
) -> None:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    status, rows, errors = time_program(f"if stem == 'a':\n{lines}else:\n    write()")
    assert status == 1
    assert [rows[0][column] for column in ("Exit Code", "Mask", "Failure")] == [code, mask, failure]
    assert [rows[1][column] for column in ("Exit Code", "Mask", "Failure")] == ["0", "valid", ""]
    assert float(rows[0]["Real Running Time"]) > 0
    assert f"; {failure}" in errors.splitlines()[0]
    assert "- images: 2\n- failures: 1\n" in (tmp_path / "out" / "timing.md").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good.tiff", "valid"),
        ("empty.tiff", "valid"),
        ("nowhere.tiff", "missing"),
        ("turned.tiff", "is 60 x 40 pixels, the image 40 x 60"),
        ("gap.tiff", "has ids up to 7 but not 2 (4 unused); ids are 1..n without gaps"),
        ("large.tiff", "has the id 4000000000 but only 2400 pixels; ids are 1..n without gaps"),
        ("float.tiff", "is no label image: its samples are float32"),
        ("negative.tiff", "holds ids from -3 to 0"),
        ("planes.tiff", ""),
        ("garbage.tiff", "is cut short"),
        ("nothing.tiff", "is no TIFF"),
        ("mask.png", "is no TIFF"),
    ],
)
def test_a_mask_is_valid_or_the_reason_is_given(prepared: Path, name: str, expected: str) -> None:
    result = check_mask(prepared / name, SHAPE)
    assert result.startswith(expected)
    assert (result == "valid") == (expected == "valid")


def test_without_the_images_size_only_the_ids_are_checked(prepared: Path) -> None:
    assert check_mask(prepared / "turned.tiff", None) == "valid"
    assert check_mask(prepared / "gap.tiff", None) != "valid"


def test_an_invalid_mask_is_kept_and_garbage_stops_nothing(
    time_program: TimeProgram, tmp_path: Path, prepared: Path
) -> None:
    status, rows, _ = time_program("write('garbage.tiff'); (outputs / 'run.json').write_bytes(bytes(range(256)))")
    assert status == 1
    assert all(row["Failure"] == f"the mask {row['Mask']}" for row in rows)
    assert (tmp_path / "out" / "a_label.tiff").read_bytes() == (prepared / "garbage.tiff").read_bytes()


def test_a_program_that_hangs_is_stopped(
    time_program: TimeProgram,
) -> None:
    status, rows, _ = time_program("write(); time.sleep(100 * (stem == 'a'))", "--timeout", 3)
    assert (status, rows[1]["Failure"]) == (1, "")
    assert [rows[0][column] for column in ("Exit Code", "Failure")] == ["137", "stopped after 3 s"]
    assert 3 <= float(rows[0]["Real Running Time"]) < 100


def test_time_beyond_the_tolerance_is_no_failure_but_not_fine(
    time_program: TimeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tolerance, "TOLERANCE_S", 0.0001)
    status, rows, _ = time_program("write()")
    assert (status, {row["Failure"] for row in rows}) == (1, {""})
    for row in rows:
        real, rank = float(row["Real Running Time"]), float(row["Rank Running Time"])
        assert real - rank == pytest.approx(0.0001, abs=0.00011)


# Several runs.


class Scripted:
    """A contestant that used what a script says, and writes a mask unless it failed."""

    def __init__(self, prepared: Path, usages: list[Usage]) -> None:
        self._good, self._usages = prepared / "good.tiff", iter(usages)

    def check(self) -> None:
        """Find nothing wrong."""

    def describe(self) -> str:
        """Return a name."""
        return "scripted"

    def run(self, inputs: Path, outputs: Path, log: BinaryIO, timeout_s: float) -> Usage:
        """Return the next usage."""
        usage = next(self._usages)
        if usage.exit_code == 0:
            shutil.copy(self._good, outputs / "a_label.tiff")
        return usage


def time_scripted(tmp_path: Path, images: Path, prepared: Path, *usages: Usage) -> TimedImage:
    prepare_output(tmp_path / "out")
    rules = Rules(runs=len(usages), timeout_s=1, memory_limit_bytes=28 * 2**30)
    return time_image(images / "a.png", tmp_path / "out", Scripted(prepared, list(usages)), rules)[0]


def test_the_median_time_counts_and_the_highest_memory(tmp_path: Path, images: Path, prepared: Path) -> None:
    usages = [Usage(9.0, 0, False, 30, None), Usage(2.0, 0, False, None, 70), Usage(14.5, 0, False, 50, 60)]
    timed = time_scripted(tmp_path, images, prepared, *usages, Usage(12.0, 0, False, 20, 10))
    assert (timed.median_s, timed.slowest_s, timed.over_s) == (10.5, 14.5, 0.5)
    assert (timed.peak_ram_bytes, timed.peak_gpu_bytes) == (50, 70)
    assert (timed.exit_code, timed.mask, timed.failure) == (0, "valid", "")


def test_one_failing_run_is_a_failure(tmp_path: Path, images: Path, prepared: Path) -> None:
    good, bad, worse = Usage(1.0, 0, False, 1, None), Usage(1.0, 5, False, 1, None), Usage(1.0, 6, False, 1, None)
    timed = time_scripted(tmp_path, images, prepared, good, bad, worse, good)
    assert (timed.exit_code, timed.mask) == (5, "missing")
    assert timed.failure == "run 2 of 4: exit code 5; no a_label.tiff"
    assert (tmp_path / "out" / "a_label.tiff").is_file()


@pytest.mark.parametrize(
    ("ram_bytes", "gpu_bytes", "expected"),
    [
        (28 * 2**30, 10_000_000_000, ""),
        (28 * 2**30 + 10_000_000, None, "30,075 MB of RAM, allowed are 30,065"),
        (None, 10_001_000_000, "10,001 MB of GPU memory, allowed are 10,000"),
        (10**11, 10**11, "100,000 MB of RAM, allowed are 30,065; 100,000 MB of GPU memory, allowed are 10,000"),
    ],
)
def test_memory_beyond_a_limit_is_a_failure(
    tmp_path: Path, images: Path, prepared: Path, ram_bytes: int | None, gpu_bytes: int | None, expected: str
) -> None:
    timed = time_scripted(tmp_path, images, prepared, Usage(1.0, 0, False, ram_bytes, gpu_bytes))
    assert (timed.failure, timed.mask) == (expected, "valid")


def test_a_command_is_held_to_the_limit_of_memory(
    time_program: TimeProgram,
) -> None:
    body = "write(); data = b'x' * (40_000_000 * (stem == 'a')); time.sleep(0.2)"
    status, rows, _ = time_program(body, "--memory", "32m")
    assert (status, rows[1]["Failure"]) == (1, "")
    assert rows[0]["Failure"].endswith("MB of RAM, allowed are 34")
    assert 40 < float(rows[0]["Peak RAM MB"]) < 70


def test_every_run_is_in_the_log(time_program: TimeProgram, tmp_path: Path) -> None:
    time_program("write(); print('said')", "--runs", 3)
    log = (tmp_path / "out" / "logs" / "a.log").read_text()
    assert log.split("\n") == ["run 1 of 3: said", "run 2 of 3: said", "run 3 of 3: said", ""]


# run.json.


def test_the_reports_of_all_images_become_one(time_program: TimeProgram, tmp_path: Path) -> None:
    body = """
write()
report = {"version": stem, "options": {"system": "x"}, "elapsed_s": 1.25, "weights_sha256": {stem: "0", "both": stem},
          "images": [{"image": image.name, "cells": 3}]}
(outputs / "run.json").write_text(json.dumps(report))
"""
    time_program(body, "--runs", 2)
    merged = json.loads((tmp_path / "out" / "run.json").read_text())
    assert merged == {
        "version": "a",
        "options": {"system": "x"},
        "elapsed_s": 2.5,
        "weights_sha256": {"a": "0", "b": "0", "both": "b"},
        "images": [{"image": "a.png", "cells": 3}, {"image": "b.v2.png", "cells": 3}],
    }


def test_merging_invents_nothing_and_changes_nothing() -> None:
    reports: list[dict[str, object]] = [{"images": [1]}, {"images": [], "device": "cpu"}, {"images": [2, 3]}]
    before = json.dumps(reports)
    assert merge_reports(reports) == {"images": [1, 2, 3]}
    assert json.dumps(reports) == before


@pytest.mark.parametrize(
    "text", ["", "[]", '{"images": 3}', "{'a'", "[" * 100_000], ids=["empty", "list", "number", "cut", "deep"]
)
def test_an_unusable_report_is_named_and_left_out(time_program: TimeProgram, tmp_path: Path, text: str) -> None:
    (tmp_path / "report").write_text(text)
    body = f"""
write()
shutil.copy({str(tmp_path / "report")!r}, outputs / "run.json")
if stem == "b":
    (outputs / "run.json").write_text('{{"images": [1]}}')
"""
    status, _, errors = time_program(body)
    assert (status, errors.splitlines()[0].startswith("a.png: its run.json ")) == (0, True)
    assert json.loads((tmp_path / "out" / "run.json").read_text()) == {"images": [1]}


# The output folder.


def test_an_earlier_timing_is_replaced_and_nothing_else(
    time_program: TimeProgram, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    time_program("write(); (outputs / 'run.json').write_text('{\"images\": []}')")
    (output / "mine_label.tiff").write_text("mine")
    (output / "logs" / "mine.log").write_text("mine")
    (output / ".timing-left").mkdir()
    (images / "a.png").unlink()
    status, rows, _ = time_program("pass")
    assert (status, [row["Img Name"] for row in rows]) == (1, ["b.v2.png"])
    names = sorted(path.name for path in output.iterdir())
    assert names == ["logs", "mine_label.tiff", "timing.csv", "timing.md"]
    assert sorted(path.name for path in (output / "logs").iterdir()) == ["b.log", "mine.log"]


def test_names_in_an_earlier_table_lead_out_of_no_folder(time_program: TimeProgram, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    outside = [tmp_path / "x_label.tiff", tmp_path / "x.log"]
    for path in outside:
        path.touch()
    names = [str(tmp_path / "x.png"), "../x.png", "../../x.png"]
    (output / "timing.csv").write_text("\n".join([",".join(COLUMNS), *names]) + "\n")
    assert time_program("write()")[0] == 0
    assert all(path.exists() for path in outside)


@pytest.mark.parametrize("table", [None, "", "a,b\n1,2\n", "Img Name\n", "\0\n", "\xff"])
def test_a_folder_with_files_of_others_is_refused_untouched(
    tmp_path: Path, images: Path, prepared: Path, capsys: pytest.CaptureFixture[str], table: str | None
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "a_label.tiff").write_text("mine")
    if table is not None:
        (output / "timing.csv").write_bytes(table.encode("latin-1"))
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(SystemExit, match="2"):
        main(["-i", str(images), "-o", str(output), "--command", command("write()", prepared)])
    assert ("holds files but no" if table is None else "is not a table") in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


# Interrupts.


def test_an_interrupt_keeps_what_was_done(
    time_program: TimeProgram,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Command.run

    def interrupt_second(self: Command, inputs: Path, outputs: Path, log: BinaryIO, timeout_s: float) -> Usage:
        if (inputs / "b.v2.png").exists():
            raise KeyboardInterrupt
        return run(self, inputs, outputs, log, timeout_s)

    monkeypatch.setattr(Command, "run", interrupt_second)
    status, rows, errors = time_program("write(); (outputs / 'run.json').write_text('{\"images\": [1]}')")
    assert (status, [row["Img Name"] for row in rows]) == (130, ["a.png"])
    assert errors.splitlines()[-1] == f"interrupted; what was done is in {tmp_path / 'out' / 'timing.csv'}"
    for name in ("a_label.tiff", "run.json", "timing.md"):
        assert (tmp_path / "out" / name).is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_on_a_signal_with_all_that_it_started(
    tmp_path: Path, images: Path, prepared: Path, number: signal.Signals
) -> None:
    body = f"""
if stem == 'a':
    write()
else:
    Path({str(tmp_path / "part")!r}).write_text(str(os.getpid()))
    Path({str(tmp_path / "part")!r}).replace({str(tmp_path / "begun")!r})
    time.sleep(100)
"""
    words = ["-i", str(images), "-o", str(tmp_path / "out"), "--command", command(body, prepared)]
    started = [sys.executable, "-m", "evaluation.timing", *words]
    with subprocess.Popen(started, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline_s = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == 130
    assert [row["Img Name"] for row in read_rows(tmp_path / "out")] == ["a.png"]
    assert not list((tmp_path / "out").glob(".timing-*"))
    inner = int((tmp_path / "begun").read_text())
    while (path := Path(f"/proc/{inner}/stat")).exists() and path.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_an_output_that_cannot_be_written_any_more_stops_the_command(time_program: TimeProgram, tmp_path: Path) -> None:
    body = f"""
write()
page = Path({str(tmp_path / "out" / "timing.md")!r})
if stem == "b":
    page.unlink()
    page.mkdir()
"""
    status, rows, errors = time_program(body)
    assert (status, [row["Img Name"] for row in rows]) == (2, ["a.png", "b.v2.png"])
    assert errors.splitlines()[-1].startswith("stopped: ")


# Names and the page.


@pytest.mark.parametrize(
    "name",
    ["two words, 'quoted' | \"barred\".png", "zwei\nzeilen.png", "größe.png", "=1+1.png", os.fsdecode(b"gr\xf6.png")],
)
def test_any_name_survives_the_tables(time_program: TimeProgram, images: Path, tmp_path: Path, name: str) -> None:
    shutil.rmtree(images)
    images.mkdir()
    cv2.imwrite(str(images / "x.png"), np.zeros(SHAPE, np.uint8))
    (images / "x.png").rename(images / name)
    status, rows, _ = time_program("write()")
    assert (status, rows[0]["Img Name"]) == (0, name)
    table = [line for line in (tmp_path / "out" / "timing.md").read_text().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {11}
    # and the next timing finds what this one wrote
    assert time_program("pass")[0] == 1
    assert not list((tmp_path / "out").glob("*_label.tiff"))


def test_the_page_names_the_extremes() -> None:
    def timed(name: str, seconds: float, pixels: int, ram_bytes: int | None, failure: str = "") -> TimedImage:
        return TimedImage(name, (seconds,), (1, pixels), ram_bytes, None, 0, "valid", failure)

    page = summarise(
        "a | title",
        [
            timed("late", 12.0, 5, 3_000_000_000),
            timed("large", 300.0, 88_300_000, None),
            timed("later", 23.5, 2_000_000, 2_000_000_000, "exit code 1"),
        ],
    )
    assert "\na \\| title\n" in page
    assert "| large | 88,300,000 | 883.0 | 300.00 | 300.00 | 0.00 |  |  | valid |  |" in page
    assert "| later | 2,000,000 | 20.0 | 23.50 | 23.50 | 3.50 | 2,000 |  | valid | exit code 1 |" in page
    assert page.splitlines()[-6:] == [
        "- images: 3",
        "- failures: 1",
        "- out-of-tolerance seconds: 5.50 in 2 images",
        "- slowest relative to its tolerance: late, 12.00 s, 120% of 10.0 s",
        "- highest RAM: late, 3,000 MB",
        "- highest GPU memory: not measured",
    ]


# What cannot start.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --image --command is required"),
        (["--image", "x", "--command", "y"], "not allowed with argument"),
        (["--command", ""], "the command line is empty"),
        (["--command", "'"], "is no command line"),
        (["--command", "nowhere-to-be-found -x"], "there is no program nowhere-to-be-found"),
        (["--image", ""], "is no name of an image"),
        (["--image=--privileged"], "is no name of an image"),
        (["--image", "x"], "there is no program nowhere-to-be-found; install Docker, or name it in DOCKER"),
        (["--command", "true", "--gpus", "0"], "--gpus goes with --image"),
        (["--image", "x", "--gpus", "first"], "neither the number of a GPU nor all"),
        (["--image", "x", "--gpus", ""], "neither the number of a GPU nor all"),
        (["--command", "true", "--runs", "0"], "whole number of 1 or more"),
        (["--command", "true", "--runs", "1.5"], "whole number of 1 or more"),
        (["--command", "true", "--timeout", "0"], "seconds above 0"),
        (["--command", "true", "--timeout", "nan"], "seconds above 0"),
        (["--command", "true", "--timeout", "inf"], "seconds above 0"),
        (["--command", "true", "--memory", "lots"], "write it as 28g"),
        (["--command", "true", "-i", "{root}/nowhere"], "nowhere"),
        (["--command", "true", "-i", "{root}/empty"], "holds no image file"),
        (["--command", "true", "-i", "{root}/twins"], "x.png and x.tif would share the mask x_label.tiff; rename one"),
        (["--command", "true", "-o", "{images}"], "is the folder of the images"),
        (["--command", "true", "-o", "{images}/../images"], "is the folder of the images"),
        (["--command", "true", "-o", "{images}/a.png"], "a.png"),
        (["--image", "x", "-o", "{root}/a:b"], "has a colon"),
    ],
)
def test_what_cannot_start_is_refused_and_leaves_nothing(
    tmp_path: Path,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("DOCKER", "nowhere-to-be-found")
    (tmp_path / "empty").mkdir()
    (tmp_path / "twins").mkdir()
    for name in ("x.png", "x.tif"):
        shutil.copy(images / "a.png", tmp_path / "twins" / name)
    before = sorted(tmp_path.rglob("*"))
    given = [argument.format(root=tmp_path, images=images) for argument in arguments]
    with pytest.raises(SystemExit, match="2"):
        main(["-i", str(images), "-o", str(tmp_path / "out"), *given])
    assert message in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.rglob("*")) == before


# A container.


def test_an_image_is_run_by_the_docker_of_the_environment(
    tmp_path: Path, images: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"""#!{sys.executable} -IS
import shutil, sys
mounts = [sys.argv[at + 1] for at, word in enumerate(sys.argv) if word == "-v"]
if mounts:
    image, = __import__("pathlib").Path(mounts[0].split(":")[0]).iterdir()
    shutil.copy({str(prepared / "good.tiff")!r}, mounts[1].split(":")[0] + image.name.split(".")[0] + "_label.tiff")
""")
    docker.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(docker))
    assert main(["-i", str(images), "-o", str(tmp_path / "out"), "--image", "team", "--gpus", "device=0"]) == 0
    assert "team:latest --gpus device=0; RAM allowed: 28g; runs of each image: 1" in capsys.readouterr().out
    assert [row["Mask"] for row in read_rows(tmp_path / "out")] == ["valid", "valid"]


@pytest.fixture
def tiny_image(tmp_path: Path, prepared: Path) -> Iterator[str]:
    """Build an image that returns the good mask for every input but b."""
    folder = tmp_path / "context"
    folder.mkdir()
    shutil.copy(prepared / "good.tiff", folder)
    base = os.environ.get("BASE_IMAGE", "debian:bookworm-slim")
    (folder / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /workspace\nCOPY predict.sh good.tiff ./\n")
    script = (
        'for image in inputs/*; do name=$(basename "$image"); cp good.tiff "outputs/${name%%.*}_label.tiff"; done\n'
    )
    (folder / "predict.sh").write_text(f"{script}test ! -e inputs/b.v2.png || exit 4\n")
    name, docker = f"mosaicell-test-timing-{os.getpid()}", os.environ.get("DOCKER", "docker")
    subprocess.run([docker, "build", "--tag", name, str(folder)], check=True, capture_output=True)
    yield name
    subprocess.run([docker, "image", "rm", "--force", name], check=True, capture_output=True)


@pytest.mark.docker
def test_a_real_container_is_timed(
    tmp_path: Path, images: Path, tiny_image: str, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-i", str(images), "-o", str(tmp_path / "out"), "--image", tiny_image, "--runs", "2"]) == 1
    rows = read_rows(tmp_path / "out")
    assert [row["Failure"] for row in rows] == ["", "run 1 of 2: exit code 4"]
    assert all(float(row["Peak RAM MB"]) > 0 and row["Mask"] == "valid" for row in rows)
    assert (tmp_path / "out" / "a_label.tiff").read_bytes() == (prepared / "good.tiff").read_bytes()
    assert not list((tmp_path / "out").glob(".timing-*"))
