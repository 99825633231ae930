"""Bands cover an image once, and passes over them give what numpy gives for the whole."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess import bands
from mosaicell.postprocess.bands import bands_with_halo, count_pixels, look_up, parts

SHAPES = [(0, 0), (0, 5), (5, 0), (1, 1), (1, 300), (300, 1), (37, 41)]


@pytest.fixture(params=[1, 100, 2**18])
def band_px(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(bands, "BAND_PX", request.param)
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
def test_bands_cover_every_row_once(shape: tuple[int, int], band_px: int) -> None:
    rows = [row for band in bands.bands(shape) for row in range(shape[0])[band]]
    assert rows == [*range(shape[0])]
    for band in bands.bands(shape):
        assert 1 <= band.stop - band.start <= max(1, band_px // max(1, shape[1]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("halo_px", [0, 1, 4])
def test_a_halo_goes_as_far_as_the_image(shape: tuple[int, int], halo_px: int, band_px: int) -> None:
    image = np.arange(shape[0])
    for rows, outer, inner in bands_with_halo(shape, halo_px):
        assert np.array_equal(image[outer][inner], image[rows])
        assert outer.start == max(0, rows.start - halo_px)
        assert outer.stop == min(shape[0], rows.stop + halo_px)


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 1000])
def test_parts_cover_a_list_once(size: int, band_px: int) -> None:
    found = list(parts(size))
    assert [index for part in found for index in range(size)[part]] == [*range(size)]
    assert all(part.stop <= size for part in found)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_looking_up_and_counting_equal_numpy(shape: tuple[int, int], dtype: type, band_px: int) -> None:
    rng = np.random.default_rng(0)
    labels: np.ndarray = rng.integers(0, 200, shape).astype(dtype)
    for image in (labels, labels.T, labels[:, ::2]):
        for table in (rng.random(200), rng.integers(0, 2**32, 200, np.uint32), rng.random(200) < 0.5):
            entries = look_up(table, image)
            assert entries.dtype == table.dtype
            assert np.array_equal(entries, table[image])
        assert np.array_equal(count_pixels(image), np.bincount(image.ravel(), minlength=1))


def test_long_runs_are_counted_whole(band_px: int) -> None:
    labels = np.zeros((50, 60), np.uint32)
    labels[10:40, 5:55] = 70_000
    counts = count_pixels(labels)
    assert counts.dtype == np.int64
    assert (counts[0], counts[70_000], counts.sum()) == (1500, 1500, 3000)
