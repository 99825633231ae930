"""MAUNet as published, and compact networks that answer the same (MAUNet paper, section 2.2 and figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from mosaicell.training.networks.awf import AwfBody
from mosaicell.training.networks.pixel_head import PixelHead
from mosaicell.training.networks.residual import (
    RESNET50_DEPTHS,
    Ascent,
    ResidualBody,
    ResidualUnit,
    ResNetEncoder,
)

#: channels of both decoders from the full size on, where the paper says nothing: those of its published code
DECODER_CHANNELS = (24, 24, 48, 96, 192, 384)
#: cell interior, boundary, background, and the anti-ambiguity proxy
CLASSES = 4
#: of the activation below 0, in the decoders
SLOPE = 0.01


class MAUNet(nn.Module):
    """One encoder, an instance-aware and an ambiguity-aware decoder.

    Parameters
    ----------
    depths, inner_width
        As in `ResNetEncoder`: `MAUNet()` has the ResNet50 of the paper (39.40 M parameters),
        `MAUNet(RESNET50_DEPTHS[:3], 2)` its WideResNet50 without the last stage (28.84 M).

    Notes
    -----
    Each level of features, the image itself among them, passes a residual unit that both decoders share. Instance
    normalisation has no weights.
    """

    def __init__(self, depths: Sequence[int] = RESNET50_DEPTHS, inner_width: int = 1) -> None:
        super().__init__()
        self.encoder = ResNetEncoder(depths, inner_width)
        inputs = [3, *self.encoder.channels]
        channels = DECODER_CHANNELS[: len(inputs)]
        self.skips = nn.ModuleList(
            ResidualUnit(i, o, make_norm=nn.InstanceNorm2d, slope=SLOPE) for i, o in zip(inputs, channels, strict=True)
        )
        self.ambiguity = Ascent(channels, nn.InstanceNorm2d, SLOPE)
        self.instance = Ascent(channels, nn.InstanceNorm2d, SLOPE)
        self.classes = nn.Conv2d(channels[0], CLASSES, 1)
        self.distance = nn.Conv2d(channels[0], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to logits of the classes (b, 4, h, w) and the distance field (b, 1, h, w).

        h and w are multiples of 32.
        """
        levels = [skip(level) for skip, level in zip(self.skips, (x, *self.encoder(x)), strict=True)]
        return self.classes(self.ambiguity(levels)), self.distance(self.instance(levels))


class AwfMaunet(PixelHead, AwfBody):
    """Classes and distance on the AWF body, which has one decoder for both."""


class ResidualMaunet(PixelHead, ResidualBody):
    """Classes and distance on the residual body with its two decoders."""


class Twin(PixelHead):
    """Beside the network that comes next among the bases of a subclass, a second one that teaches it in training.

    Source: MAUNet paper, section 2.2.4 and figure 3: the same architecture, other first weights. Only the first network
    answers in eval mode.
    """

    single: ClassVar[type[PixelHead]]

    def __init__(self, pixel_channels: int, **body: Any) -> None:
        super().__init__(pixel_channels, **body)
        self.twin: PixelHead | None = self.single(pixel_channels, **body)

    # a network and its twin answer a pair where another one answers once
    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        """Map images (b, 3, h, w) to pixel outputs (b, p, h, w); in train mode to those of both networks."""
        answer = super().forward(x)
        return (answer, self.twin(x)) if self.training and self.twin is not None else answer


class AwfTwins(Twin, AwfMaunet):
    """Two networks on the AWF body."""

    single = AwfMaunet


class ResidualTwins(Twin, ResidualMaunet):
    """Two networks on the residual body."""

    single = ResidualMaunet
