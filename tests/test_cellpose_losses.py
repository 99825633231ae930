"""Losses of heat flows: 0 for the truth, and equation 3 by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mosaicell.training.cellpose_losses import FLOW_FACTOR, CellposeLossWeights, cellpose_loss

WEIGHTS = CellposeLossWeights()


def draw_target() -> torch.Tensor:
    target = torch.zeros(2, 3, 16, 16)
    target[0, 0, 4:12, 2:14] = 1
    target[0, 1, 4:12, 2:14] = 0.6
    target[0, 2, 4:12, 2:14] = -0.8
    return target


def test_the_truth_costs_nothing() -> None:
    target = draw_target()
    answer = torch.cat((40 * (target[:, :1] - 0.5), FLOW_FACTOR * target[:, 1:]), 1)
    for term, value in cellpose_loss(answer, target, WEIGHTS).items():
        assert value == pytest.approx(0, abs=1e-6), term


def test_losses_are_those_of_equation_3() -> None:
    losses = cellpose_loss(torch.zeros(2, 3, 16, 16), draw_target(), WEIGHTS)
    # half of the mean over two components, of length 5 in 96 of 512 pixels; a logit of 0 costs log 2
    assert losses["flow"].item() == pytest.approx(0.5 * 25 / 2 * 96 / 512)
    assert losses["foreground"].item() == pytest.approx(math.log(2))


def test_flows_in_the_background_cost_too() -> None:
    target = draw_target()
    answer = FLOW_FACTOR * target
    answer[1, 1] = 2.0
    assert cellpose_loss(answer, target, WEIGHTS)["flow"].item() == pytest.approx(0.5 * 4 / 4)


@pytest.mark.parametrize("name", ["foreground", "flow"])
def test_weights_scale_their_term(name: str) -> None:
    target = draw_target()
    answer = torch.zeros_like(target)
    plain = cellpose_loss(answer, target, WEIGHTS)
    doubled = cellpose_loss(answer, target, CellposeLossWeights(**{name: 2 * getattr(WEIGHTS, name)}))
    for term, value in plain.items():
        torch.testing.assert_close(doubled[term], value * (2 if term == name else 1))
