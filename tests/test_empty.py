"""Fields without cells: one seed, one field; every look of a camera; nothing that a camera cannot write."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.contrast.modality import analyse_modality
from mosaicell.training.drawing.empty import draw_empty


def test_a_seed_is_a_field() -> None:
    for seed in range(5):
        first, second = (draw_empty((64, 90), np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, draw_empty((64, 90), np.random.default_rng(seed + 100))[: len(first)])


def test_fields_have_every_depth_colour_and_modality() -> None:
    fields = [draw_empty((96, 128), np.random.default_rng([3, seed])) for seed in range(60)]
    assert all(field.shape[:2] == (96, 128) for field in fields)
    assert {field.shape[2] for field in fields} == {1, 3}
    assert {field.dtype for field in fields} == {np.dtype(np.uint8), np.dtype(np.uint16)}
    assert {analyse_modality(field) for field in fields} == {"grey", "fluorescence", "brightfield"}
    # dark, grey and bright ones
    levels = [float(np.median(field)) / np.iinfo(field.dtype).max for field in fields if field.dtype == np.uint8]
    assert min(levels) < 0.1
    assert max(levels) > 0.5


def test_small_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        draw_empty((31, 90), np.random.default_rng(0))
