"""Networks of star-convex polygons: a body with a pixel head and rays."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.awf import AwfBody, ConvBlock
from mosaicell.training.networks.body import Body, initialise_head
from mosaicell.training.networks.convnext_unet import ConvNextUnet

#: lengths are learned as multiples of this: about the radius of a cell, so that outputs and their errors are near 1
RAY_UNIT_PX = 16.0
#: features from which rays are answered, as multiples of those of the body: 32 lengths are more than its last ones hold
RAY_FEATURES = 2


class StarHeads(Body):
    """Pixel outputs and the lengths of rays, on the body that comes next among the bases of a subclass.

    Parameters
    ----------
    pixel_channels, rays
        Numbers of outputs.
    **body
        Parameters of the body.

    Notes
    -----
    Rays are answered where the fine features of the body lie: for the pixels (0::s, 0::s) with its `fine_stride` s.
    Those of the AWF body are where its stem has them, whose convolution of stride 2 has these pixels in its middle, and
    rays of neighbouring pixels hardly differ. Interpolation to the full size, as in the published network, would mix
    lengths of rays of different cells, and cost as much as the body. A convolution before the rays is StarDist's.
    """

    def __init__(self, pixel_channels: int = 2, rays: int = 32, **body: Any) -> None:
        super().__init__(**body)
        self.pixels = nn.Conv2d(self.fine_channels, pixel_channels, 1)
        ray_channels = RAY_FEATURES * self.fine_channels
        self.ray_features = ConvBlock(self.fine_channels, ray_channels, 3)
        self.rays = nn.Conv2d(ray_channels, rays, 1)
        self.initialise()
        initialise_head(self.pixels)
        initialise_head(self.rays)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to pixel outputs (b, p, h, w) and lengths (b, r, h/s, w/s) in units of `RAY_UNIT_PX`.

        h and w are multiples of 32. Lengths are above 0 by softplus, which in contrast to the published ReLU has a
        gradient everywhere: an output below 0 is no dead one.
        """
        _, fine = self.features(x)
        return self.enlarge(self.pixels(fine)), functional.softplus(self.rays(self.ray_features(fine)))


class StarNetwork(StarHeads, AwfBody):
    """Polygons on the AWF body."""


class ConvNextStarNetwork(StarHeads, ConvNextUnet):
    """Polygons on the ConvNeXt-UNet."""
