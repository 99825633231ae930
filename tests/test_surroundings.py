"""Surroundings: constant areas around a picture are found, backgrounds are none, parts agree with the whole."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from mosaicell.contrast.surroundings import Surroundings, find_surroundings
from mosaicell.training.synthesis import draw_scene


def draw(kind: str, side: int = 200, seed: int = 0) -> np.ndarray:
    return draw_scene(kind, (side, side), np.random.default_rng(seed))[0]


def framed(pixels: np.ndarray, value: int, width: int = 25) -> np.ndarray:
    return np.pad(pixels, ((width, width), (width, width), (0, 0)), constant_values=value)


@pytest.mark.parametrize("kind", ["phase_rods", "brightfield_tissue", "fluorescence_nuclei"])
@pytest.mark.parametrize("value", [0, 255, 130])
def test_a_frame_of_another_value_is_found(kind: str, value: int) -> None:
    pixels = draw(kind)
    found = find_surroundings(framed(pixels, value), 1)
    if abs(float(np.median(pixels)) - value) < 40:
        return
    assert found is not None
    expected = np.ones((250, 250), bool)
    expected[25:-25, 25:-25] = False
    assert np.count_nonzero(found.mask != expected) < 100


def test_a_rotated_scan_has_corners() -> None:
    tissue = draw("brightfield_tissue", 300)
    turn = cv2.getRotationMatrix2D((150, 150), 17, 0.8)
    turned = cv2.warpAffine(tissue, turn, (300, 300), flags=cv2.INTER_NEAREST)
    area = cv2.warpAffine(np.ones((300, 300), np.uint8), turn, (300, 300), flags=cv2.INTER_NEAREST) == 0
    found = find_surroundings(turned, 1)
    assert found is not None
    assert np.count_nonzero(found.mask != area) < 0.02 * area.size


def test_what_fades_into_the_picture_is_its_background() -> None:
    # 8-bit fluorescence: one value all around, and cells that end in it
    cells = cv2.GaussianBlur(draw("fluorescence_nuclei")[..., 0].astype(np.float32), (0, 0), 4)
    dark = np.clip(cells - np.median(cells), 0, 255).astype(np.uint8)[..., None]
    assert np.mean(dark == 0) > 0.2
    assert find_surroundings(dark, 1) is None


def test_many_cells_with_hard_edges_are_no_pictures() -> None:
    disks = np.zeros((300, 300, 1), np.uint8)
    for y in range(40, 280, 60):
        for x in range(40, 280, 60):
            disks[..., 0] = cv2.circle(disks[..., 0].copy(), (x, y), 15, 200, -1)
    assert find_surroundings(disks, 1) is None


@pytest.mark.parametrize(
    "pixels", [np.full((40, 40, 1), 7, np.uint8), np.zeros((1, 1, 3), np.uint16)], ids=["even", "1"]
)
def test_an_even_image_has_none(pixels: np.ndarray) -> None:
    assert find_surroundings(pixels, 1) is None


@pytest.mark.parametrize("step", [1, 3])
def test_parts_are_covered_as_the_whole_is(step: int) -> None:
    pixels = framed(draw("phase_rods", 400), 0, 90)
    found = find_surroundings(pixels[::step, ::step], step)
    assert found is not None
    whole = found.cover(pixels, (0, 0))
    assert whole[:89].all()
    assert not whole[95:-95, 95:-95].any()
    for y0, x0, y1, x1 in ((0, 0, 100, 100), (50, 60, 333, 210), (481, 333, 580, 580)):
        assert np.array_equal(found.cover(pixels[y0:y1, x0:x1], (y0, x0)), whole[y0:y1, x0:x1])


def test_surroundings_travel_small() -> None:
    mask = np.zeros((1000, 999), bool)
    mask[:300, 7:] = True
    sent = pickle.dumps(Surroundings(mask, 3, np.array([[0], [255]])))
    assert len(sent) < 5000
    received = pickle.loads(sent)
    assert np.array_equal(received.mask, mask)
    assert (received.step, received.values.tolist()) == (3, [[0], [255]])
