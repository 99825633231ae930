"""Fit the judges of cells: python -m training.quality collect | fit | report.

`collect` runs both branches over drawn scenes, or over labelled images that the models have not seen, and notes what
their cells look like and which of them are right; `fit` learns the one from the other; `report` says what merging the
branches by it gains.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from evaluation.matching import count_overlaps, match_overlaps
from evaluation.metrics import score_image
from inference.branches import Prediction, segment
from inference.errors import OptionError
from inference.images import write_whole
from inference.manifest import Card, read_card
from inference.modality import analyse_modality
from inference.normalize import normalize
from inference.options import WEIGHTS_FOLDER
from inference.quality import QUALITY_FILE, Judges, describe_branches, merge_branches, prefers_omnipose, read_judges
from inference.session import Session, available_threads
from postprocess.cells import CELL_FEATURES
from training.command import ends_in_one_sentence
from training.folder import pick_images, read_pair
from training.synthesis import SCENES, draw_scene

KINDS = ("awf", "omnipose")
#: strength of the penalty on the slopes, and steps of Newton's method
RIDGE, STEPS = 1e-3, 30
#: an image of n cells has weight n ** this: by cells the crowded ones would decide, by images the sparse ones
IMAGE_POWER = 0.3
#: sides of drawn scenes in px
SCENE_SIDES_PX = (320, 448, 640)
log = logging.getLogger("training")


@dataclass(frozen=True)
class Cells:
    """Cells of a kind of branch: what they look like (n, len(CELL_FEATURES)), whether they are right, weights (n,)."""

    features: np.ndarray
    right: np.ndarray
    weights: np.ndarray


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

    def segment(self, pixels: np.ndarray) -> tuple[Prediction, Prediction]:
        """Segment an image (y, x, c) with the AWF and, at the same scale, with the Omnipose-style branch."""
        awf, omnipose = self._names
        first = self._run(awf.format(modality=analyse_modality(pixels)), pixels, None)
        return first, self._run(omnipose, pixels, first.scale)

    def _run(self, name: str, pixels: np.ndarray, scale: float | None) -> Prediction:
        if name not in self._loaded:
            card = read_card(name, self._weights)
            self._loaded[name] = card, Session(card.path, "cpu", available_threads(), 0)
        card, session = self._loaded[name]
        return segment(normalize(pixels, card.percentiles), card, session.run, 1, scale)


def draw_images(count: int, seed: int = 77) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw so many scenes of every kind; yields pixels (y, x, c) and labels (y, x)."""
    for kind in SCENES:
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            side = int(rng.choice(SCENE_SIDES_PX))
            yield draw_scene(kind, (side, side), rng)


