"""What OME-Zarr says of itself, and what of it is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.errors import ImageError
from mosaicell.reading.enclosure import open_anywhere
from mosaicell.reading.ngff import MAX_JSON_BYTES, NgffImage, holds_labels_alone, is_zarr, read_ngff
from mosaicell.writing.ome_zarr import write_ome_zarr
from tests.ngff_files import VERSIONS, describe, write_group

both = pytest.mark.parametrize("version", VERSIONS)


def read(folder: Path) -> list[NgffImage]:
    return read_ngff(folder, open_anywhere)


@both
def test_an_image_has_axes_channels_and_the_size_of_its_pixels(tmp_path: Path, version: str) -> None:
    write_group(tmp_path, describe("tczyx", ("DAPI", " CD8 "), 0.25), version)
    (image,) = read(tmp_path)
    assert (image.name, image.path, image.axes, image.channels) == ("cells", "0", "tczyx", ("DAPI", "CD8"))
    assert image.resolution is not None
    assert image.resolution.pixel_um == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize(
    ("unit", "scale", "more", "pixel_um"),
    [
        ("nanometer", 325.0, {}, 0.325),
        ("micrometer", 1.0, {"coordinateTransformations": [{"type": "scale", "scale": [0.1, 0.1]}]}, 0.1),
        ("micrometer", 0.0, {}, None),
        ("parsec", 1.0, {}, None),
        (None, 0.5, {}, None),
        ("micrometer", 0.5, {"coordinateTransformations": [{"scale": "none"}, 3]}, 0.5),
    ],
)
def test_scales_of_the_level_and_of_all_are_multiplied(
    tmp_path: Path, unit: str, scale: float, more: dict[str, Any], pixel_um: float | None
) -> None:
    said = describe("yx", scale=scale, unit=unit)
    said["multiscales"][0].update(more)
    write_group(tmp_path, said, "0.4")
    (image,) = read(tmp_path)
    found = image.resolution.pixel_um if image.resolution else None
    assert found == (pixel_um and pytest.approx((pixel_um, pixel_um)))


@both
def test_scenes_of_bioformats2raw_and_fields_of_a_well_are_images(tmp_path: Path, version: str) -> None:
    for place in "012":
        write_group(tmp_path / place, describe("yx"), version)
    write_group(tmp_path, {"bioformats2raw.layout": 3}, version)
    assert [image.path for image in read(tmp_path)] == ["0/0", "1/0", "2/0"]
    write_group(tmp_path / "OME", {"series": ["2", "0"]}, version)
    assert [image.path for image in read(tmp_path)] == ["2/0", "0/0"]
    write_group(tmp_path, {"well": {"images": [{"path": "1"}]}}, version)
    assert [image.path for image in read(tmp_path)] == ["1/0"]
    write_group(tmp_path, {"well": {"images": [{"path": "7"}]}}, version)
    with pytest.raises(ImageError, match="names an image '7' that is not there"):
        read(tmp_path)


@both
def test_a_plate_is_refused_with_what_to_do(tmp_path: Path, version: str) -> None:
    write_group(tmp_path / "a.zarr", {"plate": {"wells": [{"path": "B/2"}, {"path": "C/3"}]}}, version)
    with pytest.raises(ImageError, match=r"plate of 2 wells: give its wells as inputs, as a\.zarr/B/2"):
        read(tmp_path / "a.zarr")


@both
@pytest.mark.parametrize("path", ["../secret", "/etc", "a//b", "", "./0", "0/..", 7, "x" * 2000])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, version: str, path: Any) -> None:
    write_group(tmp_path, describe("yx", path=path), version)
    with pytest.raises(ImageError, match="damaged"):
        read(tmp_path)
    write_group(tmp_path, {"well": {"images": [{"path": path}]}}, version)
    with pytest.raises(ImageError, match="damaged"):
        read(tmp_path)


@both
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"multiscales": []},
        {"multiscales": "cells"},
        {"multiscales": [7]},
        {"multiscales": [{"axes": 5, "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{**describe("yx")["multiscales"][0], "datasets": []}]},
        describe("yyx"),
        describe("zy"),
        describe("qyx"),
        {"plate": "none"},
        {"well": {}},
        {"well": {"images": [None]}},
        {"bioformats2raw.layout": 3},
    ],
)
def test_metadata_that_say_nothing_of_an_image_are_one_sentence(
    tmp_path: Path, version: str, said: dict[str, Any]
) -> None:
    write_group(tmp_path, said, version)
    with pytest.raises(ImageError, match=r"is damaged|has axes|names no image|is a plate"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no object"),
        (b" " * (MAX_JSON_BYTES + 1), "more than"),
    ],
    ids=["empty", "deep", "bytes", "list", "long"],
)
def test_a_file_of_metadata_that_is_none_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    for name in ("zarr.json", ".zattrs"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(ImageError, match=sentence):
            read(folder)


def test_folders_of_zarr_are_told_by_name_or_content(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    write_group(tmp_path / "well", {}, "0.4")
    (tmp_path / "b.zarr").write_bytes(b"")
    assert [name for name in ("a.zarr", "well", "b.zarr", ".", "c.zarr") if is_zarr(tmp_path / name)] == [
        "a.zarr",
        "well",
    ]
    with pytest.raises(ImageError, match="holds neither"):
        read(tmp_path / "a.zarr")


@both
def test_labels_alone_are_no_image(tmp_path: Path, version: str) -> None:
    write_ome_zarr(tmp_path / "a.zarr", [np.ones((30, 40), np.uint32)])
    assert holds_labels_alone(tmp_path / "a.zarr")
    write_group(tmp_path / "b.zarr", describe("yx"), version)
    (tmp_path / "b.zarr" / "labels").mkdir()
    assert not holds_labels_alone(tmp_path / "b.zarr")
