"""Fit the judges of cells and of answers: python -m training.quality collect | fit | report.

`collect` runs the branches of a system over drawn scenes, or over labelled images that the models have not seen, and
notes what their cells look like and which of them are right, or (`--answers`, once there are judges of cells) what the
merged answers look like and how good they are; `fit` learns the one from the other; `report` says what merging the
branches by it gains, and how well the predicted F1 fits the true one.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np

from mosaicell.answers.branches import Prediction, segment
from mosaicell.answers.case import ImageCase
from mosaicell.answers.features import describe_branches, name_branches
from mosaicell.answers.judges import IMAGE, IMAGE_FEATURES, QUALITY_FILE, Judges, read_judges
from mosaicell.answers.merging import merge_branches
from mosaicell.answers.scale_search import find_answer, scales_around
from mosaicell.contrast.normalize import normalize
from mosaicell.evaluation.matching import count_overlaps, match_overlaps
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.manifest import ModelCard, read_models
from mosaicell.networks.session import Session, available_threads
from mosaicell.options import DEFAULT_SYSTEM, SYSTEM_NAMES, WEIGHTS_FOLDER
from mosaicell.postprocess.cells import median_size
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.systems import System, load_system
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import pick_images, read_pair
from mosaicell.training.judging import Examples, join, read_examples, write_examples, write_judges
from mosaicell.training.synthesis import SCENES, draw_scene

#: an image of n cells has weight n ** this: by cells the crowded ones would decide, by images the sparse ones
IMAGE_POWER = 0.3
#: sides of drawn scenes in px
SCENE_SIDES_PX = (320, 448, 640)
log = logging.getLogger("training")


class WholeCase(ImageCase):
    """An image that is held whole at every scale, so that what is found can be compared with its labels."""

    def __init__(self, pixels: np.ndarray, branches: Branches) -> None:
        super().__init__(ArrayPixels(pixels), branches.load, 1, available_threads(), skip_empty=False)
        self.array = pixels

    def holds(self, scale: float) -> bool:
        """Say that the whole image is seen."""
        return True

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Segment the whole image."""
        card, run_model = self._load(name, tta=tta)
        return segment(normalize(self.array, card.percentiles), card, run_model, 1, scale)


class Branches:
    """The branches of a system, with models of choice, each loaded when first needed.

    Parameters
    ----------
    system
        Which models see an image.
    weights
        Folder of the models.
    models
        What takes the place of the system's models, one for each of its branches; none for its own. `{modality}`
        stands for the analysed modality.
    """

    def __init__(self, system: System, weights: Path, models: Sequence[str] = ()) -> None:
        self.system = system
        self._weights, self._models = weights, tuple(models)
        self._loaded: dict[str, tuple[ModelCard, Session]] = {}
        self._instead: dict[str, str] = {}

    def open(self, pixels: np.ndarray) -> WholeCase:
        """Return the case of an image (y, x, c); models of choice are those for it until the next image is opened."""
        case = WholeCase(pixels, self)
        if self._models:
            chosen = [name.format(modality=case.modality) for name in self._models]
            self._instead = dict(zip(self.system.branches(case), chosen, strict=True))
        return case

    def segment(self, pixels: np.ndarray, scale: float | None = None) -> list[Prediction]:
        """Segment an image (y, x, c) with all branches, at the same scale; with None the first branch finds it."""
        case = self.open(pixels)
        first, *others = self.system.branches(case)
        predictions = [case.segment(first, scale)]
        return [*predictions, *(case.segment(name, predictions[0].scale) for name in others)]

    def load(self, name: str) -> tuple[ModelCard, Session]:
        """Return card and session of what stands for one of the system's models."""
        name = self._instead.get(name, name)
        if name not in self._loaded:
            card = read_models((name,), self._weights)[name]
            self._loaded[name] = card, Session(card.path, "cpu", available_threads(), 0)
        return self._loaded[name]


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
    """Segment labelled images with all branches; return their cells by branch.

    A cell is right when it is matched to a true one at IoU 0.5.
    """
    found: dict[str, list[Examples]] = {}
    for pixels, truth in images:
        predictions = branches.segment(pixels)
        _, described = describe_branches(predictions, [median_size(one.map_labels) for one in predictions])
        names = name_branches(prediction.kind for prediction in predictions)
        for name, prediction, measured in zip(names, predictions, described, strict=True):
            count = len(measured.values) - 1
            right = np.zeros(count + 1)
            right[match_overlaps(count_overlaps(truth, prediction.labels), 0.5).prediction_ids] = 1
            weights = np.full(count, count ** (IMAGE_POWER - 1) if count else 0.0)
            found.setdefault(name, []).append(Examples(measured.names, measured.values[1:], right[1:], weights))
    return {name: join(parts) for name, parts in found.items()}


def segment_at_scales(pixels: np.ndarray, branches: Branches) -> Iterator[list[Prediction]]:
    """Segment an image at the scale that its first branch finds, and at those a search would try from there."""
    first = branches.segment(pixels)
    yield first
    for scale in scales_around(first[0].scale, pixels.shape[:2]):
        yield branches.segment(pixels, scale)


