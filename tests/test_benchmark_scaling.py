"""The benchmark of rising sizes: what the columns are, what counts as growing too fast, what is left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import scaling, scenery, slides
from benchmarks.command import Measurement
from benchmarks.images import choose_shape
from benchmarks.scaling import COLUMNS, ScalingResult, SizeResult, find_misses, format_table, main
from mosaicell.reading.images import read_image

START_S = 0.5


@pytest.fixture(autouse=True)
def small_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few small scenes: what is drawn is not the point."""
    monkeypatch.setattr(slides, "FIELD_PX", 300)
    monkeypatch.setattr(scenery, "SCENE_PX", 400)
    monkeypatch.setattr(scenery, "SCENES", 2)


def size(megapixels: float, seconds: float, ram_bytes: float) -> SizeResult:
    stages, peak = {"network": seconds / 2}, round(ram_bytes)
    run = Measurement(seconds, 2 * seconds, stages, peak, 2, 99, ("awf-fluorescence",), Path("mask"))
    return SizeResult(megapixels, 100, run)


def result(*, slower: float = 1.0, larger: float = 1.0) -> ScalingResult:
    """Sizes whose time and memory grow with the pixels; at the largest by these factors more."""
    sizes = [size(mp, START_S + 0.3 * (mp - 0.3), 4e6 * mp + 1e9) for mp in (1.0, 4.0, 25.0, 100.0)]
    sizes.append(size(400.0, START_S + 0.3 * slower * (400.0 - 0.3), 4e6 * 400 + 1e9 * larger))
    return ScalingResult(size(0.3, START_S, 1e8).run, tuple(sizes))


def test_times_leave_out_the_start_and_memory_the_label_image() -> None:
    found = result(slower=1.2, larger=1.25)
    assert [found.marginal_s(one) for one in found.sizes] == pytest.approx([0.3, 0.3, 0.3, 0.3, 0.36])
    assert [found.marginal_cpu_s(one) for one in found.sizes] == pytest.approx([0.6, 0.6, 0.6, 0.6, 0.72])
    assert [one.label_bytes for one in found.sizes] == [4e6, 16e6, 100e6, 400e6, 1600e6]
    assert [one.beyond_bytes for one in found.sizes] == [1e9, 1e9, 1e9, 1e9, 1.25e9]
    assert found.time_ratios() == [None, pytest.approx(1), pytest.approx(1), pytest.approx(1), pytest.approx(1.2)]
    assert found.memory_ratios() == [None, None, 1, 1, 1.25]


def test_what_grows_faster_than_the_image_is_a_miss() -> None:
    assert find_misses(result(slower=1.29, larger=1.29)) == []
    assert find_misses(result(slower=1.5)) == [
        "The time per megapixel without start-up differs by a factor of 1.50 (CPU time by 1.50) from 4 megapixels on; "
        "the target is at most 1.3."
    ]
    assert find_misses(result(larger=2)) == [
        "The RAM beyond the label image differs by a factor of 2.00 from 25 megapixels on; the target is at most 1.3."
    ]
    # small sizes have no target
    small = ScalingResult(size(0.3, START_S, 1e8).run, (size(0.5, 9.0, 9e9), size(1.0, 0.6, 1e9)))
    assert find_misses(small) == []


