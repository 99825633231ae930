"""AWF network of the Cell Segmenter: a ResNet-18 encoder, a CSP decoder, a detection and a pixel head.

Source: Cell Segmenter paper, section 2.2.1, figure 2 and table 7. The Omnipose-style network has the same
body with other pixel outputs and no detection head (section 2.2.2).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.body import Body, initialise_head
from mosaicell.training.networks.pointwise import Pointwise

#: stride of the detection grid in px
DETECTION_STRIDE = 8


def plain_convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    """Return a convolution without a bias, for a batch normalisation behind it."""
    if kernel == 1:
        return Pointwise(inputs, outputs, stride, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, SiLU ('Conv' in table 7)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            plain_convolution(inputs, outputs, kernel, stride),
            nn.BatchNorm2d(outputs),
            nn.SiLU(inplace=True),
        )


class BasicBlock(nn.Module):
    """Residual block of ResNet-18 with SiLU in place of ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvBlock(inputs, outputs, 3, stride)
        self.second = nn.Sequential(plain_convolution(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs))
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(plain_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        return functional.silu(self.second(self.first(x)) + self.shortcut(x))


def residual_layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Two residual blocks, the first with the given stride ('Layer' in table 7)."""
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1))


class CspBlock(nn.Module):
    """CSP bottleneck with three convolutions and no residual connection ('C3' in table 7)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = outputs // 2
        self.left = ConvBlock(inputs, hidden)
        self.right = ConvBlock(inputs, hidden)
        self.bottleneck = nn.Sequential(ConvBlock(hidden, hidden), ConvBlock(hidden, hidden, 3))
        self.join = ConvBlock(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h, w)."""
        return self.join(torch.cat((self.bottleneck(self.left(x)), self.right(x)), 1))


class SpatialPyramid(nn.Module):
    """Iterated 5 x 5 max pooling, concatenated ('SPPF' in table 7)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.enter = ConvBlock(inputs, inputs // 2)
        self.leave = ConvBlock(inputs * 2, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h, w)."""
        levels = [self.enter(x)]
        for _ in range(3):
            levels.append(functional.max_pool2d(levels[-1], 5, 1, 2))
        return self.leave(torch.cat(levels, 1))


def upsample(x: Tensor) -> Tensor:
    """Double height and width, bilinear with aligned corners (table 7)."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


class AwfBody(Body):
    """Encoder and decoder of the anchor-based watershed network.

    Parameters
    ----------
    width
        Factor on every channel count; 1 is the paper's size.
    """

    fine_stride = 2

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c1, c2, c3, c4 = (round(c * width / 8) * 8 for c in (64, 128, 256, 512))
        self.grid_channels, self.fine_channels = c2, c1
        self.stem = ConvBlock(3, c1, 7, 2)
        self.layer1 = residual_layer(c1, c1, 1)
        self.layer2 = residual_layer(c1, c2, 2)
        self.layer3 = residual_layer(c2, c3, 2)
        self.layer4 = residual_layer(c3, c4, 2)
        self.pyramid = SpatialPyramid(c4, c4)
        self.reduce3 = ConvBlock(c4, c3)
        self.decode3 = CspBlock(2 * c3, c3)
        self.reduce2 = ConvBlock(c3, c2)
        self.decode2 = CspBlock(2 * c2, c2)
        self.reduce1 = ConvBlock(c2, c1, 3)
        self.decode1 = CspBlock(2 * c1, c1)
        self.reduce0 = ConvBlock(c1, c1, 3)
        self.decode0 = CspBlock(2 * c1, c1)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to features (b, c, h/8, w/8) and (b, c, h/2, w/2); h and w are multiples of 32."""
        half = self.stem(x)
        fine, grid, *_ = self.decode(half)
        return grid, self.decode0(torch.cat((upsample(self.reduce0(fine)), half), 1))

    def decode(self, half: Tensor) -> list[Tensor]:
        """Map features (b, c, h/2, w/2) of the stem to decoded ones at a quarter, 1/8, 1/16 and 1/32 of the size."""
        quarter = self.layer1(functional.max_pool2d(half, 3, 2, 1))
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        coarsest = self.reduce3(self.pyramid(self.layer4(sixteenth)))
        coarse = self.decode3(torch.cat((upsample(coarsest), sixteenth), 1))
        grid = self.decode2(torch.cat((upsample(self.reduce2(coarse)), eighth), 1))
        fine = self.decode1(torch.cat((upsample(self.reduce1(grid)), quarter), 1))
        return [fine, grid, coarse, coarsest]

    def enlarge(self, x: Tensor) -> Tensor:
        """Map (b, c, h/2, w/2) to (b, c, h, w)."""
        return upsample(x)


class AwfEncoder(AwfBody):
    """The levels of the AWF body from a quarter of the size on, for a detector.

    Attributes
    ----------
    channels
        Of the levels, from the finest to the coarsest.
    """

    #: parts of the body that the levels do not need
    unused: ClassVar[tuple[str, ...]] = ("reduce0", "decode0")

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(width)
        for name in self.unused:
            delattr(self, name)
        coarse = self.reduce3[0].out_channels
        self.channels = [self.fine_channels, self.grid_channels, coarse, coarse]
        self.initialise()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (b, 3, h, w) to levels of features 4, 8, 16 and 32 px apart; h and w are multiples of 32."""
        return self.decode(self.stem(x))


class AWF(AwfBody):
    """Anchor-based watershed network.

    Parameters
    ----------
    pixel_channels
        Output channels of the pixel head: 2 (foreground, energy) for AWF, 4 (foreground, boundary, flow y,
        flow x) for the Omnipose-style network, 5 for the baseline that learns both.
    detection_channels
        Output channels of the detection head; 0 leaves the head out.
    width
        Factor on every channel count; 1 is the paper's size (12.61 M parameters).
    """

    def __init__(self, pixel_channels: int = 2, detection_channels: int = 6, width: float = 1.0) -> None:
        super().__init__(width)
        self.detection = nn.Conv2d(self.grid_channels, detection_channels, 1) if detection_channels else None
        self.pixels = nn.Conv2d(self.fine_channels, pixel_channels, 1)
        self.initialise()
        for head in (self.detection, self.pixels):
            if head is not None:
                initialise_head(head)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """Map images (b, 3, h, w) to detection logits (b, d, h/8, w/8) and pixel outputs (b, p, h, w).

        h and w are multiples of 32. The 1 x 1 pixel head runs before the last bilinear doubling: both are
        linear and commute, and the head is four times cheaper at half resolution.
        """
        grid, half = self.features(x)
        return (None if self.detection is None else self.detection(grid)), self.enlarge(self.pixels(half))
