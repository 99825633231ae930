"""Pack networks for the BioImage Model Zoo: python -m training.zoo [MODEL ...] -o DIR [--data DIR].

Each package is a zip with rdf.yaml (model format 0.5), the ONNX file, test tensors, a drawn cover, the terms and a page
about the model. A network answers with maps, boxes or rays; cells come from them by the program's decoders.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mosaicell.answers.branches import segment
from mosaicell.contrast.normalize import normalize
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import Card, ImageClassifier, ModelCard, Part, check_file, read_manifest, read_models
from mosaicell.networks.session import Session, available_threads
from mosaicell.options import VERSION, WEIGHTS_FOLDER
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.restart import read_model
from mosaicell.training.synthesis import draw_scene
from mosaicell.training.validate import open_model, validate
from mosaicell.training.zoo_page import Scores, write_page
from mosaicell.writing.overlay import draw_outlines, stretch_contrast
from mosaicell.writing.parts import write_whole

FORMAT_VERSION = "0.5.12"
RDF, TERMS, PAGE, COVER = "rdf.yaml", "TERMS.md", "README.md", "cover.png"
AUTHORS = [{"name": "The Mosaicell contributors"}]
#: what covers and test images show, where it is not nuclei in fluorescence
SCENES = {"awf-grey": "phase_yeast", "awf-brightfield": "brightfield_blood", "stardist-3": "brightfield_tissue"}
DEFAULT_SCENE = "fluorescence_nuclei"
#: height and width of what is drawn: a cover of two such beside each other is as wide as twice its height
COVER_PX, TEST_PX = (256, 256), (128, 160)
#: added to the range of intensities in the format's own preprocessing
EPSILON = 1e-6
BOX_NUMBERS = ("y0", "x0", "y1", "x1", "score")
log = logging.getLogger("training")


def pack(name: str, weights: Path, folder: Path, data: Path | None = None) -> Path:
    """Write the package of a network.

    Parameters
    ----------
    name
        Of the model in the manifest.
    weights
        Its folder, with a README.md that says the terms.
    folder
        Gets NAME.zip.
    data
        Labelled images in the challenge's layout, on which a model that segments is scored for its page.

    Returns
    -------
    The zip.

    Raises
    ------
    OptionError
        When there is no such model, it has no file of its own, or it does not answer to images.
    """
    card = read_models((name,), weights)[name]
    entry = read_manifest(weights)[name]
    if reason := _find_obstacle(card):
        raise OptionError(f"{name!r} {reason}")
    check_file(card)
    scores: Scores = validate(card, data, thresholds=(0.5, 0.7)) if data is not None and isinstance(card, Card) else {}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as text, write_whole(folder / f"{name}.zip") as part:
        work = Path(text)
        described = _describe(card, work)
        (work / RDF).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        (work / PAGE).write_text(write_page(card, entry, scores), encoding="utf-8")
        _draw_cover(card, work / COVER)
        sources = {path.name: path for path in sorted(work.iterdir())}
        sources |= {card.path.name: card.path, TERMS: weights / "README.md"}
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for stored, path in sources.items():
                archive.write(path, stored)
    log.info("%s: %.1f MB", folder / f"{name}.zip", (folder / f"{name}.zip").stat().st_size / 1e6)
    return folder / f"{name}.zip"


def _find_obstacle(card: ModelCard) -> str:
    """Say why a model cannot be packed; empty where it can."""
    if isinstance(card, Card) and (card.companions or len(card.scales) > 1):
        return "is a mean of several models: pack these"
    if isinstance(card, Part):
        return "is part of another model and answers to boxes, not to images"
    return ""


def list_packable(weights: Path) -> list[str]:
    """Name the models of a folder that are networks which answer to images."""
    models = read_models(sorted(read_manifest(weights)), weights)
    return [name for name, card in models.items() if not _find_obstacle(card)]


def prepare(image: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Stretch an image as the package asks programs to do: scale_range by channel, then clip.

    Parameters
    ----------
    image
        float32 (1, 3, y, x).

    Returns
    -------
    float32 of the same shape, 0..1.
    """
    low, high = np.percentile(image, percentiles, axis=(2, 3), keepdims=True)
    return np.clip((image - low) / (high - low + EPSILON), 0, 1).astype(np.float32)


def _draw(card: ModelCard, shape_px: tuple[int, int], seed: int) -> np.ndarray:
    """Draw what the model is for: uint8 (y, x, 1 or 3)."""
    return draw_scene(SCENES.get(card.name, DEFAULT_SCENE), shape_px, np.random.default_rng(seed), diameter_px=28)[0]


