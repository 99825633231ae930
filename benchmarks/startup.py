"""Time one 640 x 480 image from process start to mask: python -m benchmarks.startup."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from training.synthesis import draw_scene

ROOT = Path(__file__).resolve().parent.parent
SHAPE_PX = (480, 640)
SCENES = ("fluorescence_nuclei", "brightfield_tissue", "phase_spread")


def time_command(command: list[str], runs: int) -> float:
    """Return the median wall time in s of a command that must succeed."""
    seconds = []
    for _ in range(runs):
        start_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        seconds.append(time.perf_counter() - start_s)
    return median(seconds)


def measure(runs: int) -> list[tuple[str, float]]:
    """Time an interpreter that does nothing, one that imports numpy, --help, and one image of each scene."""
    python = sys.executable
    rows = [
        ("python, nothing done", time_command([python, "-c", "pass"], runs)),
        ("python, import numpy", time_command([python, "-c", "import numpy"], runs)),
        ("predict.py --help", time_command([python, "predict.py", "--help"], runs)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for kind in SCENES:
            pixels, _ = draw_scene(kind, SHAPE_PX, np.random.default_rng(1), diameter_px=30)
            path = str(Path(folder) / f"{kind}.png")
            cv2.imwrite(path, pixels[..., ::-1])
            command = [python, "predict.py", "-i", path, "-o", str(Path(folder) / "out"), "--device", "cpu"]
            rows.append((f"{kind}, start to mask", time_command(command, runs)))
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command; the median counts (default: 5)")
    rows = measure(parser.parse_args().runs)
    print("| what | seconds | ratio to importing numpy |")
    print("| --- | ---: | ---: |")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} | {seconds / rows[1][1]:.1f} |")


if __name__ == "__main__":
    main()
