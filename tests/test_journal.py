"""The record of a run: lines at once, one run.json of all runs, and nothing of images that are gone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from mosaicell.runs import journal as module
from mosaicell.runs.journal import Journal

HEADER = {"version": "1", "weights_sha256": {"new": "2"}}


def entry(name: str, cells: int = 1) -> dict[str, Any]:
    return {"image": f"{name}.png", "mask": f"{name}_label.tiff", "cells": cells}


def write_masks(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}_label.tiff").touch()


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def cells(folder: Path) -> dict[str, Any]:
    return {image["image"]: image.get("cells") for image in read(folder)["images"]}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith("_label.tiff"))


def test_each_record_is_a_line_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert names(tmp_path) == []
    journal.add(entry("b", 3))
    journal.add({"image": "a.png", "error": "is empty"})
    journal.add({"image": "c.png", "skipped": True})
    (path,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert [line["image"] for line in lines] == ["b.png", "a.png"]
    assert all(line["finished"] for line in lines)
    journal.write_report(HEADER, {"a.png"})
    assert names(tmp_path) == ["run.json"]
    assert cells(tmp_path) == {"a.png": None, "b.png": 3, "c.png": None}
    assert read(tmp_path)["version"] == "1"


def test_runs_at_the_same_time_and_after_one_another_give_one_report(tmp_path: Path) -> None:
    write_masks(tmp_path, "a", "b", "c")
    first, second = Journal(tmp_path), Journal(tmp_path)
    first.add(entry("a", 1))
    second.add(entry("b", 2))
    first.write_report(HEADER, set())
    # what the other run has done so far is known, and its lines stay
    assert cells(tmp_path) == {"a.png": 1, "b.png": 2}
    assert len(names(tmp_path)) == 2
    second.add({"image": "a.png", "skipped": True})
    second.add(entry("c", 3))
    second.write_report({"weights_sha256": {"newer": "3"}}, set())
    assert cells(tmp_path) == {"a.png": 1, "b.png": 2, "c.png": 3}
    assert read(tmp_path)["weights_sha256"] == {"new": "2", "newer": "3"}
    assert names(tmp_path) == ["run.json"]


def test_the_newest_of_several_records_counts(tmp_path: Path) -> None:
    write_masks(tmp_path, "a")
    for count in (1, 2):
        journal = Journal(tmp_path)
        journal.add(entry("a", count))
        journal.write_report(HEADER, set())
    assert cells(tmp_path) == {"a.png": 2}
    assert Journal(tmp_path).known["a.png"]["cells"] == 2


def test_lines_of_a_run_that_was_killed_are_merged_but_for_a_cut_one(tmp_path: Path) -> None:
    write_masks(tmp_path, "a", "b")
    left = tmp_path / "run-0123456789abcdef.jsonl"
    left.write_text(json.dumps(entry("a", 5)) + "\n7\n\n" + json.dumps(entry("b", 6))[:-3])
    journal = Journal(tmp_path)
    assert journal.known == {"a.png": entry("a", 5)}
    journal.write_report(HEADER, set())
    assert cells(tmp_path) == {"a.png": 5}
    assert names(tmp_path) == ["run.json"]


def test_what_is_gone_is_not_reported(tmp_path: Path) -> None:
    write_masks(tmp_path, "kept")
    old = [entry("kept"), entry("lost"), {"image": "bad.png", "error": "x"}, {"image": "gone.png", "error": "x"}]
    (tmp_path / "run.json").write_text(json.dumps({"images": [*old, 7, {"image": 7}]}))
    Journal(tmp_path).write_report(HEADER, {"bad.png"})
    assert list(cells(tmp_path)) == ["bad.png", "kept.png"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"images": 7}', '{"images": [], "weights_sha256": 7}']
)
def test_a_damaged_report_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    Journal(tmp_path).write_report(HEADER, set())
    assert read(tmp_path) == {**HEADER, "images": []}


def test_a_full_disk_loses_no_line_that_could_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    journal = Journal(tmp_path)
    journal.add(entry("a"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_whole", full)
        with pytest.raises(OSError, match="No space"):
            journal.write_report(HEADER, set())
        patch.setattr(os, "write", full)
        journal.add(entry("b"))
    journal.close()
    assert list(Journal(tmp_path).known) == ["a.png"]
