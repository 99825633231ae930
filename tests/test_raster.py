"""PNG, JPEG, BMP and WebP within limits; the pixels themselves are tested through `mosaicell.reading.images`."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from mosaicell.errors import ImageError
from mosaicell.machine.limits import DEFAULT_LIMITS, Limits, needed_bytes
from mosaicell.reading import raster
from mosaicell.reading.raster import decode_raster
from tests.files import draw_cells

CELLS = draw_cells()
ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "WebP": ".webp"}


def encode(form: str) -> io.BytesIO:
    return io.BytesIO(cv2.imencode(ENDINGS[form], CELLS)[1].tobytes())


@pytest.mark.parametrize("form", ENDINGS)
def test_limits_are_kept_before_decoding(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    array, _, _ = decode_raster(encode(form), form, Limits(CELLS.size))
    assert array.shape[:2] == CELLS.shape
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ImageError, match="60 x 80 pixels"):
        decode_raster(encode(form), form, Limits(CELLS.size - 1))
    with pytest.raises(ImageError, match="GB of memory"):
        decode_raster(encode(form), form, Limits(memory_bytes=needed_bytes((60, 80), CELLS.size) - 1))


def test_a_file_larger_than_memory_is_not_read() -> None:
    file = encode("PNG")
    with pytest.raises(ImageError, match="GB of memory"):
        decode_raster(file, "PNG", Limits(memory_bytes=len(file.getvalue())))


def test_what_opencv_cannot_hold_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "OPENCV_PIXELS", CELLS.size - 1)
    with pytest.raises(ImageError, match="write it as TIFF"):
        decode_raster(encode("PNG"), "PNG", Limits())


def test_decoded_pixels_are_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((3, 4), np.uint8))
    with pytest.raises(ImageError, match="its header says 60 x 80"):
        decode_raster(encode("PNG"), "PNG", Limits())


@pytest.mark.parametrize("visible", [True, False])
def test_what_is_transparent_is_black_unless_everything_is(visible: bool, rng: np.random.Generator) -> None:
    colours = rng.integers(1, 255, (30, 40, 3), np.uint8)
    alpha = np.zeros((30, 40, 1), np.uint8)
    alpha[5:20, 7:30] = 200 if visible else 0
    data = cv2.imencode(".png", np.dstack([colours[..., ::-1], alpha]))[1].tobytes()
    pixels, _, notes = decode_raster(io.BytesIO(data), "PNG", DEFAULT_LIMITS)
    np.testing.assert_array_equal(pixels, np.where(alpha > 0, colours, 0) if visible else colours)
    assert notes == ["the alpha channel is dropped"]
