"""Cellpose models: foreground, flows to the middle of the cell, and style (cvml paper, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mosaicell.training.cellpose_losses import FLOW_FACTOR, CellposeLossWeights, cellpose_loss
from mosaicell.training.kinds import Kind
from mosaicell.training.kinds._pixel_head import answer_maps, pick_rows, sum_of_each
from mosaicell.training.networks.cellpose import (
    AwfCellposeNetwork,
    CellposeHeads,
    CellposeNetwork,
    GreenBlueCellposeNetwork,
    MergedCellposeNetwork,
)
from mosaicell.training.targets import Targets, find_pieces, pixel_targets

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe

#: by body
NETWORKS: dict[str, type[CellposeHeads]] = {
    "cellpose": CellposeNetwork,
    "awf": AwfCellposeNetwork,
    "awf-green-blue": GreenBlueCellposeNetwork,
    "awf-merged": MergedCellposeNetwork,
}


class ExportedCellpose(nn.Module):
    """Probability, flows of their own length, and style."""

    def forward(self, answer: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Return maps (b, 3, h, w) and styles (b, s)."""
        pixels, style = answer
        foreground, flow = answer_maps(pixels, 1).split((1, 2), 1)
        return torch.cat((foreground, flow / FLOW_FACTOR), 1), style


class CellposeKind(Kind):
    """Foreground, and flows up the heat that spreads from the middle of the cell."""

    def build_network(self, recipe: Recipe) -> CellposeHeads:
        """Return a network with a pixel head and a style."""
        return NETWORKS[recipe.body](len(recipe.pixel_channels), **recipe.body_options())

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return "pixels"."""
        return {"pixels": pixel_targets(find_pieces(labels), recipe.pixel_channels)}

    def losses(
        self, answer: tuple[Tensor, Tensor], targets: Mapping[str, Tensor], recipe: Recipe, anchors: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of `cellpose_loss`; nothing is asked of the style."""
        return cellpose_loss(answer[0], targets["pixels"], recipe.loss)

    def crop_losses(self, answer: tuple[Tensor, Tensor], targets: Mapping[str, Tensor], recipe: Recipe) -> Tensor:
        """Return the sum of the losses of each crop."""
        return sum_of_each(partial(cellpose_loss, weights=recipe.loss), (answer[0], targets["pixels"]))

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> ExportedCellpose:
        """Return the head for foreground, flows and style."""
        pick_rows(network, recipe.pixel_channels, self.channels)
        return ExportedCellpose()


KIND = CellposeKind(
    channels=("foreground", "heat_flow_y", "heat_flow_x"),
    learnable=("foreground", "heat_flow_y", "heat_flow_x"),
    substitutes={},
    bodies=tuple(NETWORKS),
    anchors=0,
    loss=CellposeLossWeights,
    outputs={"maps": {0: "batch", 2: "height", 3: "width"}, "style": {0: "batch"}},
    settings={
        "foreground_threshold": 0.5,
        "flow_threshold": 0.4,
        "steps": 200,
        "min_cell_px": 15,
        "min_size_fraction": 0.0,
        "max_hole_fraction": 1.0,
    },
    scale_rule="full size",
    loose={},
    grids={
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6],
        "flow_threshold": [None, 0.2, 0.3, 0.4, 0.6, 0.8],
        "min_cell_px": [5, 10, 15, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
    },
    window_px=512,
)
