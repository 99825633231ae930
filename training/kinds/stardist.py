"""StarDist models: object probabilities and star-convex polygons (sribdmed paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from mosaicell.training.kinds import Kind
from mosaicell.training.kinds._pixel_head import pick_rows, sum_of_each
from mosaicell.training.networks.star import RAY_UNIT_PX, ConvNextStarNetwork, StarHeads, StarNetwork
from mosaicell.training.restart import Substitute
from mosaicell.training.star_losses import StarLossWeights, star_loss
from mosaicell.training.star_targets import star_distances
from mosaicell.training.targets import Targets, find_pieces, pixel_targets

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe

#: ray k points to the angle 2 pi k / RAYS, 0 along x and a quarter along y
RAYS = 32
#: by body
NETWORKS: dict[str, type[StarHeads]] = {"awf": StarNetwork, "convnext": ConvNextStarNetwork}


class StarHead(nn.Module):
    """Probabilities, and rays in px."""

    def forward(self, answer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return maps (b, 2, h, w) and the lengths (b, 32, h/s, w/s) of rays from the pixels (0::s, 0::s), in px."""
        pixels, rays = answer
        return pixels.sigmoid(), rays * RAY_UNIT_PX


class StarKind(Kind):
    """Foreground, object probability, and distances along rays to the outline of the cell."""

    def build_network(self, recipe: Recipe) -> StarHeads:
        """Return a network with a pixel head and rays."""
        return NETWORKS[recipe.body](len(recipe.pixel_channels), RAYS, **recipe.body_options())

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return "pixels" and "rays" float32 (32, y/s, x/s) in px, s the stride of the fine features of the body."""
        pieces = find_pieces(labels)
        rays = star_distances(pieces, NETWORKS[recipe.body].fine_stride, RAYS)
        return {"pixels": pixel_targets(pieces, recipe.pixel_channels), "rays": rays}

    def losses(
        self, answer: tuple[Tensor, Tensor], targets: Mapping[str, Tensor], recipe: Recipe, anchors: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of `star_loss`."""
        return star_loss(*answer, targets["pixels"], targets["rays"], recipe.loss)

    def crop_losses(self, answer: tuple[Tensor, Tensor], targets: Mapping[str, Tensor], recipe: Recipe) -> Tensor:
        """Return the sum of the losses of each crop."""
        arrays = (*answer, targets["pixels"], targets["rays"])
        return sum_of_each(partial(star_loss, weights=recipe.loss), arrays)

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> StarHead:
        """Return the head for probabilities and rays."""
        pick_rows(network, recipe.pixel_channels, self.channels)
        return StarHead()


KIND = StarKind(
    channels=("foreground", "object_probability"),
    learnable=("foreground", "object_probability"),
    # both are distances to the background, the energy in units of the median of the cell; fitted to labels
    substitutes={"object_probability": Substitute("energy", factor=2.5, offset=-4.0)},
    bodies=tuple(NETWORKS),
    anchors=0,
    loss=StarLossWeights,
    outputs={
        "maps": {0: "batch", 2: "height", 3: "width"},
        "rays": {0: "batch", 2: "grid_height", 3: "grid_width"},
    },
    settings={
        "foreground_threshold": 0.5,
        "probability_threshold": 0.5,
        "nms_threshold": 0.4,
        "max_growth_px": None,
        "min_cell_px": 10,
        "min_size_fraction": 0.0,
        "max_hole_fraction": 0.1,
    },
    scale_rule="boxes",
    loose={"probability_threshold": 0.2, "nms_threshold": 0.7},
    grids={
        "probability_threshold": [0.3, 0.4, 0.5, 0.6, 0.7],
        "nms_threshold": [0.2, 0.3, 0.4, 0.5, 0.6],
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6],
        "max_growth_px": [None, 1, 2, 4, 8],
        "min_cell_px": [5, 10, 20, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
    },
)
