"""Recipes: one TOML file says how one network is trained."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mosaicell.errors import OptionError
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.kinds import Kind, NoOptions, default_kind, list_kinds, load_kind
from mosaicell.training.recipe_values import check_values, read_section
from mosaicell.training.sampling import SamplingOptions
from mosaicell.training.targets import Targets

RECIPE_FOLDER = Path(__file__).parent / "recipes"
#: what the section [network] may hold
NETWORK_ENTRIES: dict[str, Any] = {
    "kind": str,
    "body": str,
    "start_from": str,
    "width": float,
    "depths": tuple[int, ...],
    "pixel_channels": tuple[str, ...],
    "anchors": int,
}
#: AdamW, and stochastic gradient descent with Nesterov's momentum of 0.9
OPTIMIZERS = ("adamw", "sgd")
BODY_NAMES = {
    "awf": "AWF",
    "cellpose": "Cellpose U-Net",
    "convnext": "ConvNeXt-UNet",
    "residual": "residual",
    "swin": "Faster R-CNN on Swin",
    "resnext": "Cascade R-CNN on ResNeXt",
    "resnest": "Cascade R-CNN on ResNeSt",
    "resnext-one-stage": "Faster R-CNN on ResNeXt",
    "upernet": "UperNet on Swin",
    "awf-green-blue": "AWF (green and blue)",
    "awf-merged": "AWF (merged channels)",
    "awf-cascade": "AWF",
    "awf-masks": "AWF",
}


@dataclass(frozen=True)
class Schedule:
    """Optimisation under a cosine schedule that follows the wall clock.

    Attributes
    ----------
    steps
        Where not 0 the schedule follows the steps and ends after so many, whatever the hours: the same training on any
        machine, and comparisons at equal numbers of steps.
    optimizer
        One of `OPTIMIZERS`.
    """

    hours: float = 1.0
    steps: int = 0
    optimizer: str = "adamw"
    batch_size: int = 8
    learning_rate: float = 2e-3
    final_rate_fraction: float = 0.01
    warmup_steps: int = 200
    weight_decay: float = 0.02
    ema_decay: float = 0.998
    seed: int = 1


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes
    ----------
    kind
        Of the model that is trained, one of `list_kinds`.
    start_from
        Name of the recipe whose trained weights are the start; empty for random weights.
    pixel_channels
        Outputs of the pixel head, some of `Kind.learnable` in their order.
    anchors
        Number of anchors of the detection head, 0 without that head.
    loss
        Weights of the losses, a `Kind.loss`.
    body
        One of `Kind.bodies`.
    width
        Factor on the channel counts of the body.
    depths
        Blocks in the four stages of a ConvNeXt body, those of ConvNeXt-small when empty.
    targets
        How they are made, a `Kind.targets`.
    """

    name: str
    kind: str
    start_from: str
    width: float
    pixel_channels: tuple[str, ...]
    anchors: int
    schedule: Schedule
    sampling: SamplingOptions
    augment: AugmentOptions
    loss: Any
    body: str = "awf"
    depths: tuple[int, ...] = ()
    targets: Any = field(default_factory=NoOptions)

    def load_kind(self) -> Kind:
        """Return the kind of model that is trained."""
        return load_kind(self.kind)

    def body_options(self) -> dict[str, Any]:
        """Return the parameters of the body."""
        return {"width": self.width} | ({"depths": self.depths} if self.depths else {})

    def describe_body(self) -> str:
        """Name the body with its size."""
        depths = f", depths {'-'.join(map(str, self.depths))}" if self.depths else ""
        return f"{BODY_NAMES[self.body]} body, width {self.width:g}{depths}"

    def build_network(self) -> nn.Module:
        """Return the untrained network."""
        return self.load_kind().build_network(self)

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None = None) -> Targets:
        """Return what the network should answer for a crop, as `Kind.make_targets`."""
        return self.load_kind().make_targets(labels, full_areas, self)


