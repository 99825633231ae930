"""The table of cells, through the run with a file of several channels, and as it is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.measure import regionprops_table

from mosaicell.options import Options
from mosaicell.pictures.selection import Selection
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.runs.run import run
from mosaicell.systems import Choice
from mosaicell.writing.cell_table import measure_cells, write_cell_table
from mosaicell.writing.masks import read_labels
from tests.cells import draw_cells
from tests.toys import draw_discs, write_discs, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def segment(path: Path, weights: Path, **given: object) -> Path:
    """Segment a file, with a table; returns the folder of the results."""
    options = Options(path, weights.parent / "out", weights_path=weights, device="cpu", threads=1, table=True, **given)  # type: ignore[arg-type]
    assert run(options) == 0
    return weights.parent / "out"


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_table_has_the_cells_of_the_mask_in_every_channel_of_the_file(
    weights: Path, rng: np.random.Generator, compression: str | None
) -> None:
    discs = draw_discs(4)
    other = rng.integers(0, 60000, discs.shape).astype(np.uint16)
    path = weights.parent / "a.ome.tif"
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "second, with comma"]},
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.25,
    }
    channels = np.stack([discs.astype(np.uint16) * 200, other])
    tifffile.imwrite(path, channels, metadata=metadata, compression=compression)
    out = segment(path, weights, selection=Selection(("DAPI",)))
    labels, rows = read_labels(out / "a.ome_label.tiff"), read_table(out / "a.ome_cells.csv")
    assert column(rows, "label") == [1, 2, 3, 4]
    expected = regionprops_table(
        labels.astype(np.int32),
        np.moveaxis(channels, 0, -1).astype(float),
        properties=("area", "centroid", "bbox", "intensity_mean", "intensity_min", "intensity_max", "intensity_std"),
    )
    names = {
        "area_px": "area",
        "centroid_y_px": "centroid-0",
        "centroid_x_px": "centroid-1",
        "bbox_y0_px": "bbox-0",
        "bbox_x0_px": "bbox-1",
        "bbox_y1_px": "bbox-2",
        "bbox_x1_px": "bbox-3",
    }
    for channel, name in enumerate(("DAPI", "second, with comma")):
        names |= {f"{what}_{name}": f"intensity_{what}-{channel}" for what in ("mean", "min", "max", "std")}
    for name, theirs in names.items():
        np.testing.assert_allclose(column(rows, name), expected[theirs], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(column(rows, "area_um2"), expected["area"] * 0.125, rtol=1e-6)
    assert {row["branch"] for row in rows} <= {"awf-fluorescence", "omnipose"}
    # the toy judges say that of every cell
    np.testing.assert_allclose(column(rows, "likelihood"), 1 / (1 + np.exp(-3)), rtol=1e-5)


def test_what_is_not_known_is_left_empty(weights: Path) -> None:
    write_discs(weights.parent / "a.png", 3)
    out = segment(weights.parent / "a.png", weights, choose_by="confidence")
    rows = read_table(out / "a_cells.csv")
    assert [(row["area_um2"], row["likelihood"], row["branch"]) for row in rows] == [("", "", "awf-fluorescence")] * 3
    assert column(rows, "mean_channel_1") == [255] * 3


def test_colours_are_channels(weights: Path) -> None:
    grey = draw_discs(2)
    tifffile.imwrite(weights.parent / "a.tif", np.stack([grey, grey // 2, grey // 5], axis=-1), photometric="rgb")
    rows = read_table(segment(weights.parent / "a.tif", weights) / "a_cells.csv")
    assert [column(rows, f"max_{colour}") for colour in ("red", "green", "blue")] == [[255] * 2, [127] * 2, [51] * 2]


def test_filters_hold_for_mask_table_and_report(weights: Path) -> None:
    grey = draw_discs(4)
    grey[:70, :30] = 255
    tifffile.imwrite(weights.parent / "a.tif", grey)
    out = segment(weights.parent / "a.tif", weights, exclude_edges=True, expand_px=3, report=True)
    rows, labels = read_table(out / "a_cells.csv"), read_labels(out / "a_label.tiff")
    (record,) = json.loads((out / "run.json").read_text(encoding="utf-8"))["images"]
    assert labels.max() == len(rows) == record["cells"] == sum(record["cells_by_branch"].values()) == 3
    assert column(rows, "area_px") == np.bincount(labels.ravel())[1:].tolist()
    # discs of radius 15 that grew by 3
    assert column(rows, "equivalent_diameter_px") == pytest.approx([37] * 3, abs=1.5)


def test_a_mask_with_omes_xml_is_known_again(weights: Path) -> None:
    write_discs(weights.parent / "a.png", 3)
    given = {"mask_format": "ome-tiff", "skip_existing": True}
    mask = segment(weights.parent / "a.png", weights, **given) / "a_label.tiff"
    written = mask.stat().st_mtime_ns
    assert read_labels(mask).max() == 3
    segment(weights.parent / "a.png", weights, **given)
    assert mask.stat().st_mtime_ns == written
    # the table is missing, and so all is done again
    (mask.parent / "a_cells.csv").unlink()
    segment(weights.parent / "a.png", weights, **given)
    assert (mask.parent / "a_cells.csv").exists()


def test_pages_are_numbered(weights: Path) -> None:
    stack = np.stack([draw_discs(2), draw_discs(2) // 2])
    tifffile.imwrite(weights.parent / "a.tif", stack, metadata={"axes": "ZYX"})
    rows = read_table(segment(weights.parent / "a.tif", weights, selection=Selection(z="all")) / "a_cells.csv")
    assert [(row["page"], row["label"]) for row in rows] == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    assert column(rows, "max_channel_1") == [255, 255, 127, 127]


def test_channels_of_one_name_keep_their_columns(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = draw_cells(rng)
    choice = Choice(labels, "m", {"m": int(labels.max())}, {}, None, {}, 1.0)
    channels = [(["x"], ArrayPixels(np.full((*labels.shape, 1), value, np.uint8))) for value in (1, 2, 3)]
    columns = measure_cells(choice, channels, None)
    assert [columns[f"mean_{name}"][0] for name in ("x", "x_2", "x_3")] == [1, 2, 3]
    write_cell_table(tmp_path / "a.csv", [columns])
    assert list(read_table(tmp_path / "a.csv")[0]) == list(columns)


def test_a_table_without_cells_has_the_same_columns(tmp_path: Path) -> None:
    some, none = np.ones((4, 5), np.uint32), np.zeros((4, 5), np.uint32)
    headers = []
    for labels in (some, none):
        choice = Choice(labels, "m", {"m": int(labels.max())}, {}, None, {}, 1.0)
        columns = measure_cells(choice, [(["red", "green", "blue"], ArrayPixels(np.zeros((4, 5, 3), np.uint8)))], None)
        write_cell_table(tmp_path / "a.csv", [columns])
        headers.append((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[0])
    assert headers[0] == headers[1]
    assert len((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()) == 1
