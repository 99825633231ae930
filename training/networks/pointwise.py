"""Convolutions of 1 x 1 as products of matrices, and layer normalisation over channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution that is computed as a matrix product where channels lie next to each other in memory.

    Parameters
    ----------
    inputs, outputs
        Numbers of channels.
    stride
        Of the pixels that are answered, in y and x.
    bias
        Whether there is one.

    Notes
    -----
    A product of matrices has no layout to choose and none to convert. Exported graphs hold a convolution: its weight
    keeps its name and shape there, whereas a product is stored transposed under a number.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        if torch.onnx.is_in_onnx_export() or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        step_y, step_x = self.stride
        pixels = x[:, :, ::step_y, ::step_x].permute(0, 2, 3, 1)
        return functional.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
