"""Cells that the program finds in drawn scenes; python -m tests.reference_cells writes their table.

They are kept as numbers, not as a digest of the masks: networks answer a little differently on another processor, and a
pixel at an outline may change sides. Masks are to change only when that is wanted; then the table is written anew.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from mosaicell.options import Options
from mosaicell.runs.run import run
from mosaicell.training.synthesis import draw_scene
from mosaicell.writing.masks import read_labels

PATH = Path(__file__).with_suffix(".json")
#: of every modality, round, long and spread cells, as large and as small as the networks see them; the last, which has
#: small cells, is tried at several scales
SCENES = (
    ("fluorescence_nuclei", 1, 24),
    ("brightfield_tissue", 2, 26),
    ("phase_round", 3, 30),
    ("phase_spread", 4, 50),
    ("phase_rods", 5, 9),
)
SHAPE_PX = (240, 320)

#: row and column of the centre in px, and area in px
Cell = tuple[float, float, int]


def measure_cells(labels: np.ndarray) -> list[Cell]:
    """Measure the cells of a label image (y, x), by their centres."""
    rows, columns = np.indices(labels.shape)
    areas = np.bincount(labels.ravel())[1:]
    y, x = (np.bincount(labels.ravel(), where.ravel())[1:] / areas for where in (rows, columns))
    return sorted(zip(y.round(1).tolist(), x.round(1).tolist(), areas.tolist(), strict=True))


def segment_scenes(folder: Path) -> dict[str, list[Cell]]:
    """Segment all scenes with the default options; return their cells by scene."""
    inputs = folder / "in"
    inputs.mkdir()
    for kind, seed, diameter_px in SCENES:
        pixels, _ = draw_scene(kind, SHAPE_PX, np.random.default_rng(seed), diameter_px=diameter_px)
        assert cv2.imwrite(str(inputs / f"{kind}.png"), np.atleast_3d(pixels)[..., ::-1])
    assert run(Options(inputs, folder / "out", device="cpu")) == 0
    return {kind: measure_cells(read_labels(folder / "out" / f"{kind}_label.tiff")) for kind, _, _ in SCENES}


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as folder:
        found = segment_scenes(Path(folder))
    rows = [f' "{kind}": [\n  {", ".join(json.dumps(cell) for cell in cells)}\n ]' for kind, cells in found.items()]
    PATH.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
