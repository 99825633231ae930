"""Small ONNX models for tests in which the real weights are not the point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_channel_model(path: Path, channels: tuple[int, ...] = (0, 1), weight: float = 1.0) -> Path:
    """Write a model whose maps are the given input channels, blurred by nothing: one 1 x 1 convolution."""
    kernel = np.zeros((len(channels), 3, 1, 1), np.float32)
    kernel[np.arange(len(channels)), channels] = weight
    return _save(path, kernel, pads=0)


def write_blur_model(path: Path, size: int = 5) -> Path:
    """Write a model whose two maps are box means of the first channel: one convolution that sees its neighbours."""
    kernel = np.zeros((2, 3, size, size), np.float32)
    kernel[:, 0] = 1 / size**2
    return _save(path, kernel, pads=size // 2)


def _save(path: Path, kernel: np.ndarray, pads: int) -> Path:
    node = helper.make_node("Conv", ["image", "kernel"], ["maps"], pads=[pads] * 4)
    graph = helper.make_graph(
        [node],
        "one_layer",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["b", len(kernel), "h", "w"])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    return path
