"""Decode the exact heat flows of labelled images, of which no cell may be lost: python -m benchmarks.exact_flows."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.markdown import format_table
from benchmarks.results import publish
from mosaicell.errors import ImageError, OptionError
from mosaicell.evaluation.metrics import f1_score, score_image
from mosaicell.postprocess.flow_sinks import segment_heat_flows
from mosaicell.postprocess.heat_flows import heat_flows
from mosaicell.postprocess.objects import split_disconnected
from mosaicell.writing.masks import read_labels

#: by how much a cell must overlap the labelled one
IOU = 0.9
#: cells of fewer pixels are no labels here, as the decoder leaves them out
MIN_CELL_PX = 15
#: the F1 of all cells is to reach this
LEAST_F1 = 0.98
ALL = "all"

#: images, and cells that are labelled, found and right
Counts = NDArray[np.int64]


def measure(root: Path, every: int = 1) -> dict[str, Counts]:
    """Make heat flows of labels and cells of these, with the check of flow errors, and compare them with the labels.

    Parameters
    ----------
    root : Path
        Folder with labels/NAME_label.tiff; a manifest.csv (columns label, source) in it or beside it names sources.
    every : int
        Take one file of so many.

    Returns
    -------
    dict
        Counts by source, those of `ALL` last; cells at the border of an image are cells like others.

    Raises
    ------
    OptionError
        When there is no label file, or one cannot be read.
    """
    sources = _read_sources(root)
    paths = sorted((root / "labels").glob("*_label.tiff"))
    if not paths:
        raise OptionError(f"{root / 'labels'} holds no NAME_label.tiff")
    counts: dict[str, Counts] = {}
    for path in paths[::every]:
        try:
            labels = split_disconnected(read_labels(path), MIN_CELL_PX)
        except ImageError as error:
            raise OptionError(f"{path} {error}") from error
        # the metric leaves cells at the border out
        framed = np.pad(labels, 3)
        found = np.pad(segment_heat_flows((labels > 0).astype(np.float32), heat_flows(labels)), 3)
        score = score_image(framed, found, [IOU])[0]
        image = np.array([1, score.n_truth, score.n_prediction, score.n_matched])
        source = sources.get(path.name, root.name)
        counts[source] = counts.get(source, np.zeros_like(image)) + image
    return counts | {ALL: np.sum(list(counts.values()), axis=0)}


def _read_sources(root: Path) -> dict[str, str]:
    """Return the source of each label file that a manifest names."""
    for path in (root / "manifest.csv", root.parent / "manifest.csv"):
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                return {line["label"]: line["source"] for line in csv.DictReader(file)}
    return {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all images and print a table by source.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0; 1 when the F1 of all cells misses the target; 2 when the folder cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact_flows", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with labels/NAME_label.tiff")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one file of N (default: all)")
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error("--every is a whole number from 1")
    try:
        counts = measure(options.data, options.every)
    except OptionError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    f1 = {name: f1_score(*map(int, cells)) for name, (_, *cells) in counts.items()}
    rows = [[name, *map(str, of_source), f"{f1[name]:.4f}"] for name, of_source in counts.items()]
    misses = [] if f1[ALL] >= LEAST_F1 else [f"All cells reach an F1 of {f1[ALL]:.4f}; the target is {LEAST_F1}."]
    header = ("source", "images", "labelled", "found", "right", f"F1 at IoU {IOU}")
    return publish(format_table(header, rows), {"f1": f1}, misses, None)


if __name__ == "__main__":
    sys.exit(main())
