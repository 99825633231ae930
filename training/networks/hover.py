"""Networks of distance maps: the body of the AWF network with a pixel head."""

from __future__ import annotations

from torch import Tensor, nn

from mosaicell.training.networks.awf import AwfBody, upsample
from mosaicell.training.networks.star import HEAD_STD


class HoverNetwork(AwfBody):
    """Pixel outputs alone.

    Parameters
    ----------
    pixel_channels
        Number of outputs.
    width
        Factor on every channel count of the body.
    """

    def __init__(self, pixel_channels: int = 3, width: float = 1.0) -> None:
        super().__init__(width)
        self.pixels = nn.Conv2d(self.half_channels, pixel_channels, 1)
        self.initialise()
        nn.init.normal_(self.pixels.weight, std=HEAD_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (b, 3, h, w) to pixel outputs (b, p, h, w); h and w are multiples of 32."""
        return upsample(self.pixels(self.features(x)[1]))
