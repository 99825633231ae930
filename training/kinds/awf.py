"""AWF models of the Cell Segmenter: foreground, energy and boxes (paper section 2.2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mosaicell.training.kinds import Kind
from mosaicell.training.kinds._pixel_head import answer_maps, pick_rows
from mosaicell.training.losses import (
    BOX_FIELDS,
    LEARNABLE,
    LossWeights,
    crop_losses,
    decode_boxes,
    detection_loss,
    pixel_loss,
)
from mosaicell.training.networks.awf import AWF
from mosaicell.training.targets import Targets, find_pieces, pixel_targets, visible_boxes

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe


class AwfHead(nn.Module):
    """Probabilities, and boxes decoded from the detection logits."""

    anchors: Tensor

    def __init__(self, anchors: Tensor) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)

    def forward(self, answer: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Return maps (b, 2, h, w) and boxes (b, n, 5) as (y0, x0, y1, x1, confidence), in px."""
        detection, pixels = answer
        boxes, objectness = decode_boxes(detection, self.anchors)
        half = boxes[..., 2:] / 2
        corners = torch.cat((boxes[..., :2] - half, boxes[..., :2] + half, objectness.sigmoid()[..., None]), -1)
        return answer_maps(pixels, 1), corners.flatten(1, 3)


class AwfKind(Kind):
    """Foreground, energy and boxes; a recipe may learn more pixel channels, for fine-tunes that start from it."""

    def build_network(self, recipe: Recipe) -> AWF:
        """Return an AWF network."""
        return AWF(len(recipe.pixel_channels), recipe.anchors * BOX_FIELDS, recipe.width)

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return "pixels" and "boxes"."""
        pieces = find_pieces(labels)
        return {
            "pixels": pixel_targets(pieces, recipe.pixel_channels),
            "boxes": visible_boxes(pieces, labels, full_areas),
        }

    def losses(
        self, answer: tuple[Tensor | None, Tensor], targets: Mapping[str, Tensor], recipe: Recipe, anchors: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of the pixel channels and, with a detection head, of the boxes."""
        detection, pixels = answer
        losses = pixel_loss(pixels, targets["pixels"], recipe.pixel_channels, recipe.loss)
        if detection is not None:
            losses |= detection_loss(detection, targets["boxes"], anchors, recipe.loss)
        return losses

    def crop_losses(
        self, answer: tuple[Tensor | None, Tensor], targets: Mapping[str, Tensor], recipe: Recipe
    ) -> Tensor:
        """Return the sum of the pixel losses of each crop."""
        return crop_losses(answer[1], targets["pixels"], recipe.pixel_channels, recipe.loss)

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> nn.Module:
        """Return the head for foreground, energy and boxes."""
        pick_rows(network, recipe.pixel_channels, self.channels)
        return AwfHead(anchors)


KIND = AwfKind(
    channels=("foreground", "energy"),
    learnable=LEARNABLE,
    substitutes={},
    bodies=("awf",),
    anchors=3,
    loss=LossWeights,
    outputs={"maps": {0: "batch", 2: "height", 3: "width"}, "boxes": {0: "batch", 1: "candidates"}},
    settings={
        "foreground_threshold": 0.5,
        "score_threshold": 0.2,
        "box_iou_threshold": 0.3,
        "contained_fraction": 0.8,
        "e1": 0.8,
        "e2": 1.25,
        "min_marker_px": 5,
        "min_unmarked_px": 30,
        "min_cell_px": 10,
        "min_size_fraction": 0.0,
        "max_hole_fraction": 0.1,
        "max_energy_error": 0.6,
    },
    scale_rule="boxes",
    loose={"score_threshold": 0.05, "box_iou_threshold": 0.7},
    grids={
        "score_threshold": [0.1, 0.15, 0.2, 0.25, 0.3, 0.4],
        "box_iou_threshold": [0.2, 0.25, 0.3, 0.35, 0.45, 0.55],
        "contained_fraction": [0.6, 0.7, 0.8, 0.9, 1.0],
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6],
        "e1": [0.5, 0.65, 0.8, 0.95],
        "e2": [1.0, 1.25, 1.5, 1.75, 3.0],
        "min_unmarked_px": [None, 15, 30, 60, 120],
        "min_cell_px": [5, 10, 20, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
        "max_energy_error": [0.2, 0.3, 0.4, 0.6, 1.0, None],
    },
)
