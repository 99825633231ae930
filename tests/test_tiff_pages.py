"""Pages that are refused before a codec sees them, and what a hostile table may not do."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from mosaicell.errors import ImageError
from mosaicell.reading import tiff, tiff_pages, tiff_stacks
from mosaicell.reading.images import read_image
from tests.files import draw_cells
from tests.hostile import OME, write_strip, write_tiff

CELLS = draw_cells()


def change_tag(path: Path, tag: int, value: int) -> None:
    """Overwrite the value of a tag in the first table of a classic little-endian file."""
    data = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, table)
    for at in range(table + 2, table + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<HII", data, at + 2, 4, 1, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("compression", "name"), [("jpegxr", "JPEGXR"), ("png", "PNG"), (None, "48124"), (None, "65000")]
)
def test_dangerous_and_unknown_compressions_are_refused(tmp_path: Path, compression: str | None, name: str) -> None:
    path = tmp_path / "image.tif"
    if compression is None:
        write_strip(path, bytes(64 * 64), int(name))
    else:
        tifffile.imwrite(path, CELLS, compression=compression)
    with pytest.raises(ImageError, match=r"compressed in a way that is not read.*; allowed are none, LZW"):
        read_image(path)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (256, 0xFFFFFFFF),  # width
        (257, 0),  # height
        (258, 24),  # bits of a sample
        (258, 0),
        (258, 64),
        (277, 65_535),  # samples of a pixel
        (277, 0),
        (273, 0xFFFFFFF0),  # where the strip begins
        (279, 0xFFFFFFF0),  # how long it is
        (278, 0),  # rows of a strip
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tables_that_lie_are_refused(tmp_path: Path, tag: int, value: int, compression: str | None) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, CELLS, compression=compression)
    change_tag(path, tag, value)
    # what is not needed to read the image may say anything
    if (tag, value) == (277, 0) or (tag, compression) == (279, None):
        np.testing.assert_array_equal(read_image(path).pixels[..., 0], CELLS)
        return
    with pytest.raises(ImageError):
        read_image(path)


@pytest.mark.parametrize(("tag", "value"), [(322, 0), (323, 0), (322, 0xFFFFFFF0), (322, 16)])
def test_tiles_that_lie_are_refused(tmp_path: Path, tag: int, value: int) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, CELLS, compression="zlib", tile=(32, 32))
    change_tag(path, tag, value)
    with pytest.raises(ImageError):
        read_image(path)


def test_a_table_without_most_of_its_tiles_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, CELLS, compression="zlib", tile=(32, 32))
    change_tag(path, 256, 1_000_000)
    with pytest.raises(ImageError, match="the TIFF has 6 of 62,500 parts"):
        read_image(path)


def test_too_many_tiles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, CELLS, compression="zlib", tile=(16, 16))
    monkeypatch.setattr(tiff_pages, "MAX_SEGMENTS", 19)
    with pytest.raises(ImageError, match="divided into 20 strips or tiles; allowed are 19"):
        read_image(path)


def test_tiles_that_were_never_written_are_background(tmp_path: Path) -> None:
    large = np.zeros((64, 64), np.uint8)
    large[:32, :32] = 7
    tifffile.imwrite(tmp_path / "image.tif", large, tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(tmp_path / "image.tif") as tif:
        counts = tif.pages.first.tags["TileByteCounts"]
        at, values = counts.valueoffset, list(counts.value)
        form = {3: "<4H", 4: "<4I"}[counts.dtype]
    data = bytearray((tmp_path / "image.tif").read_bytes())
    struct.pack_into(form, data, at, *values[:3], 0)
    (tmp_path / "image.tif").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif").pixels[..., 0], large)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_that_is_cut_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    """Were it mapped into memory, the program would end here."""
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.tile(CELLS, (8, 8)), compression=compression)
    real = tiff.read_plane

    def cut(*arguments: Any) -> np.ndarray:
        os.truncate(path, 600)
        return real(*arguments)

    monkeypatch.setattr(tiff_stacks, "read_plane", cut)
    with pytest.raises(ImageError, match="cut short"):
        read_image(path)


def test_a_loop_of_pages_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff, "TABLES_CPU_S", 0.1)
    pages, page_bytes = 200, 2 + 12 * 4 + 4
    loop = b"II*\0" + struct.pack("<I", 8)
    for page in range(pages):
        loop += struct.pack("<H", 4)
        loop += b"".join(struct.pack("<HHII", tag, 4, 1, 8) for tag in (256, 257, 273, 279))
        loop += struct.pack("<I", 8 + (page + 1) % pages * page_bytes)
    (tmp_path / "loop.tif").write_bytes(loop)
    with pytest.raises(ImageError, match="made to stall"):
        read_image(tmp_path / "loop.tif")
    write_tiff(tmp_path / "self.tif", {256: 8, 257: 8, 259: 1, 262: 1, 273: bytes(64), 279: 64}, next_page=8)
    assert read_image(tmp_path / "self.tif").pixels.shape == (8, 8, 1)


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    """A page that a description places into another file is not looked for there, be it a pipe that blocks."""
    os.mkfifo(tmp_path / "pipe")
    elsewhere = f'<TiffData IFD="0"><UUID FileName="{tmp_path / "pipe"}">urn:uuid:1</UUID></TiffData>'
    text = OME.format(head="", depth=1, data=elsewhere)
    tifffile.imwrite(tmp_path / "image.ome.tif", CELLS, description=text, metadata=None)
    np.testing.assert_array_equal(read_image(tmp_path / "image.ome.tif").pixels[..., 0], CELLS)


def test_each_file_of_a_set_is_an_image_of_its_own(tmp_path: Path) -> None:
    for plane, name in enumerate(("first", "second")):
        others = "".join(
            f'<TiffData IFD="0" FirstZ="{index}"><UUID FileName="{other}.ome.tif">urn:uuid:{other}</UUID></TiffData>'
            for index, other in enumerate(("first", "second"))
        )
        text = OME.format(head="", depth=2, data=others).replace("<Image ", f"<UUID>urn:uuid:{name}</UUID><Image ")
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", CELLS // (plane + 1), description=text, metadata=None)
    for plane, name in enumerate(("first", "second")):
        pixels = read_image(tmp_path / f"{name}.ome.tif").pixels
        np.testing.assert_array_equal(pixels[..., 0], CELLS // (plane + 1))
