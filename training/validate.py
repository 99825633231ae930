"""Score one model with the challenge's metric: python -m training.validate MODEL --data DIR."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mosaicell.answers.branches import segment
from mosaicell.answers.scale_rules import choose_scale
from mosaicell.contrast.modality import analyse_modality
from mosaicell.contrast.normalize import normalize
from mosaicell.errors import OptionError
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.augmentation import VIEWS
from mosaicell.networks.detection import compose_detectors
from mosaicell.networks.ensemble import average_answers
from mosaicell.networks.manifest import Card, ModelCard, read_card, read_models
from mosaicell.networks.raw import RunModel
from mosaicell.networks.scale import median_diameter
from mosaicell.networks.session import Session, available_threads
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import pick_images, read_pair

#: at which scale images are seen: that of the card's rule, full size, or the one that brings the true median diameter
#: to the card's target
SCALES = ("rule", "full", "true")
log = logging.getLogger("training")


def open_model(card: Card) -> RunModel:
    """Load a model, and those that it is averaged with, onto the CPU."""
    folder = card.path.parent

    def load(name: str) -> tuple[ModelCard, Session]:
        model = card if name == card.name else read_models((name,), folder)[name]
        return model, Session(model.path, "cpu", available_threads(), 0)

    if card.detection is not None:
        return compose_detectors(card, load, VIEWS[:1])
    run_models = [load(name)[1].run for name in (card.name, *card.companions)]
    return average_answers(run_models, card.scales, card.stride_px)


def validate(
    card: Card,
    data: Path,
    sources: tuple[str, ...] = (),
    per_source: int = 0,
    thresholds: Sequence[float] = (0.5,),
    *,
    by_source: bool = False,
    scale: str = "rule",
) -> dict[str, tuple[tuple[float, ...], int]]:
    """Segment images of a folder with one model, whatever their modality.

    Parameters
    ----------
    data
        Folder with images/ and labels/NAME_label.tiff.
    sources, per_source
        Which images, as in `pick_images`; all by default.
    thresholds
        Of the IoU.
    by_source
        Group the images by source, not by analysed modality.
    scale
        One of `SCALES`.

    Returns
    -------
    Mean F1 at each threshold and number of images, by group and under "all".

    Raises
    ------
    OptionError
        When the folder holds no image, or an image or its labels cannot be used.
    """
    run_model = open_model(card)
    scores: dict[str, list[list[float]]] = {}
    for source, paths in pick_images(data, sources, per_source).items():
        for path in paths:
            pixels, truth = read_pair(data, path)
            image = normalize(pixels, card.percentiles)
            labels = segment(image, card, run_model, 1, _pick_scale(scale, card, truth)).labels
            found = [score.f1 for score in score_image(truth, labels, thresholds)]
            for group in (source if by_source else analyse_modality(pixels), "all"):
                scores.setdefault(group, []).append(found)
    return {
        group: (tuple(fmean(column) for column in zip(*values, strict=True)), len(values))
        for group, values in sorted(scores.items())
    }


def _pick_scale(scale: str, card: Card, truth: np.ndarray) -> float | None:
    """Return the factor for an image with these labels, None for that of the card's rule."""
    if scale == "rule":
        return None
    if scale == "full":
        return 1.0
    exactly = replace(card, diameter_range_px=(card.diameter_target_px, card.diameter_target_px))
    return choose_scale(median_diameter(truth), (truth.shape[0], truth.shape[1]), exactly)


def read_changes(texts: Sequence[str]) -> dict[str, Any]:
    """Read changes of a card, each ENTRY=VALUE with a value as JSON has it; a text may stand without quotes.

    Raises
    ------
    OptionError
        When a change has no entry.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        entry, mark, value = text.partition("=")
        if not entry or not mark:
            raise OptionError(f"--set takes ENTRY=VALUE, not {text!r}")
        try:
            changes[entry] = json.loads(value)
        except ValueError:
            changes[entry] = value
    return changes


def log_scores(name: str, scores: dict[str, tuple[tuple[float, ...], int]]) -> None:
    """Log one line for each group."""
    for group, (means, count) in scores.items():
        log.info("%s on %d images (%s): mean F1 %s", name, count, group, ", ".join(f"{mean:.4f}" for mean in means))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.validate", description=__doc__)
    parser.add_argument("model", help="name in the manifest")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--sources", nargs="*", default=[], help="sources to take (default: all)")
    parser.add_argument("--per-source", type=int, default=0, help="at most this many images each (default: all)")
    parser.add_argument("--by-source", action="store_true", help="group the images by source, not by modality")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.5], metavar="IOU", help="default: 0.5")
    parser.add_argument("--scale", choices=SCALES, default="rule", help="at which images are seen (default: rule)")
    parser.add_argument("--set", action="append", default=[], metavar="ENTRY=VALUE",
        help="change an entry of the card: decoder.flow_threshold=null, tiling.window_px=640")  # fmt: skip
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the manifest")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        card = read_card(arguments.model, arguments.weights, read_changes(arguments.set))
        scores = validate(
            card,
            arguments.data,
            tuple(arguments.sources),
            arguments.per_source,
            arguments.thresholds,
            by_source=arguments.by_source,
            scale=arguments.scale,
        )
        log_scores(arguments.model, scores)


if __name__ == "__main__":
    main()
