"""Residual encoders and decoders with transposed convolutions: the parts of MAUNet, and a compact body made of them.

Source: MAUNet paper, section 2.2 and figure 2; He et al. 2016; Zagoruyko and Komodakis 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.awf import plain_convolution
from mosaicell.training.networks.body import Body

#: channels of the first convolution of a ResNet, at half the size
STEM_CHANNELS = 64
#: outputs of a bottleneck as a multiple of its inner channels, at the usual width
EXPANSION = 4
#: blocks of the four stages of a ResNet50 and a ResNet101
RESNET50_DEPTHS, RESNET101_DEPTHS = (3, 4, 6, 3), (3, 4, 23, 3)
#: the ResNeXt with 32 groups of 4 channels in its first stage: factor on the inner channels, and groups
RESNEXT_WIDTH, RESNEXT_GROUPS = 2, 32

#: makes the normalisation of so many channels
MakeNorm = Callable[[int], nn.Module]


def _normalised(inputs: int, outputs: int, kernel: int, stride: int, make_norm: MakeNorm) -> nn.Sequential:
    return nn.Sequential(plain_convolution(inputs, outputs, kernel, stride), make_norm(outputs))


class ResidualUnit(nn.Module):
    """Two 3 x 3 convolutions, each normalised, and a shortcut.

    Parameters
    ----------
    inputs, outputs
        Numbers of channels.
    stride
        Of the first convolution.
    make_norm
        Batch normalisation can be merged into the convolutions of an exported model, others cannot.
    slope
        Of the activation below 0.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, make_norm: MakeNorm = nn.BatchNorm2d, slope: float = 0.0
    ) -> None:
        super().__init__()
        self.slope = slope
        self.first = _normalised(inputs, outputs, 3, stride, make_norm)
        self.second = _normalised(outputs, outputs, 3, 1, make_norm)
        is_plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if is_plain else _normalised(inputs, outputs, 1, stride, make_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        inner = functional.leaky_relu(self.first(x), self.slope)
        return functional.leaky_relu(self.second(inner) + self.shortcut(x), self.slope)


class Bottleneck(nn.Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1, each normalised, and a shortcut: the block of ResNet50.

    With more than one group the 3 x 3 convolution is a grouped one, as in ResNeXt (Xie et al. 2017).
    """

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.enter = _normalised(inputs, inner, 1, 1, nn.BatchNorm2d)
        middle = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.middle = nn.Sequential(middle, nn.BatchNorm2d(inner))
        self.leave = _normalised(inner, outputs, 1, 1, nn.BatchNorm2d)
        is_plain = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if is_plain else _normalised(inputs, outputs, 1, stride, nn.BatchNorm2d)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        return torch.relu(self.leave(torch.relu(self.middle(torch.relu(self.enter(x))))) + self.shortcut(x))


class ResNetEncoder(nn.Module):
    """ResNet with bottlenecks, without its classifier.

    Parameters
    ----------
    depths
        Blocks of each stage; WideResNet50 without its last stage has the first three of `RESNET50_DEPTHS`.
    inner_width
        Factor on the inner channels of the bottlenecks: 2 in WideResNet50.
    groups
        Of the 3 x 3 convolutions of the bottlenecks: more than 1 in ResNeXt.
    stem_channels
        Of the first convolution, on which those of the stages depend.

    Attributes
    ----------
    channels
        Of the features, from half the size on.
    """

    def __init__(
        self,
        depths: Sequence[int] = RESNET50_DEPTHS,
        inner_width: int = 1,
        groups: int = 1,
        stem_channels: int = STEM_CHANNELS,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(plain_convolution(3, stem_channels, 7, 2), nn.BatchNorm2d(stem_channels))
        self.stages = nn.ModuleList()
        self.channels = [stem_channels]
        for stage, depth in enumerate(depths):
            inner, outputs = stem_channels * inner_width * 2**stage, stem_channels * EXPANSION * 2**stage
            inputs = [self.channels[-1], *[outputs] * (depth - 1)]
            # max pooling stands before the first stage
            strides = [2 if stage else 1, *[1] * (depth - 1)]
            blocks = (Bottleneck(i, inner, outputs, stride, groups) for i, stride in zip(inputs, strides, strict=True))
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(outputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (b, 3, h, w) to the features of stem and stages, at a half of the size, a quarter and so on."""
        levels = [torch.relu(self.stem(x))]
        x = functional.max_pool2d(levels[0], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class Ascent(nn.Module):
    """The way up of a UNet: a transposed convolution doubles the size, a residual unit takes it with a skip connection.

    Parameters
    ----------
    channels
        Of the skip connections, from the finest to the coarsest, and of the outputs beside each of them.
    make_norm, slope
        As in `ResidualUnit`.
    """

    def __init__(self, channels: Sequence[int], make_norm: MakeNorm = nn.BatchNorm2d, slope: float = 0.0) -> None:
        super().__init__()
        self.enlarge, self.join = nn.ModuleList(), nn.ModuleList()
        for fine, coarse in zip(channels[-2::-1], channels[:0:-1], strict=True):
            self.enlarge.append(nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False))
            self.join.append(ResidualUnit(2 * fine, fine, make_norm=make_norm, slope=slope))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map features (b, c, h, w), from the finest to the coarsest, to those beside the finest."""
        x = levels[-1]
        for enlarge, join, skip in zip(self.enlarge, self.join, levels[-2::-1], strict=True):
            x = join(torch.cat((enlarge(x), skip), 1))
        return x


class ResidualBody(Body):
    """A short residual encoder, which ends at a sixteenth of the size, and the two decoders of MAUNet.

    Parameters
    ----------
    width
        Factor on every channel count; no layer has fewer than 8.

    Notes
    -----
    As in WideResNet50 of the paper there is no last stage, and instead more blocks in the one before. The features of
    both decoders lie beside each other; they end where those of the AWF body do, at half the size. Normalisation is by
    batch, as that costs nothing in an exported model and does not depend on what else a tile holds.
    """

    fine_stride = 2
    #: blocks of the three stages
    DEPTHS = (2, 2, 4)

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = [max(8, round(c * width / 8) * 8) for c in (32, 64, 128, 256)]
        self.grid_channels, self.fine_channels = channels[2], 2 * channels[0]
        self.stem = nn.Sequential(plain_convolution(3, channels[0], 7, 2), nn.BatchNorm2d(channels[0]))
        self.stages = nn.ModuleList()
        for inputs, outputs, depth in zip(channels[:-1], channels[1:], self.DEPTHS, strict=True):
            units = [ResidualUnit(inputs, outputs, 2), *(ResidualUnit(outputs, outputs) for _ in range(depth - 1))]
            self.stages.append(nn.Sequential(*units))
        self.ambiguity = Ascent(channels)
        self.instance = Ascent(channels)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to features (b, c, h/8, w/8) and (b, c, h/2, w/2); h and w are multiples of 32."""
        levels = [torch.relu(self.stem(x))]
        for stage in self.stages:
            levels.append(stage(levels[-1]))
        return levels[2], torch.cat((self.ambiguity(levels), self.instance(levels)), 1)

    def enlarge(self, x: Tensor) -> Tensor:
        """Map (b, c, h/2, w/2) to (b, c, h, w), bilinear between the centres of squares of pixels."""
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
