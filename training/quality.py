"""Fit the predictor of F1: python -m training.quality collect | fit | report.

`collect` runs both branches over labelled images that their models have not seen and notes what the predictions look
like beside their F1; `fit` learns the one from the other; `report` says how well, and what choosing by it costs.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from evaluation.metrics import score_image
from inference.branches import Prediction, segment
from inference.errors import OptionError
from inference.features import agreement
from inference.images import write_whole
from inference.manifest import Card, read_card
from inference.modality import analyse_modality
from inference.normalize import normalize
from inference.options import WEIGHTS_FOLDER
from inference.quality import INPUTS, QUALITY_FILE, Predictor, prefers_omnipose, read_predictors
from inference.session import Session, available_threads
from training.command import ends_in_one_sentence
from training.folder import pick_images, read_pair

KINDS = ("awf", "omnipose")
COLUMNS = ("image", "source", "modality", "kind", "f1", *INPUTS)
#: strength of the penalty, relative to the number of images
RIDGE = 0.02
#: F1 is fitted as log odds, kept away from 0 and 1 by this
MARGIN = 0.02
log = logging.getLogger("training")


@dataclass(frozen=True)
class Record:
    """One branch's prediction for one image: its F1 at IoU 0.5 and the predictor's inputs (n,)."""

    image: str
    source: str
    modality: str
    kind: str
    f1: float
    inputs: np.ndarray


class Branches:
    """Both branches of the program with models of choice, each loaded when first needed.

    Parameters
    ----------
    awf, omnipose
        Names of the models; `{modality}` in the former stands for the analysed modality.
    weights
        Folder of the models.
    """

    def __init__(self, awf: str, omnipose: str, weights: Path) -> None:
        self._names = (awf, omnipose)
        self._weights = weights
        self._loaded: dict[str, tuple[Card, Session]] = {}

    def segment(self, pixels: np.ndarray) -> dict[str, tuple[Prediction, np.ndarray]]:
        """Segment an image (y, x, c); return prediction and inputs of the predictor (n,) by kind of branch."""
        awf, omnipose = self._names
        first = self._run(awf.format(modality=analyse_modality(pixels)), pixels, None)
        second = self._run(omnipose, pixels, first.scale)
        agreed = agreement(first.labels, second.labels)
        return {kind: (p, np.append(p.features, agreed)) for kind, p in zip(KINDS, (first, second), strict=True)}

    def _run(self, name: str, pixels: np.ndarray, scale: float | None) -> Prediction:
        if name not in self._loaded:
            card = read_card(name, self._weights)
            self._loaded[name] = card, Session(card.path, "cpu", available_threads(), 0)
        card, session = self._loaded[name]
        return segment(normalize(pixels, card.percentiles), card, session.run, 1, scale)


def collect(data: Path, sources: tuple[str, ...], per_source: int, branches: Branches) -> list[Record]:
    """Segment labelled images with both branches.

    Parameters
    ----------
    data
        Folder with images/ and labels/NAME_label.tiff, and a manifest.csv that names the sources.
    sources, per_source
        Which images, as in `pick_images`.

    Returns
    -------
    Two records an image: of the AWF and of the Omnipose-style branch.
    """
    records = []
    for source, paths in pick_images(data, sources, per_source).items():
        for path in paths:
            pixels, truth = read_pair(data, path)
            modality = analyse_modality(pixels)
            for kind, (prediction, inputs) in branches.segment(pixels).items():
                f1 = score_image(truth, prediction.labels, [0.5])[0].f1
                records.append(Record(path.name, source, modality, kind, f1, inputs))
        log.info("%s: %d images", source, len(paths))
    return records


def fit(records: list[Record]) -> dict[str, dict[str, Any]]:
    """Fit one linear predictor of the log odds of F1 per kind of branch, by ridge regression on standardised inputs.

    Images weigh such that all sources together have the weight of their square root of images, as in training.

    Returns
    -------
    Entries of the predictors' file by kind.
    """
    table = {}
    for kind in KINDS:
        mine = [record for record in records if record.kind == kind]
        inputs = np.stack([record.inputs for record in mine])
        f1 = np.clip([record.f1 for record in mine], MARGIN, 1 - MARGIN)
        odds = np.log(f1 / (1 - f1))
        sizes = {s: sum(r.source == s for r in mine) for s in {r.source for r in mine}}
        weights = np.array([sizes[record.source] ** -0.5 for record in mine])
        # what the logistic function makes of an error in the odds
        weights = weights * (f1 * (1 - f1)) ** 2
        weights /= weights.sum()
        mean = weights @ inputs
        scale = np.sqrt(weights @ (inputs - mean) ** 2)
        scale[scale < 1e-6] = 1.0
        standard = (inputs - mean) / scale
        offset = weights @ odds
        gram = (standard * weights[:, None]).T @ standard + RIDGE * np.eye(len(mean))
        slopes = np.linalg.solve(gram, (standard * weights[:, None]).T @ (odds - offset))
        table[kind] = {
            "mean": mean.round(6).tolist(),
            "scale": scale.round(6).tolist(),
            "slopes": slopes.round(6).tolist(),
            "offset": round(float(offset), 6),
        }
    return table


def evaluate(records: list[Record], predictors: dict[str, Predictor]) -> dict[str, float]:
    """Say how well F1 is predicted, and what choosing the branch by it costs.

    Returns
    -------
    Pearson's r and mean absolute error over all records; mean F1 of each branch, of the choice by predicted F1, of the
    paper's rule and of an oracle, over the images.
    """
    truth = np.array([record.f1 for record in records])
    predicted = np.array([predictors[record.kind].predict(record.inputs) for record in records])
    of = {(record.image, record.kind): (record, value) for record, value in zip(records, predicted, strict=True)}
    scores: dict[str, list[float]] = {name: [] for name in (*KINDS, "chosen", "paper", "oracle")}
    for image in dict.fromkeys(record.image for record in records):
        (awf, awf_value), (omnipose, omnipose_value) = (of[image, kind] for kind in KINDS)
        scores["awf"].append(awf.f1)
        scores["omnipose"].append(omnipose.f1)
        scores["chosen"].append(omnipose.f1 if omnipose_value > awf_value else awf.f1)
        scores["paper"].append(omnipose.f1 if prefers_omnipose(awf.inputs[0], omnipose.inputs[0]) else awf.f1)
        scores["oracle"].append(max(awf.f1, omnipose.f1))
    correlation = float(np.corrcoef(truth, predicted)[0, 1]) if len(records) > 1 else math.nan
    return {
        "r": correlation,
        "error": float(np.abs(truth - predicted).mean()),
        **{name: fmean(values) for name, values in scores.items()},
    }


def write_records(path: Path, records: list[Record]) -> None:
    """Write records as CSV."""
    with write_whole(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for r in records:
            writer.writerow([r.image, r.source, r.modality, r.kind, r.f1, *r.inputs.tolist()])


def read_records(paths: list[Path]) -> list[Record]:
    """Read records written by `write_records`.

    Raises
    ------
    OptionError
        When a file cannot be read or has other columns.
    """
    records = []
    for path in paths:
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                rows = list(csv.reader(stream))
        except (OSError, ValueError) as error:
            raise OptionError(f"cannot read {path}: {error}") from error
        if not rows or tuple(rows[0]) != COLUMNS:
            raise OptionError(f"{path} is not a table of `collect`: its columns are not {', '.join(COLUMNS)}")
        for image, source, modality, kind, f1, *inputs in rows[1:]:
            records.append(Record(image, source, modality, kind, float(f1), np.array(inputs, float)))
    return records


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.quality", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect", help="run both branches over labelled images")
    collecting.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    collecting.add_argument("--sources", nargs="*", default=[], help="sources to take (default: all)")
    collecting.add_argument("--per-source", type=int, default=0, help="at most this many images each (default: all)")
    collecting.add_argument("--awf", default="awf-{modality}", help="model, {modality} for the analysed one")
    collecting.add_argument("--omnipose", default="omnipose", help="model")
    collecting.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the manifest")
    collecting.add_argument("-o", "--output", type=Path, required=True, help="CSV to write")
    fitting = commands.add_parser("fit", help="learn F1 from collected records")
    fitting.add_argument("tables", type=Path, nargs="+", help="CSV files of collect")
    fitting.add_argument("-o", "--output", type=Path, default=WEIGHTS_FOLDER / QUALITY_FILE, help="file to write")
    reporting = commands.add_parser("report", help="correlation and cost of the choice")
    reporting.add_argument("tables", type=Path, nargs="+", help="CSV files of collect")
    reporting.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the predictors")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        if arguments.command == "collect":
            branches = Branches(arguments.awf, arguments.omnipose, arguments.weights)
            records = collect(arguments.data, tuple(arguments.sources), arguments.per_source, branches)
            write_records(arguments.output, records)
        elif arguments.command == "fit":
            table = fit(read_records(arguments.tables))
            with write_whole(arguments.output) as part:
                part.write_text(json.dumps({"inputs": INPUTS, **table}, indent=1) + "\n")
        else:
            records = read_records(arguments.tables)
            predictors = read_predictors(arguments.weights)
            for modality in (*sorted({record.modality for record in records}), "all"):
                mine = [r for r in records if modality in (r.modality, "all")]
                values = evaluate(mine, predictors)
                shown = " ".join(f"{name} {value:.3f}" for name, value in values.items())
                log.info("%s, %d images: %s", modality, len(mine) // 2, shown)


if __name__ == "__main__":
    main()
