"""Choose a model's decoder thresholds on validation images: python -m training.tune MODEL --data DIR."""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.branches import decode_raw, predict_raw, segment
from mosaicell.contrast.modality import MODALITIES, analyse_modality
from mosaicell.contrast.normalize import normalize
from mosaicell.decoders import Settings
from mosaicell.errors import OptionError
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.manifest import Card, read_card, read_manifest
from mosaicell.networks.raw import Raw
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.export import write_manifest
from mosaicell.training.folder import list_images, read_pair
from mosaicell.training.kinds import load_kind
from mosaicell.training.validate import open_model

#: a threshold moves only for a gain in mean F1 above this: smaller ones are chance on a few dozen images
MIN_GAIN = 0.004
log = logging.getLogger("training")


@dataclass(frozen=True)
class Answer:
    """What the network says of one image, with weakly filtered candidates, and the truth."""

    raw: Raw
    truth: np.ndarray


def collect_answers(card: Card, data: Path, modality: str | None) -> list[Answer]:
    """Run a model over the images of a folder that the analyser gives to `modality` (all for None).

    Returns
    -------
    list of Answer
        At least one.

    Raises
    ------
    OptionError
        When the folder holds no image of the modality, or an image or its labels cannot be used.
    """
    run_model = open_model(card)
    loose = replace(card, settings={**card.settings, **load_kind(card.kind).loose})
    answers = []
    for path in list_images(data):
        pixels, truth = read_pair(data, path)
        if modality is not None and analyse_modality(pixels) != modality:
            continue
        image = normalize(pixels, card.percentiles)
        scale = segment(image, card, run_model, 1).scale
        answers.append(Answer(predict_raw(image, loose, run_model, 1, scale), truth))
    if not answers:
        raise OptionError(f"{data} holds no image of modality {modality}")
    return answers


def mean_f1(answers: list[Answer], card: Card) -> float:
    """Mean F1 at IoU 0.5 over the images."""
    scores = []
    for answer in answers:
        shape = answer.truth.shape[0], answer.truth.shape[1]
        kept = Raw(answer.raw.maps, answer.raw.candidates[card.keep(answer.raw.candidates)])
        labels = decode_raw(kept, card, shape).labels
        scores.append(score_image(answer.truth, labels, [0.5])[0].f1)
    return float(np.mean(scores))


def tune(card: Card, answers: list[Answer], rounds: int = 2) -> tuple[dict[str, Any], float, float]:
    """Move one threshold after the other to its best value; return the decoder settings, F1 before and after."""
    best = before = mean_f1(answers, card)
    for _ in range(rounds):
        start = best
        for name, values in load_kind(card.kind).grids.items():
            tried = [
                (mean_f1(answers, _changed(card, name, value)), value)
                for value in values
                if value != card.settings[name]
            ]
            score, value = max(tried, key=lambda pair: pair[0])
            if score > best + MIN_GAIN:
                log.info("%s %s -> %s: F1 %.4f -> %.4f", name, card.settings[name], value, best, score)
                card, best = _changed(card, name, value), score
        if best == start:
            break
    return dict(card.settings), before, best


def _changed(card: Card, name: str, value: float | None) -> Card:
    return replace(card, settings={**card.settings, name: value})


def write_decoder(name: str, decoder: Settings, folder: Path) -> None:
    """Enter decoder settings into a model's card."""
    cards = read_manifest(folder)
    cards[name]["decoder"] = dict(decoder)
    write_manifest(folder, cards)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.tune", description=__doc__)
    parser.add_argument("model", help="name in the manifest")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--modality", choices=MODALITIES, help="only these images")
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder whose manifest is updated")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        card = read_card(arguments.model, arguments.weights)
        answers = collect_answers(card, arguments.data, arguments.modality)
        decoder, before, after = tune(card, answers)
        log.info("%s on %d images: mean F1 %.4f -> %.4f", card.name, len(answers), before, after)
        write_decoder(card.name, decoder, arguments.weights)


if __name__ == "__main__":
    main()
