"""Headers say what the decoder finds; a lie is refused before anything is decoded."""

from __future__ import annotations

import io
import struct
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mosaicell.errors import ImageError
from mosaicell.reading.headers import count_scans, read_header
from tests.files import draw_cells
from tests.hostile import png_chunk

CELLS = draw_cells()
COLOUR = np.dstack([CELLS // 3, CELLS, CELLS // 2])


def save(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def encode_runs(levels: np.ndarray, bits: int) -> bytes:
    """Write a BMP of runs, as paint programs do: the lowest row first, no run longer than 255 pixels."""
    data = b""
    for row in levels[::-1]:
        edges = np.flatnonzero(np.diff(row, prepend=-1, append=-1))
        for first, last in pairwise(edges.tolist()):
            level = int(row[first]) * (17 if bits == 4 else 1)
            data += b"".join(bytes((min(255, last - x), level)) for x in range(first, last, 255))
        data += b"\0\0"
    palette = b"".join(bytes((level, level, level, 0)) for level in range(1 << bits))
    height, width = levels.shape
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 1 if bits == 8 else 2, len(data) + 2, 0, 0, 0, 0)
    start = 14 + 40 + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data) + 2, 0, 0, start) + head + palette + data + b"\0\1"


def every_form() -> list[tuple[str, str, bytes]]:
    """Return (form, what is special, data) of images of 60 x 80 pixels."""
    picture, grey = Image.fromarray(COLOUR), Image.fromarray(CELLS)
    exif = Image.Exif()
    exif[274] = 6
    thumbnail = b"Exif\0\0" + save(grey.resize((16, 16)), "JPEG")
    return [
        ("PNG", "colour", save(picture, "PNG")),
        ("PNG", "1 bit", save(grey.convert("1"), "PNG")),
        ("PNG", "stored", cv2.imencode(".png", COLOUR, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()),
        ("PNG", "16 bits", cv2.imencode(".png", COLOUR.astype(np.uint16))[1].tobytes()),
        (
            "PNG",
            "noise",
            save(Image.fromarray(np.random.default_rng(1).integers(0, 256, COLOUR.shape, np.uint8)), "PNG"),
        ),
        ("JPEG", "baseline", save(picture, "JPEG")),
        ("JPEG", "progressive", save(picture, "JPEG", progressive=True)),
        ("JPEG", "flat", save(Image.new("L", (80, 60)), "JPEG", quality=1, optimize=True)),
        ("JPEG", "turned", save(picture, "JPEG", exif=exif)),
        (
            "JPEG",
            "with a thumbnail",
            (lambda d: d[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + d[2:])(
                save(picture, "JPEG")
            ),
        ),
        ("JPEG", "restarts", cv2.imencode(".jpg", COLOUR, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()),
        ("JPEG", "fill bytes", save(picture, "JPEG").replace(b"\xff\xc0", b"\xff\xff\xff\xc0")),
        ("BMP", "colour", save(picture, "BMP")),
        ("BMP", "palette", save(picture.quantize(16), "BMP")),
        ("BMP", "1 bit", save(grey.convert("1"), "BMP")),
        ("BMP", "runs", encode_runs(CELLS.astype(int), 8)),
        ("BMP", "runs of 4 bits", encode_runs(CELLS.astype(int) // 16, 4)),
        ("WebP", "lossy", save(picture, "WEBP")),
        ("WebP", "lossless", save(picture, "WEBP", lossless=True)),
        ("WebP", "alpha", save(Image.merge("RGBA", [grey] * 4), "WEBP")),
        ("WebP", "animated", save(picture, "WEBP", save_all=True, append_images=[picture.rotate(180)])),
    ]


@pytest.mark.parametrize(("form", "data"), [pytest.param(f, d, id=f"{f} {what}") for f, what, d in every_form()])
def test_the_size_is_that_of_the_decoded_image(form: str, data: bytes) -> None:
    header = read_header(form, data)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert array is not None
    assert header.shape_px == array.shape[:2] == CELLS.shape
    assert header.pixel_bytes >= array.nbytes // CELLS.size


@pytest.mark.parametrize(("form", "data"), [pytest.param(f, d, id=f"{f} {what}") for f, what, d in every_form()])
def test_a_header_that_ends_is_cut_short(form: str, data: bytes) -> None:
    for kept in range(12, 24):
        with pytest.raises(ImageError, match="cut short"):
            read_header(form, data[:kept])


def test_bits_and_colours_of_png() -> None:
    grey = Image.fromarray(CELLS)
    assert read_header("PNG", save(grey, "PNG")).grey
    assert read_header("PNG", save(Image.merge("LA", [grey, grey]), "PNG")).grey
    assert not read_header("PNG", save(grey.quantize(4), "PNG")).grey
    assert read_header("PNG", save(grey.convert("1"), "PNG")).bits == 1


def test_the_oldest_bmp() -> None:
    """OS/2 wrote sizes of 16 bits; rows from the top have a negative height in later ones."""
    old = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 80, 60, 1, 24) + bytes(60 * 240)
    assert read_header("BMP", old).shape_px == (60, 80)
    new = bytearray(save(Image.fromarray(COLOUR), "BMP"))
    new[22:26] = struct.pack("<i", -60)
    assert read_header("BMP", bytes(new)).shape_px == (60, 80)


def test_data_that_cannot_hold_the_pixels_is_refused() -> None:
    for form, at, sizes in (("PNG", 16, ">II"), ("BMP", 18, "<ii")):
        data = bytearray(save(Image.fromarray(COLOUR), form))
        data[at : at + 8] = struct.pack(sizes, 30_000, 20_000)
        with pytest.raises(ImageError, match="cut short"):
            read_header(form, bytes(data))
    data = bytearray(save(Image.fromarray(COLOUR), "JPEG"))
    frame = data.find(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 30_000)
    with pytest.raises(ImageError, match="cannot hold 20000 x 30000 pixels"):
        read_header("JPEG", bytes(data))


@pytest.mark.parametrize(("bits", "level"), [(8, 200), (4, 12)])
def test_runs_can_hold_no_more_pixels_than_in_the_longest_runs(bits: int, level: int) -> None:
    """A white page of the longest runs is read whole; two runs more a row than it has are refused."""
    page = np.full((40, 20 * 255), level)
    data = bytearray(encode_runs(page, bits))
    array = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_UNCHANGED)
    assert array is not None
    assert (array == level).all()
    assert read_header("BMP", bytes(data)).shape_px == page.shape
    data[18:22] = struct.pack("<i", 22 * 255)
    with pytest.raises(ImageError, match="bytes of BMP data cannot hold 40 x 5610 pixels"):
        read_header("BMP", bytes(data))


@pytest.mark.parametrize(("bits", "compression"), [(8, 1), (4, 2), (16, 3), (32, 6)])
def test_a_small_bmp_of_any_compression_does_not_pass_as_a_large_image(bits: int, compression: int) -> None:
    head = struct.pack("<IiiHHI", 40, 20_000, -20_000, 1, bits, compression)
    with pytest.raises(ImageError, match="cut short"):
        read_header("BMP", b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + head + bytes(1000))


def test_no_scan_no_image() -> None:
    data = save(Image.fromarray(COLOUR), "JPEG")
    with pytest.raises(ImageError, match="cut short: the JPEG has no image"):
        read_header("JPEG", data[: data.find(b"\xff\xda")])


def test_scans_are_counted_up_to_the_end_of_the_image() -> None:
    """What follows the image, as the film that phones add, may hold any bytes."""
    plain, progressive = (save(Image.fromarray(COLOUR), "JPEG", progressive=p) for p in (False, True))
    assert count_scans(plain) == 1
    assert count_scans(plain + b"\xff\xda" * 1000) == 1
    assert 5 < count_scans(progressive) < 20
    assert read_header("JPEG", plain + b"\xff\xda" * 1000).shape_px == CELLS.shape
    stalling = progressive[:-2] + b"\xff\xda\0\x08\1\1\0\1\x3f\0" * 50 + progressive[-2:]
    with pytest.raises(ImageError, match="made to stall"):
        read_header("JPEG", stalling)


def test_png_of_too_many_or_too_large_chunks(tmp_path: Path) -> None:
    data = save(Image.fromarray(CELLS), "PNG")
    with pytest.raises(ImageError, match="more than 1,000,000 chunks"):
        read_header("PNG", data[:33] + png_chunk(b"tEXt", b"") * 1_000_001 + data[33:])
    with pytest.raises(ImageError, match="200,000 bytes of PNG data"):
        read_header("PNG", data[:33] + png_chunk(b"IDAT", bytes(200_000)) + png_chunk(b"IEND", b""))