def test_the_table_has_a_column_for_every_figure() -> None:
    lines = format_table(result(slower=1.2, larger=1.25)).splitlines()
    assert lines[0] == (
        "| megapixels | cells | seconds | s/MP | s/MP without start-up | CPU s/MP without start-up | ratio "
        "| peak RSS, GB | label image, GB | RSS beyond it, GB | ratio |"
    )
    assert lines[1].count("---:") == len(COLUMNS)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:7]]
    assert rows[0] == ["1", "99", "0.7", "0.710", "0.300", "0.600", "", "1.00", "0.00", "1.00", ""]
    assert rows[1] == ["4", "99", "1.6", "0.403", "0.300", "0.600", "1.00", "1.02", "0.02", "1.00", ""]
    assert rows[4] == ["400", "99", "144.4", "0.361", "0.360", "0.720", "1.20", "2.85", "1.60", "1.25", "1.25"]
    assert "up to 4 megapixels the median of 3 runs. Start-up is what an image of 640 x 480 takes, 0.50 s" in lines[-2]
    assert "within a factor of 1.3" in lines[-1]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[tuple[int, ...]]]:
    """Shapes of the images that a program is given that takes as long as they are large; afterwards nothing is left."""
    monkeypatch.setattr(scaling.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    shapes = []

    def measure(image: Path, output: Path) -> Measurement:
        shapes.append(read_image(image).pixels.shape[:2])
        # what other images left is gone
        assert len(list((tmp_path / "temporary").rglob("*.tif"))) == 1
        output.mkdir(exist_ok=True)
        (output / "mask_label.tiff").write_bytes(b"mask")
        megapixels = shapes[-1][0] * shapes[-1][1] / 1e6
        return size(megapixels, START_S + 0.3 * megapixels, 4e6 * megapixels + 1e9).run

    monkeypatch.setattr(scaling, "measure_program", measure)
    yield shapes
    assert list((tmp_path / "temporary").iterdir()) == []


def test_every_size_is_drawn_once_measured_and_removed(
    seen: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--megapixels", "1", "0.5", "1", "--json", str(tmp_path / "r.json")]) == 0
    start, half, one = (choose_shape(megapixels) for megapixels in (0.3, 0.5, 1.0))
    assert seen == [image for image in (start, half, one) for _ in range(3)]
    captured = capsys.readouterr()
    assert captured.err == "0.5 megapixels ...\n1 megapixels ...\n"
    found = json.loads((tmp_path / "r.json").read_text())
    assert [entry["megapixels"] for entry in found["sizes"]] == [pytest.approx(0.5, rel=0.01), 1.0]
    assert found["start_s"] == pytest.approx(START_S + 0.3 * 0.3072)
    assert found["sizes"][1]["s_per_megapixel"] == pytest.approx(0.8)
    assert found["sizes"][1]["label_bytes"] == 4_000_000
    assert found["sizes"][1]["beyond_label_bytes"] == 1_000_000_000
    assert found["sizes"][1]["time_ratio"] is None
    assert found["sizes"][1]["cells_drawn"] > found["sizes"][0]["cells_drawn"] > 100
    assert found["sizes"][1]["cpu_s"] == pytest.approx(1.6)
    assert found["missed"] == []
    assert len([line for line in captured.out.splitlines() if line.startswith("|")]) == 4


def test_a_missed_target_ends_with_1(
    seen: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Small sizes have no target: it is moved down to them, and below what is possible."""
    monkeypatch.setattr(scaling, "TIME_FROM", 0.5)
    monkeypatch.setattr(scaling, "MEMORY_FROM", 0.5)
    monkeypatch.setattr(scaling, "MOST_RATIO", 0.9)
    assert main(["--megapixels", "0.5", "1"]) == 1
    sentences = capsys.readouterr().err.splitlines()[2:]
    assert len(sentences) == 2
    assert sentences[0].startswith("The time per megapixel without start-up differs by a factor of 1.0")
    assert sentences[1].startswith("The RAM beyond the label image differs by a factor of 1.00")
    assert len(seen) == 9


def test_a_failed_run_ends_with_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scaling, "measure_program", _fail)
    assert main(["--megapixels", "0.5"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "benchmarks.scaling: error: predict.py ended with exit code 1\n")


def _fail(image: Path, output: Path) -> Measurement:
    raise RuntimeError("predict.py ended with exit code 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--megapixels"], "expected at least one argument"),
        (["--megapixels", "0.3"], "between 0.5 and 1000 megapixels"),
        (["--megapixels", "1001"], "between 0.5 and 1000 megapixels"),
        (["--megapixels", "nan"], "between 0.5 and 1000 megapixels"),
        (["--megapixels", "large"], "between 0.5 and 1000 megapixels"),
    ],
)
def test_sizes_that_cannot_be_measured_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_the_real_program_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "SHORT_RUNS", 1)
    assert main(["--megapixels", "0.5", "--json", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    (only,) = found["sizes"]
    assert only["cells_found"] == pytest.approx(only["cells_drawn"], rel=0.1)
    assert 0 < only["s_per_megapixel"] == pytest.approx(only["wall_s"] / only["megapixels"])
    assert only["beyond_label_bytes"] == only["peak_rss_bytes"] - 4 * round(only["megapixels"] * 1e6) > 50_000_000
