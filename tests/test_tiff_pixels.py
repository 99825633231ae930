from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS, Limits
from mosaicell.pictures import pictures
from mosaicell.pictures.selection import Selection
from mosaicell.reading.images import open_pixels, read_image
from mosaicell.reading.pixels import Pixels

SHAPE = (300, 410)


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(rng.integers(0, 255, (*SHAPE, 3)).astype(np.uint8), (0, 0), 3)


def samples(picture: np.ndarray, kind: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Return pixels of a kind and how tifffile stores them."""
    grey = picture[..., 0]
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "rgb": (picture, {"photometric": "rgb"}),
        "grey": (grey, {"photometric": "minisblack"}),
        "grey16": (grey.astype(np.uint16) * 257, {"photometric": "minisblack"}),
        "alpha": (np.dstack([picture, grey]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    }
    return kinds[kind]


def check_parts(pixels: Pixels, whole: np.ndarray) -> None:
    """Hold every way of reading against the whole image."""
    height, width = whole.shape[:2]
    assert pixels.shape_px == (height, width)
    for bounds in ((0, 0, height, width), (100, 37, 233, 371), (height - 1, width - 1, height, width), (0, 0, 1, 1)):
        part = pixels.read(bounds)
        assert part.dtype == whole.dtype
        assert np.array_equal(part, whole[bounds[0] : bounds[2], bounds[1] : bounds[3]])
    assert np.array_equal(pixels.sample(7), whole[::7, ::7])


@pytest.mark.parametrize("kind", ["rgb", "grey", "grey16", "alpha"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "jpeg", "jpeg2000"])
@pytest.mark.parametrize("layout", [{"tile": (64, 128)}, {"rowsperstrip": 33}, {"rowsperstrip": SHAPE[0]}], ids=str)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_parts_are_those_of_the_whole_image(
    tmp_path: Path, picture: np.ndarray, kind: str, compression: str | None, layout: dict[str, Any], byteorder: Any
) -> None:
    array, colours = samples(picture, kind)
    if compression == "jpeg" and kind in ("grey16", "alpha"):
        pytest.skip("baseline JPEG has 8 bits and no alpha")
    path = tmp_path / "image.tif"
    predictor = compression in ("zlib", "lzw")
    tifffile.imwrite(
        path, array, compression=compression, predictor=predictor, byteorder=byteorder, **layout, **colours
    )
    with open_pixels(path, DEFAULT_LIMITS, workers=2) as opened:
        check_parts(opened.pixels, read_image(path).pixels)
        assert not opened.nbytes
        assert opened.notes == read_image(path).notes
        assert opened.source_dtype == read_image(path).source_dtype


def test_of_a_pyramid_the_full_resolution_is_read(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        settings: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib"}
        writer.write(picture, subifds=1, **settings)
        writer.write(picture[::2, ::2], subfiletype=1, **settings)
    with open_pixels(path, DEFAULT_LIMITS, workers=1) as opened:
        assert not opened.nbytes
        check_parts(opened.pixels, picture)


@pytest.mark.parametrize("kind", ["float", "inverted", "samples"])
def test_what_has_no_parts_is_read_whole(tmp_path: Path, picture: np.ndarray, kind: str) -> None:
    path = tmp_path / "image.tif"
    grey = picture[..., 0]
    arrays: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "float": (grey / np.float32(3), {"photometric": "minisblack"}),
        "inverted": (grey, {"photometric": "miniswhite"}),
        "samples": (picture[..., :2], {"photometric": "minisblack", "planarconfig": "contig"}),
    }
    array, colours = arrays[kind]
    tifffile.imwrite(path, array, **colours)
    channels = Selection(("2",) if kind == "samples" else ())
    with open_pixels(path, DEFAULT_LIMITS, 1, selection=channels) as opened:
        assert opened.nbytes
        check_parts(opened.pixels, read_image(path, selection=channels).pixels)


@pytest.mark.parametrize("layout", [{"tile": (64, 128), "compression": "zlib"}, {"rowsperstrip": 33}, {}], ids=str)
@pytest.mark.parametrize("selection", [Selection(("2", "3")), Selection(z=3), Selection(z="max"), Selection(z="mean")])
def test_parts_of_pages_are_those_of_the_whole_image(
    tmp_path: Path, picture: np.ndarray, selection: Selection, layout: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "SLIDE_FROM_PX", 1000)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, picture.transpose(2, 0, 1), photometric="minisblack", **layout)
    planes = [picture[..., plane] for plane in range(3)]
    expected = {
        Selection(("2", "3")): np.dstack([*planes[1:], np.zeros_like(planes[0])]),
        Selection(z=3): planes[2][..., None],
        Selection(z="max"): np.max(planes, axis=0)[..., None],
        Selection(z="mean"): np.asarray(np.stack(planes).sum(axis=0, dtype=np.float32) / np.float32(3))[..., None],
    }[selection]
    assert np.array_equal(read_image(path, selection=selection).pixels, expected)
    with open_pixels(path, DEFAULT_LIMITS, 2, selection=selection) as opened:
        assert not opened.nbytes
        check_parts(opened.pixels, expected)


def test_other_forms_are_read_whole(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "image.png"
    assert cv2.imwrite(str(path), picture)
    with open_pixels(path, DEFAULT_LIMITS, workers=1) as opened:
        assert opened.nbytes
        check_parts(opened.pixels, picture[..., ::-1])


def test_only_what_a_part_needs_is_decoded(tmp_path: Path, picture: np.ndarray) -> None:
    """A broken tile at the end does not show until it is needed."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, picture, tile=(64, 64), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[0].dataoffsets[-1], tif.pages[0].databytecounts[-1]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes(count)
    path.write_bytes(data)
    with open_pixels(path, DEFAULT_LIMITS, workers=2) as opened:
        assert np.array_equal(opened.pixels.read((0, 0, 100, 100)), picture[:100, :100])
        with pytest.raises(ImageError, match="damaged"):
            opened.pixels.read((280, 390, 300, 410))


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.tile(picture, (8, 8, 1)), photometric="rgb")
    with open_pixels(path, DEFAULT_LIMITS, workers=1) as opened:
        opened.pixels.read((0, 0, 10, 10))
        with path.open("r+b") as file:
            file.truncate(1_000_000)
        with pytest.raises(ImageError, match="cut short"):
            opened.pixels.read((2000, 0, 2400, 10))


def test_an_image_beyond_the_limit_is_refused_unread(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(64, 64))
    with pytest.raises(ImageError, match="allowed are 1,000"), open_pixels(path, Limits(1000), workers=1):
        pass


@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("layout", [{"tile": (64, 128)}, {}], ids=str)
def test_what_is_transparent_is_black_unless_everything_is(
    tmp_path: Path, picture: np.ndarray, visible: bool, layout: dict[str, Any]
) -> None:
    alpha = np.zeros(SHAPE, np.uint8)
    if visible:
        alpha[60:250, 90:300] = 255
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.dstack([picture, alpha]), photometric="rgb", extrasamples=["unassalpha"], **layout)
    expected = np.where(alpha[..., None] > 0, picture, 0) if visible else picture
    assert np.array_equal(read_image(path).pixels, expected)
    with open_pixels(path, DEFAULT_LIMITS, 2) as opened:
        check_parts(opened.pixels, expected)
