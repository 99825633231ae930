"""Decoders: from what a network says to labels. Each kind of model has one module here, named after the kind."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from mosaicell.networks.raw import Outputs, Raw
from mosaicell.postprocess.cells import Cells
from mosaicell.postprocess.objects import Labels

#: thresholds of a model's card, by the names in `Decoder.settings`
Settings = Mapping[str, Any]


class Decoder(Protocol):
    """What the program asks of a kind of model. Images may be parts of larger ones.

    Attributes
    ----------
    channels
        What a model's maps are, in their order.
    outputs
        What a model's card must list as its outputs: the channels, and what else there is.
    payload
        Numbers of a candidate behind its box and score.
    slack_px
        Two tiles may place the box of one cell so far apart that each leaves it to the other. Within so many px of the
        border between them both give theirs, of which `keep` chooses one.
    settings, nullable
        The thresholds that a card must have, and those of them whose step null leaves out.
    judged_maps
        So many maps, the first ones, tell how good a cell is; the others can go once the cells are found.
    evidence
        What `describe` says of each cell, in its order.
    misfit
        The one of the evidence that says how far the maps lie from those of the cell's shape; empty where none does.
    """

    channels: tuple[str, ...]
    outputs: tuple[str, ...]
    payload: int
    slack_px: float
    settings: tuple[str, ...]
    nullable: tuple[str, ...]
    judged_maps: int
    evidence: tuple[str, ...]
    misfit: str

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return what a model says about each tile of a batch; candidates that the settings rule out may be missing."""
        ...

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Turn what a model says about a mirrored batch into what it would say about the batch.

        Parameters
        ----------
        axes
            Along which the batch (b, c, y, x) was mirrored.
        shape_px
            Height and width of its tiles.

        Returns
        -------
        Copies of the same shapes, comparable number by number to those of other views.

        Raises
        ------
        OptionError
            When the outputs are of no form that this decoder knows.
        """
        ...

    def keep(self, candidates: np.ndarray, settings: Settings) -> np.ndarray:
        """Return the indices of the candidates that stay beside each other; asked within tiles and between them."""
        ...

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Return what `decode` needs to know of a whole image besides the settings, to decode parts of it.

        Parameters
        ----------
        raw
            Of the image or, where it is too large for that, of a mosaic of its windows.

        Returns
        -------
        Entries of the settings with which `decode` is asked; without them it measures what it is given.
        """
        ...

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Return labels uint32 (y, x), 1..n, without any step that compares cells over a whole image."""
        ...

    def foreground(self, maps: np.ndarray, settings: Settings) -> tuple[np.ndarray, float]:
        """Return the probability (y, x) that a pixel belongs to a cell, and from which one on it is taken for one."""
        ...

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells, those of another kind of model too, against what a model says of the image.

        Parameters
        ----------
        cells
            In px of the maps.
        raw
            The judged maps, and the candidates that were kept.

        Returns
        -------
        float64 (n + 1, len(evidence)), a row for each id; that of the background, and those of ids that do not occur,
        say nothing.
        """
        ...


def list_kinds() -> list[str]:
    """Name all kinds of model."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load_decoder(kind: str) -> Decoder:
    """Return the decoder of a kind of model, one of `list_kinds`; the others are not imported."""
    decoder: Decoder = import_module(f"{__name__}.{kind}").DECODER
    return decoder
