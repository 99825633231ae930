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


def write_star_model(path: Path, radius_px: float, rays: int = 32) -> Path:
    """Write a model that answers with the rays of discs.

    Of the input's channels the first is 1 in discs of one radius and 0 elsewhere, the others say where in its disc a
    pixel lies, across and down in radii. Maps are the first channel, and 1 in the middle of a disc falling to 0 at its
    edge as the square of the distance; rays are those from every second pixel to the edge of its disc.
    """
    angles = 2 * np.pi * np.arange(rays) / rays
    squares, along = np.zeros((1, 3, 1, 1), np.float32), np.zeros((rays, 3, 1, 1), np.float32)
    squares[0, 1:] = 1
    along[:, 1, 0, 0], along[:, 2, 0, 0] = np.cos(angles), np.sin(angles)
    first = np.array([[1, 0, 0]], np.float32).reshape(1, 3, 1, 1)
    constants = {
        "first": first,
        "squares": squares,
        "along": along,
        "one": np.ones((1, 1, 1, 1), np.float32),
        "radius": np.array(radius_px, np.float32),
    }
    # to the edge of a circle of radius 1, along u from o: sqrt((o u)^2 + 1 - o^2) - o u
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["inside"]),
        helper.make_node("Mul", ["image", "image"], ["squared"]),
        helper.make_node("Conv", ["squared", "squares"], ["distance"]),
        helper.make_node("Sub", ["inside", "distance"], ["probability"]),
        helper.make_node("Concat", ["inside", "probability"], ["maps"], axis=1),
        helper.make_node("Conv", ["probability", "one"], ["rest"], strides=[2, 2]),
        helper.make_node("Conv", ["image", "along"], ["offset"], strides=[2, 2]),
        helper.make_node("Mul", ["offset", "offset"], ["offset_squared"]),
        helper.make_node("Add", ["offset_squared", "rest"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["root"]),
        helper.make_node("Sub", ["root", "offset"], ["length"]),
        helper.make_node("Mul", ["length", "radius"], ["rays"]),
    ]
    outputs = [
        helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["b", 2, "h", "w"]),
        helper.make_tensor_value_info("rays", TensorProto.FLOAT, ["b", rays, "h2", "w2"]),
    ]
    return _save_graph(path, nodes, outputs, constants)


def write_logit_model(path: Path, slope: float) -> Path:
    """Write a model of the kind "maunet" that goes by the first channel b, from 0 to 1.

    Logits of interior and background are slope (b - 0.5) and its negative, those of boundary and proxy -slope; the
    distance is b.
    """
    kernel, bias = np.zeros((5, 3, 1, 1), np.float32), np.zeros(5, np.float32)
    kernel[[0, 2, 4], 0, 0, 0] = slope, -slope, 1
    bias[:4] = -slope / 2, -slope, slope / 2, -slope
    node = helper.make_node("Conv", ["image", "kernel", "bias"], ["maps"])
    output = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["b", 5, "h", "w"])
    return _save_graph(path, [node], [output], {"kernel": kernel, "bias": bias})


def write_flow_model(path: Path, sigma_px: float = 9.0) -> Path:
    """Write a model of bright discs in the manner of Cellpose.

    Maps are the first channel, and the slopes of a blur of it, which lead to the middles of discs; the style is the
    mean of each channel.
    """
    size = 2 * int(2 * sigma_px) + 1
    y, x = np.mgrid[:size, :size] - size // 2
    blur = np.exp(-(y**2 + x**2) / (2 * sigma_px**2))
    kernel = np.zeros((3, 3, size, size), np.float32)
    kernel[0, 0, size // 2, size // 2] = 1
    # of a disc of two sigma the slope is about 1 at its outline
    kernel[1:, 0] = np.stack([y, x]) * blur / (blur * np.abs(x)).sum() * 3
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"], pads=[size // 2] * 4),
        helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        helper.make_node("Flatten", ["means"], ["style"]),
    ]
    outputs = [
        helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["b", 3, "h", "w"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, ["b", 3]),
    ]
    return _save_graph(path, nodes, outputs, {"kernel": kernel})


def _save(path: Path, kernel: np.ndarray, pads: int) -> Path:
    node = helper.make_node("Conv", ["image", "kernel"], ["maps"], pads=[pads] * 4)
    output = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["b", len(kernel), "h", "w"])
    return _save_graph(path, [node], [output], {"kernel": kernel})


def _save_graph(
    path: Path, nodes: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto], constants: dict[str, np.ndarray]
) -> Path:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        outputs,
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, path)
    return path
