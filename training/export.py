"""Export a recipe to ONNX, compare with torch, enter its card: python -m training.export RECIPE --data DIR."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mosaicell.contrast.normalize import normalize
from mosaicell.decoders import load_decoder
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import file_sha256, read_manifest
from mosaicell.networks.session import Session, available_threads
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.command import add_recipe_options, ends_in_one_sentence
from mosaicell.training.folder import list_images, read_pixels
from mosaicell.training.kinds import list_kinds, load_kind
from mosaicell.training.networks.body import NETWORK_STRIDE
from mosaicell.training.onnx_file import round_weights, write_onnx
from mosaicell.training.recipe import Recipe, checkpoint_path, read_recipe
from mosaicell.writing.parts import write_whole

#: largest difference between torch and onnxruntime, both with the fp16-rounded weights
MAX_DIFFERENCE = 5e-3
#: largest side of the tiles in px on which torch and onnxruntime are compared
COMPARED_PX = 640

DEFAULT_CELL_SIZE = {"diameter_range_px": [22.0, 50.0], "diameter_target_px": 35.0}
log = logging.getLogger("training")


class Exported(nn.Module):
    """A network as the program runs it: sigmoid and box decoding inside, unused channels gone.

    The network's heads are replaced in place.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, anchors: Tensor, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.head = load_kind(kind).make_head(network, recipe, anchors)
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map images (b, 3, h, w) to `Kind.outputs`."""
        outputs: tuple[Tensor, ...] = self.head(self.network(image))
        return outputs


def fold_batch_norm(module: nn.Module) -> None:
    """Merge every batch normalisation of a module in eval mode into the convolution before it, in place."""
    if isinstance(module, nn.Sequential):
        for index in range(len(module) - 1):
            convolution, norm = module[index], module[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(convolution, norm)
                module[index + 1] = nn.Identity()
    for child in module.children():
        fold_batch_norm(child)


def load_exported(recipe: Recipe, runs: Path, kind: str | None = None) -> Exported:
    """Load the averaged weights of a recipe's checkpoint, ready to export, rounded to fp16.

    Parameters
    ----------
    kind
        One of `list_kinds`: as which a network answers that learned more than one; by default the recipe's.

    Raises
    ------
    OptionError
        When the recipe has no checkpoint, or the network did not learn what the kind answers.
    """
    kind = kind or recipe.kind
    if missing := load_kind(kind).missing(recipe):
        raise OptionError(f"{recipe.name!r} cannot answer as {kind}: it did not learn {', '.join(missing)}")
    network, anchors = load_network(recipe, runs)
    return Exported(network, recipe, anchors, kind).eval()


def load_network(recipe: Recipe, runs: Path) -> tuple[nn.Module, Tensor]:
    """Load the averaged network of a recipe's checkpoint, rounded to fp16, and its anchors.

    Raises
    ------
    OptionError
        When the recipe has no checkpoint.
    """
    path = checkpoint_path(runs, recipe.name)
    if not path.is_file():
        raise OptionError(f"{path} is missing: train {recipe.name!r} first")
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = recipe.build_network()
    network.load_state_dict(state["average"])
    network.eval()
    fold_batch_norm(network)
    round_weights(network)
    return network, state["anchors"]


def export_onnx(model: Exported, path: Path) -> None:
    """Write an ONNX file with dynamic batch, height and width (multiples of 32), as `write_onnx` does."""
    image_axes = {0: "batch", 2: "height", 3: "width"}
    example = torch.zeros(1, 3, 2 * NETWORK_STRIDE, 3 * NETWORK_STRIDE)
    write_onnx(model, example, path, image_axes, load_kind(model.kind).outputs)


def largest_difference(model: nn.Module, path: Path, tiles: list[np.ndarray]) -> float:
    """Largest difference between torch and onnxruntime over tiles float32 (3, h, w); NaN if one gives NaN.

    Each map and each number of a box counts by itself, relative to its largest value where that exceeds 1:
    corners are px, up to hundreds, beside a confidence in 0..1.
    """
    session = Session(path, "cpu", available_threads(), 0)
    differences = [0.0]
    for tile in tiles:
        with torch.no_grad():
            expected = model(torch.from_numpy(tile[None]))
        for theirs, ours in zip(expected, session.run(tile[None]), strict=True):
            axes = (0, 2, 3) if theirs.ndim == 4 else (0, 1)
            size = np.maximum(1, np.abs(theirs.numpy()).max(axes))
            differences.append(float((np.abs(ours - theirs.numpy()).max(axes) / size).max()))
    return float(np.max(differences))


def real_tiles(data: Path, count: int = 4) -> list[np.ndarray]:
    """Upper left corners of images from all over a folder, normalised, with multiples of the stride as sides.

    Raises
    ------
    OptionError
        When the folder holds no image, or one of those looked at cannot be read, or none of them holds a tile.
    """
    paths = list_images(data)
    tiles = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        image = normalize(read_pixels(path))
        height, width = (min(side, COMPARED_PX) // NETWORK_STRIDE * NETWORK_STRIDE for side in image.shape[1:])
        if height and width:
            tiles.append(np.ascontiguousarray(image[:, :height, :width]))
    if not tiles:
        raise OptionError(
            f"{data / 'images'} holds no image of {NETWORK_STRIDE} px to compare torch and onnxruntime on"
        )
    return tiles


def write_card(recipe: Recipe, model: Exported, path: Path, folder: Path, steps: int, hours: float) -> None:
    """Enter the model into the manifest by its file's name; thresholds chosen for an earlier version of it stay."""
    cards = read_manifest(folder) if (folder / "manifest.json").exists() else {}
    kind = load_kind(model.kind)
    old = cards.get(path.stem, {})
    cards[path.stem] = {
        "file": path.name,
        "sha256": file_sha256(path),
        "kind": model.kind,
        "architecture": recipe.describe_body(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "outputs": list(load_decoder(model.kind).outputs),
        "tiling": {
            "window_px": kind.window_px,
            "overlap_fraction": kind.overlap_fraction,
            "stride_px": NETWORK_STRIDE,
        },
        "normalization": {"percentiles": [1.0, 99.0]},
        "cell_size": old.get("cell_size", DEFAULT_CELL_SIZE | {"scale_rule": kind.scale_rule}),
        "decoder": old.get("decoder", dict(kind.settings)),
        "training": {
            "recipe": f"training/recipes/{recipe.name}.toml",
            "started_from": recipe.start_from or "random weights",
            "steps": steps,
            "hours": round(hours, 2),
            "trained_channels": list(recipe.pixel_channels),
        },
        "data": "sources and terms: weights/README.md; research use only",
    } | kind.card_entries(recipe, old)
    write_manifest(folder, cards)


def write_manifest(folder: Path, cards: dict[str, dict[str, Any]]) -> None:
    """Write the cards of a folder of weights, by model name; an interrupted write leaves the previous ones."""
    with write_whole(folder / "manifest.json") as part:
        part.write_text(json.dumps(dict(sorted(cards.items())), indent=1) + "\n", encoding="utf-8")


def export(recipe: Recipe, runs: Path, data: Path, folder: Path, kind: str | None = None) -> Path:
    """Export, compare, enter the card.

    Parameters
    ----------
    recipe, runs
        The recipe, and the folder with its checkpoint.
    data
        Folder with images/ to compare on.
    folder
        Gets the ONNX file, named after the recipe and, where it is not the kind that the recipe trains, the kind.
    kind
        As in `load_exported`.

    Raises
    ------
    OptionError
        When the recipe has no checkpoint or did not learn what the kind answers, or the folder no image to compare on.
    RuntimeError
        When onnxruntime and torch disagree; an earlier version of the model stays as it was.
    """
    model = load_exported(recipe, runs, kind)
    name = recipe.name if kind in (None, recipe.kind) else f"{recipe.name}-{kind}"
    path = folder / f"{name}.onnx"
    tiles = real_tiles(data)
    folder.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as part:
        export_onnx(model, part)
        difference = largest_difference(model, part, tiles)
        if not difference <= MAX_DIFFERENCE:  # NaN too
            raise RuntimeError(f"{name}: onnxruntime and torch differ by {difference:.2g}, allowed {MAX_DIFFERENCE}")
    state = torch.load(checkpoint_path(runs, recipe.name), map_location="cpu", weights_only=True)
    write_card(recipe, model, path, folder, state["step"], state["elapsed_s"] / 3600)
    log.info("%s: %.1f MB, largest difference from torch %.1e", path, path.stat().st_size / 1e6, difference)
    return path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    add_recipe_options(parser)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/, for the comparison with torch")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder with the checkpoints")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder for the ONNX file and its card")
    parser.add_argument(
        "--kind", choices=list_kinds(), help="of a network that learned more than one (default: the recipe's)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        recipe = read_recipe(arguments.recipe, arguments.set, arguments.name)
        export(recipe, arguments.runs, arguments.data, arguments.weights, arguments.kind)


if __name__ == "__main__":
    main()
