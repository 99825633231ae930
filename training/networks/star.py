"""Networks of star-convex polygons: the body of the AWF network with a pixel head and rays."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.awf import AwfBody, ConvBlock, upsample

#: pixels between the places whose rays are answered, in y and x
RAY_GRID_PX = 2
#: lengths are learned as multiples of this: about the radius of a cell, so that outputs and their errors are near 1
RAY_UNIT_PX = 16.0
#: features from which rays are answered, as multiples of those of the body: 32 lengths are more than its last ones hold
RAY_FEATURES = 2
#: standard deviation of the initial weights of the heads: features are near 1, and so first answers near 0
HEAD_STD = 0.01


class StarNetwork(AwfBody):
    """Pixel outputs and the lengths of rays.

    Parameters
    ----------
    pixel_channels, rays
        Numbers of outputs.
    width
        Factor on every channel count of the body.

    Notes
    -----
    Rays are answered where the last features of the body lie, which are those of the encoder's stem: its convolution
    of stride 2 has the pixels (0::2, 0::2) in its middle, and rays of neighbouring pixels hardly differ.
    Interpolation to the full size, as in the published network, would mix lengths of rays of different cells, and
    cost as much as the body. A convolution before the rays is StarDist's.
    """

    def __init__(self, pixel_channels: int = 2, rays: int = 32, width: float = 1.0) -> None:
        super().__init__(width)
        self.pixels = nn.Conv2d(self.half_channels, pixel_channels, 1)
        ray_channels = RAY_FEATURES * self.half_channels
        self.ray_features = ConvBlock(self.half_channels, ray_channels, 3)
        self.rays = nn.Conv2d(ray_channels, rays, 1)
        self.initialise()
        for head in (self.pixels, self.rays):
            nn.init.normal_(head.weight, std=HEAD_STD)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w) to pixel outputs (b, p, h, w) and lengths (b, r, h/2, w/2) in units of `RAY_UNIT_PX`.

        h and w are multiples of 32. Lengths are above 0 by softplus, which in contrast to the published ReLU has a
        gradient everywhere: an output below 0 is no dead one.
        """
        _, half = self.features(x)
        return upsample(self.pixels(half)), functional.softplus(self.rays(self.ray_features(half)))
