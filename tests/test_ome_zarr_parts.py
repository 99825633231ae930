"""Labels that are written part by part: the same files as of those that are written at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from mosaicell.options import NGFF_VERSIONS
from mosaicell.reading.enclosure import open_anywhere
from mosaicell.reading.ngff import read_attributes
from mosaicell.writing import ome_zarr, ome_zarr_parts
from mosaicell.writing.ome_zarr import write_ome_zarr
from mosaicell.writing.ome_zarr_parts import LabelParts


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (ome_zarr, ome_zarr_parts):
        monkeypatch.setattr(module, "CHUNK_PX", 16)
    monkeypatch.setattr(ome_zarr, "SMALLEST_PX", 8)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_parts(folder: Path, labels: np.ndarray, version: str, side_px: int, further: dict[str, str]) -> None:
    folder.mkdir()
    spare = folder.parent / "spare"
    spare.mkdir()
    parts = LabelParts(folder, labels.shape, version, side_px, spare)
    parts.describe((0.5, 0.25), further)
    regions = parts.list_parts()
    # in any order, and again where a worker died
    for y0, x0, y1, x1 in [*reversed(regions), regions[0]]:
        if labels[y0:y1, x0:x1].any():
            parts.write((y0, x0, y1, x1), labels[y0:y1, x0:x1])
    parts.reduce()
    assert not list(spare.iterdir())
    spare.rmdir()


@pytest.mark.parametrize("version", NGFF_VERSIONS)
@pytest.mark.parametrize("side_px", [16, 32, 64, 256])
def test_parts_give_the_files_of_the_whole(version: str, side_px: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(side_px)
    labels = rng.integers(0, 2**32, (150, 203), np.uint32)
    labels[40:110, :120] = 0
    write_ome_zarr(tmp_path / "whole.zarr", [labels], pixel_um=(0.5, 0.25), version=version)
    write_parts(tmp_path / "parts.zarr", labels, version, side_px, {})
    assert files_of(tmp_path / "parts.zarr") == files_of(tmp_path / "whole.zarr")


@pytest.mark.parametrize("version", NGFF_VERSIONS)
def test_further_attributes_stand_beside_those_of_ngff(version: str, tmp_path: Path) -> None:
    labels = np.eye(40, dtype=np.uint32)
    write_parts(tmp_path / "a.zarr", labels, version, 32, {"mosaicell": "x"})
    assert read_attributes(tmp_path / "a.zarr", "labels/mosaicell/", open_anywhere)["mosaicell"] == "x"
    assert np.array_equal(np.asarray(zarr.open_array(tmp_path / "a.zarr" / "labels/mosaicell/0", mode="r")), labels)
    attributes: Any = zarr.open_group(tmp_path / "a.zarr" / "labels/mosaicell", mode="r").attrs
    assert "multiscales" in (attributes["ome"] if version == "0.5" else attributes)
    assert read_attributes(tmp_path / "a.zarr", "", open_anywhere) == {}
    assert read_attributes(tmp_path / "a.zarr", "nowhere/", open_anywhere) == {}
