"""Growth over a mask: pixels go to the cell that reaches them first, and to the lowest rank of several."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest

from mosaicell.postprocess.growth import grow_labels
from tests.test_blocks import draw_ellipses


def grow_one_by_one(labels: np.ndarray, mask: np.ndarray, steps: int, ranks: np.ndarray) -> np.ndarray:
    grown = labels.copy()
    for _ in range(steps):
        before = grown.copy()
        for y, x in np.argwhere(mask & (before == 0)):
            beside = [
                before[v, u]
                for v, u in ((y - 1, x), (y, x - 1), (y, x + 1), (y + 1, x))
                if 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1] and before[v, u]
            ]
            if beside:
                grown[y, x] = min(beside, key=lambda cell: (ranks[cell], cell))
    return grown


@pytest.mark.parametrize("steps", [0, 1, 3, 100])
def test_growth_is_that_of_a_loop(steps: int, rng: np.random.Generator) -> None:
    labels = draw_ellipses(rng, (60, 70), 15, 8)
    mask = rng.random(labels.shape) < 0.8
    ranks = rng.integers(0, 5, int(labels.max()) + 1)
    grown = grow_labels(labels, mask, steps, ranks)
    np.testing.assert_array_equal(grown, grow_one_by_one(labels, mask, steps, ranks))
    by_id = grow_labels(labels, mask, steps)
    np.testing.assert_array_equal(by_id, grow_one_by_one(labels, mask, steps, 0 * ranks))
    assert grown.dtype == np.uint32
    if steps:
        assert (grown > 0).sum() > (labels > 0).sum()
        assert (by_id != grown).any()


def test_cells_keep_their_pixels_and_stay_in_one_piece(rng: np.random.Generator) -> None:
    labels = draw_ellipses(rng, (80, 80), 20, 9)
    grown = grow_labels(labels, rng.random(labels.shape) < 0.7, 5)
    np.testing.assert_array_equal(grown[labels > 0], labels[labels > 0])
    pieces = cc3d.connected_components(grown, connectivity=4)
    assert pieces.max() == labels.max()


def test_nothing_crosses_what_is_not_in_the_mask() -> None:
    labels, mask = np.zeros((5, 9), np.uint32), np.ones((5, 9), bool)
    labels[2, 1], mask[:, 4] = 7, False
    grown = grow_labels(labels, mask, 50)
    assert (grown[:, :4] == 7).all()
    assert not grown[:, 4:].any()


def test_labels_come_back_where_nothing_grows() -> None:
    labels = np.eye(4, dtype=np.uint32)
    assert grow_labels(labels, labels > 0, 3) is labels
    assert not grow_labels(0 * labels, labels > 0, 3).any()
    with pytest.raises(ValueError, match="differ in shape"):
        grow_labels(labels, np.ones((3, 4), bool), 1)
