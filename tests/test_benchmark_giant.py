"""The benchmark of slides that are split: what is drawn, what counts as a miss, and what the table shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import scenery, slide_parts, sparse_slide
from benchmarks.giant import COLUMNS, GiantResult, _check_ids, find_misses, format_table
from benchmarks.sparse_slide import choose_side, write_sparse_slide
from mosaicell.reading.images import read_image
from mosaicell.writing.ome_zarr import write_ome_zarr


def result(megapixels: float, cpu_s: float, worker_bytes: int = 10**9) -> GiantResult:
    stages = {"plan": 2.0, "segment": cpu_s, "write": 1.0, "total": cpu_s + 3}
    return GiantResult(megapixels, megapixels / 64, 99, cpu_s + 9, stages, cpu_s, worker_bytes, 10**8)


def test_a_sparse_slide_has_absent_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_slide, "CHUNK_PX", 64)
    monkeypatch.setattr(sparse_slide, "ISLAND_PX", 60)
    monkeypatch.setattr(sparse_slide, "SQUARE_PX", 320)
    monkeypatch.setattr(sparse_slide, "STEP_PX", 20)
    monkeypatch.setattr(scenery, "SCENE_PX", 96)
    monkeypatch.setattr(scenery, "SCENES", 2)
    side_px = choose_side(0.4)
    assert side_px == 640
    tissue = write_sparse_slide(tmp_path / "slide.zarr", side_px, scenery.draw_scenery())
    assert tissue == 4 * 60 * 60 / 1e6
    chunks = [path for path in (tmp_path / "slide.zarr" / "0").rglob("*") if path.is_file()]
    # at most four of each island, and what the array is
    assert 4 < len(chunks) <= 1 + 4 * 4 < 100
    pixels = read_image(tmp_path / "slide.zarr").pixels
    assert pixels.shape == (640, 640, 1)
    assert 0 < np.count_nonzero(pixels) <= 4 * 60 * 60


def test_missing_ids_are_found(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [0, 3, 3]], np.uint32)
    write_ome_zarr(tmp_path / "a.zarr", [labels])
    path = tmp_path / "a.zarr" / "labels" / "mosaicell" / "0"
    _check_ids(path, 3)
    with pytest.raises(RuntimeError, match="1 of 4 ids are missing"):
        _check_ids(path, 4)
    with pytest.raises(RuntimeError, match="holds the id 3, of 2 cells"):
        _check_ids(path, 2)


def test_what_grows_faster_than_the_slide_is_a_miss() -> None:
    # the smallest has no target
    assert find_misses([result(64, 12), result(256, 12 + 19.2), result(2048, 12 + 198.4)]) == []
    assert find_misses([result(64, 12), result(256, 12 + 19.2), result(2048, 12 + 396.8)]) == [
        "The CPU time per megapixel is 2.00 times that of the first size from 250 megapixels on; the target is at most "
        "1.3."
    ]
    assert find_misses([result(64, 6, 5 * 10**9)]) == ["A worker took 5.00 GB; the target is at most 4."]


def test_the_table_has_a_column_for_every_figure() -> None:
    lines = format_table([result(64, 6.4), result(256, 25.6), result(2048, 224.64)], 2).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:5])]
    assert {len(row) for row in rows} == {len(COLUMNS)}
    assert rows[1] == ["64", "1", "99", "15", "2.0", "6.4", "1.0", "", "", "", "1.00", "0.10"]
    assert rows[2][7:10] == ["0.100", "0.100", "1.00"]
    assert rows[3][7:10] == ["0.110", "0.110", "1.10"]


@pytest.mark.slow
def test_parts_of_a_slide_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_slide, "SQUARE_PX", 1024)
    monkeypatch.setattr(scenery, "SCENE_PX", 512)
    monkeypatch.setattr(scenery, "SCENES", 1)
    row = slide_parts.measure_parts(tmp_path, 9.0, 1, scenery.draw_scenery())
    assert len(row) == len(slide_parts.COLUMNS)
    assert row[:3] == ("9", "1", "1")
    assert all(float(value) > 0 for value in row[3:])
