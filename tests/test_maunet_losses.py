"""Losses of MAUNet: nothing where all is right, a proxy that takes probability away, equal say for small classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mosaicell.training.maunet_losses import MaunetLossWeights, consistency_loss, maunet_loss, twin_loss
from mosaicell.training.maunet_targets import CHANNELS, MaunetTargetOptions, maunet_maps
from tests.test_star_targets import draw_touching

WEIGHTS = MaunetLossWeights()
WITHOUT_PROXY = tuple(name for name in CHANNELS if name != "proxy")


def draw_target() -> Tensor:
    crops = [maunet_maps(draw_touching((48, 64), seed), CHANNELS, MaunetTargetOptions()) for seed in (1, 2)]
    return torch.stack([torch.from_numpy(crop) for crop in crops])


def answer_for(target: Tensor) -> Tensor:
    return torch.cat((target[:, :4] * 60 - 30, target[:, 4:]), 1)


def test_the_truth_costs_nothing() -> None:
    target = draw_target()
    for loss in maunet_loss(answer_for(target), target, CHANNELS, WEIGHTS).values():
        assert loss.item() == pytest.approx(0, abs=1e-4)


def test_an_even_answer_costs_what_the_equations_say() -> None:
    """Each of three or four classes has the same probability, as the proxy is among them or not."""
    target = draw_target()
    for channels, chance in ((CHANNELS, 1 / 4), (WITHOUT_PROXY, 1 / 3)):
        rows = [CHANNELS.index(name) for name in channels]
        losses = maunet_loss(torch.zeros(2, len(rows), 48, 64), target[:, rows], channels, WEIGHTS)
        sums = target[:, :3].sum((0, 2, 3))
        size = 2 * 48 * 64
        dice = 1 - (2 * chance * sums + 1) / (chance * size + sums + 1)
        assert losses["dice"].item() == pytest.approx(dice.mean().item(), rel=1e-4)
        assert losses["focal"].item() == pytest.approx((1 - chance) ** 2 * math.log(1 / chance), rel=1e-4)
        inside = target[:, 4][target[:, 4] > 0]
        assert losses["distance"].item() == pytest.approx(inside.mean().item(), rel=1e-4)


def test_the_error_of_the_distance_counts_cells_as_much_as_background() -> None:
    target = torch.zeros(1, 5, 32, 32)
    target[:, 2] = 1
    target[0, :, 4:6, 4:6] = torch.tensor([1, 0, 0, 0, 0.8])[:, None, None]
    within, beside = answer_for(target), answer_for(target)
    within[0, 4, 4:6, 4:6] += 0.1
    beside[0, 4] += 0.1 * (target[0, 4] == 0)
    for answer in (within, beside):
        assert maunet_loss(answer, target, CHANNELS, WEIGHTS)["distance"].item() == pytest.approx(0.1, rel=1e-4)


def test_the_proxy_is_pushed_away() -> None:
    target = draw_target()
    raw = torch.zeros_like(target, requires_grad=True)
    losses = maunet_loss(raw, target, CHANNELS, WEIGHTS)
    (losses["dice"] + losses["focal"]).backward()
    assert raw.grad is not None
    assert (raw.grad[:, 3] > 0).all()


def test_sure_pixels_hardly_count_in_the_focal_loss() -> None:
    target = draw_target()
    focal = [
        maunet_loss(answer_for(target) * share, target, CHANNELS, WEIGHTS)["focal"].item() for share in (0.1, 0.05)
    ]
    plain = [
        torch.nn.functional.cross_entropy(answer_for(target)[:, :4] * share, target[:, :4]).item()
        for share in (0.1, 0.05)
    ]
    assert focal[0] / focal[1] < 0.2 * plain[0] / plain[1]


def test_a_batch_without_cells_has_finite_gradients() -> None:
    target = torch.zeros(2, 5, 32, 32)
    target[:, 2] = 1
    raw = torch.zeros_like(target, requires_grad=True)
    torch.stack(list(maunet_loss(raw, target, CHANNELS, WEIGHTS).values())).sum().backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("name", ["dice", "focal", "distance"])
def test_weights_scale_their_term(name: str) -> None:
    target = draw_target()
    answer = torch.full_like(target, 0.5)
    plain = maunet_loss(answer, target, CHANNELS, WEIGHTS)
    doubled = maunet_loss(answer, target, CHANNELS, MaunetLossWeights(**{name: 2 * getattr(WEIGHTS, name)}))
    for term, value in plain.items():
        torch.testing.assert_close(doubled[term], value * (2 if term == name else 1))


def test_the_distance_may_be_left_out() -> None:
    target = draw_target()[:, :4]
    assert set(maunet_loss(target, target, CHANNELS[:4], WEIGHTS)) == {"dice", "focal"}


def test_networks_that_are_sure_of_the_same_agree() -> None:
    target = draw_target()
    answer = answer_for(target)
    assert consistency_loss(answer, answer.clone(), CHANNELS).item() == pytest.approx(0, abs=1e-4)
    doubtful = torch.zeros_like(answer)
    # the sure one learns nothing of a class from it, but the doubtful one learns log 4, and half of the distance
    apart = consistency_loss(answer, doubtful, CHANNELS).item()
    assert apart > math.log(4)


def test_each_network_is_taught_by_what_the_other_one_finds_most_likely() -> None:
    """Gradients reach both, but only through what is taught, not through the teacher."""
    first, second = torch.zeros(1, 5, 8, 8, requires_grad=True), torch.zeros(1, 5, 8, 8)
    second[:, 1] = 2
    second.requires_grad_()
    consistency_loss(first, second, CHANNELS).backward()
    assert first.grad is not None
    assert second.grad is not None
    # the first is drawn to the second class; the second to the first of equal ones
    assert (first.grad[:, 1] < 0).all()
    assert (first.grad[:, [0, 2, 3]] > 0).all()
    assert (second.grad[:, 0] < 0).all()


def test_labels_of_the_last_crops_are_not_looked_at() -> None:
    target = draw_target().repeat(2, 1, 1, 1)
    torch.manual_seed(2)
    first, second = torch.randn(2, *target.shape)
    weights = MaunetLossWeights(consistency=1.5)
    losses = twin_loss(first, second, target, CHANNELS, weights)
    hidden = target.clone()
    hidden[2:] = torch.rand_like(hidden[2:])
    for name, value in twin_loss(first, second, hidden, CHANNELS, weights).items():
        torch.testing.assert_close(losses[name], value)
    seen = [maunet_loss(raw[:2], target[:2], CHANNELS, weights) for raw in (first, second)]
    for name in ("dice", "focal", "distance"):
        torch.testing.assert_close(losses[name], seen[0][name] + seen[1][name])
    apart = consistency_loss(first[2:], second[2:], CHANNELS)
    torch.testing.assert_close(losses["consistency"], 1.5 * apart)


def test_without_hidden_labels_there_is_no_consistency() -> None:
    target = draw_target()
    weights = MaunetLossWeights(consistency=1.5, unlabelled_fraction=0.0)
    assert "consistency" not in twin_loss(target, target, target, CHANNELS, weights)
    # one crop is always labelled
    assert "dice" in twin_loss(target[:1], target[:1], target[:1], CHANNELS, MaunetLossWeights(consistency=1.0))
