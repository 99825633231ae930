"""Label files: what is written comes back, in one form, and names follow the images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.errors import ImageError
from mosaicell.options import NAME_RULES
from mosaicell.reading.pixel_size import CENTIMETRE, Resolution
from mosaicell.writing import masks
from mosaicell.writing.label_pages import LabelPages
from mosaicell.writing.masks import find_mask, mask_name, read_labels, write_labels
from tests.test_images import CELLS, COLOUR, write_tiff


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


@pytest.mark.parametrize(("planes", "axes"), [((1, 1), "YX"), ((3, 1), "TYX"), ((1, 3), "ZYX"), ((2, 3), "TZYX")])
@pytest.mark.parametrize("tiled", [False, True])
def test_ome_says_what_the_pages_are(
    tmp_path: Path, planes: tuple[int, int], axes: str, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiled:
        monkeypatch.setattr(masks, "TILES_FROM_PX", 100)
        monkeypatch.setattr(masks, "TILE_PX", 16)
    rng = np.random.default_rng(0)
    pages = rng.integers(0, 70_000, (planes[0] * planes[1], 20, 30)).astype(np.uint32)
    packed = LabelPages()
    for page in pages:
        packed.add(page)
    labels = pages[0] if len(pages) == 1 else packed
    resolution = Resolution(20_000.0, 40_000.0, CENTIMETRE)
    for name in ("a.tiff", "b.tiff"):
        write_labels(tmp_path / name, labels, description='{"a": "<b>"}', resolution=resolution, ome_planes=planes)
    with tifffile.TiffFile(tmp_path / "a.tiff") as tif:
        assert tif.is_ome
        assert tif.series[0].axes == axes
        np.testing.assert_array_equal(tif.asarray().reshape(pages.shape), pages)
        assert tif.pages.first.is_tiled is tiled
        described = tifffile.xml2dict(tif.ome_metadata or "")["OME"]["Image"]
    assert described["Description"] == '{"a": "<b>"}'
    assert described["Pixels"]["PhysicalSizeX"] == 0.5
    assert described["Pixels"]["PhysicalSizeY"] == 0.25
    # nothing of it is that of the moment
    assert (tmp_path / "a.tiff").read_bytes() == (tmp_path / "b.tiff").read_bytes()
    if len(pages) == 1:
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tiff"), pages[0])


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
    monkeypatch.setattr(masks, "BIGTIFF_BYTES", 2 * 30 * 40 - 1)
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


@pytest.mark.parametrize("tiles_from_px", [masks.TILES_FROM_PX, 1000])
@pytest.mark.parametrize(("highest", "dtype"), [(65_535, np.uint16), (65_536, np.uint32)])
def test_pages_of_labels_are_pages_of_one_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
    tiles_from_px: int,
    highest: int,
    dtype: type,
) -> None:
    monkeypatch.setattr(masks, "TILES_FROM_PX", tiles_from_px)
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
    monkeypatch.setattr(masks, "TILES_FROM_PX", 1000)
    labels = np.random.default_rng(1).integers(0, highest, (700, 1100)).astype(np.uint32)
    labels[0, 0] = highest
    write_labels(tmp_path / "a_label.tiff", labels)
    assert np.array_equal(read_labels(tmp_path / "a_label.tiff"), labels)
    with tifffile.TiffFile(tmp_path / "a_label.tiff") as tif:
        assert len(tif.pages) == 1
        assert tif.pages.first.is_tiled
        assert tif.pages[0].shape == labels.shape
        assert tif.pages.first.dtype == (np.uint16 if highest < 65536 else np.uint32)
