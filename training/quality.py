"""Fit the judges of cells and of answers: python -m training.quality collect | fit | report.

`collect` runs both branches over drawn scenes, or over labelled images that the models have not seen, and notes what
their cells look like and which of them are right, or (`--answers`, once there are judges of cells) what the merged
answers look like and how good they are; `fit` learns the one from the other; `report` says what merging the branches
by it gains.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from mosaicell.answers.branches import Prediction, segment
from mosaicell.answers.quality import (
    IMAGE_FEATURES,
    JUDGED,
    QUALITY_FILE,
    Judges,
    describe_branches,
    judged_inputs,
    merge_branches,
    prefers_omnipose,
    read_judges,
)
from mosaicell.answers.scale_search import find_answer, scales_around
from mosaicell.contrast.modality import analyse_modality
from mosaicell.contrast.normalize import normalize
from mosaicell.errors import OptionError
from mosaicell.evaluation.matching import count_overlaps, match_overlaps
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.manifest import Card, read_card
from mosaicell.networks.session import Session, available_threads
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.postprocess.cells import CELL_FEATURES, median_size
from mosaicell.reading.images import write_whole
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import pick_images, read_pair
from mosaicell.training.synthesis import SCENES, draw_scene

KINDS = JUDGED[:2]
FEATURES = {"awf": CELL_FEATURES, "omnipose": CELL_FEATURES, "image": IMAGE_FEATURES}
#: judges that see products of features too; of answers there are a few hundred, too few to learn them from
SEE_PRODUCTS = KINDS
#: strength of the penalty on the slopes, with products and without, and iterations of Newton's method
RIDGE, PLAIN_RIDGE, ITERATIONS = 1e-2, 1e-3, 30
#: an image of n cells has weight n ** this: by cells the crowded ones would decide, by images the sparse ones
IMAGE_POWER = 0.3
#: sides of drawn scenes in px
SCENE_SIDES_PX = (320, 448, 640)
log = logging.getLogger("training")


@dataclass(frozen=True)
class Examples:
    """What a judge learns from: cells of a kind of branch, or whole answers.

    Attributes
    ----------
    features
        (n, f), what they look like.
    right
        (n,), 1 for a cell that is right and 0 for one that is not; the F1 of an answer.
    weights
        (n,)
    """

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

    def segment(self, pixels: np.ndarray, scale: float | None = None) -> tuple[Prediction, Prediction]:
        """Segment an image (y, x, c) with the AWF and, at the same scale, with the Omnipose-style branch.

        With None the AWF branch finds the scale.
        """
        awf, omnipose = self._names
        first = self._run(awf.format(modality=analyse_modality(pixels)), pixels, scale)
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


def collect(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches) -> dict[str, Examples]:
    """Segment labelled images with both branches; return their cells by kind.

    A cell is right when it is matched to a true one at IoU 0.5.
    """
    found: dict[str, list[Examples]] = {kind: [] for kind in KINDS}
    for pixels, truth in images:
        predictions = branches.segment(pixels)
        first, second = (median_size(prediction.map_labels) for prediction in predictions)
        _, _, features = describe_branches(*predictions, (first, second))
        for kind, prediction, described in zip(KINDS, predictions, features, strict=True):
            count = len(described) - 1
            right = np.zeros(count + 1)
            right[match_overlaps(count_overlaps(truth, prediction.labels), 0.5).prediction_ids] = 1
            weights = np.full(count, count ** (IMAGE_POWER - 1) if count else 0.0)
            found[kind].append(Examples(described[1:], right[1:], weights))
    return {kind: _join(parts) for kind, parts in found.items()}


def segment_at_scales(pixels: np.ndarray, branches: Branches) -> Iterator[tuple[Prediction, Prediction]]:
    """Segment an image at the scale that its AWF model finds, and at those a search would try from there."""
    first = branches.segment(pixels)
    yield first
    for scale in scales_around(first[0].scale, pixels.shape[:2]):
        yield branches.segment(pixels, scale)


def fit(examples: Examples, *, products: bool) -> dict[str, Any]:
    """Fit a logistic regression on standardised features, with a ridge penalty, by Newton's method.

    Parameters
    ----------
    examples
        What to learn from.
    products
        Let the judge see the products of two features too.

    Returns
    -------
    Entry of the judges' file: mean, scale, slopes, offset.

    Raises
    ------
    OptionError
        When all examples are right or all are wrong.
    """
    right = examples.right
    if not 0 < right.mean() < 1:
        raise OptionError("the examples collected are all right or all wrong: nothing can be learned from them")
    weights = examples.weights / examples.weights.sum()
    mean = weights @ examples.features
    scale = np.sqrt(weights @ np.square(examples.features - mean))
    scale[scale < 1e-6] = 1.0
    inputs = np.column_stack((np.ones(len(right)), judged_inputs(examples.features, mean, scale, products=products)))
    slopes = np.zeros(inputs.shape[1])
    penalty = (RIDGE if products else PLAIN_RIDGE) * np.append(0.0, np.ones(slopes.size - 1))
    for _ in range(ITERATIONS):
        likelihoods = 1 / (1 + np.exp(-(inputs @ slopes)))
        gradient = inputs.T @ (weights * (right - likelihoods)) - penalty * slopes
        curvature = (inputs * (weights * likelihoods * (1 - likelihoods))[:, None]).T @ inputs + np.diag(penalty)
        slopes += np.linalg.solve(curvature + 1e-9 * np.eye(len(slopes)), gradient)
    return {
        "mean": mean.round(6).tolist(),
        "scale": scale.round(6).tolist(),
        "slopes": slopes[1:].round(6).tolist(),
        "offset": round(float(slopes[0]), 6),
    }


def collect_answers(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches, judges: Judges) -> Examples:
    """Segment labelled images with both branches, at the scales of a search; return the answers with cells."""
    described: list[np.ndarray] = []
    f1: list[float] = []
    for pixels, truth in images:
        for predictions in segment_at_scales(pixels, branches):
            merged = merge_branches(*predictions, judges)
            if merged.described is not None:
                described.append(merged.described)
                f1.append(score_image(truth, merged.labels, [0.5])[0].f1)
    return Examples(np.array(described).reshape(-1, len(IMAGE_FEATURES)), np.array(f1), np.ones(len(f1)))


def report(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches, judges: Judges) -> dict[str, float]:
    """Score both branches, choices between them, and their merged cells.

    Returns
    -------
    Mean F1 at IoU 0.5 of the AWF and of the Omnipose-style branch, of the paper's rule, of an oracle that takes the
    better answer of each image, of the merged cells, all at the AWF branch's scale, and of the merged cells at the
    better scale; Pearson's r between predicted and true F1 of the latter, 0 where one of them does not vary; how many
    images.
    """
    names = (*KINDS, "paper", "oracle", "merged", "searched", "predicted")
    scores: dict[str, list[float]] = {name: [] for name in names}
    for pixels, truth in images:
        awf, omnipose = branches.segment(pixels)
        first = merge_branches(awf, omnipose, judges)
        answer = find_answer(partial(branches.segment, pixels), judges, lambda _: True, pixels).best
        labels = (awf.labels, omnipose.labels, first.labels, answer.merged.labels)
        one, two, merged, searched = (score_image(truth, found, [0.5])[0].f1 for found in labels)
        grey = analyse_modality(pixels) == "grey"
        takes_second = grey and prefers_omnipose(awf.confidence, omnipose.confidence)
        predicted = answer.merged.predicted_f1 or 0.0
        values = (one, two, two if takes_second else one, max(one, two), merged, searched, predicted)
        for name, value in zip(scores, values, strict=True):
            scores[name].append(value)
    varies = np.std(scores["searched"]) > 0 and np.std(scores["predicted"]) > 0
    correlation = float(np.corrcoef(scores["searched"], scores["predicted"])[0, 1]) if varies else 0.0
    means = {name: fmean(values) for name, values in scores.items() if name != "predicted"}
    return {**means, "r": correlation, "images": float(len(scores["searched"]))}


def write_examples(path: Path, examples: dict[str, Examples]) -> None:
    """Write examples by what they are examples of as .npz."""
    arrays = {f"{kind}_{name}": values for kind, part in examples.items() for name, values in vars(part).items()}
    arrays.update({f"{kind}_names": np.array(FEATURES[kind]) for kind in examples})
    with write_whole(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def read_examples(paths: list[Path]) -> dict[str, Examples]:
    """Read and join the examples of all files written by `write_examples`.

    Raises
    ------
    OptionError
        When a file cannot be read or has other features.
    """
    parts: dict[str, list[Examples]] = {}
    for path in paths:
        try:
            with np.load(path) as arrays:
                kinds = [kind for kind in JUDGED if f"{kind}_names" in arrays]
                if not kinds or any(tuple(arrays[f"{kind}_names"]) != FEATURES[kind] for kind in kinds):
                    raise OptionError(f"{path} was collected with other features; collect again")
                for kind in kinds:
                    columns = (arrays[f"{kind}_{name}"] for name in ("features", "right", "weights"))
                    parts.setdefault(kind, []).append(Examples(*columns))
        except (OSError, LookupError, ValueError) as error:
            raise OptionError(f"cannot read {path}: {error}") from error
    return {kind: _join(found) for kind, found in parts.items()}


def write_judges(path: Path, examples: dict[str, Examples]) -> None:
    """Fit judges and write them. Those of cells stay if there are only answers; that of answers goes without."""
    table = {
        kind: {"features": FEATURES[kind], **fit(found, products=kind in SEE_PRODUCTS)}
        for kind, found in examples.items()
    }
    if set(table) == {"image"}:
        table = {**json.loads(path.read_text(encoding="utf-8")), **table}
    with write_whole(path) as part:
        part.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _join(parts: list[Examples]) -> Examples:
    return Examples(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


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
    models.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the models")
    models.add_argument("--judges", type=Path, default=WEIGHTS_FOLDER, help="folder with the judges")
    collecting = commands.add_parser("collect", parents=[models], help="run both branches over labelled images")
    collecting.add_argument("--answers", action="store_true", help="note merged answers, not cells")
    collecting.add_argument("-o", "--output", type=Path, required=True, help="file to write (.npz)")
    fitting = commands.add_parser("fit", help="learn from what was collected")
    fitting.add_argument("files", type=Path, nargs="+", help="files of collect")
    fitting.add_argument("-o", "--output", type=Path, default=WEIGHTS_FOLDER / QUALITY_FILE, help="file to write")
    commands.add_parser("report", parents=[models], help="what merging the branches gains")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        if arguments.command == "fit":
            write_judges(arguments.output, read_examples(arguments.files))
            return
        branches = Branches(arguments.awf, arguments.omnipose, arguments.weights)
        images = (
            read_images(arguments.data, tuple(arguments.sources), arguments.per_source)
            if arguments.data
            else draw_images(arguments.drawn)
        )
        if arguments.command == "report":
            values = report(images, branches, read_judges(arguments.judges))
            log.info(" ".join(f"{name} {value:.4g}" for name, value in values.items()))
        elif arguments.answers:
            judges = read_judges(arguments.judges)
            write_examples(arguments.output, {"image": collect_answers(images, branches, judges)})
        else:
            write_examples(arguments.output, collect(images, branches))


if __name__ == "__main__":
    main()
