"""Omnipose-style models of the Cell Segmenter: foreground, boundary and flows (paper section 2.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from mosaicell.training.kinds._pixel_head import answer_maps, pick_rows
from mosaicell.training.kinds.awf import AwfKind
from mosaicell.training.losses import LEARNABLE, LossWeights
from mosaicell.training.networks.awf import AWF

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe


class OmniposeHead(nn.Module):
    """Probabilities and flows."""

    def forward(self, answer: tuple[Tensor | None, Tensor]) -> tuple[Tensor, ...]:
        """Return maps (b, 4, h, w)."""
        return (answer_maps(answer[1], 2),)


class OmniposeKind(AwfKind):
    """The network of an AWF model without boxes, with other pixel channels."""

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> nn.Module:
        """Return the head for foreground, boundary and flows."""
        pick_rows(network, recipe.pixel_channels, self.channels)
        assert isinstance(network, AWF)
        network.detection = None
        return OmniposeHead()


KIND = OmniposeKind(
    channels=("foreground", "boundary", "flow_y", "flow_x"),
    learnable=LEARNABLE,
    substitutes={},
    bodies=("awf",),
    anchors=0,
    loss=LossWeights,
    outputs={"maps": {0: "batch", 2: "height", 3: "width"}},
    settings={
        "foreground_threshold": 0.5,
        "boundary_threshold": 0.15,
        "flow_threshold": 0.4,
        "min_cell_px": 10,
        "min_size_fraction": 0.2,
    },
    scale_rule="full size",
    loose={},
    grids={
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6],
        "boundary_threshold": [0.08, 0.1, 0.15, 0.2, 0.3, 0.5],
        "flow_threshold": [0.1, 0.2, 0.3, 0.4, 0.6, 1.0],
        "min_cell_px": [5, 10, 20, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
    },
)
