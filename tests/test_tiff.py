"""Reading of TIFF: every layout, colour and axis order gives the pixels that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from mosaicell.errors import ImageError
from mosaicell.pictures.selection import Selection
from mosaicell.reading.images import read_image
from tests.files import draw_cells

CELLS = draw_cells()
COLOUR = np.dstack([CELLS // 3, CELLS, CELLS // 2])


def write_tiff(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


@pytest.mark.parametrize("layout", [{"rowsperstrip": 7}, {"tile": (16, 32)}], ids=["strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "lzma", "jpeg2000"])
def test_tiff_compressions_and_layouts_give_the_same_pixels(
    tmp_path: Path, compression: str | None, layout: dict[str, Any]
) -> None:
    path = write_tiff(tmp_path / "image.tif", COLOUR, photometric="rgb", compression=compression, **layout)
    np.testing.assert_array_equal(read_image(path).pixels, COLOUR)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pixels_no_longer_depend_on_the_file(tmp_path: Path, compression: str | None) -> None:
    path = write_tiff(tmp_path / "image.tif", CELLS, compression=compression)
    pixels = read_image(path).pixels
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    np.testing.assert_array_equal(pixels[..., 0], CELLS)
    assert pixels.flags.writeable


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_in_tiff_is_rgb(tmp_path: Path, photometric: str) -> None:
    flat = np.full((64, 64, 3), (200, 40, 90), np.uint8)
    if photometric == "ycbcr":
        PillowImage.fromarray(flat).convert("YCbCr").save(tmp_path / "image.tif", compression="jpeg")
    else:
        write_tiff(tmp_path / "image.tif", flat, photometric="rgb", compression="jpeg")
    pixels = read_image(tmp_path / "image.tif").pixels
    assert np.abs(pixels.astype(int) - flat).max() <= 4


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P"])
def test_tiff_colours_agree_with_pillow(tmp_path: Path, mode: str) -> None:
    picture = PillowImage.fromarray(COLOUR)
    picture = picture.quantize(16) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / "image.tif")
    image = read_image(tmp_path / "image.tif")
    expected = np.asarray(picture.convert("RGB"))
    assert np.abs(image.pixels.astype(int) - expected).max() <= 1
    assert len(image.notes) == 1


def test_white_zero_is_inverted(tmp_path: Path) -> None:
    image = read_image(write_tiff(tmp_path / "image.tif", 255 - CELLS, photometric="miniswhite"))
    np.testing.assert_array_equal(image.pixels[..., 0], CELLS)
    assert "inverted" in image.notes[0]


def test_pyramid_gives_full_resolution(tmp_path: Path) -> None:
    large = np.tile(CELLS, (4, 4))
    with tifffile.TiffWriter(tmp_path / "nested.tif") as writer:
        writer.write(large, subifds=1, tile=(64, 64))
        writer.write(large[::2, ::2], subfiletype=1, tile=(64, 64))
    with tifffile.TiffWriter(tmp_path / "flat.tif") as writer:
        for step in (1, 2, 4):
            writer.write(large[::step, ::step], subfiletype=int(step > 1), tile=(64, 64))
    with tifffile.TiffWriter(tmp_path / "thumbnail_first.tif") as writer:
        writer.write(large[::8, ::8], subfiletype=1, metadata=None)
        writer.write(large, metadata=None)
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], large, err_msg=path.name)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("axes", "options"),
    [
        ("ZYX", {"imagej": True}),
        ("TZCYX", {"imagej": True}),
        ("ZYX", {"ome": True}),
        ("TCYX", {"ome": True}),
        ("CYX", {"ome": True}),
        ("YXC", {}),
    ],
)
def test_named_axes_decide(
    tmp_path: Path, axes: str, options: dict[str, Any], compression: str | None, rng: np.random.Generator
) -> None:
    lengths = {"T": 3, "Z": 4, "C": 2, "Y": 20, "X": 30}
    stack = rng.integers(0, 255, [lengths[name] for name in axes], dtype=np.uint8)
    path = tmp_path / ("image.ome.tif" if "ome" in options else "image.tif")
    write_tiff(path, stack, photometric="minisblack", metadata={"axes": axes}, compression=compression, **options)
    image = read_image(path, selection=Selection(("1", "2") if "C" in axes else (), z="first", time=1))
    first = stack[tuple(slice(None) if name in "CYX" else 0 for name in axes)]
    if axes.endswith("CYX"):
        first = np.moveaxis(first, 0, -1)
    if "C" in axes:
        np.testing.assert_array_equal(image.pixels[..., :2], first)
        assert not image.pixels[..., 2].any()
    else:
        np.testing.assert_array_equal(image.pixels[..., 0], first)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((20, 30, 2), 2),
        ((20, 30, 4), 4),
        ((20, 30, 5), 5),
        ((3, 20, 30), 3),
        ((5, 20, 30), 5),
        ((6, 20, 30), 6),
        ((20, 30, 1), 1),
        ((1, 20, 30), 1),
        ((3, 30), 1),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_shape_decides_where_no_axis_is_named(
    tmp_path: Path, shape: tuple[int, ...], channels: int, compression: str | None, rng: np.random.Generator
) -> None:
    array = rng.integers(1, 255, shape, dtype=np.uint8)
    path = write_tiff(tmp_path / "image.tif", array, photometric="minisblack", compression=compression)
    planes = array.reshape(1, *array.shape) if array.ndim == 2 else array
    if array.ndim == 3 and shape[2] <= 5:
        planes = np.moveaxis(array, 2, 0)
    assert len(planes) == channels
    for number, plane in enumerate(planes, 1):
        pixels = read_image(path, selection=Selection((str(number),))).pixels
        np.testing.assert_array_equal(pixels[..., 0], plane)
    with pytest.raises(ImageError, match="has no channel"):
        read_image(path, selection=Selection((str(channels + 1),)))


def test_pages_that_are_not_asked_for_are_not_decoded(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "stack.tif", np.stack([CELLS] * 8), compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as tif:
        start, count = tif.pages[7].dataoffsets[0], tif.pages[7].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start : start + count] = bytes(count)
    path.write_bytes(data)
    for selection in (Selection(z=1), Selection(time=1), Selection(("1",))):
        np.testing.assert_array_equal(read_image(path, selection=selection).pixels[..., 0], CELLS)
    with pytest.raises(ImageError, match="damaged"):
        read_image(path, selection=Selection(z=8))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "jpeg"])
def test_a_tiff_cut_anywhere_is_refused(tmp_path: Path, compression: str | None) -> None:
    path = write_tiff(tmp_path / "image.tif", CELLS, compression=compression, rowsperstrip=8)
    data = path.read_bytes()
    for kept in (*range(12, len(data) - 2, len(data) // 9), len(data) - 2):
        path.write_bytes(data[:kept])
        with pytest.raises(ImageError, match="cut short"):
            read_image(path)
