"""Time slides of rising size that are split over workers: python -m benchmarks.giant."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import publish, read_megapixels
from benchmarks.scenery import draw_scenery
from benchmarks.sparse_slide import choose_side, write_sparse_slide

MEGAPIXELS = (64.0, 256.0, 2048.0)
SMALLEST_MEGAPIXELS, MOST_MEGAPIXELS = 16.0, 20_000.0
#: sizes from which time should grow with the slide and no faster, and what a worker may take
TIME_FROM, MOST_RATIO, MOST_WORKER_BYTES = 250.0, 1.3, 4e9
#: seconds between two readings of the processes
SAMPLING_S = 0.5
#: characters of a failed program's log that are shown
SHOWN = 2000
COLUMNS = (
    "megapixels",
    "of tissue",
    "cells",
    "seconds",
    "plan",
    "segment",
    "write",
    "s/MP beyond the first",
    "CPU s/MP beyond the first",
    "ratio",
    "peak RSS of a worker, GB",
    "of the command, GB",
)


@dataclass(frozen=True)
class GiantResult:
    """The program on one slide.

    Attributes
    ----------
    megapixels, tissue_megapixels : float
        10^6 pixels, of all of it and of what is drawn.
    cells : int
        In its mask, whose ids were counted chunk by chunk.
    wall_s : float
        From process start to end.
    stages_s : dict
        As run.json has them.
    cpu_s : float
        Seconds that cores worked for the workers.
    worker_bytes, command_bytes : int
        Highest resident memory of a worker, and of the command, pages of files among it.
    """

    megapixels: float
    tissue_megapixels: float
    cells: int
    wall_s: float
    stages_s: dict[str, float]
    cpu_s: float
    worker_bytes: int
    command_bytes: int


def measure_giant(folder: Path, megapixels: float, workers: int) -> GiantResult:
    """Draw a slide and have workers of this machine segment it.

    Parameters
    ----------
    folder
        Existing folder.
    megapixels
        Size in 10^6 pixels.
    workers
        How many, each with one thread.

    Raises
    ------
    RuntimeError
        When the run fails, or ids are missing in its mask.
    """
    side_px = choose_side(megapixels)
    slide, output = folder / "in" / "slide.zarr", folder / "out"
    slide.parent.mkdir()
    tissue = write_sparse_slide(slide, side_px, draw_scenery())
    output.mkdir()
    given = ["-i", slide, "-o", output, "--workers", workers, "--threads", 1, "--device", "cpu", "--report"]
    given += ["--split-above", 8, "--max-megapixels", MOST_MEGAPIXELS * 1.1]
    started_s = time.perf_counter()
    with (folder / "log.txt").open("w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            [sys.executable, "-m", "mosaicell.cluster", *map(str, given)],
            cwd=Path(__file__).resolve().parent.parent,
            stdout=log,
            stderr=log,
        ) as process:
            used = _watch(process)
        wall_s = time.perf_counter() - started_s
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"the run ended with exit code {process.returncode}: {log.read()[-SHOWN:]}")
    (record,) = json.loads((output / "run.json").read_text(encoding="utf-8"))["images"]
    _check_ids(output / record["mask"] / "labels" / "mosaicell" / "0", record["cells"])
    return GiantResult(side_px**2 / 1e6, tissue, record["cells"], wall_s, record["seconds"], *used)


def _watch(process: subprocess.Popen[bytes]) -> tuple[float, int, int]:
    """Wait for the command; return CPU seconds of its workers, and the highest memory of one and of itself."""
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s: dict[int, list[float]] = {}
    peaks = {process.pid: 0}
    while process.poll() is None:
        for pid in _list_workers(process.pid):
            try:
                times = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
                cpu_s.setdefault(pid, []).append(sum(map(int, times.split()[11:13])) / ticks)
                peaks[pid] = max(peaks.get(pid, 0), _read_peak(pid))
            except (OSError, ValueError):
                continue
        peaks[process.pid] = max(peaks[process.pid], _read_peak(process.pid))
        time.sleep(SAMPLING_S)
    own = peaks.pop(process.pid)
    return sum(max(times) for times in cpu_s.values()), max(peaks.values(), default=0), own


def _list_workers(command: int) -> list[int]:
    """List the processes that the command has started for the work."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            if parent == command and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
        except (OSError, ValueError):
            continue
    return found


