"""Time some parts of slides of rising size, as a worker of a cluster does them: python -m benchmarks.slide_parts.

Parts do not depend on each other: where a whole slide takes too long (`benchmarks.giant`), some of them tell.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from benchmarks.scenery import Scenery, draw_scenery
from benchmarks.sparse_slide import choose_side, write_sparse_slide
from mosaicell.answers.slide import divide_slide
from mosaicell.options import Options
from mosaicell.reading.enclosure import open_anywhere
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.slide_blocks import BlockFiles
from mosaicell.runs.slide_division import divide_rows, find_blocks
from mosaicell.runs.slide_work import SIDE_PX, Numbering, SlideWork
from mosaicell.writing.ome_zarr_parts import LabelParts

Result = TypeVar("Result")
COLUMNS = ("megapixels", "parts", "measured", "plan, CPU s", "segment, CPU s/MP", "write, CPU s/MP", "peak RSS, GB")


def measure_parts(folder: Path, megapixels: float, parts: int, scenery: Scenery) -> tuple[str, ...]:
    """Draw a sparse slide, do some of its parts in this process, and return a row of the table.

    Parameters
    ----------
    folder
        Existing folder.
    megapixels
        Size in 10^6 pixels.
    parts
        How many, spread evenly.
    scenery
        What the slide shows.
    """
    path, waiting, mask = folder / "slide.zarr", folder / "blocks", folder / "mask.zarr"
    write_sparse_slide(path, choose_side(megapixels), scenery)
    options = Options(path, folder, device="cpu", threads=1, choose_by="cells", max_megapixels=2 * megapixels)
    work = SlideWork(options, Segmentation(options), path, open_anywhere)
    (plan, _), plan_s = _time(work.plan)
    division = divide_slide(plan.shape_px, plan.bands.scale)
    rows = list(divide_rows(division))
    waiting.mkdir()
    files = BlockFiles(waiting)
    found, segment_s, segmented_px = [], 0.0, 0
    measured = rows[:: math.ceil(len(rows) / parts)]
    for part in measured:
        (summaries, _), spent_s = _time(
            lambda part=part: work.segment(plan, replace(division, strips=[]), part, files)  # type: ignore[misc]
        )
        found += summaries
        segment_s += spent_s
        segmented_px += sum((y1 - y0) * (x1 - x0) for row in part.blocks for y0, x0, y1, x1 in row)
    mask.mkdir()
    labels = LabelParts(mask, plan.shape_px, options.ome_zarr_version, SIDE_PX, waiting)
    labels.describe(None, {})
    write_s, written_px = 0.0, 0
    for region, numbers in find_blocks(found, labels.list_parts()):
        numbering = Numbering(dict.fromkeys(numbers, 1), {})
        write_s += _time(lambda: work.meet(files, numbers, region))[1]  # noqa: B023, called at once
        write_s += _time(lambda: work.write(files, numbering, labels, region))[1]  # noqa: B023
        written_px += (region[2] - region[0]) * (region[3] - region[1])
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return (
        f"{math.prod(plan.shape_px) / 1e6:.0f}",
        f"{len(rows)}",
        f"{len(measured)}",
        f"{plan_s:.1f}",
        f"{segment_s / segmented_px * 1e6:.3f}",
        f"{write_s / max(1, written_px) * 1e6:.4f}",
        f"{peak_kb * 1024 / 1e9:.2f}",
    )


def _time(act: Callable[[], Result]) -> tuple[Result, float]:
    """Return what a call gives, and the CPU seconds of all threads of this process meanwhile."""
    since_s = time.process_time()
    return act(), time.process_time() - since_s


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slide_parts", description=__doc__)
    parser.add_argument("--megapixels", nargs="+", type=float, default=[64.0, 256.0, 2048.0], metavar="N")
    parser.add_argument("--parts", type=int, default=3, metavar="N", help="of each slide (default: %(default)s)")
    given = parser.parse_args(arguments)
    scenery = draw_scenery()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " ---: |" * len(COLUMNS)]
    for megapixels in given.megapixels:
        with tempfile.TemporaryDirectory() as folder:
            lines.append("| " + " | ".join(measure_parts(Path(folder), megapixels, given.parts, scenery)) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
