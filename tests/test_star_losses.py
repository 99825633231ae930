"""Losses of star-convex polygons: nothing where all is right, and a cell counts by its object probability."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mosaicell.training.networks.star import RAY_UNIT_PX
from mosaicell.training.star_losses import StarLossWeights, star_loss
from mosaicell.training.star_targets import object_probability, star_distances

WEIGHTS = StarLossWeights()


def draw_targets() -> tuple[Tensor, Tensor]:
    rows, columns = np.mgrid[:48, :64]
    labels = np.zeros((48, 64), np.uint16)
    labels[(rows - 14) ** 2 + (columns - 15) ** 2 < 100] = 1
    labels[(rows - 30) ** 2 + (columns - 45) ** 2 < 200] = 2
    maps = np.stack([labels > 0, object_probability(labels)]).astype(np.float32)
    return torch.from_numpy(maps)[None], torch.from_numpy(star_distances(labels))[None]


def test_right_rays_cost_nothing_and_probabilities_their_entropy() -> None:
    maps, rays = draw_targets()
    losses = star_loss(maps.logit(eps=1e-6), rays / RAY_UNIT_PX, maps, rays, WEIGHTS)
    assert losses["dice"].item() == pytest.approx(0, abs=1e-6)
    assert losses["rays"].item() == pytest.approx(0, abs=1e-5)
    assert losses["foreground"].item() == pytest.approx(0, abs=1e-4)
    for shift in (-1, 1):
        worse = star_loss(maps.logit(eps=1e-6) + shift, rays / RAY_UNIT_PX, maps, rays, WEIGHTS)
        assert worse["object_probability"] > losses["object_probability"] > 0


def test_rays_of_the_background_do_not_count() -> None:
    maps, rays = draw_targets()
    wrong = torch.where(rays > 0, rays, 50.0) / RAY_UNIT_PX
    losses = star_loss(maps, wrong, maps, rays, WEIGHTS)
    assert losses["dice"].item() == pytest.approx(0, abs=1e-6)
    assert losses["rays"].item() == pytest.approx(0, abs=1e-5)


def test_the_error_of_rays_is_in_px_and_dice_relative_to_their_length() -> None:
    maps, rays = draw_targets()
    off = star_loss(maps, (rays + 2) / RAY_UNIT_PX, maps, rays, WEIGHTS)
    assert off["rays"].item() == pytest.approx(2 * WEIGHTS.rays, rel=1e-5)
    for factor in (0.5, 1.5):
        scaled = star_loss(maps, factor * rays / RAY_UNIT_PX, maps, rays, WEIGHTS)
        assert scaled["dice"].item() == pytest.approx(1 - 2 * factor / (1 + factor**2), rel=1e-4)


def test_a_batch_of_the_same_crops_costs_as_much_as_one() -> None:
    maps, rays = draw_targets()
    torch.manual_seed(1)
    answer, lengths = torch.randn_like(maps), torch.rand_like(rays)
    plain = star_loss(answer, lengths, maps, rays, WEIGHTS)
    twice = [torch.cat((tensor, tensor)) for tensor in (answer, lengths, maps, rays)]
    both = star_loss(twice[0], twice[1], twice[2], twice[3], WEIGHTS)
    for name, value in plain.items():
        torch.testing.assert_close(both[name], value)


def test_a_batch_without_cells_has_finite_gradients() -> None:
    maps, rays = torch.zeros(2, 2, 32, 32), torch.zeros(2, 32, 16, 16)
    answer, lengths = torch.zeros_like(maps, requires_grad=True), torch.full_like(rays, 0.7).requires_grad_()
    losses = star_loss(answer, lengths, maps, rays, WEIGHTS)
    torch.stack(list(losses.values())).sum().backward()
    assert losses["dice"] == losses["rays"] == 0
    for tensor in (answer, lengths):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize("name", ["foreground", "object_probability", "dice", "rays"])
def test_weights_scale_their_term(name: str) -> None:
    maps, rays = draw_targets()
    answer = (torch.zeros_like(maps), torch.ones_like(rays))
    plain = star_loss(*answer, maps, rays, WEIGHTS)
    doubled = star_loss(*answer, maps, rays, StarLossWeights(**{name: 2 * getattr(WEIGHTS, name)}))
    for term, value in plain.items():
        torch.testing.assert_close(doubled[term], value * (2 if term == name else 1))
