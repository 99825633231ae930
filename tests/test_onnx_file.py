"""ONNX files: versions that the program reads, half-precision weights, free axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto
from torch import Tensor, nn

from mosaicell.training.onnx_file import IR_VERSION, MIN_HALF_SIZE, OPSET, round_weights, write_onnx


class TwoAnswers(nn.Module):
    """A convolution with enough weights to be halved, and its mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to maps (b, 16, h, w) and their means."""
        maps = self.convolution(image)
        return maps, maps.mean((2, 3))


def test_the_file_answers_as_torch_with_rounded_weights(tmp_path: Path, rng: np.random.Generator) -> None:
    model = TwoAnswers().eval()
    plain = model.convolution.weight.detach().clone()
    assert plain.numel() >= MIN_HALF_SIZE
    round_weights(model)
    assert not torch.equal(model.convolution.weight, plain)
    torch.testing.assert_close(model.convolution.weight.detach(), plain, rtol=1e-3, atol=1e-6)
    axes = {0: "batch", 2: "height"}
    write_onnx(model, torch.zeros(1, 3, 8, 9), tmp_path / "m.onnx", axes, {"maps": axes, "means": {0: "batch"}})
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    images = rng.random((4, 3, 21, 9), np.float32)
    maps, means = session.run(["maps", "means"], {"image": images})
    with torch.no_grad():
        expected_maps, expected_means = model(torch.from_numpy(images))
    np.testing.assert_allclose(maps, expected_maps.numpy(), atol=1e-5)
    np.testing.assert_allclose(means, expected_means.numpy(), atol=1e-5)


def test_large_tensors_are_stored_in_half_precision(tmp_path: Path) -> None:
    write_onnx(TwoAnswers().eval(), torch.zeros(1, 3, 8, 8), tmp_path / "m.onnx", {}, {"maps": {}, "means": {}})
    file = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert (file.ir_version, [entry.version for entry in file.opset_import]) == (IR_VERSION, [OPSET])
    types = {tensor.name: tensor.data_type for tensor in file.graph.initializer if np.prod(tensor.dims) > 1}
    assert TensorProto.FLOAT16 in types.values()
    small = [tensor for tensor in file.graph.initializer if 1 < np.prod(tensor.dims) < MIN_HALF_SIZE]
    assert small
    assert all(tensor.data_type != TensorProto.FLOAT16 for tensor in small)
