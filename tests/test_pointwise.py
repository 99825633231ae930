"""1 x 1 convolutions as matrix products, and layer normalisation of channels: as torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mosaicell.training.networks.pointwise import ChannelNorm, Pointwise


def draw_features(last: bool) -> Tensor:
    torch.manual_seed(1)
    x = torch.randn(2, 6, 8, 12)
    return x.contiguous(memory_format=torch.channels_last) if last else x


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_answers_and_gradients_are_those_of_a_convolution(last: bool, stride: int, bias: bool) -> None:
    x = draw_features(last)
    layer = Pointwise(6, 10, stride, bias)
    ours = layer(x)
    # in double precision: oneDNN's gradients for a stride of 2 are wrong on some processors with AVX2 alone
    theirs = functional.conv2d(
        x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double(), stride
    )
    assert ours.shape == (2, 10, 8 // stride, 12 // stride)
    torch.testing.assert_close(ours, theirs.float())
    slope = torch.randn_like(ours)
    (mine,) = torch.autograd.grad(ours, layer.weight, slope)
    (expected,) = torch.autograd.grad(theirs, layer.weight, slope.double())
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_channels_stay_next_to_each_other(stride: int) -> None:
    answer = Pointwise(6, 10, stride)(draw_features(True))
    assert answer.is_contiguous(memory_format=torch.channels_last)


def test_the_norm_looks_at_each_pixel_by_itself() -> None:
    norm, x = ChannelNorm(6), draw_features(False)
    with torch.no_grad():
        answer = norm(x)
        torch.testing.assert_close(answer.mean(1), torch.zeros(2, 8, 12), rtol=0, atol=1e-5)
        torch.testing.assert_close(answer.var(1, unbiased=False), torch.ones(2, 8, 12), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(norm(x[..., :5]), answer[..., :5])
