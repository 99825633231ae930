"""Score the same cells just below and just above the size of slides: python -m benchmarks.step --data DATA."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.command import run_program
from benchmarks.results import publish
from mosaicell.evaluation.metrics import score_image
from mosaicell.reading.images import mask_name, read_image, read_labels

#: sizes in 10^6 pixels on both sides of `limits.SLIDE_FROM_PX`
MEGAPIXELS = (7.9, 8.1)
#: mosaics, each of at most so many images of one source
MOSAICS, IMAGES = 11, 12
#: the mean of the larger images may fall by this much
MOST_LOST_F1 = 0.005

Labels = NDArray[np.uint32]


@dataclass(frozen=True)
class Step:
    """What one mosaic came to at two sizes.

    Attributes
    ----------
    source : str
    images : int
        Different images in it.
    f1, predicted_f1, scales : (float, float)
        Of the smaller and of the larger mosaic; F1 at IoU 0.5.
    seconds : (float, float)
    """

    source: str
    images: int
    f1: tuple[float, float]
    predicted_f1: tuple[float, float]
    scales: tuple[float, float]
    seconds: tuple[float, float]


def group_images(data: Path) -> dict[str, list[Path]]:
    """List the validation images by source and modality, the largest groups first.

    Parameters
    ----------
    data : Path
        Folder with manifest.csv, val/images and val/labels.

    Raises
    ------
    OSError
        When there is no manifest.
    """
    groups: dict[str, list[Path]] = {}
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["split"] == "val":
                groups.setdefault(f"{row['source']}, {row['modality']}", []).append(data / "val/images" / row["image"])
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def tile_images(paths: Sequence[Path], megapixels: float) -> tuple[NDArray, Labels]:
    """Lay images side by side, again and again, to a square of this size.

    Parameters
    ----------
    paths : sequence of Path
        Images of one source; those of other channels or another type than the first are left out, and all are cut to
        the smallest.
    megapixels : float
        In 10^6 pixels.

    Returns
    -------
    pixels : (y, x, c)
    labels : (y, x) uint32
        A number for each cell of each copy.
    """
    read = [(read_image(path).pixels, read_labels(path.parent.parent / "labels" / mask_name(path))) for path in paths]
    pairs = [pair for pair in read if pair[0].shape[2:] == read[0][0].shape[2:] and pair[0].dtype == read[0][0].dtype]
    height, width = (min(labels.shape[axis] for _, labels in pairs) for axis in (0, 1))
    side = math.ceil(math.sqrt(megapixels * 1e6))
    rows, columns = math.ceil(side / height), math.ceil(side / width)
    pixels = np.empty((rows * height, columns * width, read[0][0].shape[2]), read[0][0].dtype)
    labels = np.zeros(pixels.shape[:2], np.uint32)
    most = max(int(labels.max()) for _, labels in pairs)
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        at = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
        image, cells = (one[:height, :width] for one in pairs[place % len(pairs)])
        pixels[at] = image
        labels[at] = np.where(cells, cells + np.uint32(place * most), 0)
    return pixels[:side, :side], labels[:side, :side]


def measure_step(folder: Path, source: str, paths: Sequence[Path], megapixels: tuple[float, float]) -> Step:
    """Run the program on a mosaic of these images, and on as much of it as has the smaller size.

    Raises
    ------
    RuntimeError
        When the run fails.
    """
    pixels, labels = tile_images(paths, megapixels[1])
    rows = (int(megapixels[0] * 1e6 / labels.shape[1]), labels.shape[0])
    (folder / "images").mkdir(parents=True)
    for name, count in zip(("a", "b"), rows, strict=True):
        tifffile.imwrite(folder / "images" / f"{name}.tif", pixels[:count].squeeze())
    del pixels
    _, report = run_program(folder / "images", folder / "masks")
    records = {record["image"][0]: record for record in report["images"]}
    one, two = (
        score_image(np.ascontiguousarray(labels[:count]), read_labels(folder / "masks" / f"{name}_label.tiff"))[0].f1
        for name, count in zip(("a", "b"), rows, strict=True)
    )
    first, second = records["a"], records["b"]
    return Step(
        source,
        len(paths),
        (one, two),
        (first["predicted_f1"] or 0.0, second["predicted_f1"] or 0.0),
        (first["scale"], second["scale"]),
        (first["seconds"]["total"], second["seconds"]["total"]),
    )


def find_misses(steps: Sequence[Step]) -> list[str]:
    """Name the target if it is missed."""
    lost = fmean(step.f1[0] - step.f1[1] for step in steps)
    if lost <= MOST_LOST_F1:
        return []
    return [f"The larger mosaics have a mean F1 lower by {lost:.3f}; the target is at most {MOST_LOST_F1:g}."]


def format_table(steps: Sequence[Step], megapixels: tuple[float, float]) -> str:
    """Return a Markdown table: a row for each mosaic, and their mean."""
    small, large = (f"{size:g} MP" for size in megapixels)
    lines = [
        f"| source | images | F1, {small} | F1, {large} | difference | predicted | scale | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for step in steps:
        predicted, scale, seconds = (
            f"{pair[0]:.{digits}f}, {pair[1]:.{digits}f}"
            for pair, digits in ((step.predicted_f1, 2), (step.scales, 2), (step.seconds, 0))
        )
        lines.append(
            f"| {step.source} | {step.images} | {step.f1[0]:.3f} | {step.f1[1]:.3f} | {step.f1[1] - step.f1[0]:+.3f} "
            f"| {predicted} | {scale} | {seconds} |"
        )
    one, two = (fmean(step.f1[index] for step in steps) for index in (0, 1))
    lines.append(f"| mean | | {one:.3f} | {two:.3f} | {two - one:+.3f} | | | |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all mosaics and print their table.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0; 1 when the target is missed; 2 when a run failed.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with manifest.csv, val/images and val/labels")
    add("--mosaics", type=int, default=MOSAICS, metavar="N", help="at most so many sources (default: %(default)s)")
    add("--megapixels", type=float, nargs=2, default=MEGAPIXELS, metavar=("SMALL", "LARGE"),
        help="sizes in 10^6 pixels (default: 7.9 8.1)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write the results here")
    options = parser.parse_args(arguments)
    small, large = options.megapixels
    if not 0 < small <= large or options.mosaics < 1:
        parser.error("there is at least 1 mosaic, and the first size is the smaller one")
    steps = []
    try:
        for source, paths in list(group_images(options.data).items())[: options.mosaics]:
            print(f"{source} ...", end=" ", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                steps.append(measure_step(Path(folder), source, paths[:IMAGES], (small, large)))
            print("F1 {:.3f}, {:.3f}".format(*steps[-1].f1), file=sys.stderr, flush=True)
        if not steps:
            raise OSError(f"the manifest of {options.data} names no validation image")
        misses = find_misses(steps)
        data = {"mosaics": [asdict(step) for step in steps], "target": MOST_LOST_F1, "missed": misses}
        return publish(format_table(steps, (small, large)), data, misses, options.json)
    except (OSError, RuntimeError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
