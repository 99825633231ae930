"""Cellpose as cvml ran it: one model, the scale that the style and then the cells tell, whole images and slides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.decoders import load_decoder
from mosaicell.networks.manifest import file_sha256
from mosaicell.networks.size_model import SizeModel, write_size_model
from mosaicell.options import Options
from mosaicell.runs.run import run
from mosaicell.systems import JUDGED_WAY
from mosaicell.systems.cellpose_cvml import CELLPOSE, SYSTEM
from mosaicell.training.kinds import load_kind
from mosaicell.writing.masks import read_labels
from tests.models import write_flow_model
from tests.test_sribdmed import Answers
from tests.toys import write_discs, write_judges


def write_weights(folder: Path, said_px: float) -> Path:
    """Write a model of discs, its card, and a size model that says one diameter whatever the style."""
    folder.mkdir()
    path = write_flow_model(folder / f"{CELLPOSE}.onnx")
    model = SizeModel(np.zeros(3), np.zeros(3), float(np.log(said_px)), (1.0, 1000.0))
    write_size_model(model, folder / "size.json")
    card = {
        "file": path.name,
        "sha256": file_sha256(path),
        "kind": "cellpose",
        "outputs": list(load_decoder("cellpose").outputs),
        "tiling": {"window_px": 224, "overlap_fraction": 0.1, "stride_px": 32},
        "normalization": {"percentiles": [1.0, 99.0]},
        "cell_size": {
            "scale_rule": "size model",
            "size_model": {"file": "size.json", "sha256": file_sha256(folder / "size.json")},
            "diameter_range_px": [22.0, 50.0],
            "diameter_target_px": 35.0,
        },
        "decoder": {**load_kind("cellpose").settings, "flow_threshold": None},
    }
    (folder / "manifest.json").write_text(json.dumps({CELLPOSE: card}), encoding="utf-8")
    write_judges(folder, system="cellpose-cvml", kinds=SYSTEM.judged)
    return folder


@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
@pytest.mark.parametrize("said_px", [30.0, 60.0])
@pytest.mark.parametrize("way", SYSTEM.ways)
def test_discs_are_found_at_their_scale(
    way: str, said_px: float, slide_from_px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong size is put right by the cells that are found with it."""
    monkeypatch.setattr("mosaicell.networks.views.SLIDE_FROM_PX", slide_from_px)
    weights = write_weights(tmp_path / "weights", said_px)
    write_discs(tmp_path / "discs.png", 4)
    options = Options(tmp_path / "discs.png", tmp_path / "out", "cellpose-cvml", weights, "cpu", 1, report=True)
    assert run(replace(options, choose_by=way)) == 0
    labels = read_labels(tmp_path / "out" / "discs_label.tiff")
    assert np.bincount(labels.ravel())[1:] == pytest.approx([709] * 4, rel=0.05)
    (found,) = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    assert found["scale"] == 1.0
    assert found["cells_by_branch"] == {CELLPOSE: 4}
    assert (found["predicted_f1"] is None) is (way != JUDGED_WAY)


@pytest.mark.parametrize("tta", [False, True])
def test_the_one_model_answers(tta: bool) -> None:
    case: Any = Answers(0)
    choice = SYSTEM.answer(case, None, tta=tta)
    assert case.asked == [(CELLPOSE, None, False), (CELLPOSE, 0.6, True)][: 1 + tta]
    assert (choice.branch, choice.cells, choice.scale, choice.predicted_f1) == (CELLPOSE, {CELLPOSE: 1}, 0.6, None)


def test_slides_are_segmented_band_by_band() -> None:
    case: Any = Answers(0, whole=False)
    assert SYSTEM.answer(case, None, tta=True).cells == {CELLPOSE: 5}
    assert case.applied == [([CELLPOSE], 0.6, None, True)]


def test_a_glance_asks_once() -> None:
    case: Any = Answers(0)
    assert SYSTEM.glance(case, None).branch == CELLPOSE
    assert case.asked == [(CELLPOSE, None, False)]
