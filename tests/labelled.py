"""A folder of labelled images with a model that reads them perfectly."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from mosaicell.networks.manifest import Card, read_card
from mosaicell.reading.images import write_labels
from tests.models import write_channel_model
from tests.test_branches import DECODER, draw_discs


def write_labelled_folder(folder: Path) -> tuple[Card, np.ndarray]:
    """Write bright discs on dark and the same inverted, and a model for which brightness is foreground and energy.

    Returns
    -------
    The model's card and the labels, the same for both images "dark" and "light".
    """
    for name in ("images", "labels"):
        (folder / name).mkdir()
    labels = draw_discs((192, 256), 10, 64)
    rng = np.random.default_rng(0)
    dark = ((labels > 0) * 200 + rng.integers(0, 5, labels.shape)).astype(np.uint8)
    for name, pixels in (("dark", dark), ("light", 255 - dark)):
        cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels)
        write_labels(folder / "labels" / f"{name}_label.tiff", labels)
    write_channel_model(folder / "m.onnx")
    entry = {
        "file": "m.onnx",
        "sha256": "",
        "kind": "awf",
        "outputs": ["foreground", "energy", "boxes"],
        "tiling": {"window_px": 640, "overlap_fraction": 0.125, "stride_px": 32},
        "normalization": {"percentiles": [1.0, 99.0]},
        "cell_size": {"scale_rule": "boxes", "diameter_range_px": [1.0, 1000.0], "diameter_target_px": 35.0},
        "decoder": DECODER | {"e1": 0.5, "e2": 0.8},
    }
    (folder / "manifest.json").write_text(json.dumps({"m": entry}), encoding="utf-8")
    return read_card("m", folder), labels
