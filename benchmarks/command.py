"""The real command line on one image: what the run used and what run.json says of it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaicell.evaluation.contestant import Command, Usage
from mosaicell.reading.images import find_mask

PROGRAM = Path(__file__).resolve().parent.parent / "predict.py"
#: a run that takes longer is stopped
TIMEOUT_S = 3600.0
#: characters of a failed program's log that are shown
SHOWN = 2000


@dataclass(frozen=True)
class Measurement:
    """One run of the program on one image.

    Attributes
    ----------
    wall_s : float
        Seconds from before the start to after the end of the process.
    cpu_s : float
        Seconds that cores worked for the process. Where wall time is much more than that over the threads, other
        programs had the cores meanwhile.
    stages_s : dict
        The image's seconds by stage, as run.json has them, without their total.
    peak_ram_bytes : int
        Highest of all readings, 20 ms apart, of the process's own and shared pages.
    threads, cells : int
        As run.json has them.
    branches : tuple of str
        Models whose cells were merged.
    mask : Path
        Label file.
    """

    wall_s: float
    cpu_s: float
    stages_s: dict[str, float]
    peak_ram_bytes: int
    threads: int
    cells: int
    branches: tuple[str, ...]
    mask: Path

    @property
    def rest_s(self) -> float:
        """Seconds outside all stages: the start and end of the process, the imports."""
        return self.wall_s - sum(self.stages_s.values())


def run_program(images: Path, output: Path) -> tuple[Usage, dict[str, Any]]:
    """Run `predict.py --report --device cpu` on an image or a folder of images.

    Parameters
    ----------
    images : Path
        File or folder.
    output : Path
        Folder for the masks, run.json and the program's log, made when missing.

    Returns
    -------
    usage : Usage
    report : dict
        What run.json holds.

    Raises
    ------
    RuntimeError
        When the run fails or leaves no run.json.
    """
    output.mkdir(parents=True, exist_ok=True)
    log_path = output / "log.txt"
    program = Command([sys.executable, str(PROGRAM), "--report", "--device", "cpu"])
    with log_path.open("wb") as log:
        usage = program.run(images.resolve(), output.resolve(), log, TIMEOUT_S)
    if usage.timed_out or usage.exit_code:
        reason = f"took longer than {TIMEOUT_S:g} s" if usage.timed_out else f"ended with exit code {usage.exit_code}"
        log_text = log_path.read_text(encoding="utf-8", errors="replace")[-SHOWN:].strip()
        raise RuntimeError(f"{PROGRAM.name} {reason} on {images.name}; it said: {log_text or 'nothing'}")
    try:
        return usage, json.loads((output / "run.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise RuntimeError(f"{PROGRAM.name} left no run.json: {error.strerror}") from error


def measure_program(image: Path, output: Path) -> Measurement:
    """Run `predict.py --report --device cpu` on one image.

    Parameters
    ----------
    image, output : Path
        As in `run_program`.

    Raises
    ------
    RuntimeError
        When the run fails, or its memory cannot be read because the system has no /proc.
    """
    before_s = _children_cpu_s()
    usage, report = run_program(image, output)
    cpu_s = _children_cpu_s() - before_s
    if usage.peak_ram_bytes is None:
        raise RuntimeError("the memory of the run cannot be read: this system has no /proc")
    record = report["images"][0]
    return Measurement(
        wall_s=usage.seconds,
        cpu_s=cpu_s,
        stages_s={stage: seconds for stage, seconds in record["seconds"].items() if stage != "total"},
        peak_ram_bytes=usage.peak_ram_bytes,
        threads=report["threads"],
        cells=record["cells"],
        branches=tuple(record["cells_by_branch"]),
        mask=find_mask(output, image),
    )


def _children_cpu_s() -> float:
    """Return the seconds that cores worked for all processes started here that have ended."""
    times = os.times()
    return times.children_user + times.children_system