def collect_answers(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches, judges: Judges) -> Examples:
    """Segment labelled images with all branches, at the scales of a search; return the answers with cells."""
    described: list[np.ndarray] = []
    f1: list[float] = []
    for pixels, truth in images:
        for predictions in segment_at_scales(pixels, branches):
            merged = merge_branches(predictions, judges)
            if merged.described is not None:
                described.append(merged.described)
                f1.append(score_image(truth, merged.labels, [0.5])[0].f1)
    features = np.array(described).reshape(-1, len(IMAGE_FEATURES))
    return Examples(IMAGE_FEATURES, features, np.array(f1), np.ones(len(f1)))


def report(images: Iterator[tuple[np.ndarray, np.ndarray]], branches: Branches, judges: Judges) -> dict[str, float]:
    """Score all branches, choices between them, their merged cells, and what the system answers.

    Returns
    -------
    Mean F1 at IoU 0.5 of each branch, of an oracle that takes the best answer of each image, of the merged cells, all
    at the first branch's scale, of the merged cells at the better scale, of the system's own answer, and of what it
    answers without judges, where it does; the mean of the F1 that it predicts, and Pearson's r between that and the
    true one, 0 where one of them does not vary; how many images.
    """
    scores: dict[str, list[float]] = {}
    for pixels, truth in images:
        predictions = branches.segment(pixels)
        names = name_branches(prediction.kind for prediction in predictions)
        alone = [_score(truth, prediction.labels) for prediction in predictions]
        answer = branches.system.answer(branches.open(pixels), judges, tta=False)
        search = find_answer(partial(branches.segment, pixels), judges, lambda _: True, branches.open(pixels).scene)
        values = {
            **dict(zip(names, alone, strict=True)),
            "oracle": max(alone),
            "merged": _score(truth, merge_branches(predictions, judges).labels),
            "searched": _score(truth, search.best.merged.labels),
            "answered": _score(truth, answer.labels),
            "predicted": answer.predicted_f1 or 0.0,
        }
        if len(branches.system.ways) > 1:
            published = branches.system.answer(branches.open(pixels), None, tta=False)
            values["published"] = _score(truth, published.labels)
        for name, value in values.items():
            scores.setdefault(name, []).append(value)
    varies = np.std(scores["answered"]) > 0 and np.std(scores["predicted"]) > 0
    correlation = float(np.corrcoef(scores["answered"], scores["predicted"])[0, 1]) if varies else 0.0
    means = {name: fmean(values) for name, values in scores.items()}
    return {**means, "r": correlation, "images": float(len(scores["answered"]))}


def _score(truth: np.ndarray, labels: np.ndarray) -> float:
    return score_image(truth, labels, [0.5])[0].f1


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which images and which models."""
    parser.add_argument("--sources", nargs="*", default=[], help="sources to take (default: all)")
    parser.add_argument("--per-source", type=int, default=0, help="at most this many images each (default: all)")
    parser.add_argument("--system", choices=SYSTEM_NAMES, default=DEFAULT_SYSTEM, help="default: %(default)s")
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME",
        help="models in place of the system's, one for each branch; {modality} is the analysed one")  # fmt: skip
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER, help="folder with the models")
    parser.add_argument("--judges", type=Path, default=WEIGHTS_FOLDER, help="folder with the judges")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.quality", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    models = argparse.ArgumentParser(add_help=False)
    models.add_argument("--data", type=Path, help="folder with images/ and labels/ (default: drawn scenes)")
    models.add_argument("--drawn", type=int, default=8, help="scenes of each kind to draw (default: %(default)s)")
    add_model_options(models)
    collecting = commands.add_parser("collect", parents=[models], help="run all branches over labelled images")
    collecting.add_argument("--answers", action="store_true", help="note merged answers, not cells")
    collecting.add_argument("-o", "--output", type=Path, required=True, help="file to write (.npz)")
    fitting = commands.add_parser("fit", help="learn from what was collected")
    fitting.add_argument("files", type=Path, nargs="+", help="files of collect")
    fitting.add_argument("--system", choices=SYSTEM_NAMES, default=DEFAULT_SYSTEM, help="default: %(default)s")
    fitting.add_argument("-o", "--output", type=Path, default=WEIGHTS_FOLDER, metavar="DIR",
        help=f"folder whose {QUALITY_FILE} is written")  # fmt: skip
    commands.add_parser("report", parents=[models], help="what merging the branches gains")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        if arguments.command == "fit":
            write_judges(arguments.output, arguments.system, read_examples(arguments.files))
            return
        system = load_system(arguments.system)
        branches = Branches(system, arguments.weights, arguments.models)
        images = (
            read_images(arguments.data, tuple(arguments.sources), arguments.per_source)
            if arguments.data
            else draw_images(arguments.drawn)
        )
        if arguments.command == "collect" and not arguments.answers:
            write_examples(arguments.output, collect(images, branches))
            return
        judges = read_judges(arguments.judges, arguments.system, system.judged)
        if arguments.command == "report":
            values = report(images, branches, judges)
            log.info(" ".join(f"{name} {value:.4g}" for name, value in values.items()))
        else:
            write_examples(arguments.output, {IMAGE: collect_answers(images, branches, judges)})


if __name__ == "__main__":
    main()
