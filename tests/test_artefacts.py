"""Artefacts: specks, blur, blocks and stripes are no cells, and cells on such a background are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mosaicell.answers.artefacts import (
    BLOCK_RANGE,
    RING_PX,
    SHARP_PX,
    Scene,
    measure_contrasts,
    shows_artefacts,
    shows_blocks,
    shows_specks,
    shows_stripes,
)
from mosaicell.contrast.sample import take_sample
from mosaicell.contrast.surroundings import find_surroundings
from mosaicell.reading.pixels import ArrayPixels
from tests.test_focus import draw as draw_spots
from tests.test_stripes import draw_stripes


def draw_squares(count: int, side: int, shape: tuple[int, int]) -> np.ndarray:
    """Return squares in a row, 8 px apart at least."""
    labels = np.zeros(shape, np.uint32)
    pitch = side + max(8, side // 4)
    for index in range(count):
        labels[10 : 10 + side, pitch * index : pitch * index + side] = index + 1
    return labels


@pytest.mark.parametrize(
    ("count", "side", "scale", "specks"),
    [
        (5, 6, 2.0, True),
        (5, 6, 1.0, False),
        (10, 7, 1.1, False),
        (7, 7, 1.1, True),
        (1, 9, 3.0, False),
        (0, 6, 3.0, False),
    ],
)
def test_few_specks_in_an_enlarged_image_are_no_cells(count: int, side: int, scale: float, specks: bool) -> None:
    assert shows_specks(draw_squares(count, side, (200, 300)), scale) is specks


@pytest.mark.parametrize(("radius", "scale", "blurred"), [(20, 1.0, True), (8, 1.0, False), (8, 0.5, True)])
def test_large_spots_without_edges_are_no_cells_at_any_scale(radius: int, scale: float, blurred: bool) -> None:
    pixels, labels = draw_spots(radius, 0.7)
    assert (2 * radius >= SHARP_PX) == (radius == 20)
    assert shows_artefacts(labels, scale, Scene(pixels)) is blurred
    sharp, labels = draw_spots(radius, 0.05)
    assert not shows_artefacts(labels, scale, Scene(sharp))


def compress(plane: np.ndarray, quality: int) -> np.ndarray:
    """Return an 8-bit image (y, x, 1) after JPEG."""
    decoded = cv2.imdecode(cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return decoded[..., None]


@pytest.mark.parametrize("relief", [False, True])
def test_blocks_of_jpeg_are_no_cells_but_small_cells_in_such_an_image_are(
    relief: bool, rng: np.random.Generator
) -> None:
    shape = (256, 256)
    slope = (
        100 + np.linspace(0, 12, shape[1], dtype=np.float32) + np.linspace(0, 5, shape[0], dtype=np.float32)[:, None]
    )
    field = (slope + rng.normal(0, 0.7, shape)).round().astype(np.uint8)
    empty = compress(field, 40)
    # single blocks that differ from their neighbours: what a network takes for cells
    values = empty[4::8, 4::8, 0].astype(int)
    lonely = (values > np.roll(values, 1, axis=1)) & (values > np.roll(values, 1, axis=0))
    numbers = np.where(lonely, np.cumsum(lonely).reshape(lonely.shape), 0).astype(np.uint32)
    blocks = np.kron(numbers, np.ones((8, 8), np.uint32))
    assert blocks.max() > 3
    is_blocky = take_sample(ArrayPixels(empty)).is_blocky
    assert is_blocky
    assert shows_artefacts(blocks, 3.0, Scene(empty, is_blocky))
    assert not shows_artefacts(blocks, 3.0, Scene(empty, is_blocky=False))

    labels = draw_squares(3, 7, shape)
    if relief:
        # dark above, bright below, and in the mean as bright as the field
        field[labels > 0] = np.where(np.mgrid[: shape[0], : shape[1]][0] < 13, 90, 110)[labels > 0]
    else:
        field[labels > 0] = 115
    cells = compress(field, 40)
    is_blocky = take_sample(ArrayPixels(cells)).is_blocky
    assert is_blocky
    assert not shows_artefacts(labels, 3.0, Scene(cells, is_blocky))


def test_the_channel_in_which_a_cell_is_seen_counts() -> None:
    labels = draw_squares(3, 8, (40, 80))
    pixels = np.full((40, 80, 3), 50, np.uint8)
    assert shows_blocks(pixels, labels)
    pixels[labels > 0, 1] = 50 + int(BLOCK_RANGE) + 1
    assert not shows_blocks(pixels, labels)


def test_contrast_is_the_difference_from_what_lies_right_around_a_cell() -> None:
    labels = draw_squares(2, 10, (40, 60))
    plane = np.where(labels == 1, 7.0, np.where(labels == 2, 1.0, 3.0)).astype(np.float32)
    plane[30:] = 1000.0
    assert 20 + RING_PX < 30
    assert measure_contrasts(plane, labels).tolist() == [4.0, 2.0]
    assert measure_contrasts(plane, np.ones((40, 60), np.uint32)).tolist() == [0.0]
    assert measure_contrasts(plane, np.zeros((40, 60), np.uint32)).size == 0


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.6])
def test_stripes_are_no_cells_but_cells_among_stripes_are(angle: float, rng: np.random.Generator) -> None:
    stripes = draw_stripes((300, 400), angle, 30.0, rng)
    bright = draw_stripes((300, 400), angle, 30.0, rng, noise=0.0) > 103
    found = cv2.connectedComponents(bright.astype(np.uint8), connectivity=4)[1].astype(np.uint32)
    assert found.max() > 5
    assert shows_stripes(Scene(stripes[..., None]), found)
    assert shows_artefacts(found, 1.0, Scene(stripes[..., None]))

    labels = draw_squares(6, 14, stripes.shape)
    cells = stripes + np.where(labels > 0, np.float32(2 * stripes.std()), 0)
    assert Scene(cells[..., None]).stripes_angle is not None
    assert not shows_artefacts(labels, 1.0, Scene(cells[..., None]))


def test_a_frame_above_and_below_is_no_stripe(rng: np.random.Generator) -> None:
    labels = draw_squares(8, 20, (300, 300))
    labels = np.roll(labels, 100, axis=0)
    pixels = (100 + 40 * (labels > 0) + rng.normal(0, 3, labels.shape)).astype(np.uint16)
    pixels[:80] = pixels[220:] = 65535
    surroundings = find_surroundings(pixels[..., None], 1)
    assert surroundings is not None
    assert Scene(pixels[..., None]).stripes_angle is not None
    scene = Scene(pixels[..., None], surroundings=surroundings)
    assert scene.stripes_angle is None
    assert scene.luminance().max() < 200
    assert not shows_artefacts(labels, 1.0, scene)


def test_without_pixels_of_the_whole_image_and_without_cells_nothing_is_said(rng: np.random.Generator) -> None:
    stripes = draw_stripes((200, 200), 0.0, 30.0, rng)
    labels = (draw_stripes((200, 200), 0.0, 30.0, rng, noise=0.0) > 103).astype(np.uint32)
    assert shows_artefacts(labels, 1.0, Scene(stripes[..., None]))
    assert not shows_artefacts(labels, 1.0, Scene(None))
    assert not shows_artefacts(labels[:100], 1.0, Scene(stripes[..., None]))
    assert not shows_artefacts(np.zeros_like(labels), 1.0, Scene(stripes[..., None]))
