"""Reading of every form, refusal of what is no image, and label files that are whole or absent."""

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
from mosaicell.options import NAME_RULES
from mosaicell.reading import images
from mosaicell.reading.images import find_mask, mask_name, read_image, read_labels, write_labels
from mosaicell.writing.label_pages import LabelPages
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


@pytest.mark.parametrize(
    ("name", "mask", "full"),
    [
        ("a.tif", "a_label.tiff", "a_label.tiff"),
        ("a.b.tif", "a_label.tiff", "a.b_label.tiff"),
        ("in/two words.PNG", "two words_label.tiff", "two words_label.tiff"),
        ("noending", "noending_label.tiff", "noending_label.tiff"),
    ],
)
def test_mask_name(name: str, mask: str, full: str) -> None:
    assert mask_name(name) == mask
    assert mask_name(Path(name), "full") == full


def test_a_name_without_stem_is_refused() -> None:
    for names in NAME_RULES:
        with pytest.raises(ImageError, match="begins with a dot"):
            mask_name(".hidden.png", names)


def test_a_mask_is_found_by_either_name(tmp_path: Path) -> None:
    assert find_mask(tmp_path, "a.b.tif") == tmp_path / "a_label.tiff"
    (tmp_path / "a.b_label.tiff").touch()
    assert find_mask(tmp_path, "a.b.tif") == tmp_path / "a.b_label.tiff"


def test_labels_are_stored_wide_on_request(tmp_path: Path) -> None:
    labels = np.arange(12).reshape(3, 4)
    for wide, dtype in ((False, np.uint16), (True, np.uint32)):
        write_labels(tmp_path / "x.tiff", labels, wide=wide)
        assert tifffile.imread(tmp_path / "x.tiff").dtype == dtype
        np.testing.assert_array_equal(read_labels(tmp_path / "x.tiff"), labels)


@pytest.mark.parametrize(
    ("highest", "stored"), [(0, "uint16"), (65_535, "uint16"), (65_536, "uint32"), (2**32 - 1, "uint32")]
)
@pytest.mark.parametrize("dtype", ["uint32", "int64"])
def test_labels_come_back(tmp_path: Path, highest: int, stored: str, dtype: str) -> None:
    labels = np.zeros((30, 40), dtype)
    labels[5:9, 7:20], labels[20:, 30:] = min(1, highest), highest
    write_labels(tmp_path / "x_label.tiff", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "x_label.tiff"), labels)
    assert read_labels(tmp_path / "x_label.tiff").dtype == np.uint32
    with tifffile.TiffFile(tmp_path / "x_label.tiff") as tif:
        page = tif.pages.first
        assert page.dtype == stored
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert not tif.is_bigtiff
    assert [path.name for path in tmp_path.iterdir()] == ["x_label.tiff"]


def test_large_labels_are_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BIGTIFF_BYTES", 2 * 30 * 40 - 1)
    write_labels(tmp_path / "x.tiff", np.ones((30, 40), np.uint32))
    with tifffile.TiffFile(tmp_path / "x.tiff") as tif:
        assert tif.is_bigtiff
    assert read_labels(tmp_path / "x.tiff").all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((4, 4), bool), "bool"),
        (np.full((4, 4), -1), "-1"),
        (np.full((4, 4), 2**32), "4294967296"),
        (np.zeros((4, 4, 1), int), "shape"),
        (np.zeros((0, 4), int), "shape"),
    ],
)
def test_what_are_no_labels_is_not_written(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_labels(tmp_path / "x.tiff", labels)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tiles_from_px", [images.TILES_FROM_PX, 1000])
@pytest.mark.parametrize(("highest", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_pages_of_labels_are_pages_of_one_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
    tiles_from_px: int,
    highest: int,
    dtype: type,
) -> None:
    monkeypatch.setattr(images, "TILES_FROM_PX", tiles_from_px)
    pages = rng.integers(0, 9, (3, 70, 600), dtype=np.uint32)
    pages[1, 4, 5] = highest
    packed = LabelPages()
    for page in pages:
        packed.add(page)
    assert (packed.shape, packed.highest) == ((3, 70, 600), highest)
    write_labels(tmp_path / "x.tiff", packed)
    with tifffile.TiffFile(tmp_path / "x.tiff") as tif:
        assert [page.shape for page in tif.pages] == [(70, 600)] * 3
        assert tif.pages.first.dtype == dtype
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.tiff"), pages)
    with pytest.raises(ValueError, match="those before"):
        packed.add(pages[0, :9])


def test_a_failure_leaves_the_old_labels_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_disk(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    write_labels(tmp_path / "x.tiff", np.ones((4, 4), int))
    monkeypatch.setattr(tifffile, "imwrite", fill_disk)
    with pytest.raises(OSError, match="No space"):
        write_labels(tmp_path / "x.tiff", np.zeros((4, 4), int))
    assert [path.name for path in tmp_path.iterdir()] == ["x.tiff"]
    assert read_labels(tmp_path / "x.tiff").all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (1, 6, 7), (1, 7), (1, 1)])
def test_label_types_and_single_axes(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = write_tiff(tmp_path / "x.tif", labels, photometric="minisblack")
    plane = labels.reshape(shape[:2] if shape[-1] == 1 else shape[-2:])
    np.testing.assert_array_equal(read_labels(path), plane)


def test_png_labels(tmp_path: Path) -> None:
    labels = np.arange(42, dtype=np.uint16).reshape(6, 7) * 1000
    assert cv2.imwrite(str(tmp_path / "x.png"), labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "x.png"), labels)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (CELLS.astype(np.float32), "float32"),
        (CELLS.astype(np.int16) - 300, "-2[0-9]{2}"),
        (np.stack([CELLS] * 3), r"\(3, 60, 80\)"),
        (COLOUR, r"\(60, 80, 3\)"),
    ],
    ids=["float", "negative", "stack", "colour"],
)
def test_what_are_no_labels_is_not_read(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = write_tiff(tmp_path / "x.tif", array, photometric="minisblack")
    with pytest.raises(ImageError, match=message):
        read_labels(path)


def test_labels_in_a_lossy_or_coloured_file_are_refused(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "x.jpg"), CELLS)
    assert cv2.imwrite(str(tmp_path / "x.png"), COLOUR)
    with pytest.raises(ImageError, match="JPEG does not keep ids"):
        read_labels(tmp_path / "x.jpg")
    with pytest.raises(ImageError, match="one channel"):
        read_labels(tmp_path / "x.png")


@pytest.mark.parametrize("highest", [1000, 70_000])
def test_large_label_images_are_tiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, highest: int) -> None:
    monkeypatch.setattr(images, "TILES_FROM_PX", 1000)
    labels = np.random.default_rng(1).integers(0, highest, (700, 1100)).astype(np.uint32)
    labels[0, 0] = highest
    write_labels(tmp_path / "a_label.tiff", labels)
    assert np.array_equal(read_labels(tmp_path / "a_label.tiff"), labels)
    with tifffile.TiffFile(tmp_path / "a_label.tiff") as tif:
        assert len(tif.pages) == 1
        assert tif.pages.first.is_tiled
        assert tif.pages[0].shape == labels.shape
        assert tif.pages.first.dtype == (np.uint16 if highest < 65536 else np.uint32)
