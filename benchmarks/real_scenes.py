"""Validation images as scenes: their own cells in larger fields of their own background."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.disturbed_scenes import COVERS, MOST_FIELD_PX, Drawn, spread_cells
from benchmarks.sparse_fields import drop_cut_cells
from inference.images import read_image, read_labels

#: cells that are left in each
FEWEST_CELLS = 3
#: sides of the parts that are cut out of images with too many cells
SIDES_PX = (1024, 720, 512, 384, 256, 192)


def draw_sparse(data: Path) -> Drawn:
    """Lay the first validation image with enough cells of every source, or its middle, into larger fields.

    Parameters
    ----------
    data : Path
        Folder with manifest.csv, val/images and val/labels.

    Raises
    ------
    OSError
        When the images cannot be read.
    """
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        listed = [line for line in csv.DictReader(file) if line["split"] == "val"]
    used: set[str] = set()
    for line in listed:
        source = line["source"]
        if source in used:
            continue
        pixels = read_image(data / "val" / "images" / line["image"]).pixels
        labels = read_labels(data / "val" / "labels" / line["label"]).astype(np.uint32)
        for side in (max(labels.shape), *(side for side in SIDES_PX if side < max(labels.shape))):
            top, left = (max(0, (length - side) // 2) for length in labels.shape)
            part = np.s_[top : top + side, left : left + side]
            whole = drop_cut_cells(labels[part])
            if np.count_nonzero(whole) <= min(COVERS) * MOST_FIELD_PX:
                break
        else:
            continue
        if len(np.unique(whole)) - 1 < FEWEST_CELLS:
            continue
        rng = np.random.default_rng([10, *line["image"].encode()])
        name = f"real-{Path(line['image']).stem}"
        drawn = list(spread_cells(name, np.ascontiguousarray(pixels[part]), labels[part], rng, "real images"))
        # an image without background between its cells cannot be laid into more of it
        if len(drawn) > 1:
            used.add(source)
            yield from drawn
