"""A toy system: images of bright discs, and models that take brightness for foreground, so that a disc is a cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mosaicell.answers.features import name_features
from mosaicell.answers.judges import IMAGE_FEATURES, QUALITY_FILE, Judge
from mosaicell.decoders import load_decoder
from mosaicell.networks.manifest import file_sha256
from mosaicell.options import DEFAULT_SYSTEM
from mosaicell.systems import load_system
from tests.models import write_channel_model

DECODER = {
    "foreground_threshold": 0.5,
    "boundary_threshold": 2.0,
    "flow_threshold": 10.0,
    "score_threshold": 0.2,
    "box_iou_threshold": 0.3,
    "contained_fraction": 0.8,
    "e1": 0.5,
    "e2": 0.8,
    "min_marker_px": 5,
    "min_unmarked_px": 30,
    "min_cell_px": 10,
    "min_size_fraction": 0.0,
    "max_hole_fraction": 0.1,
    "max_energy_error": 100.0,
}


#: kinds of the branches of the default system whose cells are judged, and what is measured of them
JUDGED = ("awf", "omnipose")
CELL_FEATURES = name_features(JUDGED)


def write_weights(folder: Path) -> Path:
    """Write the models of the default system with their manifest; returns the folder."""
    folder.mkdir()
    cards = {}
    for name in load_system(DEFAULT_SYSTEM).models:
        kind, rule = ("omnipose", "full size") if name.startswith("omnipose") else ("awf", "boxes")
        path = write_channel_model(folder / f"{name}.onnx", (0, 1, 2, 2) if kind == "omnipose" else (0, 1))
        cards[name] = {
            "file": path.name,
            "sha256": file_sha256(path),
            "kind": kind,
            "outputs": list(load_decoder(kind).outputs),
            "tiling": {"window_px": 640, "overlap_fraction": 0.125, "stride_px": 32},
            "normalization": {"percentiles": [1.0, 99.0]},
            "cell_size": {"scale_rule": rule, "diameter_range_px": [1.0, 1000.0], "diameter_target_px": 40.0},
            "decoder": DECODER,
        }
    (folder / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    write_judges(folder)
    return folder


def judge_with(
    slopes: Mapping[str, float],
    offset: float,
    mean: float = 0.0,
    scale: float = 1.0,
    features: tuple[str, ...] = CELL_FEATURES,
) -> Judge:
    """Return a judge that sees these features and decides by some of them alone."""
    assert set(slopes) <= set(features)
    values = np.array([slopes.get(name, 0.0) for name in features])
    return Judge(features, np.full(len(features), mean), np.full(len(features), scale), values, offset)


def entry_of(judge: Judge) -> dict[str, object]:
    """Return what the judges' file holds of a judge."""
    numbers = {name: getattr(judge, name).tolist() for name in ("mean", "scale", "slopes")}
    return {"features": list(judge.features), **numbers, "offset": judge.offset}


def write_judges(
    folder: Path,
    offset: float = 3.0,
    image_offset: float | None = None,
    *,
    system: str = DEFAULT_SYSTEM,
    kinds: Sequence[str] = JUDGED,
) -> None:
    """Write judges that find all cells equally likely, the logarithm of the odds being `offset`; of images with it."""
    table = dict.fromkeys(kinds, entry_of(judge_with({}, offset, features=name_features(kinds))))
    if image_offset is not None:
        table["image"] = entry_of(judge_with({}, image_offset, features=IMAGE_FEATURES))
    (folder / QUALITY_FILE).write_text(json.dumps({system: table}), encoding="utf-8")


def draw_discs(count: int = 3, rows: int = 1) -> np.ndarray:
    """Draw rows of bright discs on black, fluorescence: uint8 (120 rows, 60 count)."""
    row = np.zeros((120, 60 * max(count, 1)), np.uint8)
    for index in range(count):
        cv2.circle(row, (30 + 60 * index, 60), 15, 255, -1)
    return np.tile(row, (rows, 1))


def write_discs(path: Path, count: int = 3) -> None:
    """Write a row of bright discs as an image file of any form."""
    assert cv2.imwrite(str(path), draw_discs(count))
