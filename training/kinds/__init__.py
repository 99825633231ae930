"""Kinds of model in training: network, targets, losses, exported heads, settings. Each has one module here.

A kind is named as its decoder in mosaicell/decoders.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from mosaicell.training.restart import Substitute
from mosaicell.training.targets import Targets

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe


@dataclass(frozen=True)
class NoOptions:
    """A section of a recipe in which there is nothing to say."""


#: values that the tuner tries for each threshold, one threshold after the other
Grids = Mapping[str, list[float | None]]


@dataclass(frozen=True)
class Kind(ABC):
    """What training asks of a kind of model.

    A recipe's network, its answer and its targets are private to its kind: they go from one method to the other.

    Attributes
    ----------
    channels
        What the exported model's maps are, in the order of its decoder.
    learnable
        Pixel channels that a recipe of this kind may ask for, in their order in the network; `channels` are among them,
        and none goes without the first.
    substitutes
        From which other channel's outputs a channel starts that the parent of a recipe did not learn.
    bodies
        Bodies that a recipe of this kind may have, the default first; see `networks.body`.
    anchors
        How many anchor boxes a recipe has that says nothing of them; 0 for networks without boxes.
    loss
        The dataclass of a recipe's section [loss].
    outputs
        The ONNX outputs in their order, with the names of those of their axes whose length varies.
    settings
        Thresholds of the decoder in a new card.
    scale_rule
        How inference finds the scale of an image, in a new card.
    loose
        Settings under which candidates are kept for the tuner: those of its grids must only sort out more.
    grids
        For the tuner.
    targets
        The dataclass of a recipe's section [targets].
    window_px, overlap_fraction
        Largest side of a tile and smallest overlap of tiles, in a new card; a multiple of `NETWORK_STRIDE`.
    """

    channels: tuple[str, ...]
    learnable: tuple[str, ...]
    substitutes: Mapping[str, Substitute]
    bodies: tuple[str, ...]
    anchors: int
    loss: type[Any]
    outputs: Mapping[str, Mapping[int, str]]
    settings: Mapping[str, Any]
    scale_rule: str
    loose: Mapping[str, Any]
    grids: Grids
    targets: type[Any] = NoOptions
    #: Cell Segmenter paper, section 3.2.2
    window_px: int = 640
    overlap_fraction: float = 0.125

    @abstractmethod
    def build_network(self, recipe: Recipe) -> nn.Module:
        """Return the untrained network of a recipe of this kind; it maps images (b, 3, h, w) to an answer."""

    @abstractmethod
    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return what the network should answer for a crop.

        Parameters
        ----------
        labels
            Integer (y, x).
        full_areas
            As in `targets.visible_boxes`.
        recipe
            Of this kind.
        """

    @abstractmethod
    def losses(self, answer: Any, targets: Mapping[str, Tensor], recipe: Recipe, anchors: Tensor) -> dict[str, Tensor]:
        """Return the weighted loss terms of a batch, whose sum is what the training lowers."""

    @abstractmethod
    def crop_losses(self, answer: Any, targets: Mapping[str, Tensor], recipe: Recipe) -> Tensor:
        """Return how hard each crop of a batch is, (b,), on the CPU."""

    def missing(self, recipe: Recipe) -> list[str]:
        """Name what the network of a recipe would have to learn to answer as a model of this kind."""
        boxes = ["boxes"] if self.anchors and not recipe.anchors else []
        return sorted(set(self.channels) - set(recipe.pixel_channels)) + boxes

    def card_entries(self, recipe: Recipe, old: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a new card says beside what all cards do; `old` is the one of an earlier version, or empty."""
        return {}

    @abstractmethod
    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> nn.Module:
        """Return what turns the answer of a recipe's network into the outputs of a model of this kind.

        Heads of the network may be replaced, in place.
        """


def list_kinds() -> list[str]:
    """Name all kinds of model that can be trained."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_kind(name: str) -> Kind:
    """Return a kind of model, one of `list_kinds`."""
    kind: Kind = import_module(f"{__name__}.{name}").KIND
    return kind


def default_kind(anchors: int) -> str:
    """Name the kind of model that a recipe trains which says only how many anchors it has."""
    return "awf" if anchors else "omnipose"
