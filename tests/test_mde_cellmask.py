"""MDE-CellMask as a system: whole images and slides of drawn discs, by drawn detectors, heads and masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.answers.judges import QUALITY_FILE
from mosaicell.decoders import load_decoder
from mosaicell.decoders.cellmask import MASK_SIDE
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import PART, file_sha256, read_card, read_models
from mosaicell.options import Options
from mosaicell.runs.installation import check_installation
from mosaicell.runs.run import run
from mosaicell.systems import JUDGED_WAY
from mosaicell.systems.mde_cellmask import DETECTORS, ENSEMBLES, MASKS, SINGLE, SYSTEM
from mosaicell.training.ensemble import write_ensemble
from mosaicell.training.kinds.cellmask import DETECTION, KIND
from mosaicell.training.networks.rcnn import STRIDES
from mosaicell.training.networks.roi_align import roi_align
from mosaicell.training.networks.upernet import CROP_PX, cut_crops, mean_matrix
from mosaicell.training.onnx_file import write_graph
from mosaicell.training.validate import open_model
from mosaicell.writing.masks import read_labels
from tests.toys import write_discs, write_judges

SIDE_PX = 31.0
BOXES = torch.tensor([[0.0, 0, 31, 31], [10, 10, 41, 41]])


class Proposing(nn.Module):
    """Boxes of the size of a disc around every fourth pixel, as sure as it is bright there; features are brightness."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Answer as a detector."""
        levels = [functional.avg_pool2d(image[:, :1], stride) for stride in STRIDES]
        rows, columns = (torch.arange(levels[0].shape[axis]) * 4.0 + 2 for axis in (2, 3))
        middles = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).reshape(1, -1, 2)
        boxes = torch.cat((middles - SIDE_PX / 2, middles + SIDE_PX / 2), -1) + 0 * image.mean((1, 2, 3))[:, None, None]
        return image[:, :1], torch.cat((boxes, levels[0].flatten(1)[..., None]), -1), *levels


class Judging(nn.Module):
    """A box is as sure as what it holds is bright; it stays where it is, or moves by some px."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Answer as the heads of a detector."""
        *levels, boxes = inputs
        inside = roi_align(levels, 4, boxes, 7)[:, 0].mean((1, 2))
        return boxes, (inside * self.factor).clamp(0, 1) + 0 * sum(level.mean() for level in levels)