def _read_peak(pid: int) -> int:
    """Read the highest resident memory of a process so far in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _check_ids(path: Path, cells: int) -> None:
    """Read a label image chunk by chunk, and see that its ids are 1 to the number of cells, each there."""
    import zarr

    labels = zarr.open_array(path, mode="r")
    side_px = labels.chunks[0] * 4
    there = np.zeros(cells + 1, bool)
    for y in range(0, labels.shape[0], side_px):
        for x in range(0, labels.shape[1], side_px):
            ids = np.unique(np.asarray(labels[y : y + side_px, x : x + side_px]))
            if ids[-1] > cells:
                raise RuntimeError(f"the mask holds the id {ids[-1]}, of {cells} cells")
            there[ids] = True
    if not there[1:].all():
        raise RuntimeError(f"{np.count_nonzero(~there[1:])} of {cells} ids are missing in the mask")


def find_misses(results: Sequence[GiantResult]) -> list[str]:
    """Name the targets that are missed, a sentence each."""
    misses = []
    largest = max(result.worker_bytes for result in results)
    if largest > MOST_WORKER_BYTES:
        misses.append(f"A worker took {largest / 1e9:.2f} GB; the target is at most {MOST_WORKER_BYTES / 1e9:g}.")
    ratio = max((ratio for ratio in _ratios(results) if ratio is not None), default=1.0)
    if ratio > MOST_RATIO:
        misses.append(
            f"The CPU time per megapixel is {ratio:.2f} times that of the first size from {TIME_FROM:g} megapixels on; "
            f"the target is at most {MOST_RATIO:g}."
        )
    return misses


def _beyond_first(results: Sequence[GiantResult], seconds: Sequence[float]) -> list[float | None]:
    """Return the seconds per megapixel beyond the smallest slide, which has the start of the workers too."""
    least = results[0].megapixels
    return [
        None if result is results[0] else (own - seconds[0]) / (result.megapixels - least)
        for result, own in zip(results, seconds, strict=True)
    ]


def _ratios(results: Sequence[GiantResult]) -> list[float | None]:
    """Return the CPU time per megapixel over that of the first size that counts; None for smaller ones."""
    found = _beyond_first(results, [result.cpu_s for result in results])
    counted = [
        None if value is None or result.megapixels < 0.99 * TIME_FROM else value
        for result, value in zip(results, found, strict=True)
    ]
    first = next((value for value in counted if value is not None), 1.0)
    return [None if value is None else value / first for value in counted]


def format_table(results: Sequence[GiantResult], workers: int) -> str:
    """Return a Markdown table with a row for every slide, and sentences on what its columns mean."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " ---: |" * len(COLUMNS)]
    wall = _beyond_first(results, [result.stages_s["total"] for result in results])
    cpu = _beyond_first(results, [result.cpu_s for result in results])
    for result, per_s, per_cpu_s, ratio in zip(results, wall, cpu, _ratios(results), strict=True):
        cells = (
            f"{result.megapixels:.0f}",
            f"{result.tissue_megapixels:.0f}",
            f"{result.cells:,}",
            f"{result.wall_s:.0f}",
            *(f"{result.stages_s[stage]:.1f}" for stage in ("plan", "segment", "write")),
            *("" if value is None else f"{value:.3f}" for value in (per_s, per_cpu_s)),
            "" if ratio is None else f"{ratio:.2f}",
            f"{result.worker_bytes / 1e9:.2f}",
            f"{result.command_bytes / 1e9:.2f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(
        [
            *lines,
            "",
            f"{workers} workers of one thread on this machine. Other programs lengthen wall time, and CPU time hardly. "
            "Beyond the first slide are seconds and megapixels without those of the smallest, which has the start too. "
            f"The ratio is of CPU time, to the first size from {TIME_FROM:g} megapixels; target: at most "
            f"{MOST_RATIO:g}, and {MOST_WORKER_BYTES / 1e9:g} GB for a worker. Ids were read again chunk by chunk: "
            "none is missing.",
        ]
    )


def describe(results: Sequence[GiantResult], misses: Sequence[str]) -> dict[str, Any]:
    """Return the table as data for JSON; RAM in bytes, times in s."""
    return {"slides": [asdict(result) for result in results], "missed": list(misses)}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 when a target is missed, 2 when a run fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.giant", description=__doc__)
    parser.add_argument(
        "--megapixels",
        nargs="+",
        type=read_megapixels(SMALLEST_MEGAPIXELS, MOST_MEGAPIXELS),
        default=list(MEGAPIXELS),
        metavar="N",
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where slides are drawn (default: a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as data")
    given = parser.parse_args(arguments)
    results = []
    for megapixels in sorted(set(given.megapixels)):
        print(f"{megapixels:g} megapixels ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=given.folder) as work:
            try:
                results.append(measure_giant(Path(work), megapixels, given.workers))
            except RuntimeError as error:
                print(f"benchmarks.giant: {error}", file=sys.stderr)
                return 2
    misses = find_misses(results)
    return publish(format_table(results, given.workers), describe(results, misses), misses, given.json)


if __name__ == "__main__":
    sys.exit(main())
