"""Average exported models of one network: python -m training.soup MODEL.onnx MODEL.onnx -o FOLDER --name NAME.

Fine-tunes of one start lie in one valley: the mean of their weights is a network of the same size that is about as good
as each on its own images and better on the others' (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from mosaicell.errors import OptionError
from mosaicell.networks.card_entries import CardEntries
from mosaicell.networks.manifest import file_sha256, read_manifest
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.export import write_manifest
from mosaicell.training.restart import PREFIXES, read_model
from mosaicell.writing.parts import write_whole

log = logging.getLogger("training")


def average_models(paths: Sequence[Path], shares: Sequence[float]) -> onnx.ModelProto:
    """Return the first model with the weighted mean of all models' weights.

    Batch normalisation is folded into the convolutions, so this averages what every layer answers to the same input.

    Parameters
    ----------
    paths
        Files of `training/export.py`, of one network.
    shares
        Positive, one for each file; only their ratios count.

    Raises
    ------
    OptionError
        When a file cannot be read, the networks or their anchors differ, or the shares do not fit.
    """
    if len(shares) != len(paths) or min(shares, default=0) <= 0:
        raise OptionError(f"{len(paths)} models need as many shares above 0, got {shares}")
    models = [read_model(path) for path in paths]
    tables = [{tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer} for model in models]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        _check_same(tables[0], table, paths[0], path)
    fractions = np.array(shares) / sum(shares)
    for tensor in models[0].graph.initializer:
        first = tables[0][tensor.name]
        if tensor.name.startswith(PREFIXES) and first.dtype.kind == "f":
            mean = sum(f * table[tensor.name].astype(np.float64) for f, table in zip(fractions, tables, strict=True))
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(mean, first.dtype), tensor.name))
    return models[0]


def _check_same(first: dict[str, np.ndarray], other: dict[str, np.ndarray], first_path: Path, path: Path) -> None:
    shapes = [
        {name: (array.shape, array.dtype) for name, array in table.items() if name.startswith(PREFIXES)}
        for table in (first, other)
    ]
    # what is no weight (anchors, sizes) has a number as name, which changes with the graph around it
    constants = [[array for name, array in table.items() if not name.startswith(PREFIXES)] for table in (first, other)]
    if shapes[0] != shapes[1] or len(constants[0]) != len(constants[1]):
        raise OptionError(f"{path} holds another network than {first_path}")
    if not all(map(np.array_equal, *constants)):
        raise OptionError(f"{path} has other anchors than {first_path}; only fine-tunes of one start can be averaged")


def write_soup(paths: Sequence[Path], shares: Sequence[float], folder: Path, name: str) -> Path:
    """Average models; write the mean into a folder of weights and enter its card.

    Parameters
    ----------
    paths, shares
        As in `average_models`; beside each file lies a manifest.json with its card.
    folder, name
        The mean becomes folder/NAME.onnx. Thresholds of the card are those that the folder has for this name, or the
        first model's.

    Returns
    -------
    The file.

    Raises
    ------
    OptionError
        As `average_models`, or when a model has no card, or one that lacks what goes into that of the mean.
    """
    model = average_models(paths, shares)
    entries = []
    for path in paths:
        cards = read_manifest(path.parent)
        if path.stem not in cards:
            raise OptionError(f"{path.parent} has no card of {path.stem}")
        CardEntries(path.stem, cards[path.stem]).texts("training.trained_channels")
        entries.append(cards[path.stem])
    cards = read_manifest(folder) if (folder / "manifest.json").exists() else {}
    old = CardEntries(name, cards.get(name, entries[0]))
    parts = [
        {"share": round(share / sum(shares), 3), **entry["training"]}
        for share, entry in zip(shares, entries, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.onnx"
    with write_whole(target) as part:
        onnx.save(model, part)
    cards[name] = {
        **entries[0],
        "file": target.name,
        "sha256": file_sha256(target),
        "cell_size": old.get("cell_size"),
        "decoder": old.get("decoder"),
        "training": {"average_of": parts, "trained_channels": entries[0]["training"]["trained_channels"]},
    }
    write_manifest(folder, cards)
    return target


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.soup", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="exported models, each with its card beside it")
    parser.add_argument("--shares", type=float, nargs="+", help="one for each model (default: all the same)")
    parser.add_argument("--name", required=True, help="of the mean")
    parser.add_argument("-o", "--output", type=Path, default=WEIGHTS_FOLDER, help="folder of weights that gets it")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        shares = arguments.shares or [1.0] * len(arguments.models)
        log.info("%s", write_soup(arguments.models, shares, arguments.output, arguments.name))


if __name__ == "__main__":
    main()
