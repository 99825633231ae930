"""What is looked at of an image at a scale: all of it, or a mosaic of its windows in the contrast of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.contrast.normalize import normalize
from mosaicell.networks import views as module
from mosaicell.networks.views import MAX_ENLARGED_PX, SLIDE_FROM_PX, Views
from mosaicell.reading.pixels import ArrayPixels

RANGE = (1.0, 99.0)


class SizedPixels(ArrayPixels):
    """An image that tells another size than it has."""

    size = (1, 1)

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.size


@pytest.mark.parametrize(
    ("shape", "scale", "held"),
    [
        ((2000, 4000), 1.0, True),
        ((2000, 4000), 0.1, True),
        ((2000, 4001), 1.0, False),
        ((2000, 4001), 0.1, False),
        ((2000, 2000), 1.0, True),
        ((2000, 2000), 1.001, False),
        ((1000, 1000), 2.0, True),
        ((1000, 1000), 2.001, False),
        ((666, 666), 3.0, True),
        ((667, 667), 3.0, False),
    ],
)
def test_what_is_held_whole(shape: tuple[int, int], scale: float, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (SLIDE_FROM_PX, MAX_ENLARGED_PX) == (8_000_000, 4_000_000)
    monkeypatch.setattr(module, "read_all", lambda pixels: np.zeros((4, 4, 1), np.uint8))
    pixels = SizedPixels(np.zeros((4, 4, 1), np.uint8))
    monkeypatch.setattr(SizedPixels, "size", shape)
    assert Views(pixels).hold(scale) is held


@pytest.mark.parametrize(
    ("shape", "largest"),
    [
        ((1, 1), 3.0),
        ((666, 666), 3.0),
        ((800, 800), 2.5),
        ((1000, 1000), 2.0),
        ((1001, 1001), 2.0),
        ((9000, 9000), 2.0),
    ],
)
def test_the_largest_scale_is_one_that_time_allows(
    shape: tuple[int, int], largest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_all", lambda pixels: np.zeros((4, 4, 1), np.uint8))
    pixels = SizedPixels(np.zeros((4, 4, 1), np.uint8))
    monkeypatch.setattr(SizedPixels, "size", shape)
    views = Views(pixels)
    assert views.largest_scale == largest


def test_images_of_up_to_a_megapixel_are_held_at_their_largest_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_all", lambda pixels: np.zeros((4, 4, 1), np.uint8))
    pixels = SizedPixels(np.zeros((4, 4, 1), np.uint8))
    for side in range(600, 1001):
        monkeypatch.setattr(SizedPixels, "size", (side, 1000))
        views = Views(pixels)
        assert views.hold(views.largest_scale), side


def test_an_image_that_is_held_is_seen_whole(rng: np.random.Generator) -> None:
    array = rng.integers(0, 255, (300, 200, 3), np.uint8)
    views = Views(ArrayPixels(array))
    assert np.array_equal(views.at(3.0, RANGE), normalize(array, RANGE))
    assert views.at(0.5, RANGE) is views.at(3.0, RANGE)


@pytest.mark.parametrize(("scale", "side", "rows"), [(0.25, 64, 3), (1.0, 64, 3), (2.0, 32, 2)])
def test_of_others_a_mosaic_is_seen_in_the_contrast_of_the_whole(
    scale: float, side: int, rows: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Windows show content alone, which is darker than the rest of the image: stretched by themselves they differ."""
    monkeypatch.setattr(module, "WINDOW_PX", 64)
    monkeypatch.setattr(module, "SLIDE_FROM_PX", 1000)
    array = np.full((320, 320, 1), 240, np.uint8)
    array[:, :192] = rng.integers(50, 150, (320, 192, 1))
    views = Views(ArrayPixels(array))
    mosaic = views.at(scale, RANGE)
    assert mosaic.shape == (3, rows * side, rows * side)
    assert views.at(scale, RANGE) is mosaic
    whole = normalize(array, RANGE)
    content = mosaic[0, :side, :side]
    places = [(y, x) for y in range(0, 320 - side + 1, side) for x in range(0, 192 - side + 1, side)]
    assert any(np.array_equal(content, whole[0, y : y + side, x : x + side]) for y, x in places)
    assert mosaic.max() < 0.6
    views.forget()
    assert views.at(scale, RANGE) is not mosaic
