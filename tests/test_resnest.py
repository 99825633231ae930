"""ResNeSt: the sizes of the published networks, shapes, and shares that attention gives to the parts."""

from __future__ import annotations

import pytest
import torch

from mosaicell.training.networks.residual import RESNET50_DEPTHS
from mosaicell.training.networks.resnest import SPLITS, ResNeStEncoder, SplitAttention, SplitBottleneck
from tests.test_residual import CLASSIFIER, count_parameters

#: timm's networks with their classifiers of 1,000 classes
RESNEST50, RESNEST101 = 27_483_240, 48_275_016


def test_encoders_have_the_published_sizes() -> None:
    assert count_parameters(lambda: ResNeStEncoder(RESNET50_DEPTHS, 32)) == RESNEST50 - CLASSIFIER
    assert count_parameters(ResNeStEncoder) == RESNEST101 - CLASSIFIER


def test_every_stage_halves_the_size() -> None:
    torch.manual_seed(1)
    encoder = ResNeStEncoder((1, 1, 1, 1), 8, 8).eval()
    with torch.no_grad():
        levels = encoder(torch.rand(1, 3, 64, 96))
    assert encoder.channels == [32, 64, 128, 256]
    shapes = [tuple(level.shape) for level in levels]
    assert shapes == [(1, c, 64 // 2**k, 96 // 2**k) for k, c in enumerate(encoder.channels, start=2)]


def prefer(attention: SplitAttention, part: int | None) -> None:
    """Have it take one part everywhere, or all alike."""
    assert attention.choose.bias is not None
    attention.choose.weight.zero_()
    attention.choose.bias.zero_()
    if part is not None:
        attention.choose.bias.unflatten(0, (SPLITS, -1))[part] = 50.0


@pytest.mark.parametrize("preferred", range(SPLITS))
def test_attention_chooses_among_the_parts(preferred: int) -> None:
    """With a bias that prefers one part everywhere the answer is that part alone."""
    torch.manual_seed(2)
    attention = SplitAttention(8).eval()
    with torch.no_grad():
        prefer(attention, preferred)
        images = torch.rand(2, 8, 6, 6)
        parts = torch.relu(attention.split(images)).unflatten(1, (SPLITS, -1))
        torch.testing.assert_close(attention(images), parts[:, preferred])


def test_equal_shares_are_the_mean_of_the_parts() -> None:
    torch.manual_seed(2)
    attention = SplitAttention(8).eval()
    with torch.no_grad():
        prefer(attention, None)
        images = torch.rand(1, 8, 6, 6)
        parts = torch.relu(attention.split(images)).unflatten(1, (SPLITS, -1))
        torch.testing.assert_close(attention(images), parts.mean(1))


@pytest.mark.parametrize(("inputs", "stride"), [(32, 1), (16, 1), (32, 2)])
def test_every_weight_of_a_block_takes_part(inputs: int, stride: int) -> None:
    torch.manual_seed(4)
    block = SplitBottleneck(inputs, 8, 32, stride)
    answer = block(torch.rand(3, inputs, 8, 8))
    assert answer.shape == (3, 32, 8 // stride, 8 // stride)
    answer.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in block.parameters() if weight.ndim > 1)
