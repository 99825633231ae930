"""Residual U-Net with a style vector (cvml paper, section 2.3 and equations 1 and 2; Stringer et al. 2021)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.awf import AwfBody, plain_convolution
from mosaicell.training.networks.body import Body, initialise_head
from mosaicell.training.networks.pointwise import Pointwise

#: of the four scales, at width 1
CHANNELS = (32, 64, 128, 256)


def pick_channels(image: Tensor) -> Tensor:
    """Return what the network looks at of images (b, 3, h, w): green and blue, or grey and nothing (b, 2, h, w).

    Notes
    -----
    An image without colour has three equal channels here, whether it was stored as one or as three. This belongs to
    the network and not to what comes before it, as a model then takes what every model of the program takes: one
    normalised picture serves all, whole or tile by tile. A tile of a coloured image whose channels are equal in every
    pixel is one without any content, black or white, and its blue one says nothing that green does not.
    """
    red, green, blue = image[:, :1], image[:, 1:2], image[:, 2:]
    difference = torch.maximum((red - green).abs(), (green - blue).abs()).amax((2, 3), keepdim=True)
    return torch.cat((green, blue * (difference > 0).to(blue.dtype)), 1)


def merge_channels(image: Tensor) -> Tensor:
    """Return green and blue of images (b, 3, h, w), each averaged with red (b, 2, h, w); grey twice (equation 5)."""
    return (image[:, 1:] + image[:, :1]) / 2


def style_of(features: Tensor) -> Tensor:
    """Return the style vectors (b, c), of length 1, of features (b, c, h, w): their means over all places.

    Their length grows with how densely cells lie, and so does not count.
    """
    return functional.normalize(features.mean((2, 3)), dim=1)


class ConvBlock(nn.Sequential):
    """Convolution of 3 x 3, batch normalisation, ReLU (F of equation 1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(plain_convolution(inputs, outputs, 3, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Encode(nn.Module):
    """Two residual blocks of one scale on the way down (equation 1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = ConvBlock(inputs, outputs), ConvBlock(outputs, outputs)
        self.third, self.fourth = ConvBlock(outputs, outputs), ConvBlock(outputs, outputs)
        self.project = Pointwise(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h, w)."""
        x = self.second(self.first(x)) + self.project(x)
        return self.fourth(self.third(x)) + x


class Decode(nn.Module):
    """Two residual blocks of one scale on the way up (equation 2); features of the encoder and the style are added.

    The style, which has as many numbers as the deepest features, reaches other numbers of channels through a matrix, as
    in the published code.
    """

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.first, self.second = ConvBlock(inputs, outputs), ConvBlock(outputs, outputs)
        self.third, self.fourth = ConvBlock(outputs, outputs), ConvBlock(outputs, outputs)
        self.project = Pointwise(inputs, outputs)
        self.style = nn.Linear(style, 3 * outputs)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        """Map (b, inputs, h, w), features (b, outputs, h, w) and style (b, s) to (b, outputs, h, w)."""
        second, third, fourth = self.style(style)[:, :, None, None].chunk(3, 1)
        x = self.second(self.first(x) + skip + second) + self.project(x)
        return self.fourth(self.third(x + third) + fourth) + x


class CellposeUnet(Body):
    """Residual U-Net of four scales, whose decoder knows the style of the image.

    Parameters
    ----------
    width
        Factor on every channel count; 1 is the paper's size.

    Notes
    -----
    Sizes change as in the published code: the largest of 2 x 2 on the way down, each doubled on the way up.
    """

    fine_stride = 1

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4 = (max(1, round(c * width / 8)) * 8 for c in CHANNELS)
        self.grid_channels, self.fine_channels = c4, c1
        self.encode1, self.encode2 = Encode(2, c1), Encode(c1, c2)
        self.encode3, self.encode4 = Encode(c2, c3), Encode(c3, c4)
        self.decode4, self.decode3 = Decode(c4, c4, c4), Decode(c4, c3, c4)
        self.decode2, self.decode1 = Decode(c3, c2, c4), Decode(c2, c1, c4)

    def initialise(self) -> None:
        """Draw all weights evenly with the variance 1 / inputs (LeCun; paper, section 3.2.2)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                limit = math.sqrt(3 / module.weight[0].numel())
                nn.init.uniform_(module.weight, -limit, limit)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to the deepest features (b, c, h/8, w/8) and the finest ones (b, c, h, w)."""
        whole = self.encode1(pick_channels(x))
        half = self.encode2(functional.max_pool2d(whole, 2))
        quarter = self.encode3(functional.max_pool2d(half, 2))
        deep = self.encode4(functional.max_pool2d(quarter, 2))
        style = style_of(deep)
        up = _double(self.decode4(deep, deep, style))
        up = _double(self.decode3(up, quarter, style))
        up = _double(self.decode2(up, half, style))
        return deep, self.decode1(up, whole, style)

    def enlarge(self, x: Tensor) -> Tensor:
        """Return what is at the size of the image already."""
        return x


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class CellposeHeads(Body):
    """Pixel outputs and style, on the body that comes next among the bases of a subclass.

    Parameters
    ----------
    pixel_channels
        Number of pixel outputs.
    **body
        Parameters of the body.
    """

    def __init__(self, pixel_channels: int = 3, **body: Any) -> None:
        super().__init__(**body)
        self.pixels = nn.Conv2d(self.fine_channels, pixel_channels, 1)
        self.initialise()
        initialise_head(self.pixels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to pixel outputs (b, p, h, w) and styles (b, s); h and w are multiples of 32."""
        grid, fine = self.features(x)
        return self.enlarge(self.pixels(fine)), style_of(grid)


class CellposeNetwork(CellposeHeads, CellposeUnet):
    """Cellpose as published."""


class AwfCellposeNetwork(CellposeHeads, AwfBody):
    """Cellpose's outputs on the AWF body: all three channels are seen, and the style does not reach the decoder."""


class GreenBlueCellposeNetwork(AwfCellposeNetwork):
    """The same, which sees green, green again in the place of red, and blue, or grey twice and nothing."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As of the body."""
        return super().features(_as_three(pick_channels(x)))


class MergedCellposeNetwork(AwfCellposeNetwork):
    """The same, which sees merged channels (Table 4)."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As of the body."""
        return super().features(_as_three(merge_channels(x)))


def _as_three(channels: Tensor) -> Tensor:
    """Return what a body of three channels sees of two (b, 2, h, w): the first one twice."""
    return torch.cat((channels[:, :1], channels), 1)
