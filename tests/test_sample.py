"""A sample of an image: its noise, its surroundings, and that it stays small."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mosaicell.contrast.sample import SAMPLE_PX, take_sample
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.training.synthesis import draw_scene


@pytest.mark.parametrize("level", [3.0, 40.0])
def test_noise_is_measured_beside_cells_and_slopes(level: float, rng: np.random.Generator) -> None:
    cells = draw_scene("fluorescence_nuclei", (300, 400), rng)[0][..., :1].astype(np.float32) * 20
    slope = np.linspace(0, 3000, 400, dtype=np.float32)[None, :, None]
    still = cv2.GaussianBlur(cells[..., 0], (0, 0), 2)[..., None] + slope
    noisy = still + rng.normal(0, level, still.shape).astype(np.float32)
    assert take_sample(ArrayPixels(noisy)).noise[0] == pytest.approx(level, rel=0.15)
    assert take_sample(ArrayPixels(still)).noise[0] < 1


def test_channels_have_their_own_noise_and_surroundings_none(rng: np.random.Generator) -> None:
    pixels = rng.normal((100, 100, 100), (1, 5, 0), (300, 300, 3)).astype(np.float32)
    framed = np.full((600, 600, 3), -9999, np.float32)
    framed[150:450, 150:450] = pixels
    found = take_sample(ArrayPixels(framed)).noise
    assert found[0] == pytest.approx(1, rel=0.2)
    assert found[1] == pytest.approx(5, rel=0.2)
    assert found[2] == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 900, 3), (5, 5, 1)])
def test_tiny_images_have_a_sample(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    sample = take_sample(ArrayPixels(rng.integers(0, 255, shape, np.uint8)))
    assert sample.values.shape == shape
    assert len(sample.noise) == shape[2]


def test_a_large_image_is_sampled_on_a_grid(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, (2500, 3000, 1), np.uint8)
    sample = take_sample(ArrayPixels(pixels))
    assert sample.step == 2
    assert np.array_equal(sample.values, pixels[::2, ::2])
    assert sample.values.size < 4 * SAMPLE_PX


def test_the_rim_of_surroundings_does_not_count(rng: np.random.Generator) -> None:
    pixels = np.zeros((200, 200, 1), np.uint8)
    pixels[:, 60:] = rng.integers(90, 200, (200, 140, 1))
    inside = take_sample(ArrayPixels(pixels)).inside
    assert not inside[:, :66].any()
    assert inside[:, 70:].all()


@pytest.mark.parametrize("corner", [(0, 0), (3, 5)])
def test_blocks_of_jpeg_are_seen_wherever_they_begin(corner: tuple[int, int], rng: np.random.Generator) -> None:
    noise = rng.normal(120, 1, (400, 500)) + np.linspace(0, 20, 500)
    data = cv2.imencode(".jpg", noise.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    pixels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    y, x = corner
    assert take_sample(ArrayPixels(pixels[y:, x:, None])).is_blocky
    assert not take_sample(ArrayPixels(noise[..., None].astype(np.uint8))).is_blocky
    assert not take_sample(ArrayPixels(pixels[..., None].astype(np.uint16))).is_blocky


@pytest.mark.parametrize("kind", ["phase_rods", "brightfield_tissue", "brightfield_blood"])
def test_cells_in_a_jpeg_are_no_blocks(kind: str, rng: np.random.Generator) -> None:
    pixels = draw_scene(kind, (300, 300), rng)[0]
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    assert not take_sample(ArrayPixels(np.ascontiguousarray(decoded))).is_blocky