def _draw_cover(card: ModelCard, path: Path) -> None:
    """Write a drawn image, and beside it what the model finds there if it segments."""
    pixels = _draw(card, COVER_PX, 1)
    views = [stretch_contrast(pixels)]
    if isinstance(card, Card):
        labels = segment(normalize(pixels, card.percentiles), card, open_model(card), 1).labels
        views.append(draw_outlines(views[0].copy(), labels))
    data = cv2.imencode(".png", cv2.cvtColor(np.hstack(views), cv2.COLOR_RGB2BGR))[1]
    path.write_bytes(data.tobytes())


def _describe(card: ModelCard, folder: Path) -> dict[str, Any]:
    """Write the test tensors of a model into a folder; return what rdf.yaml says, of which JSON is a part."""
    fixed = isinstance(card, ImageClassifier)
    shape_px = (card.least_input_px, card.least_input_px) if fixed else TEST_PX
    pixels = _draw(card, shape_px, 2).astype(np.float32)
    image = np.ascontiguousarray(np.broadcast_to(pixels, (*shape_px, 3)).transpose(2, 0, 1)[None])
    answers = Session(card.path, "cpu", available_threads(), 0).run(prepare(image, card.percentiles))
    file = read_model(card.path)
    names = [output.name for output in file.graph.output]
    tensors = {"image": image, **dict(zip(names, answers, strict=True))}
    for tensor, values in tensors.items():
        np.save(folder / f"test_{tensor}.npy", values)
    size: Any = card.least_input_px if fixed else {"min": card.least_input_px, "step": card.least_input_px // 2}
    return {
        "type": "model",
        "format_version": FORMAT_VERSION,
        "name": f"Mosaicell {card.name}",
        "description": f"A network of Mosaicell, which segments cells in microscopy images: {card.kind}",
        "version": VERSION,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "authors": AUTHORS,
        "license": {"source": TERMS},
        "documentation": {"source": PAGE},
        "covers": [{"source": COVER}],
        "tags": ["cells", "2d", "microscopy", "instance-segmentation", card.kind],
        "inputs": [
            {
                "id": "image",
                "description": "grey images have the same values in all channels",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["red", "green", "blue"]},
                    *({"type": "space", "id": axis, "size": size} for axis in "yx"),
                ],
                "data": {"type": "float32"},
                "test_tensor": {"source": "test_image.npy"},
                "preprocessing": [_scale(card.percentiles), {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}}],
            }
        ],
        "outputs": [
            {
                "id": name,
                "axes": _describe_axes(name, tensors[name].shape, shape_px, _name_channels(card, name, names)),
                "data": {"type": "float32"},
                "test_tensor": {"source": f"test_{name}.npy"},
            }
            for name in names
        ],
        "weights": {
            "onnx": {
                "source": card.path.name,
                "sha256": card.sha256,
                "opset_version": file.opset_import[0].version,
            }
        },
    }


def _scale(percentiles: tuple[float, float]) -> dict[str, Any]:
    low, high = percentiles
    return {
        "id": "scale_range",
        "kwargs": {"axes": ["y", "x"], "min_percentile": low, "max_percentile": high, "eps": EPSILON},
    }


def _name_channels(card: ModelCard, output: str, outputs: list[str]) -> tuple[str, ...]:
    """Name the channels of an output, as far as the program has names for them."""
    if isinstance(card, ImageClassifier):
        return card.card.classes
    if output == "boxes":
        return BOX_NUMBERS
    if output == "maps" and isinstance(card, Card):
        return tuple(name for name in card.decoder.outputs if name not in outputs)
    return ()


def _describe_axes(
    output: str, shape: tuple[int, ...], input_px: tuple[int, int], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Describe the axes of an output that has this shape for an input of `input_px`."""
    count = shape[-1] if len(shape) == 3 else shape[1]
    named = list(names) if len(names) == count else [f"{output}_{number}" for number in range(count)]
    channel = {"type": "channel", "channel_names": [name.replace(" ", "_").replace(",", "") for name in named]}
    if len(shape) == 3:
        return [{"type": "batch"}, {"type": "index", "size": {"min": 1}}, channel]
    space = [
        {"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}, "scale": before / after}
        for axis, before, after in zip("yx", input_px, shape[2:], strict=len(shape) == 4)
    ]
    return [{"type": "batch"}, channel, *space]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.zoo", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names in the manifest (default: all networks)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for MODEL.zip")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, metavar="DIR", help="folder of the models")
    parser.add_argument("--data", type=Path, metavar="DIR", help="labelled images, for the scores on the models' pages")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        for name in arguments.models or list_packable(arguments.weights):
            pack(name, arguments.weights, arguments.output, arguments.data)


if __name__ == "__main__":
    main()
