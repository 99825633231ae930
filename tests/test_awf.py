"""The AWF network: the paper's size, the shapes of its answers, and the order of its last two layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mosaicell.training.networks.awf import AWF, DETECTION_STRIDE, SpatialPyramid, upsample
from mosaicell.training.networks.body import NETWORK_STRIDE


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small_network(pixel_channels: int = 2, detection_channels: int = 6) -> AWF:
    torch.manual_seed(5)
    return AWF(pixel_channels, detection_channels, width=0.125).eval()


def test_full_width_has_the_size_of_the_paper() -> None:
    # 12.61 M: Cell Segmenter paper, table 7
    assert count_parameters(AWF(pixel_channels=2, detection_channels=6)) == 12_608_456


def test_the_heads_are_one_weight_per_input_channel_and_a_bias() -> None:
    with_both = count_parameters(AWF(2, 6))
    assert count_parameters(AWF(3, 6)) - with_both == 64 + 1
    assert with_both - count_parameters(AWF(2, 0)) == 6 * (128 + 1)


@pytest.mark.parametrize("width", [0.125, 0.5, 0.75])
def test_every_channel_count_follows_the_width(width: float) -> None:
    network, full = AWF(2, 6, width), AWF(2, 6)
    for narrow, wide in zip(network.modules(), full.modules(), strict=True):
        if isinstance(wide, nn.BatchNorm2d):
            assert isinstance(narrow, nn.BatchNorm2d)
            assert narrow.num_features == round(wide.num_features * width)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160), (160, 32), (64, 224)])
def test_answers_have_the_documented_shapes(height: int, width: int) -> None:
    with torch.no_grad():
        detection, pixels = small_network(5, 15)(torch.rand(2, 3, height, width))
    assert detection is not None
    assert detection.shape == (2, 15, height // DETECTION_STRIDE, width // DETECTION_STRIDE)
    assert pixels.shape == (2, 5, height, width)
    assert height % NETWORK_STRIDE == width % NETWORK_STRIDE == 0


def test_without_detection_channels_there_is_no_detection_head() -> None:
    network = small_network(4, 0)
    detection, pixels = network(torch.rand(1, 3, 32, 64))
    assert detection is None
    assert pixels.shape == (1, 4, 32, 64)
    assert not any(name.startswith("detection") for name in network.state_dict())


def test_the_head_before_the_last_doubling_answers_as_after_it() -> None:
    network = small_network()
    seen: list[Tensor] = []
    network.decode0.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network.get_parameter("pixels.bias").normal_()
        network.get_parameter("pixels.weight").normal_()
        _, pixels = network(torch.rand(1, 3, 96, 64))
        after = network.pixels(upsample(seen[0]))
    assert pixels.std() > 0.1
    torch.testing.assert_close(pixels, after, rtol=1e-4, atol=1e-4)


def test_an_image_is_answered_alike_alone_and_in_a_batch() -> None:
    network = small_network()
    images = torch.rand(3, 3, 64, 96)
    with torch.no_grad():
        together = network(images)
        alone = [network(image[None]) for image in images]
    for index, answers in enumerate(zip(*alone, strict=True)):
        torch.testing.assert_close(together[index], torch.cat(answers), rtol=1e-4, atol=1e-5)


def test_every_weight_and_every_pixel_takes_part() -> None:
    network = small_network().train()
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    detection, pixels = network(images)
    (detection.square().sum() + pixels.square().sum()).backward()
    assert images.grad is not None
    assert (images.grad != 0).float().mean() > 0.9
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_first_answers_are_near_0() -> None:
    torch.manual_seed(6)
    network = AWF(5, 15, width=0.5)
    with torch.no_grad():
        for answer in network(torch.rand(2, 3, 64, 64)):
            assert 0 < answer.abs().max() < 0.5


def test_doubling_keeps_the_corners_and_interpolates_evenly() -> None:
    ramp = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 4, 4)
    doubled = upsample(ramp)
    torch.testing.assert_close(doubled[0, 0, 0], torch.linspace(0, 3, 8))
    assert doubled.shape == (1, 1, 8, 8)


def test_iterated_pooling_sees_5_9_and_13_px() -> None:
    pyramid = SpatialPyramid(2, 4).eval()
    nn.init.ones_(pyramid.enter.get_parameter("0.weight"))
    seen: list[Tensor] = []
    pyramid.leave.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = torch.zeros(1, 2, 17, 17)
    image[:, :, 8, 8] = 1
    pyramid(image)
    assert [int((level > 0).any(0).sum()) for level in seen[0][0]] == [1, 5, 9, 13]
