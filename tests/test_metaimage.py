"""MetaImage files: plain and compressed, grey and colour, and what is refused of them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from mosaicell.errors import ImageError
from mosaicell.machine.limits import Limits
from mosaicell.reading.images import open_pixels, read_image
from mosaicell.writing.masks import read_labels
from tests.test_reliability import place, predict
from tests.toys import draw_discs

__all__ = ["place"]

TYPES = {
    "int8": "CHAR",
    "uint8": "UCHAR",
    "int16": "SHORT",
    "uint16": "USHORT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
}


def write_metaimage(path: Path, array: np.ndarray, compressed: bool = False, /, **changes: object) -> Path:
    """Write pixels (y, x) or (y, x, c) as programs do, one plane of a volume when it is compressed."""
    data = array.tobytes()
    fields: dict[str, object] = {
        "ObjectType": "Image",
        "NDims": 3 if compressed else 2,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": array.dtype.byteorder == ">",
        "CompressedData": compressed,
        "DimSize": f"{array.shape[1]} {array.shape[0]}{' 1' if compressed else ''}",
        "ElementNumberOfChannels": array.shape[2] if array.ndim == 3 else 1,
        "ElementType": f"MET_{TYPES[array.dtype.newbyteorder('=').name]}",
    }
    fields |= {**changes, "ElementDataFile": changes.get("ElementDataFile", "LOCAL")}
    header = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    path.write_bytes(header.encode() + (zlib.compress(data) if compressed else data))
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i2", "f4", ">f8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_that_were_written(
    tmp_path: Path, rng: np.random.Generator, channels: int, dtype: str, compressed: bool
) -> None:
    array = rng.integers(0, 120, (30, 40) if channels == 1 else (30, 40, 3)).astype(dtype)
    image = read_image(write_metaimage(tmp_path / "a.mha", array, compressed))
    assert np.array_equal(image.pixels, array.reshape(30, 40, channels))
    assert image.source_dtype == np.dtype(dtype).newbyteorder("=").name


def test_a_header_may_begin_with_the_number_of_sides(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = write_metaimage(tmp_path / "a.mha", array, ObjectType=None, BinaryDataByteOrderMSB=None)
    assert np.array_equal(read_image(path).pixels[..., 0], array)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ElementDataFile": "a.raw"}, "keeps its pixels in another file"),
        ({"NDims": 3, "DimSize": "4 3 5"}, "is a volume of 5 planes; allowed in a MetaImage is one"),
        ({"DimSize": "4 three"}, "the sides of the MetaImage are '4 three'"),
        ({"DimSize": "4"}, "the sides of the MetaImage are '4'"),
        ({"DimSize": "4 -3"}, "the sides of the MetaImage are '4 -3'"),
        ({"DimSize": "4 4"}, "is cut short: the MetaImage has 12 of 16 bytes"),
        ({"ElementType": "MET_OTHER"}, "samples of type MET_OTHER; allowed are MET_CHAR"),
        ({"ElementType": None}, "samples of type unknown"),
        ({"ElementNumberOfChannels": 2}, "has 2 channels; allowed in a MetaImage are 1"),
        ({"ElementNumberOfChannels": "two"}, "ElementNumberOfChannels of the MetaImage is 'two', no whole number"),
        ({"BinaryData": False}, "of a kind that is not read"),
        ({"HeaderSize": 100}, "of a kind that is not read"),
        ({"CompressedData": True}, "cannot be decompressed"),
        ({"DimSize": "40000 40000"}, "allowed are 1,000,000,000 in all"),
        ({"Comment": "x" * 70_000}, "the header of the MetaImage does not end"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = write_metaimage(tmp_path / "a.mha", np.zeros((3, 4), np.uint8), **changes)
    with pytest.raises(ImageError, match=message):
        read_image(path)


def test_no_more_is_decompressed_than_the_pixels_need(tmp_path: Path) -> None:
    zeros = np.zeros((5000, 5000), np.uint8)
    path = write_metaimage(tmp_path / "a.mha", zeros, True, DimSize="4 3 1")
    assert read_image(path).pixels.shape == (3, 4, 1)
    with pytest.raises(ImageError, match="GB of memory"):
        read_image(write_metaimage(tmp_path / "b.mha", zeros, True), Limits(memory_bytes=10**9))


def test_the_command_line_segments_them_as_the_same_pixels_in_another_form(place: Path) -> None:
    discs = draw_discs(2)
    write_metaimage(place / "in" / "grey.mha", discs)
    write_metaimage(place / "in" / "small.mha", discs, True)
    write_metaimage(place / "in" / "stack.mha", discs, NDims=3, DimSize=f"{discs.shape[1]} 4 4")
    done = predict(place)
    assert done.returncode == 1
    assert "ERROR: stack.mha: is a volume of 4 planes" in done.stderr
    expected = read_labels(place / "out" / "a_label.tiff")
    assert expected.max() == 2
    for name in ("grey", "small"):
        assert np.array_equal(read_labels(place / "out" / f"{name}_label.tiff"), expected)


@pytest.mark.parametrize(
    ("said", "pixel_um"),
    [
        ({"ElementSpacing": "0.0005 0.00025"}, (0.25, 0.5)),
        ({"ElementSize": "0.001 0.001 1"}, (1.0, 1.0)),
        # what is written where nobody said it
        ({"ElementSpacing": "1 1"}, None),
        ({"ElementSpacing": "wide"}, None),
        ({"ElementSpacing": "0 0"}, None),
        ({}, None),
    ],
)
def test_the_size_of_pixels_is_in_mm(
    tmp_path: Path, said: dict[str, str], pixel_um: tuple[float, float] | None
) -> None:
    path = write_metaimage(tmp_path / "a.mha", draw_discs(1), **said)
    with open_pixels(path, Limits(), 1) as image:
        resolution = image.resolution
    assert (resolution and resolution.pixel_um) == (None if pixel_um is None else pytest.approx(pixel_um))
