"""Time one 640 x 480 image from process start to mask, and where that time goes: python -m benchmarks.startup."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from mosaicell.training.synthesis import draw_scene

ROOT = Path(__file__).resolve().parent.parent
SHAPE_PX = (480, 640)
SCENES = ("fluorescence_nuclei", "brightfield_tissue", "phase_spread")
#: run in a new interpreter, prints the seconds of each stage as JSON
STAGES = """
import json, sys, time
marks = [("", time.perf_counter())]
def mark(name):
    marks.append((name, time.perf_counter()))
import numpy
mark("import numpy")
import onnxruntime
mark("import onnxruntime")
import cv2
mark("import cv2")
import mosaicell.runs.run
mark("import the rest of the program")
import mosaicell.reading.tiff, tifffile
mark("import tifffile, as the first mask needs it")
from mosaicell.networks.manifest import read_card
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.networks.session import Session, available_threads
card = read_card("awf-fluorescence", WEIGHTS_FOLDER)
session = Session(card.path, "cpu", available_threads(), 1.0)
mark("load one network")
tile = numpy.zeros((1, 3, 480, 640), numpy.float32)
session.run(tile)
mark("first tile")
session.run(tile)
mark("every further tile")
print(json.dumps({name: end - start for (_, start), (name, end) in zip(marks, marks[1:])}))
"""


def time_command(command: list[str], runs: int) -> float:
    """Return the median wall time in s of a command that must succeed."""
    seconds = []
    for _ in range(runs):
        start_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        seconds.append(time.perf_counter() - start_s)
    return median(seconds)


def time_stages(runs: int) -> dict[str, float]:
    """Return the median seconds of every stage of a start, by its name."""
    command = [sys.executable, "-c", STAGES]
    found = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
        for _ in range(runs)
    ]
    return {name: median(stages[name] for stages in found) for name in found[0]}


def measure(runs: int, image: str | None) -> list[tuple[str, float]]:
    """Time an interpreter, the stages of a start, --help, and an image of each scene; with an image also containers."""
    python, docker = sys.executable, os.environ.get("DOCKER", "docker")
    rows = [("python, nothing done", time_command([python, "-c", "pass"], runs)), *time_stages(runs).items()]
    rows.append(("predict.py --help", time_command([python, "predict.py", "--help"], runs)))
    with tempfile.TemporaryDirectory() as folder:
        for kind in SCENES:
            inputs, outputs = Path(folder, kind), Path(folder, f"{kind}_masks")
            inputs.mkdir()
            pixels, _ = draw_scene(kind, SHAPE_PX, np.random.default_rng(1), diameter_px=30)
            cv2.imwrite(str(inputs / "image.png"), pixels[..., ::-1])
            command = [python, "predict.py", "-i", str(inputs), "-o", str(outputs), "--device", "cpu"]
            rows.append((f"{kind}, start to mask", time_command(command, runs)))
        if image:
            run = [docker, "container", "run", "--rm"]
            rows.append(("container, nothing done", time_command([*run, image, "true"], runs)))
            for kind in SCENES:
                mounts = [
                    "-v",
                    f"{folder}/{kind}:/workspace/inputs/",
                    "-v",
                    f"{folder}/{kind}_masks:/workspace/outputs/",
                ]
                command = [*run, *mounts, image, "/bin/bash", "-c", "sh predict.sh"]
                rows.append((f"container, {kind}, start to mask", time_command(command, runs)))
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command; the median counts (default: 5)")
    parser.add_argument("--image", metavar="NAME", help="also time containers of this image")
    options = parser.parse_args()
    rows = measure(options.runs, options.image)
    unit = dict(rows)["import numpy"]
    print("| what | seconds | ratio to importing numpy |")
    print("| --- | ---: | ---: |")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.3f} | {seconds / unit:.1f} |")


if __name__ == "__main__":
    main()
