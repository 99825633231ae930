"""Time a drawn whole slide and look at its seams: python -m benchmarks.slide."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Measurement, measure_program
from benchmarks.results import publish
from benchmarks.scenery import KIND, draw_scenery
from benchmarks.seams import Comparison, Crossing, compare_seams_apart
from benchmarks.slides import write_slide
from mosaicell.evaluation.metrics import score_image
from mosaicell.reading.images import read_labels, write_labels
from mosaicell.training.synthesis import SCENES

#: the size of the challenge's slide
SHAPE_PX = (10496, 8415)
SMALLEST_PX, MOST_PX = 32, 1_000_000_000
#: on two cores
MOST_S = 50.0
MOST_RAM_BYTES = 4_000_000_000
MOST_DIFFERING_FRACTION = 0.001


@dataclass(frozen=True)
class SlideResult:
    """What one slide came to.

    Attributes
    ----------
    shape_px : (int, int)
    kind : str
    drawn : int
        Cells drawn.
    run : Measurement
        Of the real command line.
    f1 : float
        At IoU 0.5 against what was drawn, by the challenge's metric.
    seams : Comparison
    """

    shape_px: tuple[int, int]
    kind: str
    drawn: int
    run: Measurement
    f1: float
    seams: Comparison


def measure_slide(folder: Path, shape_px: tuple[int, int], kind: str) -> SlideResult:
    """Draw a slide, run the program on it, score its mask and compare its seams.

    Parameters
    ----------
    folder : Path
        Existing folder for slide.tif, the drawn labels truth_label.tiff, and what the run writes in masks/.
    shape_px : (int, int)
        Height and width.
    kind : str
        One of `training.synthesis.SCENES`.

    Raises
    ------
    RuntimeError
        When the run fails.
    """
    path, truth_path = folder / "slide.tif", folder / "truth_label.tiff"
    drawn = _draw(path, truth_path, shape_px, kind)
    run = measure_program(path, folder / "masks")
    f1 = score_image(read_labels(truth_path), read_labels(run.mask))[0].f1
    first, second = run.branches
    return SlideResult(shape_px, kind, drawn, run, f1, compare_seams_apart(path, (first, second), run.threads))


def _draw(path: Path, truth_path: Path, shape_px: tuple[int, int], kind: str) -> int:
    """Draw slide and labels; they do not stay in memory while the program runs."""
    truth = np.zeros(shape_px, np.uint32)
    drawn = write_slide(path, shape_px, draw_scenery(kind), truth=truth)
    write_labels(truth_path, truth)
    return drawn


def find_misses(result: SlideResult) -> list[str]:
    """Name the targets that a slide misses, a sentence each."""
    misses = []
    if result.run.wall_s >= MOST_S:
        misses.append(f"The run took {result.run.wall_s:.1f} s; the target is under {MOST_S:g} s on two cores.")
    if result.run.peak_ram_bytes > MOST_RAM_BYTES:
        used, most = (_gigabytes(amount) for amount in (result.run.peak_ram_bytes, MOST_RAM_BYTES))
        misses.append(f"The run used {used} of RAM; the target is at most {most}.")
    if result.seams.differing_fraction > MOST_DIFFERING_FRACTION:
        share, most = f"{result.seams.differing_fraction:.2%}", f"{MOST_DIFFERING_FRACTION:.1%}"
        misses.append(f"{share} of the cells across seams differ from the whole image; the target is at most {most}.")
    return misses


def format_table(result: SlideResult) -> str:
    """Return a Markdown table of a slide."""
    run, seams = result.run, result.seams
    megapixels = result.shape_px[0] * result.shape_px[1] / 1e6
    rows = [
        (f"drawn slide, {result.kind}", f"{_size(result.shape_px)} px, {megapixels:.1f} MP", ""),
        ("threads", str(run.threads), ""),
        ("wall time from process start to end", f"{run.wall_s:.1f} s", f"under {MOST_S:g} s on two cores"),
        *((f"of it {stage}", f"{seconds:.1f} s", "") for stage, seconds in run.stages_s.items()),
        ("of it the rest: process, imports, networks", f"{run.rest_s:.1f} s", ""),
        ("CPU time", f"{run.cpu_s:.1f} s", ""),
        ("peak RSS, without pages of files", _gigabytes(run.peak_ram_bytes), f"at most {_gigabytes(MOST_RAM_BYTES)}"),
        ("cells drawn", f"{result.drawn:,}", ""),
        ("cells found", f"{run.cells:,}", ""),
        ("F1 at IoU 0.5", f"{result.f1:.3f}", ""),
        ("compared in blocks and in one piece", f"{_size(seams.shape_px)} px, {_size(seams.blocks)} blocks", ""),
    ]
    target = f"at most {MOST_DIFFERING_FRACTION:.1%}"
    for name, other, crossing in (("one piece", "blocks", seams.whole), ("blocks", "one piece", seams.in_blocks)):
        rows.append((f"cells across seams, decoded in {name}", f"{crossing.cells:,}", ""))
        rows.append((f"of these not the same in {other}", _differing(crossing), target))
    lines = ["| what | result | target |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {what} | {found} | {target} |" for what, found, target in rows)])


def describe(result: SlideResult, misses: Sequence[str]) -> dict[str, Any]:
    """Return the table as data for JSON; RAM in bytes, times in s."""
    return {
        "shape_px": result.shape_px,
        "kind": result.kind,
        "threads": result.run.threads,
        "wall_s": result.run.wall_s,
        "cpu_s": result.run.cpu_s,
        "seconds": {**result.run.stages_s, "rest": result.run.rest_s},
        "peak_rss_bytes": result.run.peak_ram_bytes,
        "cells_drawn": result.drawn,
        "cells_found": result.run.cells,
        "f1": result.f1,
        "seams": {**asdict(result.seams), "differing_fraction": result.seams.differing_fraction},
        "targets": {
            "wall_s": MOST_S,
            "peak_rss_bytes": MOST_RAM_BYTES,
            "differing_fraction": MOST_DIFFERING_FRACTION,
        },
        "missed": list(misses),
    }


def _differing(crossing: Crossing) -> str:
    near = f", {crossing.near:,} of them nearly (IoU 0.9)" if crossing.differing else ""
    return f"{crossing.differing:,} ({crossing.differing_fraction:.2%}){near}"


def _size(pair: tuple[int, int]) -> str:
    return f"{pair[0]} x {pair[1]}"


def _gigabytes(amount: float) -> str:
    return f"{amount / 1e9:.2f} GB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one slide and print its table.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0; 1 when a target is missed; 2 when the run failed.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slide", description=__doc__)
    add = parser.add_argument
    add("--shape", type=int, nargs=2, default=SHAPE_PX, metavar=("H", "W"),
        help="height and width in px (default: 10496 8415)")  # fmt: skip
    add("--kind", choices=SCENES, default=KIND, metavar="KIND", help=f"scene drawn (default: {KIND})")
    add("--json", type=Path, metavar="FILE", help="also write the results here")
    add("--keep", type=Path, metavar="FOLDER", help="keep the slide, its labels and the mask here")
    options = parser.parse_args(arguments)
    height, width = options.shape
    if min(height, width) < SMALLEST_PX or height * width > MOST_PX:
        parser.error(f"a side has at least {SMALLEST_PX} px and a slide at most {MOST_PX:,} px, got {height} x {width}")
    try:
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
        with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
            result = measure_slide(Path(folder), (height, width), options.kind)
        misses = find_misses(result)
        return publish(format_table(result), describe(result, misses), misses, options.json)
    except (OSError, RuntimeError) as error:
        print(f"benchmarks.slide: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
