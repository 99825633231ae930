"""HoVer models: foreground, and distances from the centre of the cell (sribdmed paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from mosaicell.training.hover_losses import HoverLossWeights, hover_loss
from mosaicell.training.kinds import Kind
from mosaicell.training.kinds._pixel_head import answer_maps, pick_rows, sum_of_each
from mosaicell.training.networks.hover import ConvNextHoverNetwork, HoverNetwork
from mosaicell.training.networks.pixel_head import PixelHead
from mosaicell.training.targets import Targets, find_pieces, pixel_targets

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe


#: by body
NETWORKS: dict[str, type[PixelHead]] = {"awf": HoverNetwork, "convnext": ConvNextHoverNetwork}


class ExportedHover(nn.Module):
    """Probability and distances."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return maps (b, 3, h, w)."""
        return (answer_maps(pixels, 1),)


class HoverKind(Kind):
    """Foreground, and horizontal and vertical distances from the centre of the cell.

    The paper's softmax over cell and background is the sigmoid of the difference of both: one channel is enough.
    """

    def build_network(self, recipe: Recipe) -> PixelHead:
        """Return a network with a pixel head."""
        return NETWORKS[recipe.body](len(recipe.pixel_channels), **recipe.body_options())

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return "pixels"."""
        return {"pixels": pixel_targets(find_pieces(labels), recipe.pixel_channels)}

    def losses(
        self, answer: Tensor, targets: Mapping[str, Tensor], recipe: Recipe, anchors: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of `hover_loss`."""
        return hover_loss(answer, targets["pixels"], recipe.loss)

    def crop_losses(self, answer: Tensor, targets: Mapping[str, Tensor], recipe: Recipe) -> Tensor:
        """Return the sum of the losses of each crop."""
        return sum_of_each(partial(hover_loss, weights=recipe.loss), (answer, targets["pixels"]))

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> ExportedHover:
        """Return the head for foreground and distances."""
        pick_rows(network, recipe.pixel_channels, self.channels)
        return ExportedHover()


KIND = HoverKind(
    channels=("foreground", "horizontal", "vertical"),
    learnable=("foreground", "horizontal", "vertical"),
    substitutes={},
    bodies=tuple(NETWORKS),
    anchors=0,
    loss=HoverLossWeights,
    outputs={"maps": {0: "batch", 2: "height", 3: "width"}},
    settings={
        "foreground_threshold": 0.5,
        "marker_threshold": 0.03,
        "min_marker_px": 10,
        "min_cell_px": 10,
        "min_size_fraction": 0.0,
        "max_hole_fraction": 0.1,
    },
    scale_rule="full size",
    loose={},
    grids={
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6],
        "marker_threshold": [0.0, 0.02, 0.03, 0.05, 0.1],
        "min_marker_px": [5, 10, 20, 40],
        "min_cell_px": [5, 10, 20, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
    },
)
