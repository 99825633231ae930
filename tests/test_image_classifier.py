"""Networks of the classifier: as many numbers as they should have, one answer per image, whatever the batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mosaicell.training.export import fold_batch_norm
from mosaicell.training.networks.image_classifier import INPUT_PX, ImageClassifier, ResNet18

NETWORKS = [ImageClassifier, ResNet18]


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_resnet18_has_the_numbers_of_the_published_one() -> None:
    # 11,689,512 with 1,000 outputs (He et al. 2016)
    assert count_parameters(ResNet18()) == 11_178_564
    assert count_parameters(ResNet18(1000)) == 11_689_512


def test_the_small_network_is_small() -> None:
    assert 200_000 < count_parameters(ImageClassifier()) < 400_000
    assert count_parameters(ImageClassifier(width=0.5)) < count_parameters(ImageClassifier()) / 3


@pytest.mark.parametrize("network", NETWORKS)
def test_an_image_has_the_same_answer_in_any_batch(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = network().eval()
    images = torch.rand(3, 3, 64, 96)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert together.shape == (3, 4)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_learns(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = network().train()
    # only one batch statistic per channel of a feature of one pixel would leave weights without gradient
    model(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert INPUT_PX == 224
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("network", NETWORKS)
def test_batch_normalisation_folds_away(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = network()
    model(torch.rand(4, 3, 64, 64))
    model.eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        fold_batch_norm(model)
        after = model(images)
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_the_small_network_sees_a_single_spot() -> None:
    torch.manual_seed(0)
    model = ImageClassifier()
    for _ in range(20):
        # batch statistics as of images, else all answers are close to zero
        model(torch.rand(4, 3, 64, 64))
    model.eval()
    images = torch.zeros(2, 3, 224, 224)
    images[1, :, 100:110, 100:110] = 1
    with torch.no_grad():
        empty, spot = model(images)
    assert (empty - spot).abs().max() > 1e-3
