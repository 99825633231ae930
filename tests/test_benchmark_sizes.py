"""The benchmark of cell sizes: what is drawn, what is scored, and what counts as a miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sizes
from benchmarks.sizes import LEAST_F1, find_misses, format_table, main, measure_sizes
from mosaicell.reading.images import read_image, write_labels
from mosaicell.training.synthesis import draw_scene


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let a program answer that knows the truth of every image but the last."""
    seen: list[Path] = []
    truths: list[Any] = []

    def draw(*arguments: Any, **options: Any) -> Any:
        pixels, labels = draw_scene(*arguments, **options)
        truths.append(labels)
        return pixels, labels

    def answer(images: Path, output: Path) -> None:
        output.mkdir()
        names = [
            f"{kind}-{size}-{seed}" for kind in ("dic_yeast", "phase_round") for size in (8, 20) for seed in (0, 1)
        ]
        assert sorted(path.stem for path in images.iterdir()) == sorted(names)
        for name, labels in zip(names, truths, strict=True):
            path = images / f"{name}.png"
            seen.append(path)
            assert read_image(path).pixels.shape[:2] == labels.shape
            write_labels(output / f"{name}_label.tiff", labels * 0 if name == names[-1] else labels)

    monkeypatch.setattr(sizes, "draw_scene", draw)
    monkeypatch.setattr(sizes, "run_program", answer)
    return seen


def test_every_size_is_drawn_and_scored(perfect: list[Path], tmp_path: Path) -> None:
    scores = measure_sizes(tmp_path, ("dic_yeast", "phase_round"), (8, 20), 2)
    assert len(perfect) == 8
    assert scores == {"dic_yeast": {8: 1, 20: 1}, "phase_round": {8: 1, 20: 0.5}}


def test_a_size_that_is_missed_is_named() -> None:
    scores = {"a": {8.0: 1.0, 300.0: LEAST_F1}, "b": {8.0: 0.0, 300.0: LEAST_F1}}
    assert find_misses(scores) == [f"Cells of 8 px reach a mean F1 of 0.50; the target is {LEAST_F1}."]
    assert format_table(scores).splitlines()[-1] == "| mean | 0.50 | 0.70 |"


@pytest.mark.usefixtures("perfect")
def test_the_command_prints_the_table_and_leaves_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--kinds", "dic_yeast", "phase_round", "--diameters", "8", "20", "--json", str(tmp_path / "f.json")]
    assert main(wanted) == 0
    assert capsys.readouterr().out.splitlines()[0] == "| mean F1 at a diameter of | 8 px | 20 px |"
    data = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert data["f1"]["phase_round"] == {"8.0": 1.0, "20.0": 0.5}
    assert data["missed"] == []


def test_a_failed_run_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(images: Path, output: Path) -> None:
        raise RuntimeError("predict.py ended with exit code 2")

    monkeypatch.setattr(sizes, "run_program", fail)
    assert main(["--kinds", "dic_yeast", "--diameters", "8", "--count", "1"]) == 2
    assert capsys.readouterr().err == "python -m benchmarks.sizes: predict.py ended with exit code 2\n"
    with pytest.raises(SystemExit, match="2"):
        main(["--diameters", "3"])
