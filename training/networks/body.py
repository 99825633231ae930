"""What stands before the heads of a network: a body, which all heads can be put on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

#: input height and width must be multiples of this
NETWORK_STRIDE = 32
#: names of what networks have behind their body, or beside it
HEADS = ("detection", "pixels", "rays", "ray_features", "twin", "teacher")
#: standard deviation of the initial weights of heads: features are near 1, and so first answers near 0
HEAD_STD = 0.01


class Body(nn.Module, ABC):
    """Encoder and decoder; a subclass adds heads to them.

    Attributes
    ----------
    grid_channels, fine_channels
        Channels of the two kinds of `features`.
    fine_stride
        Pixels between the fine features, in y and x.
    """

    grid_channels: int
    fine_channels: int
    fine_stride: ClassVar[int]

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (b, 3, h, w), h and w multiples of 32, to features at an eighth of the size and to fine ones."""

    @abstractmethod
    def enlarge(self, x: Tensor) -> Tensor:
        """Map (b, c, h, w) where the fine features lie to the size of the image, bilinear."""

    def initialise(self) -> None:
        """Draw all weights; a subclass calls this once its heads are there, and then `initialise_head` for those."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def initialise_head(head: nn.Conv2d) -> None:
    """Draw small weights: with those of a layer among others the first answers, and their losses, would be large."""
    nn.init.normal_(head.weight, std=HEAD_STD)
