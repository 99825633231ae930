"""Validation images as scenes: in larger fields of their own background, and under a lamp with a colour cast."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.camera import autostretch
from benchmarks.disturbed_scenes import COVERS, MOST_FIELD_PX, Drawn, Extent, Labels, spread_cells, tint_scene
from benchmarks.sparse_fields import drop_cut_cells
from mosaicell.reading.images import read_image
from mosaicell.writing.masks import read_labels

#: cells that are left in each
FEWEST_CELLS = 3
#: sides of the parts that are cut out of images with too many cells
SIDES_PX = (1024, 720, 512, 384, 256, 192)


def draw_sparse(data: Path, extent: Extent) -> Drawn:
    """Lay the first validation image with enough cells of every source, or its middle, into larger fields.

    Parameters
    ----------
    data : Path
        Folder with manifest.csv, val/images and val/labels.
    extent : Extent

    Raises
    ------
    OSError
        When the images cannot be read.
    """
    used: set[str] = set()
    for line in _list_images(data):
        source = line["source"]
        if source in used:
            continue
        pixels, labels = _read_pair(data, line)
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
        scene = np.ascontiguousarray(pixels[part]), labels[part]
        drawn = list(spread_cells(name, *scene, rng, "real images", extent.covers))
        # an image without background between its cells cannot be laid into more of it
        if len(drawn) > 1:
            used.add(source)
            yield from drawn


def draw_casts(data: Path, extent: Extent) -> Drawn:
    """Lay colour casts on the validation images of phase contrast, reduced to 8 bits.

    Parameters
    ----------
    data, extent
        As in `draw_sparse`; all images are taken.
    """
    for line in _list_images(data):
        if line["modality"] == "phase-contrast":
            pixels, labels = _read_pair(data, line)
            grey = autostretch(pixels[..., :1])
            yield from tint_scene(f"real-{Path(line['image']).stem}", grey, labels, "real images")


def _list_images(data: Path) -> list[dict[str, str]]:
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [line for line in csv.DictReader(file) if line["split"] == "val"]


def _read_pair(data: Path, line: dict[str, str]) -> tuple[NDArray[Any], Labels]:
    labels = read_labels(data / "val" / "labels" / line["label"])
    return read_image(data / "val" / "images" / line["image"]).pixels, labels.astype(np.uint32)


GROUPS: dict[str, Callable[[Path, Extent], Drawn]] = {"sparse": draw_sparse, "casts": draw_casts}