def read_images(data: Path, sources: tuple[str, ...], per_source: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read labelled images as `pick_images` picks them; yields pixels (y, x, c) and labels (y, x)."""
    for paths in pick_images(data, sources, per_source).values():
        for path in paths:
            yield read_pair(data, path)


def collect(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches) -> dict[str, Cells]:
    """Segment labelled images with both branches; return their cells by kind.

    A cell is right when it is matched to a true one at IoU 0.5.
    """
    found: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {kind: [] for kind in KINDS}
    for pixels, truth in images:
        predictions = branches.segment(pixels)
        _, _, features = describe_branches(*predictions)
        for kind, prediction, described in zip(KINDS, predictions, features, strict=True):
            count = len(described) - 1
            right = np.zeros(count + 1, bool)
            right[match_overlaps(count_overlaps(truth, prediction.labels), 0.5).prediction_ids] = True
            weights = np.full(count, count ** (IMAGE_POWER - 1) if count else 0.0)
            found[kind].append((described[1:], right[1:], weights))
    return {kind: Cells(*(np.concatenate(part) for part in zip(*parts, strict=True))) for kind, parts in found.items()}


def fit(cells: Cells) -> dict[str, Any]:
    """Fit a logistic regression on standardised features, with a ridge penalty, by Newton's method.

    Returns
    -------
    Entry of the judges' file: mean, scale, slopes, offset.

    Raises
    ------
    OptionError
        When all cells are right or all are wrong.
    """
    if cells.right.all() or not cells.right.any():
        raise OptionError("the cells collected are all right or all wrong: nothing can be learned from them")
    weights = cells.weights / cells.weights.sum()
    mean = weights @ cells.features
    scale = np.sqrt(weights @ np.square(cells.features - mean))
    scale[scale < 1e-6] = 1.0
    inputs = np.column_stack((np.ones(len(cells.features)), np.clip((cells.features - mean) / scale, -4, 4)))
    penalty = RIDGE * np.append(0.0, np.ones(len(mean)))
    slopes = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        likelihoods = 1 / (1 + np.exp(-(inputs @ slopes)))
        gradient = inputs.T @ (weights * (cells.right - likelihoods)) - penalty * slopes
        curvature = (inputs * (weights * likelihoods * (1 - likelihoods))[:, None]).T @ inputs + np.diag(penalty)
        slopes += np.linalg.solve(curvature + 1e-9 * np.eye(len(slopes)), gradient)
    return {
        "mean": mean.round(6).tolist(),
        "scale": scale.round(6).tolist(),
        "slopes": slopes[1:].round(6).tolist(),
        "offset": round(float(slopes[0]), 6),
    }


def report(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches, judges: Judges) -> dict[str, float]:
    """Score both branches, choices between them, and their merged cells.

    Returns
    -------
    Mean F1 at IoU 0.5 of the AWF and of the Omnipose-style branch, of the paper's rule, of an oracle that takes the
    better answer of each image, and of the merged cells; Pearson's r between predicted and true F1 of the latter, 0
    where one of them does not vary; how many images.
    """
    scores: dict[str, list[float]] = {name: [] for name in (*KINDS, "paper", "oracle", "merged", "predicted")}
    for pixels, truth in images:
        awf, omnipose = branches.segment(pixels)
        merged = merge_branches(awf, omnipose, judges)
        one, two, both = (score_image(truth, p.labels, [0.5])[0].f1 for p in (awf, omnipose, merged))
        grey = analyse_modality(pixels) == "grey"
        takes_second = grey and prefers_omnipose(awf.confidence, omnipose.confidence)
        values = (one, two, two if takes_second else one, max(one, two), both, merged.predicted_f1 or 0.0)
        for name, value in zip(scores, values, strict=True):
            scores[name].append(value)
    varies = np.std(scores["merged"]) > 0 and np.std(scores["predicted"]) > 0
    correlation = float(np.corrcoef(scores["merged"], scores["predicted"])[0, 1]) if varies else 0.0
    means = {name: fmean(values) for name, values in scores.items() if name != "predicted"}
    return {**means, "r": correlation, "images": float(len(scores["merged"]))}


def write_cells(path: Path, cells: dict[str, Cells]) -> None:
    """Write collected cells as .npz."""
    arrays = {f"{kind}_{name}": values for kind, part in cells.items() for name, values in vars(part).items()}
    with write_whole(path) as part, part.open("wb") as stream:
        np.savez(stream, names=np.array(CELL_FEATURES), **arrays)


def read_cells(paths: list[Path]) -> dict[str, Cells]:
    """Read the cells of all files written by `write_cells`.

    Raises
    ------
    OptionError
        When a file cannot be read or has other features.
    """
    parts: dict[str, list[list[np.ndarray]]] = {kind: [] for kind in KINDS}
    for path in paths:
        try:
            with np.load(path) as arrays:
                if tuple(arrays["names"]) != CELL_FEATURES:
                    raise OptionError(f"{path} was collected with other features; collect again")
                for kind in KINDS:
                    parts[kind].append([arrays[f"{kind}_{name}"] for name in ("features", "right", "weights")])
        except (OSError, LookupError) as error:
            raise OptionError(f"cannot read {path}: {error}") from error
    return {kind: Cells(*(np.concatenate(part) for part in zip(*lists, strict=True))) for kind, lists in parts.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.quality", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    models = argparse.ArgumentParser(add_help=False)
    models.add_argument("--data", type=Path, help="folder with images/ and labels/ (default: drawn scenes)")
    models.add_argument("--sources", nargs="*", default=[], help="sources to take (default: all)")
    models.add_argument("--per-source", type=int, default=0, help="at most this many images each (default: all)")
    models.add_argument("--drawn", type=int, default=8, help="scenes of each kind to draw (default: %(default)s)")
    models.add_argument("--awf", default="awf-{modality}", help="model, {modality} for the analysed one")
    models.add_argument("--omnipose", default="omnipose", help="model")
    models.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the models and the judges")
    collecting = commands.add_parser("collect", parents=[models], help="run both branches over labelled images")
    collecting.add_argument("-o", "--output", type=Path, required=True, help="file to write (.npz)")
    fitting = commands.add_parser("fit", help="learn from collected cells which are right")
    fitting.add_argument("files", type=Path, nargs="+", help="files of collect")
    fitting.add_argument("-o", "--output", type=Path, default=WEIGHTS_FOLDER / QUALITY_FILE, help="file to write")
    commands.add_parser("report", parents=[models], help="what merging the branches gains")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        if arguments.command == "fit":
            table = {kind: fit(cells) for kind, cells in read_cells(arguments.files).items()}
            with write_whole(arguments.output) as part:
                part.write_text(json.dumps({"features": CELL_FEATURES, **table}, indent=1) + "\n", encoding="utf-8")
            return
        branches = Branches(arguments.awf, arguments.omnipose, arguments.weights)
        images = (
            read_images(arguments.data, tuple(arguments.sources), arguments.per_source)
            if arguments.data
            else draw_images(arguments.drawn)
        )
        if arguments.command == "collect":
            write_cells(arguments.output, collect(images, branches))
        else:
            values = report(images, branches, read_judges(arguments.weights))
            log.info(" ".join(f"{name} {value:.4g}" for name, value in values.items()))


if __name__ == "__main__":
    main()
