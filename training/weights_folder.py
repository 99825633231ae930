"""Folders of weights in which one model is another: what `--weights` of the program takes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import onnx

from mosaicell.networks.manifest import file_sha256, read_manifest
from mosaicell.training.export import write_manifest
from mosaicell.training.soup import average_models


def write_mixed(folder: Path, weights: Path, model: str, new: Path, share: float, made: dict[str, Any]) -> None:
    """Write a folder of weights in which a model is the mean of its new and its old version; the rest are links.

    Parameters
    ----------
    folder
        Is made.
    weights
        Folder with all models and the old version, whose card stays but for hash and training. Ensembles that it leads
        have the new version too.
    model
        Its name.
    new
        ONNX file of the new version.
    share
        Of the new version, above 0; with 1 there is no old one.
    made
        What the card of the new version says of its training.
    """
    folder.mkdir()
    cards = read_manifest(weights)
    old = cards[model]
    target = folder / f"{model}.onnx"
    sharing = {name: card for name, card in cards.items() if name != model and card.get("file") == old["file"]}
    # an ensemble is led by the file of its first model; other models may share the old file
    led = [name for name, card in sharing.items() if "ensemble" in card]
    left_out = {"manifest.json", target.name}
    if len(led) == len(sharing):
        left_out.add(old["file"])
    for path in weights.iterdir():
        if path.is_file() and path.name not in left_out:
            (folder / path.name).symlink_to(path.resolve())
    paths, shares = ([new], [1.0]) if share == 1 else ([new, weights / old["file"]], [share, 1 - share])
    onnx.save(average_models(paths, shares), target)
    own = {**made, "recipe": "python -m training.finetune", "started_from": model, "share": share}
    history = {"trained_channels": made["trained_channels"], "fine_tuned": own, "before": old.get("training")}
    now = {"file": target.name, "sha256": file_sha256(target)}
    cards |= {name: {**cards[name], **now} for name in led}
    cards[model] = {**old, **now, "training": history}
    write_manifest(folder, cards)


def copy_weights(folder: Path, output: Path) -> None:
    """Copy a folder of weights; it is there whole or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mosaicell-", dir=output.parent) as text:
        part = Path(text) / "weights"
        part.mkdir()
        for path in folder.iterdir():
            if path.is_file():
                shutil.copyfile(path, part / path.name)
        part.replace(output)
