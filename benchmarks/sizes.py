"""Score drawn cells from 8 to 300 px across: python -m benchmarks.sizes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np

from benchmarks.command import run_program
from benchmarks.results import publish
from mosaicell.evaluation.metrics import score_image
from mosaicell.reading.images import read_labels
from mosaicell.training.synthesis import SCENES, draw_scene

#: one kind of scene for each modality of the analyser
KINDS = ("fluorescence_nuclei", "brightfield_blood", "phase_round")
DIAMETERS_PX = (8, 12, 20, 35, 60, 100, 170, 300)
#: the side of an image, in diameters and in px
SIDE_DIAMETERS, SIDE_PX = 14, (256, 3000)
#: the mean over the kinds is to reach this at every size
LEAST_F1 = 0.7


def measure_sizes(
    folder: Path, kinds: Sequence[str], diameters_px: Sequence[float], count: int
) -> dict[str, dict[float, float]]:
    """Draw cells of each size, run the program on all images, and score its masks.

    Parameters
    ----------
    folder : Path
        Existing folder for images/ and masks/.
    kinds : sequence of str
        Of `training.synthesis.SCENES`.
    diameters_px : sequence of float
        Typical diameters of the cells, at least 6 px.
    count : int
        Images of each kind and size.

    Returns
    -------
    dict
        Mean F1 at IoU 0.5 by kind and diameter.

    Raises
    ------
    RuntimeError
        When the run fails.
    """
    (folder / "images").mkdir()
    truths: dict[tuple[str, float, int], np.ndarray] = {}
    for kind in kinds:
        for diameter in diameters_px:
            side = int(np.clip(SIDE_DIAMETERS * diameter, *SIDE_PX))
            for seed in range(count):
                rng = np.random.default_rng([seed, round(diameter)])
                pixels, truths[kind, diameter, seed] = draw_scene(kind, (side, side), rng, diameter_px=diameter)
                cv2.imwrite(str(folder / "images" / f"{_stem(kind, diameter, seed)}.png"), pixels[..., ::-1])
    run_program(folder / "images", folder / "masks")
    scores: dict[str, dict[float, float]] = {}
    for kind in kinds:
        scores[kind] = {
            diameter: fmean(
                score_image(
                    truths[kind, diameter, seed],
                    read_labels(folder / "masks" / f"{_stem(kind, diameter, seed)}_label.tiff"),
                )[0].f1
                for seed in range(count)
            )
            for diameter in diameters_px
        }
    return scores


def find_misses(scores: dict[str, dict[float, float]]) -> list[str]:
    """Name the sizes at which the mean over the kinds misses the target, a sentence each."""
    misses = []
    for diameter in next(iter(scores.values())):
        mean = fmean(by_size[diameter] for by_size in scores.values())
        if mean < LEAST_F1:
            misses.append(f"Cells of {diameter:g} px reach a mean F1 of {mean:.2f}; the target is {LEAST_F1:g}.")
    return misses


def format_table(scores: dict[str, dict[float, float]]) -> str:
    """Return a Markdown table: a row for each kind, a column for each diameter."""
    diameters = list(next(iter(scores.values())))
    lines = [
        "| mean F1 at a diameter of | " + " | ".join(f"{diameter:g} px" for diameter in diameters) + " |",
        "| --- |" + " ---: |" * len(diameters),
    ]
    rows = {**scores, "mean": {d: fmean(by_size[d] for by_size in scores.values()) for d in diameters}}
    for kind, by_size in rows.items():
        lines.append(f"| {kind} | " + " | ".join(f"{by_size[diameter]:.2f}" for diameter in diameters) + " |")
    return "\n".join(lines)


def _stem(kind: str, diameter_px: float, seed: int) -> str:
    return f"{kind}-{diameter_px:g}-{seed}".replace(".", "_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all sizes and print their table.

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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    add = parser.add_argument
    add("--kinds", nargs="+", choices=SCENES, default=KINDS, metavar="KIND", help=f"default: {' '.join(KINDS)}")
    add("--diameters", nargs="+", type=float, default=DIAMETERS_PX, metavar="PX",
        help=f"default: {' '.join(map(str, DIAMETERS_PX))}")  # fmt: skip
    add("--count", type=int, default=2, metavar="N", help="images of each kind and size (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write the results here")
    options = parser.parse_args(arguments)
    if min(options.diameters) < 6 or options.count < 1:
        parser.error("cells have a diameter of at least 6 px, and every size has at least 1 image")
    try:
        with tempfile.TemporaryDirectory() as folder:
            scores = measure_sizes(Path(folder), options.kinds, options.diameters, options.count)
        misses = find_misses(scores)
        data = {"f1": scores, "count": options.count, "target": LEAST_F1, "missed": misses}
        return publish(format_table(scores), data, misses, options.json)
    except (RuntimeError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
