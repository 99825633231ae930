"""The mask of the one cell in a crop on the AWF body: smaller crops, and features that know what cells look like."""

from __future__ import annotations

from mosaicell.training.networks.awf import AwfBody
from mosaicell.training.networks.pixel_head import PixelHead

#: side of a crop
CROP_PX = 64


class AwfMasks(PixelHead, AwfBody):
    """Maps crops (b, 3, 64, 64) to logits (b, 1, 64, 64), as `UperNet` does larger ones."""

    crop_px = CROP_PX
    #: head that only training asks for: none
    auxiliary = None

    def __init__(self, width: float = 1.0) -> None:
        super().__init__(1, width=width)
