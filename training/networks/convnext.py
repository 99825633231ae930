"""ConvNeXt encoder (Liu et al. 2022, "A ConvNet for the 2020s"), the one of the sribdmed paper, section 2.2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.pointwise import ChannelNorm, Pointwise

#: blocks and channels of the four stages of ConvNeXt-small
DEPTHS, CHANNELS = (3, 3, 27, 3), (96, 192, 384, 768)
#: pixels between the features of the first stage
STEM_STRIDE = 4
#: initial factor on what a block adds: a new encoder passes features on as they are
LAYER_SCALE = 1e-6
EXPANSION = 4
NORM_EPS = 1e-6
#: standard deviation of the initial weights, which are cut at two units as in the publication
WEIGHT_STD = 0.02


class ConvNextBlock(nn.Module):
    """7 x 7 depthwise convolution, layer normalisation, two 1 x 1 convolutions with GELU between them, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = ChannelNorm(channels, NORM_EPS)
        self.expand = Pointwise(channels, EXPANSION * channels)
        self.project = Pointwise(EXPANSION * channels, channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to the same shape."""
        hidden = functional.gelu(self.expand(self.norm(self.depthwise(x))))
        return x + self.scale * self.project(hidden)


class ConvNextEncoder(nn.Module):
    """Stem and four stages.

    Parameters
    ----------
    channels, depths
        Of the four stages.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for level, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            enter = _downsampling(channels[level - 1], width) if level else _stem(width)
            self.stages.append(nn.Sequential(enter, *(ConvNextBlock(width) for _ in range(depth))))

    def initialise(self) -> None:
        """Draw all weights."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=WEIGHT_STD, a=-2 * WEIGHT_STD, b=2 * WEIGHT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (b, 3, h, w) to features at 1/4, 1/8, 1/16 and 1/32 of the size; h and w are multiples of 32."""
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


def _stem(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, outputs, STEM_STRIDE, STEM_STRIDE), ChannelNorm(outputs, NORM_EPS))


def _downsampling(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ChannelNorm(inputs, NORM_EPS), nn.Conv2d(inputs, outputs, 2, 2))
