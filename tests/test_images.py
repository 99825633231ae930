"""Reading of every form, and refusal of what is no image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from mosaicell.errors import ImageError
from mosaicell.machine.limits import Limits
from mosaicell.reading.images import read_image
from tests.files import draw_cells, write_hostile_files

CELLS = draw_cells()
COLOUR = np.dstack([CELLS // 3, CELLS, CELLS // 2])


def write_tiff(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def test_every_difficult_file_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    expected = write_hostile_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(expected)
    for name, expectation in expected.items():
        if expectation.shape is None:
            with pytest.raises(ImageError, match=expectation.error) as caught:
                read_image(tmp_path / name)
            assert "\n" not in str(caught.value)
            continue
        pixels = read_image(tmp_path / name).pixels
        assert pixels.shape[:2] == expectation.shape, name
        assert pixels.shape[2] in (1, 3), name
        assert pixels.dtype in (np.uint8, np.uint16, np.float32), name
        assert pixels.flags.c_contiguous, name
        assert np.isfinite(pixels).all(), name


@pytest.mark.parametrize("ending", ["png", "bmp", "BMP", "webp", "tif"])
@pytest.mark.parametrize("array", [CELLS, COLOUR], ids=["grey", "colour"])
def test_lossless_forms_keep_every_value(tmp_path: Path, ending: str, array: np.ndarray) -> None:
    path = tmp_path / f"image.{ending}"
    stored = array if array.ndim == 2 else array[..., ::-1]
    if ending == "tif":
        write_tiff(path, array)
    else:
        assert cv2.imwrite(str(path), stored, [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == "webp" else [])
    pixels = read_image(path).pixels
    if ending == "webp" and array.ndim == 2:
        pixels = pixels[..., :1]  # WebP knows colour only
    np.testing.assert_array_equal(pixels, array.reshape(*array.shape[:2], -1))


@pytest.mark.parametrize("array", [CELLS, COLOUR], ids=["grey", "colour"])
def test_png_keeps_16_bits(tmp_path: Path, array: np.ndarray) -> None:
    wide = array.astype(np.uint16) * 257 + 1
    assert cv2.imwrite(str(tmp_path / "wide.png"), wide if wide.ndim == 2 else wide[..., ::-1])
    image = read_image(tmp_path / "wide.png")
    assert image.source_dtype == "uint16"
    np.testing.assert_array_equal(image.pixels, wide.reshape(*wide.shape[:2], -1))


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, rng: np.random.Generator) -> None:
    write_tiff(tmp_path / "0.tif", COLOUR, photometric="rgb", compression="zlib", rowsperstrip=8)
    write_tiff(tmp_path / "1.tif", CELLS, tile=(16, 16))
    assert cv2.imwrite(str(tmp_path / "2.png"), COLOUR)
    assert cv2.imwrite(str(tmp_path / "3.bmp"), COLOUR)
    for path in sorted(tmp_path.iterdir()):
        original = path.read_bytes()
        refused = 0
        for _ in range(40):
            data = bytearray(original)
            for position in rng.integers(4, len(data), 4):
                data[position] = int(rng.integers(256))
            path.write_bytes(data[: int(rng.integers(len(data) // 2, len(data)))])
            try:
                read_image(path)
            except ImageError:
                refused += 1
        assert refused > 0


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("uint8", "uint8"),
        ("uint16", "uint16"),
        ("int8", "float32"),
        ("int16", "float32"),
        ("uint32", "float32"),
        ("int32", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float32"),
        (">u2", "uint16"),
    ],
)
def test_sample_types(tmp_path: Path, dtype: str, kept: str) -> None:
    array = (CELLS // 2).astype(dtype)
    if np.dtype(dtype).kind in "if":
        array -= np.array(50, dtype)
    options = {"byteorder": ">"} if dtype.startswith(">") else {}
    image = read_image(write_tiff(tmp_path / "image.tif", array, **options))
    assert image.pixels.dtype == kept
    assert image.source_dtype == np.dtype(dtype).newbyteorder("=").name
    np.testing.assert_array_equal(image.pixels[..., 0], array)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, ending: str) -> None:
    PillowImage.fromarray(CELLS > 80).save(tmp_path / f"image.{ending}")
    image = read_image(tmp_path / f"image.{ending}")
    assert (image.pixels.dtype, image.source_dtype) == (np.uint8, "1-bit")
    np.testing.assert_array_equal(image.pixels[..., 0], (CELLS > 80) * 255)


def test_what_is_not_finite_becomes_0_and_is_counted(tmp_path: Path) -> None:
    array = CELLS.astype(np.float64)
    array[0, :4] = np.nan, np.inf, -np.inf, 1e300
    image = read_image(write_tiff(tmp_path / "image.tif", array))
    assert not image.pixels[0, :4].any()
    np.testing.assert_array_equal(image.pixels[1:, :, 0], CELLS[1:])
    assert image.notes[0].startswith("4 values")


@pytest.mark.parametrize("ending", ["tif", "png", "bmp", "jpg"])
def test_images_beyond_the_limit_are_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    if ending == "tif":
        write_tiff(path, CELLS)
    else:
        assert cv2.imwrite(str(path), CELLS)
    assert read_image(path, Limits(CELLS.size)).pixels.size == CELLS.size
    with pytest.raises(ImageError, match="60 x 80 pixels; allowed are 4,799"):
        read_image(path, Limits(CELLS.size - 1))


def test_a_header_of_a_terabyte_is_refused_before_decoding(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "bomb.png"), CELLS)
    data = bytearray((tmp_path / "bomb.png").read_bytes())
    data[16:24] = (1_000_000).to_bytes(4) * 2
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(ImageError, match="1000000 x 1000000"):
        read_image(tmp_path / "bomb.png")


def test_a_refusal_of_the_file_system_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    assert cv2.imwrite(str(tmp_path / "image.png"), CELLS)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        read_image(tmp_path / "image.png")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.png")
