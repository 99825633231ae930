"""Time drawn images of rising size: python -m benchmarks.scaling."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import Measurement, measure_program
from benchmarks.images import choose_shape
from benchmarks.results import publish, read_megapixels
from benchmarks.scenery import Scenery, draw_scenery
from benchmarks.slides import write_slide

MEGAPIXELS = (1.0, 4.0, 25.0, 100.0, 400.0)
SMALLEST_MEGAPIXELS, MOST_MEGAPIXELS = 0.5, 1000.0
#: an image of this size (640 x 480) tells the time of the start
START_MEGAPIXELS = 0.3
#: images up to this size run this often, and the run of median time counts: short runs vary most
SHORT_MEGAPIXELS, SHORT_RUNS = 4.0, 3
#: sizes from which time and memory should grow with the image and no faster
TIME_FROM, MEMORY_FROM = 4.0, 25.0
MOST_RATIO = 1.3
LABEL_BYTES = 4
COLUMNS = (
    "megapixels",
    "cells",
    "seconds",
    "s/MP",
    "s/MP without start-up",
    "CPU s/MP without start-up",
    "ratio",
    "peak RSS, GB",
    "label image, GB",
    "RSS beyond it, GB",
    "ratio",
)


@dataclass(frozen=True)
class SizeResult:
    """The program on one image.

    Attributes
    ----------
    megapixels : float
        10^6 pixels that the image really has.
    drawn : int
        Cells drawn.
    run : Measurement
    """

    megapixels: float
    drawn: int
    run: Measurement

    @property
    def label_bytes(self) -> int:
        """Size of the label image in memory."""
        return round(self.megapixels * 1e6) * LABEL_BYTES

    @property
    def beyond_bytes(self) -> int:
        """Highest RAM beyond the label image."""
        return self.run.peak_ram_bytes - self.label_bytes


@dataclass(frozen=True)
class ScalingResult:
    """The program on images of rising size.

    Attributes
    ----------
    start : Measurement
        Of an image of 640 x 480 px: the start of the program, and little else.
    sizes : tuple of SizeResult
        By size.
    """

    start: Measurement
    sizes: tuple[SizeResult, ...]

    def marginal_s(self, size: SizeResult) -> float:
        """Return the seconds that an image takes per megapixel beyond those that the smallest image takes."""
        return (size.run.wall_s - self.start.wall_s) / (size.megapixels - START_MEGAPIXELS)

    def marginal_cpu_s(self, size: SizeResult) -> float:
        """Return what `marginal_s` does, for the seconds that cores worked: other programs change it little."""
        return (size.run.cpu_s - self.start.cpu_s) / (size.megapixels - START_MEGAPIXELS)

    def time_ratios(self) -> list[float | None]:
        """Return the time per megapixel without start-up over that of the first size from 4 MP; None for smaller."""
        return self._ratios(TIME_FROM, self.marginal_s)

    def cpu_ratios(self) -> list[float | None]:
        """Return what `time_ratios` does, for `marginal_cpu_s`."""
        return self._ratios(TIME_FROM, self.marginal_cpu_s)

    def memory_ratios(self) -> list[float | None]:
        """Return the RAM beyond the label image over that of the first size from 25 MP; None for smaller."""
        return self._ratios(MEMORY_FROM, lambda size: size.beyond_bytes)

    def _ratios(self, smallest: float, figure: Callable[[SizeResult], float]) -> list[float | None]:
        # a shape in whole pixels may have a little less than the size that was asked for
        counted = [size for size in self.sizes if size.megapixels > 0.99 * smallest]
        return [figure(size) / figure(counted[0]) if size in counted else None for size in self.sizes]


def measure_scaling(folder: Path, megapixels: Sequence[float]) -> ScalingResult:
    """Draw an image of every size and run the program on it; each is removed before the next is drawn.

    Parameters
    ----------
    folder : Path
        Existing folder.
    megapixels : sequence of float
        Sizes in 10^6 pixels.

    Raises
    ------
    RuntimeError
        When a run fails.

    Notes
    -----
    The images have no glass, as the empty tiles that only slides leave out would make these look faster.
    """
    scenery = draw_scenery()
    start = _measure_size(folder, START_MEGAPIXELS, scenery).run
    sizes = []
    for size in sorted(set(megapixels)):
        print(f"{size:g} megapixels ...", file=sys.stderr, flush=True)
        sizes.append(_measure_size(folder, size, scenery))
    return ScalingResult(start, tuple(sizes))


def _measure_size(folder: Path, megapixels: float, scenery: Scenery) -> SizeResult:
    shape_px = choose_shape(megapixels)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        path = Path(work, "slide.tif")
        drawn = write_slide(path, shape_px, scenery, glass_fraction=0.0)
        count = SHORT_RUNS if megapixels <= SHORT_MEGAPIXELS else 1
        runs = sorted((measure_program(path, Path(work, "masks")) for _ in range(count)), key=lambda run: run.wall_s)
    return SizeResult(shape_px[0] * shape_px[1] / 1e6, drawn, runs[count // 2])


def find_misses(result: ScalingResult) -> list[str]:
    """Name the targets that are missed, a sentence each."""
    misses = []
    time_factor, memory_factor = _spread(result.time_ratios()), _spread(result.memory_ratios())
    if time_factor > MOST_RATIO:
        misses.append(
            f"The time per megapixel without start-up differs by a factor of {time_factor:.2f} (CPU time by "
            f"{_spread(result.cpu_ratios()):.2f}) from {TIME_FROM:g} megapixels on; the target is at most "
            f"{MOST_RATIO:g}."
        )
    if memory_factor > MOST_RATIO:
        misses.append(
            f"The RAM beyond the label image differs by a factor of {memory_factor:.2f} from {MEMORY_FROM:g} "
            f"megapixels on; the target is at most {MOST_RATIO:g}."
        )
    return misses


def _spread(ratios: list[float | None]) -> float:
    """Return the largest of the ratios that are known over the smallest; 1 for none."""
    known = [ratio for ratio in ratios if ratio is not None]
    return max(known) / min(known) if known else 1.0


def format_table(result: ScalingResult) -> str:
    """Return a Markdown table with a row for every size, and sentences on what its columns mean."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " ---: |" * len(COLUMNS)]
    for size, time_ratio, memory_ratio in zip(result.sizes, result.time_ratios(), result.memory_ratios(), strict=True):
        cells = (
            f"{size.megapixels:.3g}",
            f"{size.run.cells:,}",
            f"{size.run.wall_s:.1f}",
            f"{size.run.wall_s / size.megapixels:.3f}",
            f"{result.marginal_s(size):.3f}",
            f"{result.marginal_cpu_s(size):.3f}",
            _ratio(time_ratio),
            *(f"{amount / 1e9:.2f}" for amount in (size.run.peak_ram_bytes, size.label_bytes, size.beyond_bytes)),
            _ratio(memory_ratio),
        )
        lines.append("| " + " | ".join(cells) + " |")
    threads = result.sizes[0].run.threads
    return "\n".join(
        [
            *lines,
            "",
            f"Wall time from process start to end, {threads} threads; up to {SHORT_MEGAPIXELS:g} megapixels the median "
            f"of {SHORT_RUNS} runs. Start-up is what an image of 640 x 480 takes, {result.start.wall_s:.2f} s; without "
            "it, seconds and megapixels are those beyond that image. Other programs on the machine lengthen wall time, "
            "and CPU time hardly.",
            f"Ratios are to the first size from {TIME_FROM:g} megapixels (time) and from {MEMORY_FROM:g} (memory); "
            f"target: all within a factor of {MOST_RATIO:g}. RSS is without pages of files; the label image has "
            f"{LABEL_BYTES} bytes per pixel.",
        ]
    )


