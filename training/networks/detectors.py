"""The four detectors of MDE-CellMask, as published and compact (paper section 4.1)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mosaicell.training.networks.awf import AwfEncoder
from mosaicell.training.networks.rcnn import RCNN
from mosaicell.training.networks.residual import RESNET101_DEPTHS, RESNEXT_GROUPS, RESNEXT_WIDTH, ResNetEncoder
from mosaicell.training.networks.resnest import ResNeStEncoder
from mosaicell.training.networks.swin import SwinEncoder

#: heads of a cascade
CASCADE = 3
#: channels of the pyramid and outputs of the linear layers of a compact detector
COMPACT_WIDTH, COMPACT_HIDDEN = 64, 256
COMPACT_DEPTHS = (2, 2, 2, 2)

#: encoder and number of stages of each detector, by the name of its body, in the order of the paper's figure 2
PUBLISHED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "swin": (SwinEncoder, 1),
    "resnest": (ResNeStEncoder, CASCADE),
    "resnext": (lambda: ResNetEncoder(RESNET101_DEPTHS, RESNEXT_WIDTH, RESNEXT_GROUPS), CASCADE),
    "resnext-one-stage": (lambda: ResNetEncoder(RESNET101_DEPTHS, RESNEXT_WIDTH, RESNEXT_GROUPS), 1),
}
#: stages of the detectors on the AWF body, by the name of the body
ON_AWF = {"awf": 1, "awf-cascade": CASCADE}


def published_detector(body: str, classes: int = 1) -> RCNN:
    """Return a detector at the paper's size, by its name in `PUBLISHED`.

    Parameters
    ----------
    body
        One of `PUBLISHED`.
    classes
        Kinds of object that it tells apart.
    """
    make, stages = PUBLISHED[body]
    return RCNN(make(), stages, classes=classes)


def compact_detector(body: str, width: float = 1.0, pixel_channels: int = 0, network: type[RCNN] = RCNN) -> RCNN:
    """Return a detector that a processor without a GPU runs in reasonable time: of the same architecture, or on AWF.

    Parameters
    ----------
    body
        One of `PUBLISHED` or of `ON_AWF`.
    width
        Factor on every channel count.
    pixel_channels
        As in `RCNN`.
    network
        `RCNN`, or one of its subclasses.
    """
    if body in ON_AWF:
        encoder: nn.Module = AwfEncoder(width)
        pyramid, hidden = (max(16, round(size * width / 8) * 8) for size in (2 * COMPACT_WIDTH, 2 * COMPACT_HIDDEN))
        return network(encoder, ON_AWF[body], pyramid, hidden, pixel_channels=pixel_channels)
    _, stages = PUBLISHED[body]
    channels = max(8, round(32 * width / 8) * 8)
    if body == "swin":
        # heads of 8 channels or of 16
        encoder = SwinEncoder([channels * 2**level for level in range(4)], COMPACT_DEPTHS, 8 if channels % 16 else 16)
    elif body == "resnest":
        encoder = ResNeStEncoder(COMPACT_DEPTHS, channels // 2, channels // 2)
    else:
        encoder = ResNetEncoder(COMPACT_DEPTHS, RESNEXT_WIDTH, groups=channels // 4, stem_channels=channels // 2)
    hidden = max(16, round(COMPACT_HIDDEN * width / 8) * 8)
    pyramid = max(8, round(COMPACT_WIDTH * width / 8) * 8)
    return network(encoder, stages, pyramid, hidden, pixel_channels=pixel_channels)
