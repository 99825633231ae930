"""How good answers are on images that neither models nor judges have seen: python -m training.strangers.

Folds are networks that were each trained without some of the sources. The program runs a fold's network on images of
the sources that it was trained without, with judges that were fitted to the other folds' cells and answers on images
of theirs. What `--output` holds already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean

import numpy as np

from mosaicell.answers.judges import IMAGE, read_judges
from mosaicell.arrays import picture_of
from mosaicell.errors import OptionError
from mosaicell.evaluation.metrics import score_image
from mosaicell.options import DEFAULT_SYSTEM
from mosaicell.segmenter import Segmenter
from mosaicell.systems import DOUBTFUL_F1, load_system
from mosaicell.training.command import ends_in_one_sentence
from mosaicell.training.folder import pick_images, read_pair
from mosaicell.training.judging import read_examples, write_examples, write_judges
from mosaicell.training.quality import Branches, collect, collect_answers, read_images
from mosaicell.training.recipe import read_recipe
from mosaicell.training.roles import write_roles
from mosaicell.writing.parts import write_whole

FOLDS = ("fold-a", "fold-b")
#: the role of a fold's network in the system, by what its name ends in
ROLES = {
    "awf-grey": "",
    "awf-fluorescence": "",
    "awf-brightfield": "",
    "omnipose": "-omnipose",
    "omnipose-grey": "-omnipose",
}
#: an answer that is worse should be called doubtful
BAD_F1 = 0.25
log = logging.getLogger("training")


@dataclass(frozen=True)
class Row:
    """What came of one image.

    Attributes
    ----------
    f1, strict_f1
        At IoU 0.5 and 0.7, of the better cells of both branches.
    confidence_f1
        At IoU 0.5, by the paper's choice.
    predicted_f1
        What the judges expect; 0 where nothing was found.
    """

    source: str
    image: str
    f1: float
    strict_f1: float
    confidence_f1: float
    predicted_f1: float


class Folds:
    """Judges from folds, and what they are worth, in a folder that keeps each step.

    Parameters
    ----------
    data
        Folder with images/ and labels/NAME_label.tiff.
    weights
        Folder with the folds' models, NAME.onnx and NAME-omnipose.onnx.
    names
        Recipes of the folds, at least two, each with sources held out.
    per_source
        At most this many images of each source; 0 for all.
    examples
        Further files of `training.quality collect` that all judges of cells learn from.
    work
        What is written.

    Raises
    ------
    OptionError
        When a recipe cannot be used.
    """

    def __init__(
        self, data: Path, weights: Path, names: Sequence[str], per_source: int, examples: Sequence[Path], work: Path
    ) -> None:
        self._data, self._weights, self._per_source = data, weights, per_source
        self._examples, self._work = list(examples), work
        self._system = load_system(DEFAULT_SYSTEM)
        recipes = [read_recipe(name) for name in names]
        self.sources = {recipe.name: tuple(recipe.sampling.held_out) for recipe in recipes}
        if len(self.sources) < 2:
            raise OptionError("it takes two folds: each is judged by what the others show")
        if alone := [name for name, sources in self.sources.items() if not sources]:
            raise OptionError(f"the recipe of {alone[0]} holds no source out")

    def prepare(self) -> None:
        """Collect what the folds show, and fit judges of each fold to that of the others."""
        self._work.mkdir(parents=True, exist_ok=True)
        for name in self.sources:
            self._collect_once(self._cells(name), name)
        for name in self.sources:
            others = [other for other in self.sources if other != name]
            folder = self._work / name
            write_roles(folder, self._weights, {role: name + ending for role, ending in ROLES.items()})
            examples = read_examples([*self._examples, *map(self._cells, others)])
            examples.pop(IMAGE, None)
            write_judges(folder, DEFAULT_SYSTEM, examples)
            answers = [self._work / f"answers-{other}-for-{name}.npz" for other in others]
            for other, path in zip(others, answers, strict=True):
                self._collect_once(path, other, folder)
            write_judges(folder, DEFAULT_SYSTEM, read_examples(answers))

    def score(self, name: str) -> list[Row]:
        """Run the program on images of the sources that a fold was trained without."""
        folder = self._work / name
        judged = Segmenter(weights=folder, device="cpu")
        published = Segmenter(weights=folder, device="cpu", choose_by="confidence")
        rows = []
        for source, paths in pick_images(self._data, self.sources[name], self._per_source).items():
            for path in paths:
                pixels, truth = read_pair(self._data, path)
                answer = judged.segment(picture_of(pixels))
                other = published.segment(picture_of(pixels))
                f1, strict_f1 = (score.f1 for score in score_image(truth, answer.labels, [0.5, 0.7]))
                (confidence,) = score_image(truth, other.labels, [0.5])
                rows.append(Row(source, path.name, f1, strict_f1, confidence.f1, answer.predicted_f1 or 0.0))
        return rows

    def _cells(self, name: str) -> Path:
        return self._work / f"cells-{name}.npz"

    def _collect_once(self, path: Path, name: str, judges: Path | None = None) -> None:
        """Collect the cells of a fold or, with the folder of judges of cells, its answers, unless the file is there."""
        if path.exists():
            return
        branches = Branches(self._system, self._weights, [name, f"{name}-omnipose"])
        images = read_images(self._data, self.sources[name], self._per_source)
        if judges is None:
            write_examples(path, collect(images, branches))
        else:
            found = read_judges(judges, DEFAULT_SYSTEM, self._system.judged)
            write_examples(path, {IMAGE: collect_answers(images, branches, found)})
        log.info("%s", path)


def format_rows(rows: Sequence[Row]) -> str:
    """Format a Markdown table: a row for each source, the mean over images and that over sources, and two sentences."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.source, []).append(row)
    means = {
        source: [fmean(column) for column in zip(*(_numbers(row) for row in found), strict=True)]
        for source, found in sorted(groups.items())
    }
    lines = [
        "| source | images | F1 at IoU 0.5 | at IoU 0.7 | by confidence | predicted F1 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_format_line(source, len(groups[source]), values) for source, values in means.items()]
    over_images = [fmean(column) for column in zip(*(_numbers(row) for row in rows), strict=True)]
    over_sources = [fmean(column) for column in zip(*means.values(), strict=True)]
    lines.append(_format_line("all, mean over images", len(rows), over_images))
    lines.append(_format_line("all, mean over sources", len(rows), over_sources))
    f1, predicted = np.array([(row.f1, row.predicted_f1) for row in rows]).T
    told, bad = predicted < DOUBTFUL_F1, f1 < BAD_F1
    correlation = np.corrcoef(f1, predicted)[0, 1] if f1.std() > 0 and predicted.std() > 0 else 0.0
    lines += [
        "",
        f"Predicted and true F1: r = {correlation:.2f}, mean difference {np.abs(f1 - predicted).mean():.2f}.",
        f"Below {BAD_F1} are {bad.sum()} images, of which {(bad & told).sum()} are called doubtful;"
        f" of the {(~bad).sum()} others {(told & ~bad).sum()} are.",
    ]
    return "\n".join(lines)


def _numbers(row: Row) -> tuple[float, ...]:
    return row.f1, row.strict_f1, row.confidence_f1, row.predicted_f1


def _format_line(name: str, count: int, values: Sequence[float]) -> str:
    return f"| {name} | {count} | {' | '.join(f'{value:.3f}' for value in values)} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m training.strangers", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/NAME_label.tiff")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the folds' models")
    parser.add_argument("--folds", nargs="+", default=list(FOLDS), metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--per-source", type=int, default=8, help="at most this many images each (default: %(default)s)"
    )
    parser.add_argument("--examples", type=Path, nargs="*", default=[], metavar="NPZ",
        help="files of `training.quality collect` that the judges of cells learn from as well")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for all of it")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ends_in_one_sentence(parser):
        folds = Folds(arguments.data, arguments.weights, arguments.folds, arguments.per_source, arguments.examples,
            arguments.output)  # fmt: skip
        folds.prepare()
        rows = [row for name in folds.sources for row in folds.score(name)]
        with write_whole(arguments.output / "scores.csv") as part, part.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow([field.name for field in fields(Row)])
            writer.writerows([getattr(row, field.name) for field in fields(Row)] for row in rows)
        log.info("%s", format_rows(rows))


if __name__ == "__main__":
    main()
