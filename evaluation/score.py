"""Command `python -m evaluation.score`: score a folder of masks against a folder of true ones."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median

from mosaicell.evaluation.average_precision import AP_COLUMNS, summarise_precision
from mosaicell.evaluation.metrics import Scores
from mosaicell.evaluation.pairing import pair_names
from mosaicell.evaluation.scored_masks import ScoredImage, list_masks, score_folder
from mosaicell.writing.masks import LABEL_SUFFIX

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


def format_table(rows: Sequence[tuple[str, ...]], columns: Sequence[str] = TABLE_COLUMNS) -> str:
    """Return rows as a Markdown table."""
    lines = [columns, ["---" if name == "images" else "---:" for name in columns], *rows]
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
    images = list(score_folder(options.gt_path, options.seg_path, thresholds, modalities, ap=options.ap))
    if not images:
        parser.error(f"{options.gt_path} has no file *{LABEL_SUFFIX}")
    print(format_table(summarise(images)))
    if options.ap:
        found = [(image.modality, image.detections) for image in images if image.detections is not None]
        print()
        print(format_table(summarise_precision(found), AP_COLUMNS))
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
    add("--ap", action="store_true", help="also print COCO's average precision, by the likelihoods in NAME_cells.csv")
    add("-o", "--output", type=Path, metavar="CSV", help="write one row for each image and threshold")
    return parser


if __name__ == "__main__":
    sys.exit(main())
