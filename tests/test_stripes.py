"""Stripes: found under any angle and in noise, not where cells are seen or where an image is narrow."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.contrast.stripes import LEAST_PX, find_stripes, split_stripes
from tests.test_cells import draw_discs


def draw_stripes(
    shape: tuple[int, int], angle: float, period: float, rng: np.random.Generator, noise: float = 0.5
) -> np.ndarray:
    """Return stripes float32 (y, x) between 90 and 110, under a slope of 6 across the image."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    wave = np.sin((np.sin(angle) * y + np.cos(angle) * x) * 2 * np.pi / period + 1)
    return (100 + 10 * wave + 6 * x / shape[1] + rng.normal(0, noise * 10, shape)).astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.3, -0.9])
@pytest.mark.parametrize("period", [10.0, 30.0, 120.0])
@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_stripes_are_found_under_any_angle(angle: float, period: float, noise: float, rng: np.random.Generator) -> None:
    found = find_stripes(draw_stripes((260, 400), angle, period, rng, noise))
    assert found is not None
    # a direction and its opposite are one
    assert abs(np.sin(found - angle)) < 0.06


def test_cells_noise_slopes_and_even_fields_are_no_stripes(rng: np.random.Generator) -> None:
    cells = draw_discs((320, 400)) > 0
    slope = np.linspace(0, 5, 400, dtype=np.float32) ** 2
    even = np.full((320, 400), 7, np.float32)
    assert find_stripes(cells.astype(np.float32)) is None
    assert find_stripes(even) is None
    assert find_stripes(even + slope) is None
    noise = rng.normal(0, 1, (320, 400)).astype(np.float32)
    # rows of noise differ by chance alone
    assert find_stripes(even + noise) is None
    assert find_stripes(even + slope + noise) is None
    stripes = draw_stripes((320, 400), 0.0, 40.0, rng)
    assert find_stripes(stripes) is not None
    assert find_stripes(stripes + 20 * cells.astype(np.float32)) is None


def test_the_row_of_cells_in_a_narrow_image_is_no_stripe(rng: np.random.Generator) -> None:
    stripes = draw_stripes((400, LEAST_PX), 0.0, 40.0, rng)
    assert find_stripes(stripes) is not None
    assert find_stripes(stripes[:, 1:]) is None


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, 0.7])
def test_stripes_and_the_rest_add_up(angle: float, rng: np.random.Generator) -> None:
    plane = draw_stripes((150, 200), angle, 20.0, rng)
    stripes, rest = split_stripes(plane, angle)
    np.testing.assert_allclose(stripes + rest, plane, rtol=1e-5)
    assert stripes.dtype == rest.dtype == np.float32
    assert rest.std() < 0.85 * plane.std()
    again, _ = split_stripes(stripes, angle)
    np.testing.assert_allclose(again, stripes, rtol=1e-5)
