"""What a fine-tuning to a few images gains on the rest of their source: python -m benchmarks.finetuning --data DATA."""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.results import publish
from mosaicell.arrays import picture_of
from mosaicell.evaluation.metrics import score_image
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.reading.images import read_image
from mosaicell.segmenter import Segmenter
from mosaicell.writing.masks import find_mask, read_labels

#: trained on images of open terms alone, so that there are sources that it does not know
OPEN_WEIGHTS = WEIGHTS_FOLDER / "open"
#: three of those: fluorescence, phase contrast, brightfield
SOURCES = ("vampire-mef-actin", "ctc-phc-u373", "yeast_bf_phone_thangcn1943")
#: of a source to train on and to test on at most, and of the other sources
IMAGES, TESTED, OTHERS = 5, 20, 24
#: the mean of the other sources may fall by this much
MOST_LOST_F1 = 0.02
#: of the IoU
THRESHOLDS = (0.5, 0.7)
ROOT = Path(__file__).resolve().parent.parent

#: mean F1 at each of `THRESHOLDS`
Means = tuple[float, ...]


@dataclass(frozen=True)
class Gain:
    """What fine-tuning to one source came to.

    Attributes
    ----------
    source : str
    trained, tested, others : int
        Images that were trained on, tested, and of other sources.
    before, after : tuple of float
        Mean F1 of the tested images at `THRESHOLDS`.
    others_before, others_after : tuple of float
        The same of other sources.
    """

    source: str
    trained: int
    tested: int
    others: int
    before: Means
    after: Means
    others_before: Means
    others_after: Means


def list_images(data: Path) -> dict[str, list[Path]]:
    """List all labelled images by source.

    Raises
    ------
    OSError
        When there is no manifest.
    """
    found: dict[str, list[Path]] = {}
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            path = data / row["split"] / "images" / row["image"]
            if path.is_file():
                found.setdefault(row["source"], []).append(path)
    return {source: sorted(paths) for source, paths in sorted(found.items())}


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """Return at most so many, evenly over their order."""
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    return [paths[place] for place in places]


def score(paths: Sequence[Path], weights: Path) -> Means:
    """Return the mean F1 of the default system with these weights."""
    segmenter = Segmenter(weights=weights)
    scores = []
    for path in paths:
        picture = picture_of(read_image(path).pixels)
        truth = read_labels(find_mask(path.parent.parent / "labels", path))
        found = score_image(truth, segmenter.segment(picture).labels, THRESHOLDS)
        scores.append([one.f1 for one in found])
    return tuple(fmean(column) for column in zip(*scores, strict=True))


def fine_tune(paths: Sequence[Path], folder: Path, minutes: float, weights: Path) -> Path:
    """Run the command on copies of these images; return the folder of weights.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for path in paths:
        labels = find_mask(path.parent.parent / "labels", path)
        shutil.copyfile(path, folder / "images" / path.name)
        shutil.copyfile(labels, folder / "labels" / labels.name)
    command = [sys.executable, "-m", "training.finetune", "--images", folder, "-o", folder / "weights"]
    command += ["--weights", weights.resolve(), "--minutes", minutes]
    ended = subprocess.run(list(map(str, command)), cwd=ROOT, stdout=sys.stderr, check=False)
    if ended.returncode:
        raise RuntimeError(f"training.finetune ended with exit code {ended.returncode}")
    return folder / "weights"


def measure_gain(source: str, images: dict[str, list[Path]], count: int, minutes: float, weights: Path) -> Gain:
    """Fine-tune weights to some images of a source, and score the rest of it and other sources before and after.

    Raises
    ------
    RuntimeError
        When the fine-tuning fails, or no image is left to test on.
    """
    trained = spread(images[source], count)
    tested = spread([path for path in images[source] if path not in trained], TESTED)
    if not tested:
        raise RuntimeError(f"{source} has {len(images[source])} images; none is left to test on")
    others = spread([path for name, paths in images.items() if name != source for path in paths], OTHERS)
    with tempfile.TemporaryDirectory() as folder:
        tuned = fine_tune([path.resolve() for path in trained], Path(folder), minutes, weights)
        before, after = score(tested, weights), score(tested, tuned)
        others_before, others_after = score(others, weights), score(others, tuned)
    counts = (len(trained), len(tested), len(others))
    return Gain(source, *counts, before, after, others_before, others_after)


def find_misses(gains: Sequence[Gain]) -> list[str]:
    """Name the targets that are missed."""
    misses = []
    for gain in gains:
        if gain.after[0] <= gain.before[0]:
            misses.append(f"{gain.source}: fine-tuning gains nothing, {gain.after[0] - gain.before[0]:+.3f}.")
        lost = gain.others_before[0] - gain.others_after[0]
        if lost > MOST_LOST_F1:
            misses.append(f"{gain.source}: other sources lose {lost:.3f}; allowed are {MOST_LOST_F1:g}.")
    return misses


def format_table(gains: Sequence[Gain]) -> str:
    """Return a Markdown table with a row for each source."""
    lines = [
        "| source | trained on | tested on | F1 at IoU 0.5: before | after | at IoU 0.7: before | after "
        "| other sources | before | after |",
        "| --- |" + " ---: |" * 9,
    ]
    for gain in gains:
        own = " | ".join(f"{one:.3f}" for pair in zip(gain.before, gain.after, strict=True) for one in pair)
        lines.append(
            f"| {gain.source} | {gain.trained} | {gain.tested} | {own} "
            f"| {gain.others} | {gain.others_before[0]:.3f} | {gain.others_after[0]:.3f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all sources and print their table.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0; 1 when a target is missed; 2 when a run failed.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.finetuning", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with manifest.csv, SPLIT/images and SPLIT/labels")
    add("--sources", nargs="+", default=SOURCES, metavar="S", help="sources (default: three that the models know not)")
    add("--images", type=int, default=IMAGES, metavar="N", help="to train on (default: %(default)s)")
    add("--minutes", type=float, default=20.0, help="for each fine-tuning (default: %(default)g)")
    add(
        "--weights", type=Path, default=OPEN_WEIGHTS, metavar="DIR", help="to start from (default: those of open terms)"
    )
    add("--json", type=Path, metavar="FILE", help="also write the results here")
    options = parser.parse_args(arguments)
    try:
        images = list_images(options.data)
        if unknown := [source for source in options.sources if source not in images]:
            raise OSError(f"the manifest of {options.data} names no image of {', '.join(unknown)}")
        gains = [
            measure_gain(source, images, options.images, options.minutes, options.weights) for source in options.sources
        ]
        misses = find_misses(gains)
        data = {"sources": [asdict(gain) for gain in gains], "missed": misses}
        return publish(format_table(gains), data, misses, options.json)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
