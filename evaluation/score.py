"""Command `python -m evaluation.score`: score a folder of masks against a folder of true ones."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

import numpy as np

from mosaicell.evaluation.metrics import Scores, score_image
from mosaicell.evaluation.pairing import pair_names
from mosaicell.reading.images import LABEL_SUFFIX, read_labels

COUNT_COLUMNS = ("true_num", "pred_num", "correct_num", "missed_num", "wrong_num")
RATIO_COLUMNS = ("precision", "recall", "dice", "F1")
TABLE_COLUMNS = (
    "IoU",
    "images",
    "number",
    "mean F1",
    "median F1",
    "precision",
    "recall",
    "true",
    "predicted",
    "matched",
)


@dataclass(frozen=True)
class ScoredImage:
    """What one true label file and its prediction gave.

    Attributes
    ----------
    name : str
        File name of both.
    modality : str
        From the manifest, empty without one.
    scores : tuple of Scores
        One for each threshold; empty when the truth could not be read.
    problem : str
        Why the prediction counts as 0, or why nothing counts; empty when all went well.
    """

    name: str
    modality: str
    scores: tuple[Scores, ...]
    problem: str = ""


def score_file(truth_path: Path, prediction_path: Path, thresholds: Sequence[float], modality: str = "") -> ScoredImage:
    """Score one mask file; what is missing or cannot be compared counts as nothing found.

    Parameters
    ----------
    truth_path, prediction_path : Path
        Label images of the same size.
    thresholds : sequence of float
        Smallest IoU of a match, each in (0, 1].
    modality : str
        Copied into the result.

    Returns
    -------
    ScoredImage
        With a `problem` when one of the two is missing, unreadable or of another size.
    """
    name = truth_path.name
    try:
        truth = read_labels(truth_path)
    except (OSError, ValueError) as error:
        return ScoredImage(name, modality, (), f"left out, the truth cannot be read: {error}")
    try:
        if not prediction_path.is_file():
            raise FileNotFoundError(f"no such file in {prediction_path.parent}")
        return ScoredImage(name, modality, tuple(score_image(truth, read_labels(prediction_path), thresholds)))
    except (OSError, ValueError) as error:
        nothing_found = score_image(truth, np.zeros_like(truth), thresholds)
        scores = tuple(replace(score, dice=0.0) for score in nothing_found)
        return ScoredImage(name, modality, scores, f"counted as 0: {error}")


def score_folder(
    truth_dir: Path, prediction_dir: Path, thresholds: Sequence[float], modalities: Mapping[str, str]
) -> Iterator[ScoredImage]:
    """Score the prediction of every `NAME_label.tiff` in a folder of true labels, in the order of the names.

    Parameters
    ----------
    truth_dir, prediction_dir : Path
        Folders with label files, paired as `pairing.pair_names` says. The truth decides which images count, so a
        missing prediction lowers the mean (the organisers' script leaves it out).
    thresholds : sequence of float
        Smallest IoU of a match, each in (0, 1].
    modalities : mapping
        File name of a label image to its modality; other names are "unlisted", unless it is empty.

    Yields
    ------
    ScoredImage
    """
    otherwise = "unlisted" if modalities else ""
    truths = sorted(truth_dir.glob(f"*{LABEL_SUFFIX}"))
    pairs = pair_names((path.name for path in truths), list_masks(prediction_dir))
    for path in truths:
        prediction = prediction_dir / pairs.get(path.name, path.name)
        yield score_file(path, prediction, thresholds, modalities.get(path.name, otherwise))


def list_masks(folder: Path) -> set[str]:
    """List the names of the label files in a folder."""
    return {path.name for path in folder.glob(f"*{LABEL_SUFFIX}")}


def read_modalities(manifest: Path) -> dict[str, str]:
    """Read the modality of every label file from a CSV file with the columns `label` and `modality`.

    Raises
    ------
    ValueError
        A column is missing, or empty in one of the lines.
    """
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"label", "modality"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{manifest} has no column {' and no column '.join(sorted(missing))}")
        modalities = {}
        for row in reader:
            for column in ("label", "modality"):
                if not (row[column] or "").strip():
                    raise ValueError(f"{manifest}, line {reader.line_num}: the column {column} is empty")
            modalities[Path(row["label"]).name] = row["modality"]
        return modalities


def summarise(images: Iterable[ScoredImage]) -> list[tuple[str, ...]]:
    """Summarise scores by threshold and modality.

    Parameters
    ----------
    images : iterable of ScoredImage

    Returns
    -------
    list of tuples
        One row of `TABLE_COLUMNS` for each threshold and modality, and for each threshold over all images.
        F1, precision and recall are averages over images, so each image weighs the same; counts are sums.
    """
    groups: dict[float, dict[str, list[Scores]]] = {}
    for image in images:
        for score in image.scores:
            by_modality = groups.setdefault(score.threshold, {})
            by_modality.setdefault(image.modality, []).append(score)
    rows = []
    for threshold, by_modality in groups.items():
        everything = [score for scores in by_modality.values() for score in scores]
        named = [(modality, by_modality[modality]) for modality in sorted(by_modality) if modality]
        rows += [_summary_row(threshold, name, scores) for name, scores in [*named, ("all", everything)]]
    return rows


def format_table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows of `TABLE_COLUMNS` as a Markdown table."""
    lines = [TABLE_COLUMNS, ("---:", "---", *["---:"] * (len(TABLE_COLUMNS) - 2)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_csv(path: Path, images: Iterable[ScoredImage]) -> None:
    """Write one row for each image and threshold, with the organisers' column names and four decimals."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("names", "modality", "threshold", *COUNT_COLUMNS, *RATIO_COLUMNS, "problem"))
        for image in images:
            for score in image.scores:
                numbers = (score.n_truth, score.n_prediction, score.n_matched, score.n_missed, score.n_wrong)
                ratios = (f"{ratio:.4f}" for ratio in (score.precision, score.recall, score.dice, score.f1))
                writer.writerow((image.name, image.modality, score.threshold, *numbers, *ratios, image.problem))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0, or 1 when a file was missing or could not be compared.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    output_dirs = [options.output.parent] if options.output else []
    for folder in (options.gt_path, options.seg_path, *output_dirs):
        if not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    if options.output and options.output.is_dir():
        parser.error(f"{options.output} is a folder; -o names the CSV file to write")
    try:
        modalities = read_modalities(options.manifest) if options.manifest else {}
    except (OSError, ValueError, csv.Error) as error:
        parser.error(f"the manifest cannot be used: {error}")
    # a threshold given twice would enter every mean and sum twice
    thresholds = tuple(dict.fromkeys(options.thresholds))
    images = list(score_folder(options.gt_path, options.seg_path, thresholds, modalities))
    if not images:
        parser.error(f"{options.gt_path} has no file *{LABEL_SUFFIX}")
    print(format_table(summarise(images)))
    if options.output:
        write_csv(options.output, images)
    problems = [image for image in images if image.problem]
    for image in problems:
        print(f"{image.name}: {image.problem}", file=sys.stderr)
    masks = list_masks(options.seg_path)
    for extra in sorted(masks - set(pair_names((image.name for image in images), masks).values())):
        print(f"{extra}: not scored, there is no truth of this name", file=sys.stderr)
    return 1 if problems else 0


def _summary_row(threshold: float, name: str, scores: Sequence[Scores]) -> tuple[str, ...]:
    f1 = [score.f1 for score in scores]
    averages = (
        fmean(f1),
        median(f1),
        fmean(score.precision for score in scores),
        fmean(score.recall for score in scores),
    )
    sums = (
        sum(score.n_truth for score in scores),
        sum(score.n_prediction for score in scores),
        sum(score.n_matched for score in scores),
    )
    return (
        f"{threshold:g}",
        name,
        str(len(scores)),
        *(f"{value:.4f}" for value in averages),
        *map(str, sums),
    )


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"an IoU threshold lies in (0, 1], got {text}")
    return value


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.score",
        description="Score masks with the challenge's metric: F1 of instances matched at an IoU threshold.",
    )
    add = parser.add_argument
    # the organisers' spelling is the one with underscores
    add("-g", "--gt_path", "--gt-path", type=Path, required=True, metavar="GT_DIR", help="true NAME_label.tiff")
    add("-s", "--seg_path", "--seg-path", type=Path, required=True, metavar="SEG_DIR", help="predicted NAME_label.tiff")
    add("--thresholds", type=_threshold, nargs="+", default=[0.5], metavar="IOU", help="default: 0.5")
    add(
        "--manifest",
        type=Path,
        metavar="CSV",
        help="adds a row for each modality; needs the columns label (name of a true file) and modality",
    )
    add("-o", "--output", type=Path, metavar="CSV", help="write one row for each image and threshold")
    return parser


if __name__ == "__main__":
    sys.exit(main())
