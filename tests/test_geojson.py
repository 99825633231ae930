"""GeoJSON as QuPath wants it, through the run and as others read it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mosaicell.options import Options
from mosaicell.pictures.selection import Selection
from mosaicell.runs.run import run
from mosaicell.writing.geojson import write_geojson
from mosaicell.writing.masks import read_labels
from tests.cells import draw_cells
from tests.test_outlines import paint
from tests.toys import draw_discs, write_discs, write_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


def segment(path: Path, weights: Path, **given: Any) -> list[dict[str, Any]]:
    """Segment a file and return the features that are written for it."""
    out = weights.parent / "out"
    assert run(Options(path, out, weights_path=weights, device="cpu", threads=1, geojson=True, **given)) == 0
    return read(out / f"{path.stem}_cells.geojson")


def read(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text(encoding="ascii"))
    assert list(collection) == ["type", "features"]
    assert collection["type"] == "FeatureCollection"
    return collection["features"]


def polygons_of(geometry: dict[str, Any]) -> list[list[np.ndarray]]:
    """Return the rings of a geometry without the point that closes each."""
    listed = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    assert all(ring[0] == ring[-1] for polygon in listed for ring in polygon)
    return [[np.array(ring[:-1]) for ring in polygon] for polygon in listed]


def test_features_are_detections_with_the_pixels_and_the_measurements_of_their_cells(weights: Path) -> None:
    write_discs(weights.parent / "a.png", 3)
    features = segment(weights.parent / "a.png", weights)
    labels = read_labels(weights.parent / "out" / "a_label.tiff")
    assert [feature["properties"]["name"] for feature in features] == ["1", "2", "3"]
    for cell, feature in enumerate(features, 1):
        assert feature["type"] == "Feature"
        assert feature["properties"]["objectType"] == "detection"
        np.testing.assert_array_equal(paint(polygons_of(feature["geometry"]), labels.shape), labels == cell)
        measured = feature["properties"]["measurements"]
        assert measured["area_px"] == np.count_nonzero(labels == cell)
        assert measured["mean_channel_1"] == 255
        assert measured["likelihood"] == pytest.approx(1 / (1 + np.exp(-3)))
        # the size of pixels is not known
        assert "area_um2" not in measured
    # only the outlines were asked for
    assert not (weights.parent / "out" / "a_cells.csv").exists()


def test_ids_are_those_of_the_cells_of_an_image_and_of_no_other(weights: Path) -> None:
    for name, count in (("a", 2), ("b", 3)):
        write_discs(weights.parent / f"{name}.png", count)
    first, again, other = (
        [feature["id"] for feature in segment(weights.parent / f"{name}.png", weights)] for name in "aab"
    )
    assert first == again
    assert len({*first, *other}) == 5
    assert {uuid.UUID(number).version for number in first} == {5}


def test_holes_and_pieces_are_kept(tmp_path: Path, rng: np.random.Generator) -> None:
    labels = draw_cells(rng)
    write_geojson(tmp_path / "a.geojson", [labels], [{}], [{"t": 1, "z": 1}], "x")
    features = read(tmp_path / "a.geojson")
    assert {feature["geometry"]["type"] for feature in features} == {"Polygon", "MultiPolygon"}
    assert any(len(polygon) > 1 for feature in features for polygon in polygons_of(feature["geometry"]))
    for cell, feature in enumerate(features, 1):
        np.testing.assert_array_equal(paint(polygons_of(feature["geometry"]), labels.shape), labels == cell)
        assert "plane" not in feature["geometry"]


def test_pages_lie_on_their_planes(weights: Path) -> None:
    stack = np.stack([draw_discs(2), draw_discs(2) // 2])
    tifffile.imwrite(weights.parent / "a.tif", stack, metadata={"axes": "ZYX"})
    features = segment(weights.parent / "a.tif", weights, selection=Selection(z="all"))
    assert [feature["geometry"]["plane"] for feature in features] == [{"c": -1, "z": z, "t": 0} for z in (0, 0, 1, 1)]
    assert len({feature["id"] for feature in features}) == 4


def test_an_image_without_cells_has_an_empty_collection(tmp_path: Path) -> None:
    write_geojson(tmp_path / "a.geojson", [np.zeros((4, 5), np.uint32)], [{}], [{"t": 1, "z": 1}], "x")
    assert read(tmp_path / "a.geojson") == []


@pytest.mark.consumers
def test_shapely_reads_it(tmp_path: Path, rng: np.random.Generator) -> None:
    shapely = pytest.importorskip("shapely")
    labels = draw_cells(rng)
    write_geojson(tmp_path / "a.geojson", [labels], [{}], [{"t": 1, "z": 1}], "x")
    shapes = shapely.from_geojson((tmp_path / "a.geojson").read_text(encoding="ascii")).geoms
    assert all(shape.is_valid for shape in shapes)
    assert [shape.area for shape in shapes] == np.bincount(labels.ravel())[1:].tolist()
