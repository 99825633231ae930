"""Score what lies around the cells and must not matter: python -m benchmarks.disturbances."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import tifffile
from numpy.typing import NDArray

from benchmarks import empty_results, real_scenes
from benchmarks.command import run_program
from benchmarks.disturbed_scenes import COVERS, GROUPS, Drawn, Extent
from benchmarks.trials import format_table, score_trial, summarise
from mosaicell.writing.masks import read_labels

EMPTY = "empty"
COUNT, QUICK_COUNT = 300, 60
NOTHING_SHORT = "Nothing falls short of its tolerance."


def measure(
    folder: Path, groups: Sequence[str], extent: Extent, count: int, data: Path | None
) -> Iterator[tuple[str, list[str]]]:
    """Draw one group after the other, run the program once on all its images, and score its masks.

    Parameters
    ----------
    folder : Path
        Existing folder for a folder of each group, with images/ and masks/.
    groups : sequence of str
        "empty" and the names of `disturbed_scenes.GROUPS`.
    extent : Extent
    count : int
        Empty fields.
    data : Path or None
        Folder of labelled images.

    Yields
    ------
    text : str
        The group's table and the time that it took.
    short : list of str
        What falls short.

    Raises
    ------
    RuntimeError
        When a run fails.
    """
    for group in (EMPTY, *GROUPS):
        if group in groups:
            (folder / group / "images").mkdir(parents=True)
            yield _measure_group(folder / group, group, extent, count, data)


def _measure_group(folder: Path, group: str, extent: Extent, count: int, data: Path | None) -> tuple[str, list[str]]:
    started_s = time.perf_counter()
    fields, trials = [], []
    for field, pixels in empty_results.draw_fields(count) if group == EMPTY else ():
        write_image(folder / "images", field.name, pixels)
        fields.append(field)
    for trial, pixels in _draw_group(group, extent, data):
        write_image(folder / "images", trial.file, pixels)
        trials.append(trial)
    drawn_s = time.perf_counter()
    _, report = run_program(folder / "images", folder / "masks")
    ran_s = time.perf_counter()

    def read(name: str) -> NDArray[Any]:
        return read_labels(folder / "masks" / f"{_stem(name)}_label.tiff")

    if fields:
        table, short = empty_results.tabulate(fields, read)
    else:
        expected = {Path(record["image"]).stem: record["predicted_f1"] for record in report["images"]}
        f1 = {trial.name: score_trial(trial, read(trial.file)) for trial in trials}
        rows = summarise(trials, f1, {trial.name: expected[_stem(trial.file)] for trial in trials})
        table, short = format_table(group, rows), [f"{group}: {row.row}" for row in rows if row.short]
    megapixels = sum(record["height"] * record["width"] for record in report["images"]) / 1e6
    cost = (
        f"{len(report['images'])} images, {megapixels:.0f} megapixels: {drawn_s - started_s:.0f} s to draw, "
        f"{ran_s - drawn_s:.0f} s to segment, {time.perf_counter() - ran_s:.0f} s to score."
    )
    return f"{table}\n\n{cost}\n", short


def write_image(folder: Path, name: str, pixels: NDArray[Any]) -> None:
    """Write an image: with an alpha channel as PNG, two channels as an ImageJ composite, others as TIFF.

    Parameters
    ----------
    folder : Path
    name : str
        Points become underscores, as a mask's name ends at the first.
    pixels : (y, x), (y, x, c) or (2, y, x)
    """
    if pixels.shape[-1] == 4:
        # OpenCV's order of colours is blue, green, red
        cv2.imwrite(str(folder / f"{_stem(name)}.png"), pixels[..., [2, 1, 0, 3]])
    elif pixels.shape[0] == 2:
        path = folder / f"{_stem(name)}.tif"
        tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    else:
        colour = pixels.shape[-1] == 3
        plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        kind = "rgb" if colour else "minisblack"
        tifffile.imwrite(folder / f"{_stem(name)}.tif", plane, photometric=kind, metadata=None)


def _draw_group(group: str, extent: Extent, data: Path | None) -> Drawn:
    """Yield what a group draws, and what it makes of real images."""
    if group in GROUPS:
        yield from GROUPS[group](extent)
    if data and group in real_scenes.GROUPS:
        yield from real_scenes.GROUPS[group](data, extent)


def _stem(name: str) -> str:
    return name.replace(".", "_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the groups and print their tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0, whatever was measured; 2 when the run failed.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disturbances", description=__doc__)
    add = parser.add_argument
    names = (EMPTY, *GROUPS)
    add("--only", nargs="+", choices=names, default=names, metavar="GROUP", help=f"of {' '.join(names)} (default: all)")
    add("--count", type=int, metavar="N", help=f"empty fields (default: {COUNT}; with --quick {QUICK_COUNT})")
    add("--quick", action="store_true", help="fewer scenes, and none of 8 megapixels or more")
    add("--covers", type=float, nargs="+", choices=COVERS, default=COVERS, metavar="SHARE",
        help=f"in the group sparse, of {' '.join(map(str, COVERS))} (default: all)")  # fmt: skip
    add("--data", type=Path, metavar="DATA", help="also disturb images of DATA/val, in the groups sparse and casts")
    add("--keep", type=Path, metavar="FOLDER", help="keep images/ and masks/ of each group in this new folder")
    options = parser.parse_args(arguments)
    count = options.count if options.count is not None else QUICK_COUNT if options.quick else COUNT
    if count < 1:
        parser.error(f"there is at least 1 empty field, got {count}")
    if options.data and not (options.data / "manifest.csv").is_file():
        parser.error(f"{options.data} has no manifest.csv")
    covers = tuple(options.covers)
    extent = Extent(scenes=1, large=False, covers=covers) if options.quick else Extent(covers=covers)
    try:
        if options.keep:
            options.keep.mkdir(parents=True)
        with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
            missed: list[str] = []
            for text, short in measure(Path(folder), options.only, extent, count, options.data):
                print(text, flush=True)
                missed += short
            verdict = f"Short of the tolerance: {'; '.join(missed)}." if missed else NOTHING_SHORT
            print(verdict, flush=True)
    except (OSError, RuntimeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
