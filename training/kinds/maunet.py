"""MAUNet models: classes of pixels with an anti-ambiguity proxy, and a distance field (MAUNet paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from mosaicell.errors import OptionError
from mosaicell.training.kinds import Kind
from mosaicell.training.kinds._pixel_head import sum_of_each
from mosaicell.training.maunet_losses import TRUE_CLASSES, MaunetLossWeights, maunet_loss, twin_loss
from mosaicell.training.maunet_targets import CHANNELS, MaunetTargetOptions, maunet_maps
from mosaicell.training.networks.ambiguity_unet import AwfMaunet, AwfTwins, ResidualMaunet, ResidualTwins, Twin
from mosaicell.training.networks.pixel_head import PixelHead
from mosaicell.training.restart import Substitute
from mosaicell.training.targets import Targets, find_pieces

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe

#: by body
NETWORKS: dict[str, type[PixelHead]] = {"awf": AwfMaunet, "residual": ResidualMaunet}
#: the same with a second network beside them, for consistency regularisation
TWINS: dict[str, type[Twin]] = {"awf": AwfTwins, "residual": ResidualTwins}
#: what an exported model answers everywhere for a channel that it did not learn: a proxy whose probability is below
#: that of rounding, and no distance, with which the decoder takes the pieces of the interior (`min_unmarked_px`)
UNLEARNED = {"proxy": -30.0, "distance": 0.0}


class ExportedMaunet(nn.Module):
    """Logits and distance as they are: the softmax comes after the mean over networks, scales and views."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return maps (b, 5, h, w)."""
        return (pixels,)


class MaunetKind(Kind):
    """Logits of interior, boundary, background and proxy, and the distance field.

    A recipe may leave out the proxy, the distance or both, as in table 4 of the paper; see `UNLEARNED`.
    """

    def build_network(self, recipe: Recipe) -> PixelHead:
        """Return a network with a pixel head.

        Raises
        ------
        OptionError
            When the recipe leaves out a class that has pixels, or two networks would start from one model.
        """
        if recipe.pixel_channels[: len(TRUE_CLASSES)] != TRUE_CLASSES:
            raise OptionError(
                f"{recipe.name!r} learns {recipe.pixel_channels}; without {TRUE_CLASSES} there are no cells"
            )
        if recipe.loss.consistency and recipe.start_from:
            raise OptionError(f"{recipe.name!r}: networks that teach each other start from different, random weights")
        networks = TWINS if recipe.loss.consistency else NETWORKS
        return networks[recipe.body](len(recipe.pixel_channels), **recipe.body_options())

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return "pixels"."""
        return {"pixels": maunet_maps(find_pieces(labels), recipe.pixel_channels, recipe.targets)}

    def losses(
        self, answer: Tensor | tuple[Tensor, Tensor], targets: Mapping[str, Tensor], recipe: Recipe, anchors: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of `maunet_loss`, or of `twin_loss` for the answers of two networks."""
        if isinstance(answer, tuple):
            return twin_loss(*answer, targets["pixels"], recipe.pixel_channels, recipe.loss)
        return maunet_loss(answer, targets["pixels"], recipe.pixel_channels, recipe.loss)

    def crop_losses(
        self, answer: Tensor | tuple[Tensor, Tensor], targets: Mapping[str, Tensor], recipe: Recipe
    ) -> Tensor:
        """Return the sum of the losses of each crop, those of the first network alone."""
        first = answer[0] if isinstance(answer, tuple) else answer
        loss = partial(maunet_loss, channels=recipe.pixel_channels, weights=recipe.loss)
        return sum_of_each(loss, (first, targets["pixels"]))

    def missing(self, recipe: Recipe) -> list[str]:
        """Name what the network would have to learn."""
        return [name for name in super().missing(recipe) if name not in UNLEARNED]

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> ExportedMaunet:
        """Return the head for logits and distance; a second network goes."""
        if isinstance(network, Twin):
            network.twin = None
        _complete_rows(network, recipe.pixel_channels)
        return ExportedMaunet()


def _complete_rows(network: nn.Module, learned: tuple[str, ...]) -> None:
    """Give the pixel head of a network all channels, those among them that it did not learn, in place."""
    old = cast("nn.Conv2d", network.pixels)
    head = nn.Conv2d(old.in_channels, len(CHANNELS), 1)
    with torch.no_grad():
        assert head.bias is not None
        assert old.bias is not None
        head.weight.zero_()
        head.bias.copy_(torch.tensor([UNLEARNED.get(name, 0.0) for name in CHANNELS]))
        rows = [CHANNELS.index(name) for name in learned]
        head.weight[rows], head.bias[rows] = old.weight, old.bias
    network.pixels = head


KIND = MaunetKind(
    channels=CHANNELS,
    learnable=CHANNELS,
    # the energy is about 0 at the rim of a cell and 2 or more in its middle
    substitutes={
        "interior": Substitute("foreground", factor=1.0, offset=-1.0),
        "background": Substitute("foreground", factor=-1.0, offset=0.0),
        "distance": Substitute("energy", factor=0.4, offset=0.0),
    },
    bodies=tuple(NETWORKS),
    anchors=0,
    loss=MaunetLossWeights,
    outputs={"maps": {0: "batch", 2: "height", 3: "width"}},
    settings={
        "foreground_threshold": 0.5,
        "interior_threshold": 0.5,
        "marker_threshold": 0.75,
        "peak_threshold": 0.5,
        "min_marker_px": 16,
        "min_unmarked_px": 30,
        "min_cell_px": 10,
        "min_size_fraction": 0.1,
        "max_hole_fraction": 0.1,
    },
    scale_rule="fit",
    loose={},
    grids={
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6, 0.7],
        "interior_threshold": [0.3, 0.4, 0.5, 0.6, 0.7],
        "marker_threshold": [0.6, 0.65, 0.7, 0.75, 0.8, 0.85],
        "peak_threshold": [0.3, 0.4, 0.5, 0.6],
        "min_marker_px": [4, 8, 16, 32],
        "min_unmarked_px": [None, 8, 16, 30, 60],
        "min_cell_px": [5, 10, 20, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
    },
    targets=MaunetTargetOptions,
    window_px=512,
)
