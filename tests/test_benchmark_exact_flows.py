"""The benchmark of exact flows: what is counted, by source, and what counts as a miss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from benchmarks import exact_flows
from benchmarks.exact_flows import ALL, main, measure
from mosaicell.postprocess.objects import split_disconnected
from mosaicell.training.synthesis import draw_scene


@pytest.fixture
def drawn(tmp_path: Path) -> dict[str, int]:
    """Three scenes of two sources, and how many cells each has."""
    rows, cells = ["label,source"], {}
    (tmp_path / "labels").mkdir()
    for number, kind in enumerate(("fluorescence_nuclei", "phase_rods", "fluorescence_nuclei")):
        _, labels = draw_scene(kind, (150, 170), np.random.default_rng(number), diameter_px=16)
        tifffile.imwrite(tmp_path / "labels" / f"{number}_label.tiff", labels.astype(np.uint16))
        rows.append(f"{number}_label.tiff,{kind}")
        cells[f"{number}"] = int(split_disconnected(labels, 15).max())
    (tmp_path / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return cells


def test_all_cells_come_back_those_at_the_border_too(drawn: dict[str, int], tmp_path: Path) -> None:
    assert min(drawn.values()) > 5
    counts = measure(tmp_path)
    first, rods, second = drawn.values()
    expected = {
        "fluorescence_nuclei": [2, *3 * [first + second]],
        "phase_rods": [1, *3 * [rods]],
        ALL: [3, *3 * [first + rods + second]],
    }
    assert {name: cells.tolist() for name, cells in counts.items()} == expected
    assert list(counts)[-1] == ALL
    assert measure(tmp_path, 2)[ALL].tolist() == [2, *3 * [first + second]]


def test_lost_cells_are_a_miss(
    drawn: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path)]) == 0
    assert f"| all | 3 | {sum(drawn.values())} |" in capsys.readouterr().out
    decode = exact_flows.segment_heat_flows

    def lose_one(*arguments: Any) -> Any:
        labels = decode(*arguments)
        return np.where(labels == 1, 0, labels)

    monkeypatch.setattr(exact_flows, "segment_heat_flows", lose_one)
    assert main(["--data", str(tmp_path)]) == 1
    assert "the target is 0.98" in capsys.readouterr().err


def test_labels_without_a_manifest_are_of_one_source(drawn: dict[str, int], tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").unlink()
    counts = measure(tmp_path)
    assert list(counts) == [tmp_path.name, ALL]
    assert counts[tmp_path.name].tolist() == counts[ALL].tolist()
    assert counts[ALL][1] == sum(drawn.values())


def test_a_folder_without_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert "holds no NAME_label.tiff" in capsys.readouterr().err


def test_labels_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a_label.tiff").write_bytes(b"no image")
    assert main(["--data", str(tmp_path)]) == 2
    assert "a_label.tiff" in capsys.readouterr().err
