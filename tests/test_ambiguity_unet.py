"""MAUNet at the paper's size: parameters by a formula, shapes, two decoders on one encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from torch import nn

from mosaicell.training.networks.ambiguity_unet import CLASSES, DECODER_CHANNELS, MAUNet
from mosaicell.training.networks.residual import RESNET50_DEPTHS, ResNetEncoder
from tests.test_residual import count_parameters

#: the two encoders of the paper and its numbers of parameters in 10^6 (table 2)
PUBLISHED = [((RESNET50_DEPTHS, 1), 39.40), ((RESNET50_DEPTHS[:3], 2), 28.84)]


def count_unit(inputs: int, outputs: int) -> int:
    """Count two 3 x 3 convolutions and, where the channels change, one of 1 x 1; instance normalisation has nothing."""
    return 9 * outputs * (inputs + outputs) + (inputs * outputs if inputs != outputs else 0)


def count_decoders(encoder: Sequence[int]) -> int:
    """Count by hand what stands behind an encoder with so many channels."""
    channels = DECODER_CHANNELS[: len(encoder) + 1]
    skips = sum(count_unit(i, o) for i, o in zip((3, *encoder), channels, strict=True))
    up = sum(4 * coarse * fine + count_unit(2 * fine, fine) for fine, coarse in pairwise(channels))
    return skips + 2 * up + (channels[0] + 1) * (CLASSES + 1)


def make(shape: tuple[Sequence[int], int]) -> Callable[[], nn.Module]:
    return lambda: MAUNet(*shape)


@pytest.mark.parametrize(("shape", "millions"), PUBLISHED)
def test_both_networks_have_the_published_size(shape: tuple[Sequence[int], int], millions: float) -> None:
    parameters = count_parameters(make(shape))
    assert round(parameters / 1e6, 2) == millions
    encoder = count_parameters(lambda: ResNetEncoder(*shape))
    channels = [64, *(256 * 2**stage for stage in range(len(shape[0])))]
    assert parameters == encoder + count_decoders(channels)


def test_exact_sizes() -> None:
    assert [count_parameters(make(shape)) for shape, _ in PUBLISHED] == [39_403_021, 28_838_157]


@pytest.mark.parametrize("shape", [((1, 1, 1, 1), 1), ((1, 1, 1), 2)])
def test_answers_have_the_documented_shapes(shape: tuple[Sequence[int], int]) -> None:
    torch.manual_seed(1)
    network = MAUNet(*shape).eval()
    with torch.no_grad():
        classes, distance = network(torch.rand(1, 3, 64, 96))
    assert classes.shape == (1, CLASSES, 64, 96)
    assert distance.shape == (1, 1, 64, 96)


def test_both_decoders_learn_and_share_the_encoder() -> None:
    torch.manual_seed(2)
    network, images = MAUNet((1, 1, 1), 1), torch.rand(2, 3, 64, 64)
    for answer, own, other in ((0, "ambiguity", "instance"), (1, "instance", "ambiguity")):
        network.zero_grad()
        network(images)[answer].square().sum().backward()
        with_gradient = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
        assert {"encoder", "skips", own} <= with_gradient
        assert other not in with_gradient
