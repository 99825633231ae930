"""OME-Zarr as its own libraries read it, and as the run keeps it: whole or not at all."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from mosaicell.options import Options
from mosaicell.pictures.selection import Selection
from mosaicell.runs.run import run
from mosaicell.writing import ome_zarr
from mosaicell.writing.masks import read_labels
from mosaicell.writing.ome_zarr import write_ome_zarr
from tests.cells import draw_cells
from tests.toys import draw_discs, write_discs, write_weights


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_zarr, "CHUNK_PX", 32)
    monkeypatch.setattr(ome_zarr, "SMALLEST_PX", 50)


def read_json(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    return read


def read_array(folder: Path) -> np.ndarray:
    """Put an array together from its chunks, by what its description says."""
    said = read_json(folder / ".zarray")
    assert (said["dtype"], said["dimension_separator"], said["fill_value"]) == ("<u4", "/", 0)
    array = np.zeros(said["shape"], said["dtype"])
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".zarray":
            place = [int(part) for part in path.relative_to(folder).parts]
            where = tuple(slice(one * size, (one + 1) * size) for one, size in zip(place, said["chunks"], strict=True))
            chunk = np.frombuffer(zlib.decompress(path.read_bytes()), said["dtype"]).reshape(said["chunks"])
            array[where] = chunk[tuple(slice(length) for length in array[where].shape)]
            assert chunk.any()
    return array


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("planes", "axes"), [((1, 1), "yx"), ((2, 1), "tyx"), ((1, 2), "zyx"), ((2, 3), "tzyx")])
def test_levels_are_every_second_pixel(
    tmp_path: Path, rng: np.random.Generator, planes: tuple[int, int], axes: str
) -> None:
    pages = [draw_cells(rng) for _ in range(planes[0] * planes[1])]
    write_ome_zarr(tmp_path / "a.zarr", iter(pages), planes, (0.25, 0.5))
    assert read_json(tmp_path / "a.zarr" / "labels" / ".zattrs") == {"labels": ["mosaicell"]}
    folder = tmp_path / "a.zarr" / "labels" / "mosaicell"
    (described,) = read_json(folder / ".zattrs")["multiscales"]
    assert "".join(axis["name"] for axis in described["axes"]) == axes
    expected = np.stack(pages).reshape(*(count for count in planes if count > 1), *pages[0].shape)
    sizes = [dataset["coordinateTransformations"][0]["scale"][-2:] for dataset in described["datasets"]]
    assert sizes == [[0.25, 0.5], [0.5, 1.0], [1.0, 2.0], [2.0, 4.0]]
    for level, dataset in enumerate(described["datasets"]):
        step = 2**level
        np.testing.assert_array_equal(read_array(folder / dataset["path"]), expected[..., ::step, ::step])


@pytest.mark.usefixtures("small_chunks")
def test_chunks_without_a_cell_are_not_written(tmp_path: Path) -> None:
    labels = np.zeros((100, 100), np.uint32)
    labels[40:50, 70:80] = 3
    write_ome_zarr(tmp_path / "a.zarr", [labels])
    folder = tmp_path / "a.zarr" / "labels" / "mosaicell" / "0"
    assert [str(path.relative_to(folder)) for path in folder.rglob("[0-9]*") if path.is_file()] == ["1/2"]


def test_a_run_replaces_and_removes_it_as_a_whole(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "weights")
    write_discs(tmp_path / "a.png", 3)
    given = {"weights_path": weights, "device": "cpu", "threads": 1, "skip_existing": True}

    def segment(**more: Any) -> int:
        return run(Options(tmp_path / "a.png", tmp_path / "out", **given, **more))  # type: ignore[arg-type]

    written = tmp_path / "out" / "a.zarr" / "labels" / "mosaicell" / "0"
    assert segment(ome_zarr=True) == 0
    np.testing.assert_array_equal(read_array(written), read_labels(tmp_path / "out" / "a_label.tiff"))
    before = written.stat().st_ino
    assert segment(ome_zarr=True) == 0
    assert written.stat().st_ino == before
    assert segment(ome_zarr=True, ome_zarr_version="0.5") == 0
    assert (written / "zarr.json").is_file()
    assert segment(ome_zarr=True, min_area_px=10_000) == 0
    assert not read_array(written).any()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.zarr", "a_label.tiff"]
    (tmp_path / "a.png").write_bytes(b"no image")
    assert segment(ome_zarr=True) == 1
    assert not list((tmp_path / "out").iterdir())


def test_pages_have_their_axis_through_the_run(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "weights")
    stack = np.stack([draw_discs(2), draw_discs(2) // 2])
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "TYX"})
    options = Options(
        tmp_path / "a.tif",
        tmp_path / "out",
        weights_path=weights,
        device="cpu",
        ome_zarr=True,
        selection=Selection(time="all"),
    )
    assert run(options) == 0
    assert read_array(tmp_path / "out" / "a.zarr" / "labels" / "mosaicell" / "0").shape == (2, 120, 120)


def test_zarr_3_holds_the_same_in_its_own_form(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = draw_cells(rng, (700, 1100), 200, 40)
    for number, version in enumerate(["0.4", "0.5", "0.5"]):
        write_ome_zarr(tmp_path / f"{number}.zarr", [labels, labels[::-1]], (2, 1), (0.5, 0.5), version)
    folders = [tmp_path / f"{number}.zarr" / "labels" / "mosaicell" for number in range(2)]
    for level in ("0", "1", "2"):
        first, second = (zarr.open_array(folder / level, mode="r")[...] for folder in folders)
        np.testing.assert_array_equal(first, second)
    older = read_json(folders[0] / ".zattrs")["multiscales"]
    newer = read_json(folders[1] / "zarr.json")["attributes"]["ome"]
    assert (older[0].pop("version"), newer["version"]) == ("0.4", "0.5")
    assert older == newer["multiscales"]
    # equal labels are equal files
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "1.zarr", tmp_path / "2.zarr")
    ]
    assert files[0] == files[1]
    assert not [path for path in files[0] if path.name.startswith(".z")]


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"allowed are 0\.4, 0\.5"):
        write_ome_zarr(tmp_path / "a.zarr", [np.ones((4, 4), np.uint32)], version="0.3")
    assert not list(tmp_path.iterdir())


@pytest.mark.consumers
@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("planes", [(1, 1), (2, 3)])
def test_the_models_of_ngff_read_it(
    tmp_path: Path, rng: np.random.Generator, version: str, planes: tuple[int, int]
) -> None:
    models = pytest.importorskip(f"ome_zarr_models.v{version.replace('.', '')}")
    labels = draw_cells(rng, (700, 1100), 200, 40)
    write_ome_zarr(tmp_path / "a.zarr", [labels] * (planes[0] * planes[1]), planes, (0.5, 0.5), version)
    found = models.ImageLabel.from_zarr(zarr.open_group(tmp_path / "a.zarr" / "labels" / "mosaicell", mode="r"))
    attributes = found.attributes if version == "0.4" else found.attributes.ome
    assert attributes.multiscales[0].axes[-1].unit == "micrometer"
    every = models.Labels.from_zarr(zarr.open_group(tmp_path / "a.zarr" / "labels", mode="r"))
    assert (every.attributes if version == "0.4" else every.attributes.ome).labels == ["mosaicell"]