class Masking(nn.Module):
    """What is bright belongs to the cell."""

    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", mean_matrix(CROP_PX, MASK_SIDE))

    def forward(self, image: Tensor, boxes: Tensor) -> tuple[Tensor]:
        """Answer as the network of masks."""
        return (self.means @ cut_crops(image[:, :1], boxes, CROP_PX)[:, 0] @ self.means.T,)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detectors that know discs by their brightness; all but the one that looks first are blind."""
    folder = tmp_path_factory.mktemp("weights")
    cards = {}

    def enter(name: str, kind: str, **entries: object) -> None:
        path = folder / f"{name}.onnx"
        cards[name] = {"file": path.name, "sha256": file_sha256(path), "kind": kind} | entries

    image, size = torch.rand(1, 3, 64, 96), {2: "h", 3: "w"}
    levels = {f"features_{s}": functional.avg_pool2d(image[:, :1], s) for s in STRIDES}
    axes = {name: {2: f"{name}_h", 3: f"{name}_w"} for name in levels} | {"boxes": {0: "n"}}
    for name in DETECTORS:
        write_graph(Proposing(), {"image": image}, folder / f"{name}.onnx", {"image": {0: "b", **size}}, KIND.outputs)
        heads = Judging(1.25 if name == SINGLE else 0.0)
        outputs = {"refined": {0: "n"}, "scores": {0: "n"}}
        write_graph(heads, levels | {"boxes": BOXES}, folder / f"{name}-heads.onnx", axes, outputs)
        enter(
            name,
            "cellmask",
            outputs=list(load_decoder("cellmask").outputs),
            tiling={"window_px": 256, "overlap_fraction": 0.25, "stride_px": 32},
            normalization={"percentiles": [1.0, 99.0]},
            cell_size={"scale_rule": "full size", "diameter_range_px": [22.0, 50.0], "diameter_target_px": 35.0},
            decoder=dict(KIND.settings),
            detection=DETECTION | {"heads": f"{name}-heads", "masks": MASKS, "weight": 1, "score": 0.7},
        )
        enter(f"{name}-heads", PART)
    masks = {"masks": {0: "n"}}
    inputs = {"image": image, "boxes": BOXES}
    write_graph(Masking(), inputs, folder / f"{MASKS}.onnx", {"image": size, "boxes": {0: "n"}}, masks)
    enter(MASKS, PART)
    (folder / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    for name in ENSEMBLES:
        write_ensemble(name, DETECTORS, [1.0], folder)
    write_judges(folder, system="mde-cellmask", kinds=SYSTEM.judged)
    return folder


@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("way", SYSTEM.ways)
def test_discs_are_cells(
    way: str, tta: bool, slide_from_px: int, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaicell.networks.views.SLIDE_FROM_PX", slide_from_px)
    write_discs(tmp_path / "discs.png", 4)
    options = Options(tmp_path / "discs.png", tmp_path / "out", "mde-cellmask", weights, "cpu", 1, tta=tta, report=True)
    assert run(replace(options, choose_by=way)) == 0
    labels = read_labels(tmp_path / "out" / "discs_label.tiff")
    assert labels.max() == 4
    assert np.bincount(labels.ravel())[1:] == pytest.approx(np.pi * 15.5**2, rel=0.15)
    report = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    ensemble = f"mde-cellmask-{report['images'][0]['modality']}"
    assert report["images"][0]["cells_by_branch"] == {ensemble: 4}
    judged = way == JUDGED_WAY
    assert (report["images"][0]["predicted_f1"] is not None) is judged
    assert report["images"][0]["seconds"]["decode"] > 0
    # the ensemble has the file of its first detector
    used = {ensemble, SINGLE, MASKS, *(f"{name}-heads" for name in DETECTORS)}
    assert set(report["weights_sha256"]) - {QUALITY_FILE} == used
    assert (QUALITY_FILE in report["weights_sha256"]) is judged


@pytest.mark.parametrize("modality", ["brightfield", "fluorescence", "grey"])
def test_each_modality_has_an_ensemble_of_its_own(modality: str) -> None:
    case = SimpleNamespace(modality=modality)
    (name,) = SYSTEM.branches(case)
    assert name in ENSEMBLES
    assert name.endswith(f"-{modality}")


def test_an_image_is_segmented_by_the_thresholds_of_its_modality(weights: Path, tmp_path: Path) -> None:
    """Of three ensembles two are sure of nothing; the discs are found where the third is that of the modality."""
    write_discs(tmp_path / "discs.png", 4)
    cards = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))
    found = {}
    for willing in ENSEMBLES:
        folder = tmp_path / willing
        folder.mkdir()
        for path in weights.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / "manifest.json").unlink()
        thresholds = {name: 0.3 if name == willing else 0.99 for name in ENSEMBLES}
        own = {name: cards[name] | {"decoder": cards[name]["decoder"] | {"score_threshold": thresholds[name]}}
               for name in ENSEMBLES}  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps(cards | own), encoding="utf-8")
        options = Options(tmp_path / "discs.png", folder / "out", "mde-cellmask", folder, "cpu", 1, report=True)
        assert run(options) == 0
        found[willing] = int(read_labels(folder / "out" / "discs_label.tiff").max())
    report = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))
    modality = report["images"][0]["modality"]
    assert found == {name: 4 if name.endswith(f"-{modality}") else 0 for name in ENSEMBLES}


def test_an_image_without_cells_has_an_empty_mask(weights: Path, tmp_path: Path) -> None:
    write_discs(tmp_path / "none.png", 0)
    assert run(Options(tmp_path / "none.png", tmp_path / "out", "mde-cellmask", weights, "cpu", 1)) == 0
    assert not read_labels(tmp_path / "out" / "none_label.tiff").any()


def test_all_networks_are_checked(weights: Path) -> None:
    assert set(read_models(SYSTEM.models, weights)) == set(SYSTEM.models)
    assert len(check_installation("mde-cellmask", weights, "cpu", 1, 1.0)) == len(SYSTEM.models) == 8


def test_one_detector_and_all_can_be_validated(weights: Path) -> None:
    """What a detector finds alone is as sure as it says; in the ensemble the blind one speaks against it."""
    image = np.zeros((1, 3, 96, 96), np.float32)
    y, x = np.mgrid[:96, :96]
    image[0, :, np.hypot(y - 49.5, x - 49.5) < 15.5] = 1.0
    scores = []
    for name in (SINGLE, ENSEMBLES[0]):
        _, cells = open_model(read_card(name, weights))(image)
        assert cells.shape[1] == 1
        scores.append(cells[0, 0, 4])
    assert scores[1] == pytest.approx(scores[0] / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("heads", SINGLE, "asks 'cellmask-faster' about boxes, which is a cellmask"),
        ("masks", "nothing", "holds no model 'nothing'"),
        ("iou", 2, "a number from 0 to 1"),
        ("proposals", 0, "a whole number"),
    ],
)
def test_cards_of_parts_are_checked(entry: str, value: object, message: str, weights: Path, tmp_path: Path) -> None:
    cards = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))
    cards[SINGLE]["detection"][entry] = value
    for path in weights.glob("*.onnx"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    with pytest.raises(OptionError, match=message):
        read_models(SYSTEM.models, tmp_path)


def test_scales_of_detectors_are_refused(weights: Path, tmp_path: Path) -> None:
    for path in weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_ensemble(ENSEMBLES[0], DETECTORS, [1.0, 1.5], tmp_path)
    with pytest.raises(OptionError, match="whose boxes are fused"):
        read_models(ENSEMBLES[:1], tmp_path)
