"""Systems: which networks see an image, and whose cells count. Each system has one module here, named after it."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np

from mosaicell.answers.artefacts import Scene
from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Sizes
from mosaicell.answers.slide import Slide
from mosaicell.errors import OptionError

#: an answer of a lower predicted F1 is doubtful: two of the validation images are, and their F1 is 0.13 and 0
DOUBTFUL_F1 = 0.2
#: one of a lower predicted F1 is left out: no validation image has one, noise has
HOPELESS_F1 = 0.08
#: the way to choose for which a system is given judges
JUDGED_WAY = "cells"


@dataclass
class Choice:
    """A system's answer for one image.

    Attributes
    ----------
    branch
        Name of the model that gave most cells of the answer; of two that gave as many, the first.
    cells
        How many cells each branch that ran gave to the answer, by model name.
    confidences
        Of every branch that ran, by model name; on a mosaic where the image is not held whole.
    predicted_f1
        What the judges expect; None without judges or cells.
    seconds
        Wall time by stage, summed over the branches; "sample" is what was looked at before bands.
    sources
        uint8 (n,), of the ids from 1: the branch that a cell is from, by its place in `cells`; None where all are from
        `branch`.
    likelihoods
        float32 (n,), of the ids from 1: how likely the judges find a cell, without judges how sure the branch is of it;
        None where neither is known.
    left_out
        How many cells of blood `cell_filter.filter_cells` took away.
    counterstain
        The networks saw the section without its brown.
    """

    labels: np.ndarray
    branch: str
    cells: dict[str, int]
    confidences: dict[str, float]
    predicted_f1: float | None
    seconds: dict[str, float]
    scale: float
    sources: np.ndarray | None = None
    likelihoods: np.ndarray | None = None
    left_out: int = 0
    counterstain: bool = False

    @property
    def doubtful(self) -> bool:
        """The judges expect most of the answer to be wrong; never so where they say nothing."""
        return self.predicted_f1 is not None and self.predicted_f1 < DOUBTFUL_F1


class Case(Protocol):
    """The image at hand."""

    @property
    def way(self) -> str:
        """How it is asked to choose, one of the system's ways."""

    @property
    def shape_px(self) -> tuple[int, int]:
        """Height and width of the image."""

    @property
    def modality(self) -> str:
        """What kind of image it is, as `modality.analyse_sample` says."""

    @property
    def scene(self) -> Scene:
        """What the answers are held against."""

    @property
    def largest_scale(self) -> float:
        """At which the image is looked at; `segment` takes larger ones for it."""

    def holds(self, scale: float) -> bool:
        """Say whether `segment` sees the whole image at a scale, not a mosaic of windows."""

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Segment what is looked at of the image.

        Parameters
        ----------
        name
            Of the model.
        scale
            With None the model chooses.
        tta
            Use test-time augmentation.
        """

    def classify(self, name: str) -> np.ndarray:
        """Return the probabilities float32 (classes,) that a classifier gives the image, or the mosaic of a slide."""

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Segment all of the image band by band.

        Parameters
        ----------
        names, scale, tta
            Of one model, or of those whose cells the judges merge; otherwise as in `segment`.
        sizes
            Of the cells that each branch found in what was looked at, at that scale.
        judges
            None for one model whose cells all count.
        """


class System(Protocol):
    """What the program asks of a system.

    Attributes
    ----------
    models
        Names of all models that it may ask for.
    models_at_once
        How many of them one image needs at most.
    ways
        How it may choose, as `--choose-by` takes it; the first is the default.
    judged
        Kinds of the models whose cells are judged by the way `JUDGED_WAY`; empty where it does not know that way.
    """

    models: tuple[str, ...]
    models_at_once: int
    ways: tuple[str, ...]
    judged: tuple[str, ...]

    def answer(self, case: Case, judges: Judges | None, *, tta: bool) -> Choice:
        """Segment an image.

        Parameters
        ----------
        case
            The image.
        judges
            By what they judge; None where `--choose-by` is another way.
        tta
            Use test-time augmentation for what counts.
        """
        ...

    def branches(self, case: Case) -> tuple[str, ...]:
        """Name the models whose cells are judged and merged where judges choose; the first finds the scale."""
        ...

    def glance(self, case: Case, judges: Judges | None) -> Choice:
        """Answer at once for what is looked at of an image, to compare it with others."""
        ...


def list_systems() -> list[str]:
    """Name all systems."""
    modules = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return sorted(name.replace("_", "-") for name in modules)


def load_system(name: str) -> System:
    """Return a system by the name that `--system` takes, one of `list_systems`; the others are not imported."""
    system: System = import_module(f"{__name__}.{name.replace('-', '_')}").SYSTEM
    return system


def choose_way(name: str, asked: str) -> str:
    """Return the way in which a system chooses: the one that is asked for, its first for an empty text.

    Raises
    ------
    OptionError
        When the system does not know that way.
    """
    ways = load_system(name).ways
    if asked and asked not in ways:
        raise OptionError(f"{name} does not choose by {asked!r}; it chooses by {' or '.join(ways)}")
    return asked or ways[0]
