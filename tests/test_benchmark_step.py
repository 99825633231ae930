"""The benchmark of the step to slides: what is laid out, what is scored, and what counts as a miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import step as module
from benchmarks.step import Step, find_misses, format_table, group_images, main, tile_images
from mosaicell.evaluation.contestant import Usage
from mosaicell.reading.images import read_image, write_labels


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Labelled images of two sources, one of them with images of two sizes."""
    for name in ("images", "labels"):
        (tmp_path / "val" / name).mkdir(parents=True)
    rows = ["split,source,modality,image"]
    for name, source, side in (("a", "one", 60), ("b", "two", 60), ("c", "two", 50), ("d", "two", 60)):
        labels = np.zeros((side, 70), np.uint32)
        labels[5:15, 5:15], labels[20:40, 30:50] = 1, 2
        pixels = (rng.integers(0, 20, labels.shape) + 100 * (labels > 0)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "val" / "images" / f"{name}.png"), pixels)
        write_labels(tmp_path / "val" / "labels" / f"{name}_label.tiff", labels)
        rows.append(f"val,{source},fluorescence,{name}.png")
    rows.append("train,one,fluorescence,e.png")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_sources_with_most_images_come_first(data: Path) -> None:
    groups = group_images(data)
    assert {source: [path.stem for path in paths] for source, paths in groups.items()} == {
        "two, fluorescence": ["b", "c", "d"],
        "one, fluorescence": ["a"],
    }
    assert next(iter(groups)) == "two, fluorescence"


def test_images_are_laid_side_by_side_and_every_copy_has_cells_of_its_own(data: Path) -> None:
    paths = group_images(data)["two, fluorescence"]
    pixels, labels = tile_images(paths, 0.0225)
    assert (pixels.shape, labels.shape) == ((150, 150, 1), (150, 150))
    for place, path in enumerate((*paths, *paths)):
        row, column = divmod(place, 3)
        part = np.s_[50 * row : 50 * row + 50, 70 * column : min(70 * column + 70, 150)]
        assert np.array_equal(pixels[part], read_image(path).pixels[:50, : pixels[part].shape[1]])
    # nine copies, of which the last column shows no more than a piece of the first cell
    assert len(np.unique(labels)) - 1 == 6 * 2 + 3
    assert ((labels > 0) == (pixels[..., 0] > 60)).all()


def answer(images: Path, output: Path) -> tuple[Usage, dict[str, Any]]:
    """Find every cell of the smaller image, and the upper half of those of the larger."""
    output.mkdir()
    records = []
    for name in ("a", "b"):
        pixels = read_image(images / f"{name}.tif").pixels[..., 0]
        _, labels = cv2.connectedComponents((pixels > 60).astype(np.uint8), connectivity=4)
        if name == "b":
            labels[len(labels) // 2 :] = 0
        write_labels(output / f"{name}_label.tiff", labels.astype(np.uint32))
        records.append({"image": f"{name}.tif", "predicted_f1": None, "scale": 1.0, "seconds": {"total": 2.0}})
    return Usage(1.0, 0, timed_out=False, peak_ram_bytes=None, peak_gpu_bytes=None), {"images": records}


def test_the_command_compares_both_sizes(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "run_program", answer)
    path = data / "found.json"
    assert main(["--data", str(data), "--megapixels", "0.03", "0.0361", "--json", str(path)]) == 1
    found = json.loads(path.read_text(encoding="utf-8"))["mosaics"]
    assert [one["images"] for one in found] == [3, 1]
    for one in found:
        assert one["f1"][0] == 1
        assert 0.6 < one["f1"][1] < 0.9
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("| mean | | 1.000 | 0.")
    assert "lower by" in printed.err
    assert main(["--data", str(data / "val")]) == 2
    assert "manifest.csv" in capsys.readouterr().err


def test_what_is_lost_on_average_counts() -> None:
    pair = (0.5, 0.5)
    steps = [Step("one", 3, (0.8, 0.79), pair, pair, pair), Step("two", 1, (0.7, 0.71), pair, pair, pair)]
    assert find_misses(steps) == []
    assert "| mean | | 0.750 | 0.750 | +0.000 | | | |" in format_table(steps, (15.9, 16.1))
    assert find_misses(steps[:1]) == ["The larger mosaics have a mean F1 lower by 0.010; the target is at most 0.005."]
