"""Drawn fields without cells and with a few nuclei: what a camera adds, and what is and is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.camera import Camera, autostretch, coarsen, compress, convert, detect
from benchmarks.empty_fields import KINDS, LOOKS, SIDES_PX, draw_empty_field, draw_lone_nuclei


def light(level: float, shape: tuple[int, ...] = (200, 200)) -> np.ndarray:
    return np.full(shape, level, np.float32)


# the camera


def test_variance_is_that_of_light_and_reading() -> None:
    camera = Camera(read_noise=3.0)
    for level in (0.0, 40.0, 2000.0):
        counted = detect(camera, light(level), np.random.default_rng(0))
        assert counted.mean() == pytest.approx(level, abs=0.01 * level + 0.1)
        assert counted.var() == pytest.approx(level + 9, rel=0.05)


def test_patterns_of_the_sensor_are_those_of_columns_rows_and_pixels() -> None:
    rng = np.random.default_rng(1)
    plain = Camera(read_noise=1.0)
    columns = detect(replace(plain, column_noise=5.0), light(0), rng)
    assert columns.mean(axis=0).std() > 10 * columns.mean(axis=1).std()
    rows = detect(replace(plain, row_noise=5.0), light(0), rng)
    assert rows.mean(axis=1).std() > 10 * rows.mean(axis=0).std()
    hot = detect(replace(plain, hot_fraction=0.01, hot_electrons=1000.0), light(0, (200, 200, 3)), rng) > 20
    assert 250 < np.count_nonzero(hot.all(axis=2)) < 450
    # one sensor for all channels
    assert np.count_nonzero(hot.any(axis=2)) < 1.05 * np.count_nonzero(hot.all(axis=2))
    gained = detect(replace(plain, gain_spread=0.05), light(10_000), rng)
    assert gained.std() == pytest.approx(510, rel=0.05)
    loud = detect(replace(plain, noise_spread=0.7), light(0), rng)
    assert (loud**4).mean() / (loud**2).mean() ** 2 > 5


def test_grey_values_are_clipped_and_rounded_in_the_depth_of_the_converter() -> None:
    electrons = np.array([[-1000, 0, 10.3, 1e7]], np.float32)
    assert convert(Camera(bits=8, offset=10, gain=2), electrons).tolist() == [[0, 10, 31, 255]]
    deep = convert(Camera(bits=12, offset=100, gain=1), electrons)
    assert deep.dtype == np.uint16
    assert deep.tolist() == [[0, 100, 110, 4095]]


def test_grain_makes_neighbours_alike() -> None:
    def likeness(image: np.ndarray) -> float:
        plane = image.reshape(200, 200, -1)[..., 0] - image.reshape(200, 200, -1)[..., 0].mean()
        return float((plane[:, 1:] * plane[:, :-1]).mean() / plane.var())

    for shape in ((200, 200), (200, 200, 3)):
        counted = detect(Camera(read_noise=3.0), light(50, shape), np.random.default_rng(2))
        assert abs(likeness(counted)) < 0.05
        for seed in range(6):
            grainy = coarsen(counted, np.random.default_rng(seed))
            assert grainy.shape == counted.shape
            assert likeness(grainy) > 0.15


def test_compression_and_stretching_keep_shape_and_colour() -> None:
    red = np.zeros((64, 48, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(compress(red, 90).astype(int) - red).max() < 8
    grey = compress(red[..., 0], 50)
    assert (grey.shape, grey.dtype) == ((64, 48), np.uint8)
    ramp = np.arange(1000, 2000, dtype=np.uint16).reshape(20, 50)
    stretched = autostretch(ramp)
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert np.all(np.diff(stretched.astype(int).ravel()) >= 0)


# the fields


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("look", LOOKS)
def test_a_field_is_well_formed_and_depends_on_its_seed_alone(kind: str, look: str) -> None:
    pixels = draw_empty_field(kind, look, np.random.default_rng(3))
    assert pixels.dtype in (np.uint8, np.uint16)
    assert all(SIDES_PX[0] <= side <= SIDES_PX[1] for side in pixels.shape[:2])
    assert pixels.shape[2:] in ((), (3,))
    assert pixels.std() > 0
    np.testing.assert_array_equal(pixels, draw_empty_field(kind, look, np.random.default_rng(3)))
    other = draw_empty_field(kind, look, np.random.default_rng(4))
    assert pixels.shape != other.shape or not np.array_equal(pixels, other)
    assert draw_empty_field(kind, look, np.random.default_rng(3), (300, 280)).shape[:2] == (300, 280)


def test_looks_differ_in_brightness_and_colour() -> None:
    def levels(look: str) -> list[float]:
        fields = [draw_empty_field("shot noise", look, np.random.default_rng(s), (256, 256)) for s in range(20)]
        return [float(np.median(field)) / (255 if field.dtype == np.uint8 else 65535) for field in fields]

    assert np.median(levels("dark")) < 0.2
    assert min(levels("glass")) > 0.55
    assert all(draw_empty_field("grain", "glass", np.random.default_rng(s)).ndim == 3 for s in range(3))


def test_all_depths_offsets_and_sizes_occur() -> None:
    fields = [draw_empty_field("read noise", "dark", np.random.default_rng(seed)) for seed in range(60)]
    assert {field.dtype for field in fields} == {np.dtype(np.uint8), np.dtype(np.uint16)}
    medians = [np.median(field) for field in fields if field.dtype == np.uint16 and field.ndim == 2]
    for low, high in ((0, 90), (90, 600), (900, 1500)):
        assert any(low <= median < high for median in medians)
    sides = [field.shape[0] for field in fields]
    assert min(sides) < 300
    assert max(sides) > 700


def test_objects_are_seen_and_plain_noise_has_none() -> None:
    """Smoothed over 5 px, dust and blobs stand out from their surroundings; noise alone does not."""

    def standing_out(kind: str) -> int:
        count = 0
        for seed in range(8):
            field = draw_empty_field(kind, "grey", np.random.default_rng(seed), (400, 400)).astype(np.float32)
            smooth = ndimage.gaussian_filter(field.reshape(400, 400, -1)[..., 0], 1.5)
            detail = smooth - ndimage.gaussian_filter(smooth, 60)
            count += bool(np.abs(detail).max() > 7 * np.median(np.abs(detail)) / 0.67)
        return count

    assert standing_out("dust") >= 6
    assert standing_out("shot noise") == 0


@pytest.mark.parametrize("signal", [8.0, 100.0])
def test_a_few_nuclei_are_as_bright_as_asked(signal: float) -> None:
    for seed in range(4):
        pixels, labels = draw_lone_nuclei(signal, np.random.default_rng(seed))
        assert pixels.shape == labels.shape == (1024, 1024)
        assert 3 <= labels.max() <= 6
        areas = np.bincount(labels.ravel())[1:]
        assert areas.min() > 200
        # whole, apart from each other, away from the border
        assert ndimage.label(labels)[1] == labels.max()
        assert not np.concatenate([labels[:3].ravel(), labels[:, :3].ravel()]).any()
        empty = pixels[labels == 0].astype(np.float64)
        # of what is left without the light of the lamp, in the median over pixels: hot ones do not count
        noise = 1.48 * np.median(np.abs(np.diff(pixels.astype(np.float64), axis=1))) / np.sqrt(2)
        above = np.median(pixels[labels > 0]) - np.median(empty)
        assert 0.4 * signal < above / max(noise, 0.5) < 3 * signal
        assert np.count_nonzero(pixels == pixels.max()) < 50
