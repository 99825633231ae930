"""Distances to the centres of cells against loops over cells, and the field that is made of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.distance_comparisons import fields_of_labels
from mosaicell.postprocess.centre_distances import centre_closeness, centre_distances
from mosaicell.training.synthesis import draw_scene


@pytest.mark.parametrize("kind", ["fluorescence_nuclei", "phase_rods"])
def test_distances_are_those_of_each_cell_alone(kind: str) -> None:
    _, labels = draw_scene(kind, (160, 200), np.random.default_rng(3), diameter_px=24)
    labels[labels == 2] = 900
    away = centre_distances(labels)
    assert not away[labels == 0].any()
    for number in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == number)
        np.testing.assert_allclose(away[y, x], np.hypot(y - y.mean(), x - x.mean()), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(centre_closeness(labels), fields_of_labels(labels)[1], rtol=1e-5)


def test_no_cells_have_no_distances() -> None:
    nothing = np.zeros((5, 7), np.uint32)
    assert not centre_distances(nothing).any()
    assert not centre_closeness(nothing).any()
