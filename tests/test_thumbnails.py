"""Thumbnails: small enough, outlines where the mask has them, any image that the program reads."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mosaicell.evaluation.thumbnails import (
    MAX_BYTES,
    SIDE_PX,
    data_uri,
    draw_view,
    encode_jpeg,
    encode_outlines,
    find_images,
    shrink_image,
    shrink_labels,
)
from mosaicell.writing.masks import write_labels
from tests.ngff_files import write_image


def decode(jpeg: bytes) -> np.ndarray:
    view = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert view is not None
    return view[..., ::-1].astype(int)


def painted(png: bytes | None) -> np.ndarray:
    """Say which pixels of a layer of outlines are not transparent."""
    assert png is not None
    layers = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert layers is not None
    assert layers.shape[2] == 4
    alpha: np.ndarray = layers[..., 3]
    assert set(np.unique(alpha).tolist()) <= {0, 255}
    return alpha > 0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write a grey image of 400 x 600 pixels."""
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), np.tile(np.linspace(0, 255, 600).astype(np.uint8), (400, 1)))
    return path


def test_outlines_are_where_the_mask_has_cells_and_nowhere_else(image: Path, tmp_path: Path) -> None:
    labels = np.zeros((400, 600), np.uint16)
    labels[100:200, 300:450] = 7
    labels[100:200, 450:500] = 900
    write_labels(tmp_path / "mask.tiff", labels)
    view = draw_view(image, tmp_path / "mask.tiff", None)
    outlines = painted(view.found)
    assert decode(view.picture).shape[:2] == outlines.shape == (480, 720)
    assert view.true is None
    rows, columns = np.nonzero(outlines)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((120, 239, 360, 599), abs=1)
    # two cells that touch: the line between them is coloured, the inside is not
    assert outlines[140:220, 538:542].all()
    assert not outlines[140:220, 400:520].any()
    both = draw_view(image, None, tmp_path / "mask.tiff")
    assert (both.picture, both.found, both.true) == (view.picture, None, view.found)


def test_outlines_of_very_many_cells_give_up_size(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 5000, (SIDE_PX, SIDE_PX)).astype(np.uint32)
    png = encode_outlines(labels, labels.shape)
    assert len(png) <= MAX_BYTES
    assert painted(png).shape[0] < SIDE_PX


@pytest.mark.parametrize("mask", ["missing", "damaged", "of another size"])
def test_a_mask_that_cannot_be_used_leaves_the_outlines_out(image: Path, tmp_path: Path, mask: str) -> None:
    path = tmp_path / "mask.tiff"
    if mask == "damaged":
        path.write_bytes(b"II*\0")
    if mask == "of another size":
        write_labels(path, np.ones((600, 400), np.uint8))
    view = draw_view(image, path, path)
    assert (view.found, view.true) == (None, None)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 1), (3, 3)),
        ((100, 50), (300, 150)),
        ((1, 5000), (1, 720)),
        ((2000, 1500, 3), (720, 540)),
        ((720, 720), (720, 720)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_size_and_type_is_shrunk_or_enlarged_within_bounds(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, int], dtype: type
) -> None:
    path = tmp_path / "image.tif"
    pixels: np.ndarray = np.linspace(0, 200, int(np.prod(shape))).reshape(shape).astype(dtype)
    tifffile.imwrite(path, pixels, photometric="rgb" if len(shape) == 3 else "minisblack")
    jpeg = draw_view(path, None).picture
    assert len(jpeg) <= MAX_BYTES
    assert decode(jpeg).shape == (*expected, 3)


def test_a_view_that_does_not_compress_gives_up_quality_and_then_size(rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    jpeg = encode_jpeg(noise)
    assert len(jpeg) <= MAX_BYTES
    assert decode(jpeg).shape[0] in (SIDE_PX, SIDE_PX // 2)
    flat = np.full_like(noise, 200)
    assert len(encode_jpeg(flat)) < len(jpeg)
    assert decode(encode_jpeg(flat)).shape == noise.shape


def test_the_colours_of_an_image_are_kept() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 250, 20)
    pixels[..., 2] = np.linspace(0, 250, 10)[:, None]
    view = decode(encode_jpeg(shrink_image(pixels)))
    assert view[-2, -2] == pytest.approx([250, 0, 250], abs=16)
    assert view[1, -2] == pytest.approx([250, 0, 5], abs=16)
    assert view[-2, 1] == pytest.approx([5, 0, 250], abs=16)


def test_shrunk_labels_are_numbered_without_gaps_and_keep_their_places() -> None:
    labels = np.zeros((60, 90), np.uint32)
    labels[:30, :45], labels[30:, 45:] = 5, 4_000_000_000
    small = shrink_labels(labels, (6, 9))
    assert small.dtype == np.uint32
    assert sorted(set(small.ravel().tolist())) == [0, 1, 2]
    assert (small[0, 0], small[-1, -1], small[-1, 0]) == (1, 2, 0)
    assert shrink_labels(np.full((4, 4), 9, np.uint32), (2, 2)).tolist() == [[1, 1], [1, 1]]
    assert np.array_equal(shrink_labels(small, small.shape), small)
    assert np.array_equal(shrink_labels(shrink_labels(small, (18, 27)), small.shape), small)


def test_an_image_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        draw_view(tmp_path / "image.png", None)


def test_images_are_found_by_their_name_and_by_that_of_their_mask(tmp_path: Path) -> None:
    for name in ("a.b.png", "a.tif", "c.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    for name in ("folder.png", "d.zarr"):
        (tmp_path / name).mkdir()
    by_name, by_mask = find_images(tmp_path)
    assert set(by_name) == {"a.b.png", "a.tif", "c.JPG", "d.zarr"}
    assert {name: path.name for name, path in by_mask.items()} == {
        "a_label.tiff": "a.b.png",
        "a.b_label.tiff": "a.b.png",
        "c_label.tiff": "c.JPG",
        "d_label.tiff": "d.zarr",
    }


def test_an_ome_zarr_has_a_view_too(image: Path, tmp_path: Path) -> None:
    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    folder = write_image(tmp_path / "image.zarr", pixels, "yx")
    assert draw_view(folder, None).picture == draw_view(image, None).picture


def test_an_address_holds_the_data(image: Path) -> None:
    jpeg = draw_view(image, None).picture
    kind, data = data_uri(jpeg).split(",")
    assert (kind, b64decode(data)) == ("data:image/jpeg;base64", jpeg)
    png = encode_outlines(np.ones((4, 4), np.uint32), (4, 4))
    assert data_uri(png).startswith("data:image/png;base64,")
