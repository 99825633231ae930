"""Networks as ONNX files: traced, with the versions that the program reads and weights in half precision."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17
IR_VERSION = 10
#: smaller tensors (biases, shapes) stay as they are: they weigh nothing
MIN_HALF_SIZE = 256

#: names of the axes of a tensor whose lengths are free
Axes = Mapping[int, str]


def write_onnx(model: nn.Module, example: Tensor, path: Path, image_axes: Axes, outputs: Mapping[str, Axes]) -> None:
    """Write a model of one input "image", as `write_graph` does."""
    write_graph(model, {"image": example}, path, {"image": image_axes}, outputs)


def write_graph(
    model: nn.Module,
    examples: Mapping[str, Tensor],
    path: Path,
    inputs: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
) -> None:
    """Write a model as an ONNX file with weights stored in fp16.

    The weights are cast to fp32 inside the graph; onnxruntime folds the casts when it loads the file.

    Parameters
    ----------
    model
        Gives a tuple of tensors.
    examples
        Inputs to trace it with, by their names in order.
    inputs, outputs
        Free axes of the inputs; of the outputs, by their names in order.
    """
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # the tracing exporter is deprecated as a whole; the new one needs a package more (onnxscript)
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning, "torch.onnx")
        torch.onnx.export(
            model,
            tuple(examples.values()),
            stream,  # type: ignore[arg-type]  # the stubs know no stream; the tracing exporter writes to one
            dynamo=False,
            opset_version=OPSET,
            input_names=list(examples),
            output_names=list(outputs),
            dynamic_axes={**inputs, **outputs},
        )
    graph_model = onnx.load_from_string(stream.getvalue())
    graph_model.ir_version = IR_VERSION
    _store_half(graph_model.graph)
    onnx.checker.check_model(graph_model)
    onnx.save(graph_model, path)


def round_weights(module: nn.Module) -> None:
    """Round the weights that `write_onnx` stores in fp16 to that precision, in place."""
    for parameter in module.parameters():
        if parameter.numel() >= MIN_HALF_SIZE:
            parameter.data = parameter.data.half().float()


def _store_half(graph: onnx.GraphProto) -> None:
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= MIN_HALF_SIZE:
            values = numpy_helper.to_array(tensor)
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
            casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
