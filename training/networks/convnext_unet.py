"""ConvNeXt-UNet of the sribdmed paper (section 2.2, figure 2), and its two networks as published."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.body import Body, initialise_head
from mosaicell.training.networks.convnext import CHANNELS, DEPTHS, STEM_STRIDE, ConvNextEncoder
from mosaicell.training.networks.pointwise import Pointwise

#: channels of the first three blocks of the decoder, where the paper says nothing: those of its published code
DECODER_CHANNELS = (256, 128, 64)
#: channels of the last block (C of the paper), at any width: each place answers for 16 pixels
FINE_CHANNELS = 32


class ConvReluNorm(nn.Sequential):
    """Two 3 x 3 convolutions, each followed by ReLU and batch normalisation ('Conv-ReLU-BN block')."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]
        super().__init__(*layers)


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Multiply height and width, bilinear between the centres of squares of pixels, as the stem cuts them out."""
    return functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class ConvNextUnet(Body):
    """ConvNeXt encoder and a decoder with skip connections.

    Parameters
    ----------
    width
        Factor on the channel counts of the encoder and of the first three blocks of the decoder.
    depths
        Blocks of the four stages of the encoder.

    Notes
    -----
    The paper has four blocks in the decoder and its output at a quarter of the size, where the encoder begins: three
    blocks follow a doubling and a skip connection each, the fourth follows them. The published code doubles once more
    before the fourth.
    """

    fine_stride = STEM_STRIDE

    def __init__(self, width: float = 1.0, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        c1, c2, c3, c4 = (round(c * width / 8) * 8 for c in CHANNELS)
        d3, d2, d1 = (round(c * width / 8) * 8 for c in DECODER_CHANNELS)
        self.grid_channels, self.fine_channels = d2, FINE_CHANNELS
        self.encoder = ConvNextEncoder((c1, c2, c3, c4), depths)
        self.decode3 = ConvReluNorm(c4 + c3, d3)
        self.decode2 = ConvReluNorm(d3 + c2, d2)
        self.decode1 = ConvReluNorm(d2 + c1, d1)
        self.decode0 = ConvReluNorm(d1, FINE_CHANNELS)

    def initialise(self) -> None:
        """Draw all weights."""
        super().initialise()
        self.encoder.initialise()

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to features (b, c, h/8, w/8) and (b, c, h/4, w/4); h and w are multiples of 32."""
        quarter, eighth, sixteenth, deep = self.encoder(x)
        deep = self.decode3(torch.cat((enlarge(deep, 2), sixteenth), 1))
        grid = self.decode2(torch.cat((enlarge(deep, 2), eighth), 1))
        return grid, self.decode0(self.decode1(torch.cat((enlarge(grid, 2), quarter), 1)))

    def enlarge(self, x: Tensor) -> Tensor:
        """Map (b, c, h/4, w/4) to (b, c, h, w)."""
        return enlarge(x, STEM_STRIDE)


class ConvNextStarDist(ConvNextUnet):
    """ConvNeXt-Stardist as published: all answers at the size of the image.

    Notes
    -----
    The 1 x 1 convolutions of the heads run before the enlargement: both are linear and commute. `StarNetwork` has heads
    that are trained faster.
    """

    def __init__(self, rays: int = 32, width: float = 1.0, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__(width, depths)
        self.probability = Pointwise(self.fine_channels, 1)
        self.distances = Pointwise(self.fine_channels, rays)
        self.initialise()
        initialise_head(self.probability)
        initialise_head(self.distances)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to object probabilities (b, 1, h, w) and distances along rays (b, r, h, w)."""
        _, fine = self.features(x)
        return self.enlarge(self.probability(fine)).sigmoid(), self.enlarge(self.distances(fine)).relu()


class ConvNextHover(ConvNextUnet):
    """ConvNeXt-Hover as published; the 1 x 1 convolutions run before the enlargement, as in `ConvNextStarDist`."""

    def __init__(self, width: float = 1.0, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__(width, depths)
        self.cells = Pointwise(self.fine_channels, 2)
        self.distances = Pointwise(self.fine_channels, 2)
        self.initialise()
        initialise_head(self.cells)
        initialise_head(self.distances)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to probabilities of background and cell, and horizontal and vertical distances.

        Both are (b, 2, h, w).
        """
        _, fine = self.features(x)
        return self.enlarge(self.cells(fine)).softmax(1), self.enlarge(self.distances(fine))
