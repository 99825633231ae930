"""ConvNeXt-UNet: the paper's size by a formula, shapes, a first answer near 0, and weights that all take part."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from mosaicell.training.networks.convnext import CHANNELS, DEPTHS, ConvNextBlock, ConvNextEncoder
from mosaicell.training.networks.convnext_unet import (
    DECODER_CHANNELS,
    FINE_CHANNELS,
    ConvNextHover,
    ConvNextStarDist,
    ConvNextUnet,
)

#: ConvNeXt-small without its classifier, whose linear layer has 1,000 outputs
PUBLISHED_PARAMETERS = 49_454_688
#: weight and bias of the layer normalisation before that linear layer, which the encoder of a UNet lacks
FINAL_NORM = 2 * CHANNELS[-1]
SMALL: dict[str, Any] = {"width": 0.25, "depths": (1, 1, 2, 1)}


def count_parameters(network: Callable[[], nn.Module]) -> int:
    # shapes alone: drawing 50 million weights takes long
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network().parameters())


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return (inputs * kernel**2 + 1) * outputs


def count_encoder(channels: tuple[int, ...], depths: tuple[int, ...]) -> int:
    """Count the parameters of an encoder by hand."""
    total = convolution(3, channels[0], 4) + 2 * channels[0]
    for before, after in pairwise(channels):
        total += 2 * before + convolution(before, after, 2)
    for c, depth in zip(channels, depths, strict=True):
        depthwise, norm, scale = c * 7**2 + c, 2 * c, c
        total += depth * (depthwise + norm + convolution(c, 4 * c, 1) + convolution(4 * c, c, 1) + scale)
    return total


def count_decoder() -> int:
    """Count the parameters of the decoder of the paper's size by hand."""
    above = (CHANNELS[3] + CHANNELS[2], DECODER_CHANNELS[0] + CHANNELS[1], DECODER_CHANNELS[1] + CHANNELS[0])
    blocks = [*zip(above, DECODER_CHANNELS, strict=True), (DECODER_CHANNELS[2], FINE_CHANNELS)]
    return sum(convolution(i, o, 3) + convolution(o, o, 3) + 2 * 2 * o for i, o in blocks)


def test_the_encoder_has_the_published_size() -> None:
    parameters = count_parameters(ConvNextEncoder)
    assert parameters == count_encoder(CHANNELS, DEPTHS) == PUBLISHED_PARAMETERS - FINAL_NORM == 49_453_152


def test_the_whole_has_encoder_decoder_and_heads() -> None:
    body = PUBLISHED_PARAMETERS - FINAL_NORM + count_decoder()
    assert count_parameters(ConvNextUnet) == body
    assert count_parameters(ConvNextStarDist) == body + (FINE_CHANNELS + 1) * (1 + 32) == 53_558_241
    assert count_parameters(ConvNextHover) == body + (FINE_CHANNELS + 1) * (2 + 2) == 53_557_284


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 160), (96, 32)])
def test_answers_have_the_documented_shapes_and_ranges(height: int, width: int) -> None:
    torch.manual_seed(1)
    images = torch.rand(2, 3, height, width)
    with torch.no_grad():
        grid, fine = ConvNextUnet(**SMALL).features(images)
        probability, rays = ConvNextStarDist(**SMALL)(images)
        cells, distances = ConvNextHover(**SMALL)(images)
    assert grid.shape == (2, 32, height // 8, width // 8)
    assert fine.shape == (2, FINE_CHANNELS, height // 4, width // 4)
    assert (probability.shape, rays.shape) == ((2, 1, height, width), (2, 32, height, width))
    assert cells.shape == distances.shape == (2, 2, height, width)
    assert 0 < probability.min() <= probability.max() < 1
    assert rays.min() >= 0
    torch.testing.assert_close(cells.sum(1), torch.ones(2, height, width))
    assert distances.min() < 0 < distances.max()


@pytest.mark.parametrize("network", [ConvNextStarDist, ConvNextHover])
def test_every_weight_and_every_pixel_takes_part(network: type[ConvNextStarDist | ConvNextHover]) -> None:
    torch.manual_seed(2)
    model = network(**SMALL)
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    first, second = model(images)
    (first[:, :1].square().sum() + second.square().sum()).backward()
    assert images.grad is not None
    assert (images.grad != 0).float().mean() > 0.9
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_a_new_block_passes_features_on() -> None:
    torch.manual_seed(3)
    block, x = ConvNextBlock(8), torch.randn(1, 8, 16, 16)
    with torch.no_grad():
        change = (block(x) - x).abs().max()
        block.scale.fill_(1)
        assert 0 < change < 1e-4 < (block(x) - x).abs().max()


def test_a_block_sees_7_px_and_all_channels() -> None:
    torch.manual_seed(3)
    block, x = ConvNextBlock(8), torch.zeros(1, 8, 17, 17)
    moved = x.clone()
    moved[0, 2, 8, 8] = 1
    with torch.no_grad():
        block.scale.fill_(1)
        changed = (block(moved) - block(x)).abs() > 1e-7
    assert changed.any(1).sum() == 7 * 7
    assert changed[0, :, 8, 8].all()


def test_enlargement_is_even_between_the_centres_of_patches() -> None:
    body = ConvNextUnet(**SMALL)
    # the patch i has its centre at the pixel 4 i + 1.5
    centres = 4 * torch.arange(8.0).expand(1, 1, 8, 8) + 1.5
    columns = body.enlarge(centres)[0, 0, 0]
    torch.testing.assert_close(columns[2:-2], torch.arange(2.0, 30.0))


def test_memory_formats_answer_alike() -> None:
    torch.manual_seed(4)
    model = ConvNextStarDist(**SMALL).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        plain = model(images)
        # torch's stubs leave out the memory format of a module
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = model(images.contiguous(memory_format=torch.channels_last))
    for ours, theirs in zip(last, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
