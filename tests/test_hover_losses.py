"""Losses of distance maps: nothing where all is right, gradients along the axis of their map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mosaicell.postprocess.hover_targets import distance_maps
from mosaicell.training.hover_losses import HoverLossWeights, gradient_kernels, hover_loss

WEIGHTS = HoverLossWeights()
CPU = torch.device("cpu")


def draw_target() -> Tensor:
    labels = np.zeros((40, 48), np.uint16)
    labels[3:20, 5:22] = 1
    labels[10:36, 22:40] = 2
    return torch.from_numpy(np.concatenate(((labels > 0)[None], distance_maps(labels))).astype(np.float32))[None]


def answer_for(target: Tensor) -> Tensor:
    answer = target.clone()
    answer[:, 0] = answer[:, 0] * 60 - 30
    return answer


def test_the_truth_costs_nothing() -> None:
    target = draw_target()
    losses = hover_loss(answer_for(target), target, WEIGHTS)
    assert all(loss.item() == pytest.approx(0, abs=1e-5) for loss in losses.values()), losses


def test_kernels_measure_the_slope_along_their_axis() -> None:
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(5.0), indexing="ij")
    horizontal, vertical = gradient_kernels(CPU)[:, 0]
    assert (horizontal * (3 * columns + 7 * rows)).sum().item() == pytest.approx(3 * 12)
    assert (vertical * (3 * columns + 7 * rows)).sum().item() == pytest.approx(7 * 12)


def test_a_wrong_height_costs_no_gradient_within_cells_away_from_the_edge() -> None:
    target = draw_target()
    answer = answer_for(target)
    answer[:, 1:] += 0.5
    losses = hover_loss(answer, target, WEIGHTS)
    assert losses["distance"].item() == pytest.approx(2 * 0.25 * WEIGHTS.distance)
    # zero padding is an edge, but two cells of three lie inside
    assert losses["gradient"] < 0.02


def test_a_slope_of_the_horizontal_map_counts_along_x_alone() -> None:
    target = torch.zeros(1, 3, 32, 32)
    target[:, 0, 4:28, 4:28] = 1
    ramp = torch.arange(32.0) / 100
    along, across = answer_for(target), answer_for(target)
    along[:, 1] += ramp
    across[:, 1] += ramp[:, None]
    assert hover_loss(along, target, WEIGHTS)["gradient"].item() == pytest.approx(WEIGHTS.gradient * 0.12**2, rel=1e-3)
    assert hover_loss(across, target, WEIGHTS)["gradient"].item() == pytest.approx(0, abs=1e-6)


def test_transposed_crops_cost_the_same() -> None:
    target = draw_target()
    torch.manual_seed(3)
    answer = torch.randn_like(target)
    order = [0, 2, 1]
    turned = hover_loss(answer[:, order].transpose(2, 3), target[:, order].transpose(2, 3), WEIGHTS)
    for name, value in hover_loss(answer, target, WEIGHTS).items():
        torch.testing.assert_close(turned[name], value)


def test_a_batch_without_cells_has_finite_gradients() -> None:
    target = torch.zeros(2, 3, 32, 32)
    answer = torch.zeros_like(target, requires_grad=True)
    losses = hover_loss(answer, target, WEIGHTS)
    torch.stack(list(losses.values())).sum().backward()
    assert losses["gradient"] == 0
    assert answer.grad is not None
    assert torch.isfinite(answer.grad).all()


@pytest.mark.parametrize("name", ["foreground", "dice", "distance", "gradient"])
def test_weights_scale_their_term(name: str) -> None:
    target = draw_target()
    answer = torch.zeros_like(target)
    plain = hover_loss(answer, target, WEIGHTS)
    doubled = hover_loss(answer, target, HoverLossWeights(**{name: 2 * getattr(WEIGHTS, name)}))
    for term, value in plain.items():
        torch.testing.assert_close(doubled[term], value * (2 if term == name else 1))
