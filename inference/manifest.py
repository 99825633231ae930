"""Model cards: weights/manifest.json holds every value that belongs to a model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import OptionError


@dataclass(frozen=True)
class Card:
    """What the program needs to know of one model.

    Attributes
    ----------
    kind
        Decoder family: "awf" or "omnipose".
    window_px, overlap_fraction, stride_px
        Tiling: largest tile side, smallest overlap, multiple of which a tile side must be.
    percentiles
        Of the contrast normalisation.
    diameter_range_px, diameter_target_px
        When the pixel-weighted mean diameter of the cells of a first pass lies outside the range, the image is
        resized so that it becomes the target, and segmented again.
    decoder
        Thresholds, by the decoder's parameter names.
    """

    name: str
    path: Path
    sha256: str
    kind: str
    window_px: int
    overlap_fraction: float
    stride_px: int
    percentiles: tuple[float, float]
    diameter_range_px: tuple[float, float]
    diameter_target_px: float
    decoder: dict[str, Any]


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all cards as they stand in the manifest, by model name.

    Raises
    ------
    OptionError
        When the folder has no readable manifest.
    """
    path = folder / "manifest.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"cannot read the model cards {path}: {error}") from error


def read_card(name: str, folder: Path) -> Card:
    """Read the card of one model.

    Raises
    ------
    OptionError
        When the manifest does not name the model or its file is missing.
    """
    cards = read_manifest(folder)
    if name not in cards:
        raise OptionError(f"{folder} holds no model {name!r}; it holds {', '.join(sorted(cards)) or 'none'}")
    entry = cards[name]
    path = folder / entry["file"]
    if not path.is_file():
        raise OptionError(f"the weights {path} are missing")
    tiling, size = entry["tiling"], entry["cell_size"]
    return Card(
        name=name,
        path=path,
        sha256=entry["sha256"],
        kind=entry["kind"],
        window_px=tiling["window_px"],
        overlap_fraction=tiling["overlap_fraction"],
        stride_px=tiling["stride_px"],
        percentiles=tuple(entry["normalization"]["percentiles"]),
        diameter_range_px=tuple(size["diameter_range_px"]),
        diameter_target_px=size["diameter_target_px"],
        decoder=entry["decoder"],
    )


def check_weights(names: tuple[str, ...], folder: Path) -> None:
    """Check that models are there and are the files that their cards describe.

    Raises
    ------
    OptionError
        When a model is missing or its SHA-256 is not that of its card.
    """
    for name in names:
        card = read_card(name, folder)
        if file_sha256(card.path) != card.sha256:
            raise OptionError(f"{card.path} is not the file that its card describes: its SHA-256 differs")


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
