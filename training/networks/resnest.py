"""ResNeSt as an encoder of features: residual blocks with split attention (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.awf import plain_convolution
from mosaicell.training.networks.residual import EXPANSION, RESNET101_DEPTHS

#: of the first two of the three convolutions that make the stem of a ResNeSt101
STEM_CHANNELS = 64
#: of the bottlenecks of the first stage
INNER_CHANNELS = 64
#: parts among which attention chooses, and channels of theirs for each one that the choice is made from
SPLITS, REDUCTION = 2, 4
LEAST_ATTENTION_CHANNELS = 32


class SplitAttention(nn.Module):
    """A 3 x 3 convolution in parts, of which each channel takes a share that depends on the means of all (figure 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels * SPLITS // REDUCTION, LEAST_ATTENTION_CHANNELS)
        split = nn.Conv2d(channels, SPLITS * channels, 3, padding=1, groups=SPLITS, bias=False)
        self.split = nn.Sequential(split, nn.BatchNorm2d(SPLITS * channels))
        self.gather = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.choose = nn.Conv2d(inner, SPLITS * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels, h, w) to the same shape."""
        parts = torch.relu(self.split(x)).unflatten(1, (SPLITS, -1))
        means = parts.sum(1).mean((2, 3), keepdim=True)
        shares = self.choose(torch.relu(self.gather(means))).unflatten(1, (SPLITS, -1)).softmax(1)
        return (shares * parts).sum(1)


class SplitBottleneck(nn.Module):
    """Convolutions of 1 x 1 around split attention, and a shortcut; both are reduced by means, not by strides."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.enter = nn.Sequential(plain_convolution(inputs, inner, 1, 1), nn.BatchNorm2d(inner))
        self.attend = SplitAttention(inner)
        self.leave = nn.Sequential(plain_convolution(inner, outputs, 1, 1), nn.BatchNorm2d(outputs))
        is_plain = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if is_plain
            else nn.Sequential(plain_convolution(inputs, outputs, 1, 1), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        inner = self.attend(torch.relu(self.enter(x)))
        if self.stride > 1:
            inner = functional.avg_pool2d(inner, 3, self.stride, 1)
            x = functional.avg_pool2d(x, self.stride)
        return torch.relu(self.leave(inner) + self.shortcut(x))


class ResNeStEncoder(nn.Module):
    """A stem of three convolutions and four stages of bottlenecks with split attention.

    Parameters
    ----------
    depths
        Blocks of each stage: those of a ResNeSt101 by default.
    stem_channels
        Of the first two convolutions; the third has twice as many.
    inner_channels
        Of the bottlenecks of the first stage; those of each further stage have twice as many.

    Attributes
    ----------
    channels
        Of the features of the stages, from a quarter of the size on.
    """

    def __init__(
        self,
        depths: Sequence[int] = RESNET101_DEPTHS,
        stem_channels: int = STEM_CHANNELS,
        inner_channels: int = INNER_CHANNELS,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs, stride in ((stem_channels, 2), (stem_channels, 1), (2 * stem_channels, 1)):
            layers += [plain_convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        self.stem = nn.Sequential(*layers)
        self.stages = nn.ModuleList()
        self.channels: list[int] = []
        for stage, depth in enumerate(depths):
            inner = inner_channels * 2**stage
            outputs = inner * EXPANSION
            sides = [inputs, *[outputs] * (depth - 1)]
            strides = [2 if stage else 1, *[1] * (depth - 1)]
            blocks = (SplitBottleneck(i, inner, outputs, stride) for i, stride in zip(sides, strides, strict=True))
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(outputs)
            inputs = outputs

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (b, 3, h, w) to features at 1/4, 1/8, 1/16 and 1/32 of the size; h and w are multiples of 32."""
        x = functional.max_pool2d(self.stem(x), 3, 2, 1)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels
