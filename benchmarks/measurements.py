"""Time what is measured and drawn of the cells of a slide: python -m benchmarks.measurements.

The cells are ellipses on a grid, and the image is noise: times go with pixels and outlines, not with what they show.
All of it runs on one thread; seconds are those that a core worked, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage.measure import regionprops_table

from mosaicell.postprocess.expansion import expand_labels
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.systems import Choice
from mosaicell.writing.cell_table import measure_cells, write_cell_table
from mosaicell.writing.geojson import write_geojson
from mosaicell.writing.rois import write_rois

SIDE_PX, STEP_PX, RADIUS_PX = 10_770, 58, 19
#: side of the part that scikit-image measures
PART_PX = 2_900
#: seconds that a table, and outlines, may take
TABLE_S, OUTLINES_S = 8.0, 10.0
PROPERTIES = ("label", "area", "bbox", "centroid", "eccentricity", "equivalent_diameter_area", "solidity")
VALUES = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")


def draw_cells(side_px: int) -> np.ndarray:
    """Draw ellipses of many sizes on a grid: uint32 (y, x), 1..n."""
    rng = np.random.default_rng(0)
    labels = np.zeros((side_px, side_px), np.int32)
    places = range(STEP_PX // 2, side_px - STEP_PX // 4, STEP_PX)
    for number, (y, x) in enumerate(((y, x) for y in places for x in places), 1):
        centre = (x + int(rng.integers(-5, 6)), y + int(rng.integers(-5, 6)))
        axes = (RADIUS_PX + int(rng.integers(-6, 7)), RADIUS_PX + int(rng.integers(-6, 7)))
        cv2.ellipse(labels, centre, axes, float(rng.integers(180)), 0, 360, number, -1)
    return labels.view(np.uint32)


def time_call(call: Callable[[], object]) -> float:
    """Return the seconds that a core worked for a call."""
    started_s = time.process_time()
    call()
    return time.process_time() - started_s


def answer(labels: np.ndarray) -> Choice:
    """Return a system's answer with these cells."""
    return Choice(labels, "model", {"model": int(labels.max())}, {}, None, {}, 1.0)


def measure(labels: np.ndarray, image: np.ndarray, folder: Path) -> None:
    """Write a table of the cells in one channel."""
    columns = measure_cells(answer(labels), [(["channel_1"], ArrayPixels(image))], (0.5, 0.5))
    write_cell_table(folder / "cells.csv", [columns])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 when something takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measurements", description=__doc__)
    parser.add_argument("--side", type=int, default=SIDE_PX, help="side of the image in px (default: %(default)s)")
    options = parser.parse_args(arguments)
    labels = draw_cells(options.side)
    image = np.random.default_rng(1).integers(0, 65536, (*labels.shape, 1), np.uint16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [("table of one channel", time_call(lambda: measure(labels, image, folder)), TABLE_S)]
        place = [{"t": 1, "z": 1}]
        rows += [
            ("GeoJSON", time_call(lambda: write_geojson(folder / "a.geojson", [labels], [{}], place, "a")), OUTLINES_S),
            ("ImageJ's regions", time_call(lambda: write_rois(folder / "a.zip", [labels])), OUTLINES_S),
        ]
        more_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
        part = draw_cells(min(PART_PX, options.side))
        seen = image[: len(part), : len(part)]
        own_s = time_call(lambda: measure(part, seen, folder))
    peer_s = time_call(lambda: regionprops_table(part.view(np.int32), seen, properties=PROPERTIES + VALUES))
    rows.append(("expansion by 8 px", time_call(lambda: expand_labels(labels, 8)), 0.0))
    print(f"{labels.size / 1e6:.0f} megapixels, {labels.max():,} cells; all of it takes {more_mb:.0f} MB more\n")
    print("| what | seconds | allowed |")
    print("| --- | ---: | ---: |")
    for what, seconds, most_s in rows:
        print(f"| {what} | {seconds:.1f} | {most_s or ''} |")
    print(f"\nscikit-image's regionprops_table takes {peer_s / own_s:.1f} times as long for {part.max():,} cells")
    return int(any(0 < most_s < seconds for _, seconds, most_s in rows))


if __name__ == "__main__":
    raise SystemExit(main())
