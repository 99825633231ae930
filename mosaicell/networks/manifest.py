"""Model cards: weights/manifest.json holds every value that belongs to a model.

What a decoder needs is checked when a card is read, before a run starts: a value that is missing is found then, not at
the first image.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.scale_rules import FIT, SCALE_RULES, SIZE_MODEL
from mosaicell.decoders import Decoder, Settings, list_kinds, load_decoder
from mosaicell.errors import OptionError
from mosaicell.networks.card_entries import CardEntries
from mosaicell.networks.classifier import ClassifierCard
from mosaicell.networks.detection_card import DetectionCard, read_detection
from mosaicell.networks.size_model import SizeModel, read_size_model

#: the kind of models that say which class an image belongs to; all others have a decoder of their name
CLASSIFIER = "classifier"
#: the kind of models that judge or mask the boxes of another model, which names them in its card
PART = "part"


@dataclass(frozen=True)
class ModelCard(ABC):
    """What the program needs to know of any model.

    Attributes
    ----------
    kind
        `CLASSIFIER`, `PART`, or its decoder's name.
    percentiles
        Of the contrast normalisation.
    """

    name: str
    path: Path
    sha256: str
    kind: str
    percentiles: tuple[float, float]

    @property
    @abstractmethod
    def least_input_px(self) -> int:
        """Side of the smallest input that shows whether the model works."""


@dataclass(frozen=True)
class Part(ModelCard):
    """A model that answers for boxes; what it sees has the contrast of the model that it belongs to."""

    @property
    def least_input_px(self) -> int:
        """Nothing: it has several inputs, whose sizes the other model knows."""
        return 0


@dataclass(frozen=True)
class ImageClassifier(ModelCard):
    """What the program needs to know of a model that says which class an image belongs to.

    Attributes
    ----------
    card
        What it looks at, and its classes.
    """

    card: ClassifierCard

    @property
    def least_input_px(self) -> int:
        """Side of the one input that there is."""
        return self.card.input_px


@dataclass(frozen=True)
class Card(ModelCard):
    """What the program needs to know of a model that segments.

    Attributes
    ----------
    window_px, overlap_fraction, stride_px
        Tiling: largest tile side, smallest overlap, multiple of which a tile side must be.
    diameter_range_px, diameter_target_px
        When the pixel-weighted mean diameter of the cells of a first pass lies outside the range, the image is
        resized so that it becomes the target, and segmented again.
    scale_rule
        One of `scale_rules.SCALE_RULES`.
    settings
        Thresholds, by the names in `Decoder.settings`.
    companions
        Names of other models of this kind whose answers are averaged with this one's.
    scales
        At which the answers are averaged, as in `ensemble.average_answers`.
    size_model
        What tells the size of cells, where the scale rule needs it: the file beside the model that the card names.
    detection
        Of detectors: the parts that judge and mask their boxes. The boxes of companions are fused with theirs.
    """

    window_px: int
    overlap_fraction: float
    stride_px: int
    diameter_range_px: tuple[float, float]
    diameter_target_px: float
    scale_rule: str
    settings: Settings
    companions: tuple[str, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    size_model: SizeModel | None = None
    detection: DetectionCard | None = None

    @property
    def least_input_px(self) -> int:
        """Two strides."""
        return 2 * self.stride_px

    @property
    def decoder(self) -> Decoder:
        """What decodes this kind of model."""
        return load_decoder(self.kind)

    def keep(self, candidates: np.ndarray) -> np.ndarray:
        """Return the indices of the candidates that stay, as `Decoder.keep` does with the model's settings."""
        return self.decoder.keep(candidates, self.settings)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all cards as they stand in the manifest, by model name.

    Raises
    ------
    OptionError
        When the folder has no readable manifest.
    """
    path = folder / "manifest.json"
    try:
        cards = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"cannot read the model cards {path}: {error}") from error
    if not isinstance(cards, dict):
        raise OptionError(f"cannot read the model cards {path}: it holds no object of cards by model name")
    return cards


def read_card(name: str, folder: Path, changes: Mapping[str, Any] | None = None) -> Card:
    """Read the card of a model that segments; otherwise as `read_models`.

    Parameters
    ----------
    name, folder
        Of the model.
    changes
        Values as JSON has them, in place of those of the card, by entry: "decoder.flow_threshold".
    """
    cards = read_manifest(folder)
    if name in cards:
        for entry, value in (changes or {}).items():
            CardEntries(name, cards[name]).change(entry, value)
    card = _read_models((name,), folder, cards)[name]
    if not isinstance(card, Card):
        raise OptionError(f"the model {name!r} is a {card.kind} and segments nothing")
    return card


def read_models(names: Iterable[str], folder: Path) -> dict[str, ModelCard]:
    """Read the cards of models.

    Raises
    ------
    OptionError
        When the manifest does not name a model, its file is missing, or its card lacks an entry or has one that is no
        such value.
    """
    return _read_models(names, folder, read_manifest(folder))


def _read_models(names: Iterable[str], folder: Path, cards: Mapping[str, Any]) -> dict[str, ModelCard]:
    models = {name: _read_model(name, folder, cards) for name in names}
    for model in models.values():
        if isinstance(model, Card):
            _check_companions(model, cards)
    return models


def _read_model(name: str, folder: Path, cards: Mapping[str, Any]) -> ModelCard:
    if name not in cards:
        raise OptionError(f"{folder} holds no model {name!r}; it holds {', '.join(sorted(cards)) or 'none'}")
    entries = CardEntries(name, cards[name])
    path = folder / entries.text("file")
    if not path.is_file():
        raise OptionError(f"the weights {path} are missing")
    kind = entries.text("kind")
    kinds = [*list_kinds(), CLASSIFIER, PART]
    if kind not in kinds:
        raise entries.wrong("kind", " or ".join(kinds))
    if kind == PART:
        return Part(name, path, entries.text("sha256"), kind, (0.0, 100.0))
    percentiles = entries.rising("normalization.percentiles", 0, 100)
    common = {"name": name, "path": path, "sha256": entries.text("sha256"), "kind": kind, "percentiles": percentiles}
    return _read_classifier(entries, common) if kind == CLASSIFIER else _read_segmenter(entries, common)


def _read_classifier(entries: CardEntries, common: dict[str, Any]) -> ImageClassifier:
    classes = entries.get("classes")
    if not isinstance(classes, list) or len(classes) < 2 or not all(isinstance(one, str) for one in classes):
        raise entries.wrong("classes", "a list of two or more texts")
    card = ClassifierCard(
        input_px=entries.whole("input_px"),
        reduction=entries.whole("reduction"),
        most_windows=entries.whole("most_windows"),
        classes=tuple(classes),
    )
    return ImageClassifier(**common, card=card)


def _read_segmenter(entries: CardEntries, common: dict[str, Any]) -> Card:
    decoder = load_decoder(common["kind"])
    if entries.get("outputs") != list(decoder.outputs):
        raise entries.wrong("outputs", str(list(decoder.outputs)))
    scale_rule = entries.text("cell_size.scale_rule")
    rules = [name for name in SCALE_RULES if name != FIT or decoder.misfit]
    if scale_rule not in rules:
        raise entries.wrong("cell_size.scale_rule", " or ".join(rules))
    stride_px = entries.whole("tiling.stride_px")
    window_px = entries.whole("tiling.window_px")
    if window_px % stride_px:
        raise entries.wrong("tiling.window_px", f"a multiple of {stride_px}")
    detection = read_detection(entries) if entries.has("detection") else None
    scales = entries.numbers("ensemble.scales", 0.1, 10) if entries.has("ensemble") else (1.0,)
    if detection and scales != (1.0,):
        raise entries.wrong("ensemble.scales", "[1.0] for detectors, whose boxes are fused")
    return Card(
        **common,
        window_px=window_px,
        overlap_fraction=entries.number("tiling.overlap_fraction", 0, 0.9),
        stride_px=stride_px,
        diameter_range_px=entries.rising("cell_size.diameter_range_px", 0, math.inf),
        diameter_target_px=entries.number("cell_size.diameter_target_px", 1, math.inf),
        scale_rule=scale_rule,
        settings=entries.settings(decoder),
        companions=entries.texts("ensemble.companions") if entries.has("ensemble") else (),
        scales=scales,
        size_model=_read_size_model(entries, common["path"].parent) if scale_rule == SIZE_MODEL else None,
        detection=detection,
    )


def _check_companions(model: Card, cards: Mapping[str, Any]) -> None:
    """Check that what a model is averaged with is there and answers the same."""
    for name in model.companions:
        other = _read_model(name, model.path.parent, cards)
        if other.kind != model.kind:
            raise OptionError(f"the model {model.name!r} is a {model.kind}; its companion {name!r} is a {other.kind}")
        if isinstance(other, Card):
            _check_parts(other, cards)
    _check_parts(model, cards)


def _check_parts(model: Card, cards: Mapping[str, Any]) -> None:
    for name in model.detection.parts if model.detection else ():
        other = _read_model(name, model.path.parent, cards)
        if not isinstance(other, Part):
            raise OptionError(f"the model {model.name!r} asks {name!r} about boxes, which is a {other.kind}")


def _read_size_model(entries: CardEntries, folder: Path) -> SizeModel:
    path = folder / entries.text("cell_size.size_model.file")
    model = read_size_model(path)
    # it is small: unlike a network it can be hashed at every start
    if file_sha256(path) != entries.text("cell_size.size_model.sha256"):
        raise OptionError(f"{path} is not the file that its card describes: its SHA-256 differs")
    return model


def check_file(card: ModelCard) -> None:
    """Check that a model is the file that its card describes.

    Raises
    ------
    OptionError
        When its SHA-256 is not that of its card.
    """
    if file_sha256(card.path) != card.sha256:
        raise OptionError(f"{card.path} is not the file that its card describes: its SHA-256 differs")


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
