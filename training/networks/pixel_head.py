"""Networks that answer maps alone: a body with a pixel head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mosaicell.training.networks.body import Body, initialise_head


class PixelHead(Body):
    """Pixel outputs alone, on the body that comes next among the bases of a subclass.

    Parameters
    ----------
    pixel_channels
        Number of outputs.
    **body
        Parameters of the body.
    """

    def __init__(self, pixel_channels: int, **body: Any) -> None:
        super().__init__(**body)
        self.pixels = nn.Conv2d(self.fine_channels, pixel_channels, 1)
        self.initialise()
        initialise_head(self.pixels)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (b, 3, h, w) to pixel outputs (b, p, h, w); h and w are multiples of 32."""
        return self.enlarge(self.pixels(self.features(x)[1]))