def describe(result: ScalingResult, misses: Sequence[str]) -> dict[str, Any]:
    """Return the table as data for JSON; RAM in bytes, times in s."""
    rows = zip(result.sizes, result.time_ratios(), result.memory_ratios(), strict=True)
    return {
        "start_s": result.start.wall_s,
        "start_cpu_s": result.start.cpu_s,
        "threads": result.sizes[0].run.threads,
        "sizes": [
            {
                "megapixels": size.megapixels,
                "cells_drawn": size.drawn,
                "cells_found": size.run.cells,
                "wall_s": size.run.wall_s,
                "cpu_s": size.run.cpu_s,
                "seconds": {**size.run.stages_s, "rest": size.run.rest_s},
                "s_per_megapixel": size.run.wall_s / size.megapixels,
                "s_per_megapixel_without_start": result.marginal_s(size),
                "cpu_s_per_megapixel_without_start": result.marginal_cpu_s(size),
                "time_ratio": time_ratio,
                "peak_rss_bytes": size.run.peak_ram_bytes,
                "label_bytes": size.label_bytes,
                "beyond_label_bytes": size.beyond_bytes,
                "memory_ratio": memory_ratio,
            }
            for size, time_ratio, memory_ratio in rows
        ],
        "target_ratio": MOST_RATIO,
        "missed": list(misses),
    }


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every size and print the table.

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
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    add = parser.add_argument
    size = read_megapixels(SMALLEST_MEGAPIXELS, MOST_MEGAPIXELS)
    add("--megapixels", type=size, nargs="+", default=MEGAPIXELS, metavar="SIZE",
        help=f"sizes in 10^6 pixels (default: {' '.join(f'{size:g}' for size in MEGAPIXELS)})")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write the results here")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = measure_scaling(Path(folder), options.megapixels)
        misses = find_misses(result)
        return publish(format_table(result), describe(result, misses), misses, options.json)
    except (OSError, RuntimeError) as error:
        print(f"benchmarks.scaling: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