def read_recipe(path_or_name: str, settings: Sequence[str] = (), name: str = "") -> Recipe:
    """Read a recipe file, or one of training/recipes by its name.

    Parameters
    ----------
    path_or_name
        The file, or its name in training/recipes without suffix.
    settings
        Changes, each a line SECTION.KEY = VALUE as TOML would have it.
    name
        Of the changed recipe; by default that of the file.

    Raises
    ------
    OptionError
        For an unknown recipe, kind, key or channel, a value of another type, or what is not TOML.
    """
    path = Path(path_or_name)
    if not path.suffix:
        path = RECIPE_FOLDER / f"{path_or_name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in RECIPE_FOLDER.glob("*.toml")))
        raise OptionError(f"no recipe {path_or_name!r}; give a .toml file or one of: {known}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"{path} is not a TOML file: {error}") from error
    for line in settings:
        try:
            ((section, entries),) = tomllib.loads(line).items()
            table.setdefault(section, {}).update(entries)
        except (ValueError, TypeError, AttributeError) as error:
            raise OptionError(f"setting {line!r} is not SECTION.KEY = VALUE: {error}") from error
    network = table.pop("network", {})
    sections = {name: table.pop(name, {}) for name in ("schedule", "sampling", "augment", "loss", "targets")}
    unknown = sorted(table) + (sorted(set(network) - set(NETWORK_ENTRIES)) if isinstance(network, dict) else [])
    if unknown:
        raise OptionError(f"{path}: unknown entries {unknown}")
    if not isinstance(network, dict):
        raise OptionError(f"{path} [network] is {network!r}; allowed is a section of entries")
    check_values(network, NETWORK_ENTRIES, f"{path} [network]")
    kind_name = network.get("kind") or default_kind(network.get("anchors", 3))
    if kind_name not in list_kinds():
        raise OptionError(f"{path}: no kind {kind_name!r} of model can be trained; known: {', '.join(list_kinds())}")
    kind = load_kind(kind_name)
    recipe = Recipe(
        name=name or path.stem,
        kind=kind_name,
        start_from=network.get("start_from", ""),
        width=network.get("width", 1.0),
        pixel_channels=tuple(network.get("pixel_channels", kind.channels)),
        anchors=network.get("anchors", kind.anchors),
        schedule=read_section(Schedule, sections["schedule"], f"{path} [schedule]"),
        sampling=read_section(SamplingOptions, sections["sampling"], f"{path} [sampling]"),
        augment=read_section(AugmentOptions, sections["augment"], f"{path} [augment]"),
        loss=read_section(kind.loss, sections["loss"], f"{path} [loss]"),
        body=network.get("body", kind.bodies[0]),
        depths=tuple(network.get("depths", ())),
        targets=read_section(kind.targets, sections["targets"], f"{path} [targets]"),
    )
    order = [name for name in kind.learnable if name in recipe.pixel_channels]
    if list(recipe.pixel_channels) != order or order[:1] != [kind.learnable[0]]:
        allowed = f"allowed are {kind.learnable}, in order, the {kind.learnable[0]} among them"
        raise OptionError(f"{path}: pixel_channels {recipe.pixel_channels}; {allowed}")
    if bool(recipe.anchors) != bool(kind.anchors):
        raise OptionError(f"{path}: {recipe.anchors} anchors; the kind {kind_name!r} has {kind.anchors}")
    if recipe.body not in kind.bodies:
        raise OptionError(
            f"{path}: the kind {kind_name!r} has no body {recipe.body!r}; known: {', '.join(kind.bodies)}"
        )
    if recipe.schedule.optimizer not in OPTIMIZERS:
        raise OptionError(
            f"{path}: no optimizer {recipe.schedule.optimizer!r} is known; there are {', '.join(OPTIMIZERS)}"
        )
    if recipe.schedule.batch_size < 1 or recipe.width <= 0:
        raise OptionError(
            f"{path}: batch_size {recipe.schedule.batch_size}, width {recipe.width}; allowed is more than 0"
        )
    if recipe.depths and (recipe.body != "convnext" or len(recipe.depths) != 4 or min(recipe.depths) < 1):
        raise OptionError(f"{path}: depths {recipe.depths}; allowed are four from 1, for the body 'convnext'")
    return recipe


def with_hours(recipe: Recipe, hours: float | None) -> Recipe:
    """Return the recipe with a wall-clock budget in place of its own and of its steps, unchanged for None."""
    return recipe if hours is None else replace(recipe, schedule=replace(recipe.schedule, hours=hours, steps=0))


def checkpoint_path(runs: Path, name: str) -> Path:
    """Where the state of a recipe's training is kept."""
    return runs / name / "checkpoint.pt"
