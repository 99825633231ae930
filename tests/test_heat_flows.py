"""Heat flows: against a loop over cells and steps, unchanged by new ids and neighbours, turned with the labels.

Time for a crop of 224 px full of cells (154 of them) on one core, at most 15 ms (processor time):

    OMP_NUM_THREADS=1 python -m timeit -p -s "import cv2, numpy as np; cv2.setNumThreads(1)
    from mosaicell.postprocess.heat_flows import heat_flows; from mosaicell.training.synthesis import draw_scene
    _, labels = draw_scene('fluorescence_layer', (224, 224), np.random.default_rng(0), diameter_px=22)" \
    "heat_flows(labels)"
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from mosaicell.postprocess import heat_flows as heat_flows_module
from mosaicell.postprocess.heat_flows import heat_flows
from tests.test_flows import TURNS, draw_branched, draw_filaments
from tests.test_star_targets import SHAPES, draw_touching


def spread_in_each_cell(labels: np.ndarray) -> np.ndarray:
    """Step through each cell by itself: the reference."""
    flow = np.zeros((2, *labels.shape))
    for cell in np.unique(labels[labels > 0]):
        y, x = np.nonzero(labels == cell)
        middle = np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2)
        heat = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2))
        for _ in range(2 * (np.ptp(y) + 1 + np.ptp(x) + 1)):
            heat[y[middle] + 1, x[middle] + 1] += 1
            heat[y + 1, x + 1] = sum(heat[y + 1 + dy, x + 1 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
        level = np.log1p(heat)
        slope = np.stack([level[y + 2, x + 1] - level[y, x + 1], level[y + 1, x + 2] - level[y + 1, x]])
        flow[:, y, x] = slope / np.maximum(np.hypot(*slope), 1e-305)
    return flow


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_flows_are_those_of_a_loop_over_cells_and_steps(shape: tuple[int, int], seed: int) -> None:
    labels = draw_touching(shape, seed)
    flow = heat_flows(labels)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, spread_in_each_cell(labels), atol=2e-3)


@pytest.mark.parametrize("draw", [draw_branched, draw_filaments])
def test_winding_cells_have_the_flows_of_the_loop(draw: Any) -> None:
    """Some are so long that float32 holds no heat at their ends, and the spiral so long that none arrives there."""
    labels = draw()[::2, ::2] if draw is draw_branched else draw()
    labels = np.where(labels > (4 if draw is draw_filaments else 0), labels, 0)
    flow, expected = heat_flows(labels), spread_in_each_cell(labels)
    np.testing.assert_allclose(flow, expected, atol=2e-3)
    length = np.hypot(*flow)
    np.testing.assert_allclose(length[length > 0], 1, rtol=1e-5)
    assert (length[labels > 0] > 0).mean() > (0.8 if draw is draw_filaments else 0.99)


def test_far_ends_of_a_thin_cell_point_to_its_middle() -> None:
    labels = np.zeros((7, 400), np.uint8)
    labels[2:5, 10:390] = 1
    _, across = heat_flows(labels)
    assert (across[3, 10:195] > 0.99).all()
    assert (across[3, 205:390] < -0.99).all()


@pytest.mark.parametrize("turn", sorted(TURNS))
def test_flows_of_turned_labels_are_the_turned_flows(turn: str) -> None:
    """Discs of an odd width have one middle; of others the first in reading order counts."""
    turn_array, turn_vector = TURNS[turn]
    labels = np.zeros((60, 80), np.uint8)
    for number, (x, y, radius) in enumerate([(15, 15, 12), (40, 20, 12), (30, 42, 9), (62, 35, 15)], start=1):
        cv2.circle(labels, (x, y), radius, number, -1)
    turned = heat_flows(np.ascontiguousarray(turn_array(labels)))
    # where slopes cancel but for rounding a direction says nothing
    np.testing.assert_allclose(turned, turn_vector(turn_array(heat_flows(labels))), atol=1e-3)


def test_new_ids_neighbours_and_canvases_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = draw_touching((60, 70), 7)
    flow = heat_flows(labels)
    np.testing.assert_array_equal(heat_flows(labels * 70_000), flow)
    for cell in np.unique(labels[labels > 0])[:3]:
        alone = heat_flows(np.where(labels == cell, 1, 0))
        np.testing.assert_allclose(alone, np.where(labels == cell, flow, 0), atol=1e-5)
    monkeypatch.setattr(heat_flows_module, "CANVAS_PX", 100)
    np.testing.assert_allclose(heat_flows(labels), flow, atol=1e-5)


def test_the_middle_is_that_of_mass() -> None:
    """A cell with a long thin tail: its middle stays in its body, and the tail points to it."""
    labels = np.zeros((30, 60), np.uint8)
    labels[5:26, 5:26] = 1
    labels[15, 26:55] = 1
    down, across = heat_flows(labels)
    assert (across[15, 30:55] < -0.99).all()
    assert (across[15, 5:15] > 0.99).all()
    assert (across[15, 19:26] < -0.99).all()
    assert (down[6:14, 16] > 0.9).all()


@pytest.mark.parametrize("shape", [(16, 24), (1, 1), (0, 4)])
def test_an_image_without_cells_has_no_flow(shape: tuple[int, int]) -> None:
    flow = heat_flows(np.zeros(shape, np.int32))
    assert flow.shape == (2, *shape)
    assert not flow.any()


def test_pieces_without_the_middle_have_no_flow() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:12, 2:12] = labels[15:18, 15:18] = 4
    labels[0, 19] = 9
    flow = heat_flows(labels)
    assert np.hypot(*flow)[2:12, 2:12].min() > 0.9
    assert not flow[:, 15:18, 15:18].any()
    assert not flow[:, 0, 19].any()


def test_what_is_no_label_image_is_refused() -> None:
    wrong: list[Any] = [np.ones((3, 4, 4), np.uint8), np.ones((4, 4), np.float32), -np.ones((4, 4), np.int8)]
    for labels in wrong:
        with pytest.raises(ValueError, match="label"):
            heat_flows(labels)
