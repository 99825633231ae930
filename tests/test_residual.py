"""Residual encoders and the way up: ResNet50 and WideResNet50 by a formula, shapes, weights that all take part."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from mosaicell.training.export import fold_batch_norm
from mosaicell.training.networks.residual import (
    RESNET50_DEPTHS,
    RESNET101_DEPTHS,
    RESNEXT_GROUPS,
    RESNEXT_WIDTH,
    Ascent,
    ResidualBody,
    ResidualUnit,
    ResNetEncoder,
)

#: torchvision's networks with their classifiers of 1,000 classes
RESNET50, WIDE_RESNET50 = 25_557_032, 68_883_240
#: with 32 groups of 4 channels: torchvision's of 50 layers and timm's of 101
RESNEXT50, RESNEXT101 = 25_028_904, 44_177_704
CLASSIFIER = 2048 * 1000 + 1000


def count_parameters(network: Callable[[], nn.Module]) -> int:
    # shapes alone: drawing millions of weights takes long
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network().parameters())


def normalised(inputs: int, outputs: int, kernel: int) -> int:
    """Count a convolution without bias and its batch normalisation."""
    return inputs * outputs * kernel**2 + 2 * outputs


def last_stage(inner: int) -> int:
    """Count the last stage of a ResNet50, whose bottlenecks have so many inner channels."""
    first = normalised(1024, inner, 1) + normalised(1024, 2048, 1)
    others = 2 * normalised(2048, inner, 1)
    return first + others + 3 * (normalised(inner, inner, 3) + normalised(inner, 2048, 1))


def test_encoders_have_the_published_sizes() -> None:
    assert count_parameters(ResNetEncoder) == RESNET50 - CLASSIFIER
    assert count_parameters(lambda: ResNetEncoder(RESNET50_DEPTHS, 2)) == WIDE_RESNET50 - CLASSIFIER
    for depths, published in ((RESNET50_DEPTHS, RESNEXT50), (RESNET101_DEPTHS, RESNEXT101)):
        grouped = count_parameters(partial(ResNetEncoder, depths, RESNEXT_WIDTH, RESNEXT_GROUPS))
        assert grouped == published - CLASSIFIER
    wide = count_parameters(lambda: ResNetEncoder(RESNET50_DEPTHS[:3], 2))
    assert wide == WIDE_RESNET50 - CLASSIFIER - last_stage(1024)


@pytest.mark.parametrize("depths", [(1, 1), (1, 1, 1, 1)])
def test_every_stage_halves_the_size(depths: tuple[int, ...]) -> None:
    encoder = ResNetEncoder(depths).eval()
    with torch.no_grad():
        levels = encoder(torch.rand(1, 3, 64, 96))
    shapes = [tuple(level.shape) for level in levels]
    assert shapes == [(1, c, 64 // 2**k, 96 // 2**k) for k, c in enumerate(encoder.channels, start=1)]
    assert encoder.channels == [64, *(256 * 2**stage for stage in range(len(depths)))]


def silence(unit: ResidualUnit) -> None:
    """Make the last normalisation of a unit answer 0."""
    (norm,) = (module for module in unit.second if isinstance(module, nn.BatchNorm2d))
    nn.init.zeros_(norm.weight)


def test_a_unit_without_inner_weights_is_its_shortcut() -> None:
    torch.manual_seed(1)
    x = torch.rand(2, 8, 16, 16)
    unit = ResidualUnit(8, 8).eval()
    silence(unit)
    torch.testing.assert_close(unit(x), x)
    torch.testing.assert_close(unit(-x), torch.zeros_like(x))
    unit = ResidualUnit(8, 8, slope=0.25).eval()
    silence(unit)
    torch.testing.assert_close(unit(-x), -0.25 * x)


def test_the_way_up_ends_beside_the_finest_features() -> None:
    torch.manual_seed(1)
    ascent = Ascent((8, 16, 24))
    levels = [torch.rand(2, c, 32 // 2**k, 48 // 2**k, requires_grad=True) for k, c in enumerate((8, 16, 24))]
    out = ascent(levels)
    assert out.shape == levels[0].shape
    out.square().sum().backward()
    for level in levels:
        assert level.grad is not None
        assert level.grad.abs().sum() > 0


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 160)])
def test_the_body_has_the_documented_shapes(height: int, width: int) -> None:
    body = ResidualBody(0.25).eval()
    with torch.no_grad():
        grid, fine = body.features(torch.rand(2, 3, height, width))
    assert grid.shape == (2, body.grid_channels, height // 8, width // 8)
    assert fine.shape == (2, body.fine_channels, height // 2, width // 2)
    assert body.enlarge(fine).shape == (2, body.fine_channels, height, width)


def test_every_weight_of_the_body_takes_part() -> None:
    torch.manual_seed(2)
    body = ResidualBody(0.25)
    body.features(torch.rand(2, 3, 64, 64))[1].square().sum().backward()
    for name, parameter in body.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_batch_normalisation_of_the_body_is_merged_into_its_convolutions() -> None:
    torch.manual_seed(3)
    body, images = ResidualBody(0.25), torch.rand(2, 3, 64, 64)
    for _ in range(3):
        body.features(images)
    body.eval()
    with torch.no_grad():
        before = body.features(images)[1]
        fold_batch_norm(body)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in body.modules())
        torch.testing.assert_close(body.features(images)[1], before, rtol=1e-3, atol=1e-4)
