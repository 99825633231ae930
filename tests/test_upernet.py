"""UperNet on Swin-T: its size, pooling against torch's, shapes, weights that take part, crops, and ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn import functional

from mosaicell.training.networks.swin import SwinEncoder
from mosaicell.training.networks.upernet import (
    CROP_PX,
    POOLED,
    UperNet,
    compact_upernet,
    cut_crops,
    mean_matrix,
    published_upernet,
)
from mosaicell.training.onnx_file import write_onnx
from tests.test_residual import count_parameters, normalised

#: mmsegmentation's UperNet on Swin-T for the 150 classes of ADE20K, in 10^6
ADE20K = 59.94


def test_it_has_the_size_of_mmsegmentations() -> None:
    parameters = count_parameters(lambda: published_upernet(150))
    assert round(parameters / 1e6, 2) == ADE20K


def test_it_is_an_encoder_a_context_a_pyramid_and_two_heads() -> None:
    channels = (96, 192, 384, 768)
    context = 4 * normalised(768, 512, 1) + normalised(768 + 4 * 512, 512, 3)
    pyramid = sum(normalised(c, 512, 1) + normalised(512, 512, 3) for c in channels[:3])
    heads = normalised(4 * 512, 512, 3) + 513 + normalised(384, 256, 3) + 257
    assert count_parameters(published_upernet) == count_parameters(SwinEncoder) + context + pyramid + heads
    assert count_parameters(compact_upernet) < 3e6


@pytest.mark.parametrize("side", [3, 4, 8])
@pytest.mark.parametrize("pooled", POOLED)
def test_means_are_those_of_adaptive_pooling(side: int, pooled: int) -> None:
    torch.manual_seed(1)
    features, matrix = torch.rand(2, 3, side, side), mean_matrix(side, pooled)
    torch.testing.assert_close(matrix @ features @ matrix.T, functional.adaptive_avg_pool2d(features, pooled))


def test_training_alone_asks_the_auxiliary_head() -> None:
    torch.manual_seed(2)
    network, crops = compact_upernet(0.25), torch.rand(3, 3, 128, 128)
    logits, auxiliary = network(crops)
    assert logits.shape == auxiliary.shape == (3, 1, 128, 128)
    with torch.no_grad():
        assert network.eval()(crops).shape == (3, 1, 128, 128)


def test_every_weight_takes_part() -> None:
    torch.manual_seed(3)
    network = UperNet(SwinEncoder((8, 16, 32, 64), (1, 1, 1, 1), 8), 8, auxiliary=8)
    logits, auxiliary = network(torch.rand(2, 3, 128, 128))
    (logits.square().sum() + auxiliary.square().sum()).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_a_crop_is_the_box_resized() -> None:
    """A box of 64 px at twice its size: pairs of pixels hold, between the middles of two, what lies between them."""
    rows = torch.arange(200.0)[:, None].expand(200, 160) + 0.5
    crops = cut_crops(rows[None, None], torch.tensor([[30.0, 20, 94, 84], [0.0, 0, 200, 160]]), CROP_PX)
    assert crops.shape == (2, 1, 128, 128)
    torch.testing.assert_close(crops[0, 0, :, 7], 30 + (torch.arange(128) + 0.5) / 2)
    assert crops[1, 0, -1, 0] > 198


def test_the_exported_network_takes_any_number_of_crops(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = compact_upernet(0.25).eval()
    path = tmp_path / "masks.onnx"
    write_onnx(network, torch.rand(2, 3, 128, 128), path, {0: "crops"}, {"logits": {0: "crops"}})
    session = onnxruntime.InferenceSession(path)
    for count in (1, 5):
        crops = torch.rand(count, 3, 128, 128)
        (logits,) = session.run(None, {"image": crops.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(logits, network(crops).numpy(), atol=0.01)
