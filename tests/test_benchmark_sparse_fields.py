"""Scenes in larger fields of their own background: the cells stay, and the field is like what lay between them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sparse_fields import drop_cut_cells, enlarge_field
from mosaicell.training.synthesis import draw_scene


def scene(seed: int = 0, noise: float = 4.0, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw 9 whole squares and 1 at the border on noise, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((150, 170), np.uint32)
    for index in range(9):
        y, x = 20 + 40 * (index // 3), 20 + 50 * (index % 3)
        labels[y : y + 14, x : x + 14] = index + 1
    labels[60:70, 160:] = 10
    light = 60 + slope * np.arange(170) + 100 * (labels > 0) + noise * rng.standard_normal(labels.shape)
    return np.clip(light, 0, 255).round().astype(np.uint8)[..., None], labels


@pytest.mark.parametrize("kind", ["fluorescence_nuclei", "phase_rods", "dic_yeast", "brightfield_blood"])
def test_a_field_holds_the_cells_of_the_scene(kind: str) -> None:
    pixels, labels = draw_scene(kind, (160, 160), np.random.default_rng(1), diameter_px=12)
    field, truth, (top, left) = enlarge_field(pixels, labels, (380, 420), np.random.default_rng(2))
    assert (field.shape, field.dtype) == ((380, 420, pixels.shape[2]), pixels.dtype)
    window = field[top : top + 160, left : left + 160]
    assert truth.any()
    np.testing.assert_array_equal(truth, drop_cut_cells(labels))
    np.testing.assert_array_equal(window[truth > 0], pixels[truth > 0])
    again = enlarge_field(pixels, labels, (380, 420), np.random.default_rng(2))
    np.testing.assert_array_equal(field, again[0])
    other = enlarge_field(pixels, labels, (380, 420), np.random.default_rng(3))
    assert not np.array_equal(field, other[0])


@pytest.mark.parametrize("noise", [1.5, 6.0])
def test_the_field_has_the_level_and_the_noise_of_the_background(noise: float) -> None:
    pixels, labels = scene(noise=noise)
    field, _, (top, left) = enlarge_field(pixels, labels, (600, 640), np.random.default_rng(0))
    outside = np.ones(field.shape[:2], bool)
    outside[top : top + 150, left : left + 170] = False
    assert field[outside].mean() == pytest.approx(60, abs=1)
    assert field[outside].std() == pytest.approx(noise, rel=0.25)
    # nothing that lies there looks like a cell of 100 grey values
    assert field[outside].max() < 60 + 6 * noise


def test_cells_cut_by_the_border_become_background() -> None:
    pixels, labels = scene()
    field, truth, (top, left) = enlarge_field(pixels, labels, (300, 320), np.random.default_rng(0), centred=True)
    assert (top, left) == (75, 75)
    assert 10 not in truth
    assert np.unique(truth).size == 10
    at_border = field[top + 60 : top + 70, left + 160 : left + 170]
    assert at_border.mean() < 80


def test_uneven_light_goes_on_without_a_step() -> None:
    pixels, labels = scene(noise=1.0, slope=0.3)
    field, _, (top, left) = enlarge_field(pixels, labels, (300, 600), np.random.default_rng(0), centred=True)
    rows = field[top : top + 150, :, 0].astype(float)
    inside, outside = rows[:, left + 2 : left + 12].mean(), rows[:, left - 12 : left - 2].mean()
    assert inside == pytest.approx(outside, abs=5)
    # far away it is forgotten
    assert rows[:, :10].mean() == pytest.approx(60 + 0.3 * 85, abs=8)


def test_what_cannot_be_laid_out_is_refused() -> None:
    pixels, labels = scene()
    with pytest.raises(ValueError, match="does not hold a scene of 150 x 170 px"):
        enlarge_field(pixels, labels, (149, 400), np.random.default_rng(0))
    with pytest.raises(ValueError, match="too little background"):
        enlarge_field(pixels, np.ones_like(labels), (400, 400), np.random.default_rng(0))


def test_cells_in_the_outer_two_px_are_dropped() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[1:5, 8:12], labels[2:5, 14:17] = 1, 2
    np.testing.assert_array_equal(np.unique(drop_cut_cells(labels)), [0, 2])
