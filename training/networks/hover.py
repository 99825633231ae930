"""Networks of distance maps: a body with a pixel head."""

from __future__ import annotations

from mosaicell.training.networks.awf import AwfBody
from mosaicell.training.networks.convnext_unet import ConvNextUnet
from mosaicell.training.networks.pixel_head import PixelHead


class HoverNetwork(PixelHead, AwfBody):
    """Distance maps on the AWF body."""


class ConvNextHoverNetwork(PixelHead, ConvNextUnet):
    """Distance maps on the ConvNeXt-UNet."""
