"""UperNet on a Swin transformer: the mask of the one cell in a crop (Xiao et al. 2018; MDE-CellMask, section 4.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.awf import plain_convolution
from mosaicell.training.networks.roi_align import roi_align
from mosaicell.training.networks.swin import SwinEncoder

#: side of a crop
CROP_PX = 128
#: pixels between the features of the coarsest level
COARSEST_STRIDE = 32
#: sides to which the coarsest features are pooled
POOLED = (1, 2, 3, 6)
#: channels of the published network, and of its auxiliary head
WIDTH, AUXILIARY_WIDTH = 512, 256
#: level that the auxiliary head sees
AUXILIARY_LEVEL = 2
#: of the compact network: channels and blocks of the encoder, channels of a head, channels of what follows
COMPACT_CHANNELS, COMPACT_DEPTHS, COMPACT_HEAD, COMPACT_WIDTH = (32, 64, 128, 256), (2, 2, 2, 2), 16, 64


class PooledContext(nn.Module):
    """Features beside means over ever smaller parts of the crop (the pyramid pooling of PSPNet).

    Parameters
    ----------
    inputs, outputs
        Numbers of channels.
    side
        Of the features.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.parts = nn.ModuleList(_convolve(inputs, outputs, 1) for _ in POOLED)
        self.join = _convolve(inputs + len(POOLED) * outputs, outputs, 3)
        for pooled in POOLED:
            self.register_buffer(f"means{pooled}", mean_matrix(side, pooled), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, side, side) to (b, outputs, side, side)."""
        parts = [x]
        for pooled, convolve in zip(POOLED, self.parts, strict=True):
            means = self.get_buffer(f"means{pooled}")
            part = convolve(means @ x @ means.T)
            parts.append(functional.interpolate(part, (self.side, self.side), mode="bilinear", align_corners=False))
        joined: Tensor = self.join(torch.cat(parts, 1))
        return joined


class UperNet(nn.Module):
    """A pyramid of features whose coarsest level sees the whole crop, and all levels together.

    Parameters
    ----------
    encoder
        Maps images to four levels of features, and has their `channels`.
    width
        Channels of each level.
    classes
        Outputs of each pixel.
    crop_px
        Side of the crops, a multiple of 32.
    auxiliary
        Channels of a head on the third level that only training asks for; 0 leaves it out.
    """

    def __init__(
        self,
        encoder: nn.Module,
        width: int = WIDTH,
        classes: int = 1,
        crop_px: int = CROP_PX,
        auxiliary: int = AUXILIARY_WIDTH,
    ) -> None:
        super().__init__()
        self.encoder, self.crop_px = encoder, crop_px
        channels: list[int] = encoder.channels  # type: ignore[assignment]
        self.context = PooledContext(channels[-1], width, crop_px // COARSEST_STRIDE)
        self.lateral = nn.ModuleList(_convolve(inputs, width, 1) for inputs in channels[:-1])
        self.smooth = nn.ModuleList(_convolve(width, width, 3) for _ in channels[:-1])
        self.join = _convolve(len(channels) * width, width, 3)
        self.classify = nn.Conv2d(width, classes, 1)
        self.auxiliary = (
            nn.Sequential(_convolve(channels[AUXILIARY_LEVEL], auxiliary, 3), nn.Conv2d(auxiliary, classes, 1))
            if auxiliary
            else None
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Map crops (b, 3, s, s) to logits (b, classes, s, s); in train mode also to those of the auxiliary head."""
        levels = self.encoder(x)
        summed = [lateral(level) for lateral, level in zip(self.lateral, levels[:-1], strict=True)]
        summed.append(self.context(levels[-1]))
        for fine in reversed(range(len(summed) - 1)):
            summed[fine] = summed[fine] + _enlarge(summed[fine + 1], 2)
        smooth = [smooth(level) for smooth, level in zip(self.smooth, summed[:-1], strict=True)]
        enlarged = [_enlarge(level, 2**step) for step, level in enumerate((*smooth, summed[-1]))]
        logits = _enlarge(self.classify(self.join(torch.cat(enlarged, 1))), 4)
        if self.training and self.auxiliary is not None:
            return logits, _enlarge(self.auxiliary(levels[AUXILIARY_LEVEL]), 4 * 2**AUXILIARY_LEVEL)
        return logits


def published_upernet(classes: int = 1) -> UperNet:
    """Return UperNet on Swin-T at the paper's size."""
    return UperNet(SwinEncoder(), classes=classes)


def compact_upernet(width: float = 1.0) -> UperNet:
    """Return a network of the same architecture for processors without a GPU; `width` is a factor on its channels."""
    channels = [max(COMPACT_HEAD, round(c * width / COMPACT_HEAD) * COMPACT_HEAD) for c in COMPACT_CHANNELS]
    encoder = SwinEncoder(channels, COMPACT_DEPTHS, COMPACT_HEAD)
    outputs = max(8, round(COMPACT_WIDTH * width / 8) * 8)
    return UperNet(encoder, outputs, auxiliary=outputs)


def cut_crops(image: Tensor, boxes: Tensor, crop_px: int) -> Tensor:
    """Cut the boxes (n, 4) out of an image (1, c, h, w), each resized to a square (n, c, crop_px, crop_px)."""
    return roi_align([image], 1, boxes, crop_px)


def _convolve(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(plain_convolution(inputs, outputs, kernel, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _enlarge(x: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return x
    return functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def mean_matrix(side: int, parts: int) -> Tensor:
    """Return the matrix (parts, side) of means over parts that may overlap, as adaptive pooling has them.

    A graph has no such pooling where the parts are no divisor of the side.
    """
    matrix = np.zeros((parts, side), np.float32)
    for part, row in enumerate(matrix):
        first, last = part * side // parts, -(-(part + 1) * side // parts)
        row[first:last] = 1 / (last - first)
    return torch.from_numpy(matrix)
