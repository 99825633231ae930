"""Write the parts of MDE-CellMask that answer for boxes, heads or masks: python -m training.parts RECIPE."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mosaicell.decoders.cellmask import MASK_SIDE
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import PART, file_sha256, read_manifest
from mosaicell.networks.session import Session, available_threads
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.command import add_recipe_options, ends_in_one_sentence
from mosaicell.training.export import MAX_DIFFERENCE, load_network, write_manifest
from mosaicell.training.kinds.cellmask import NAME as CELLMASK
from mosaicell.training.mask_losses import MaskNetwork
from mosaicell.training.networks.crop_masks import AwfMasks
from mosaicell.training.networks.rcnn import RCNN, STRIDES
from mosaicell.training.networks.upernet import UperNet, cut_crops, mean_matrix
from mosaicell.training.onnx_file import write_graph
from mosaicell.training.recipe import Recipe, read_recipe
from mosaicell.writing.parts import write_whole

log = logging.getLogger("training")

#: boxes with which graphs are traced
EXAMPLE_BOXES = ((8.0, 8.0, 40.0, 50.0), (0.0, 16.0, 30.0, 96.0), (20.0, 4.0, 28.0, 12.0))


class Heads(nn.Module):
    """All stages of a detector, for the boxes of one image."""

    def __init__(self, detector: RCNN) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Map four levels of features (1, c, h, w) and boxes (n, 4) to boxes (n, 4) and scores (n,)."""
        *levels, boxes = inputs
        return self.detector.refine(levels, boxes)


class Masks(nn.Module):
    """The mask of the one cell in each box of an image."""

    means: Tensor

    def __init__(self, network: UperNet | AwfMasks) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("means", mean_matrix(network.crop_px, MASK_SIDE), persistent=False)

    def forward(self, image: Tensor, boxes: Tensor) -> tuple[Tensor]:
        """Map an image (1, 3, h, w) and boxes (n, 4) to probabilities (n, 28, 28)."""
        logits = self.network(cut_crops(image, boxes, self.network.crop_px))
        return ((self.means @ logits.sigmoid() @ self.means.T)[:, 0],)


def make_heads(detector: RCNN) -> tuple[Heads, dict[str, Tensor]]:
    """Return the heads of a detector in eval mode, and inputs to try them with: features "features_4" ... and boxes."""
    with torch.no_grad():
        levels = detector.features(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)))
    inputs = dict(zip((f"features_{stride}" for stride in STRIDES), levels, strict=True))
    return Heads(detector).eval(), inputs | {"boxes": torch.tensor(EXAMPLE_BOXES)}


def make_masks(network: UperNet | AwfMasks) -> tuple[Masks, dict[str, Tensor]]:
    """Return the network of masks in eval mode, and inputs to try it with: "image" and "boxes"."""
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    return Masks(network).eval(), {"image": image, "boxes": torch.tensor(EXAMPLE_BOXES)}


def write_part(part: Heads | Masks, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Write a part for images of any size and any number of boxes, as `write_graph` does."""
    axes = {name: {0: "boxes"} if name == "boxes" else {2: f"{name}_height", 3: f"{name}_width"} for name in inputs}
    outputs = ("refined", "scores") if isinstance(part, Heads) else ("masks",)
    write_graph(part, inputs, path, axes, {name: {0: "boxes"} for name in outputs})


def export_part(recipe: Recipe, runs: Path, folder: Path) -> Path:
    """Write the part of a trained recipe that answers for boxes: NAME-heads.onnx of a detector, NAME.onnx of masks.

    Parameters
    ----------
    recipe, runs
        The recipe, of the kind cellmask, and the folder with its checkpoint.
    folder
        Gets the file and its card. A detector's features and proposals are written by `training.export`.

    Raises
    ------
    OptionError
        When the recipe is of another kind, or has no checkpoint.
    RuntimeError
        When onnxruntime and torch disagree; an earlier version of the file stays as it was.
    """
    if recipe.kind != CELLMASK:
        raise OptionError(f"{recipe.name!r} is a {recipe.kind}; parts that answer for boxes has the kind {CELLMASK}")
    network, _ = load_network(recipe, runs)
    is_masks = isinstance(network, MaskNetwork)
    part, inputs = make_masks(network.masks) if isinstance(network, MaskNetwork) else make_heads(cast("RCNN", network))
    path = folder / (f"{recipe.name}.onnx" if is_masks else f"{recipe.name}-heads.onnx")
    folder.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as written:
        write_part(part, inputs, written)
        difference = part_difference(part, inputs, written)
        if not difference <= MAX_DIFFERENCE:
            raise RuntimeError(
                f"{path.name}: onnxruntime and torch differ by {difference:.2g}, allowed {MAX_DIFFERENCE}"
            )
    cards = read_manifest(folder) if (folder / "manifest.json").exists() else {}
    cards[path.stem] = {
        "file": path.name,
        "sha256": file_sha256(path),
        "kind": PART,
        "architecture": recipe.describe_body(),
        "parameters": sum(weights.numel() for weights in part.parameters()),
        "training": {"recipe": f"training/recipes/{recipe.name}.toml"},
        "data": "sources and terms: weights/README.md; research use only",
    }
    write_manifest(folder, cards)
    log.info("%s: %.1f MB, largest difference from torch %.1e", path, path.stat().st_size / 1e6, difference)
    return path


def part_difference(part: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> float:
    """Largest difference between torch and onnxruntime, relative to the largest value where that exceeds 1."""
    session = Session(path, "cpu", available_threads(), 0)
    answers = session.ask({name: values.numpy() for name, values in inputs.items()})
    with torch.no_grad():
        expected = [values.numpy() for values in part(*inputs.values())]
    return max(
        float(np.abs(ours - theirs).max() / max(1, np.abs(theirs).max()))
        for ours, theirs in zip(answers, expected, strict=True)
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.parts", description=__doc__)
    add_recipe_options(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder with the checkpoints")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder for the ONNX file")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        recipe = read_recipe(arguments.recipe, arguments.set, arguments.name)
        export_part(recipe, arguments.runs, arguments.weights)


if __name__ == "__main__":
    main()
