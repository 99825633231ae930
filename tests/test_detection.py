"""Detectors and masks per tile: boxes of drawn detectors, fused, mirrored and masked, and real small networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import measure

from mosaicell.decoders.cellmask import DECODER, MASK_SIDE
from mosaicell.networks.detection import LEVELS, DetectionSettings, Detector, detect_and_mask, mirror_boxes
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.networks.session import Session
from mosaicell.networks.tiling import plan_tiles, run_tiles
from mosaicell.training.export import Exported, export_onnx
from mosaicell.training.mask_losses import MaskNetwork
from mosaicell.training.networks.rcnn import RCNN, STRIDES
from mosaicell.training.parts import make_heads, make_masks, write_part
from tests.test_cellmask import SETTINGS, disc
from tests.test_cellmask_kind import ANCHORS, UPERNET, make_recipe, rounded

CHOICE = DetectionSettings(
    proposals=100,
    proposal_score=0.05,
    score=0.05,
    iou=0.5,
    fusion_iou=0.6,
    fusion_score=0.01,
    mask_score=0.05,
    crops=2,
    mask_side=MASK_SIDE,
)


def squares(tile: np.ndarray) -> np.ndarray:
    """Find the bright squares of a tile (3, h, w) as boxes."""
    regions = measure.regionprops(measure.label(tile[0] > 0.5))
    return np.array([region.bbox for region in regions], np.float32).reshape(-1, 4)


def drawn_detector(moved_px: float, score: float, weight: float = 1.0, *, blind: bool = False) -> Detector:
    """Propose the squares of a tile, shifted by some px along x; the heads only add the score."""

    def run(batch: np.ndarray) -> Outputs:
        boxes = [np.zeros((0, 4), np.float32) if blind else squares(tile) for tile in batch]
        proposals = np.zeros((len(batch), max(map(len, boxes)), 5), np.float32)
        for tile, rows in enumerate(boxes):
            proposals[tile, : len(rows), :4] = rows + np.array([0, moved_px, 0, moved_px], np.float32)
            proposals[tile, : len(rows), 4] = 0.9
        levels = [np.full((len(batch), 1, 2, 2), stride, np.float32) for stride in STRIDES]
        return (batch[:, :1] * score, proposals, *levels)

    def ask_heads(inputs: Mapping[str, np.ndarray]) -> Outputs:
        assert [float(inputs[name].mean()) for name in LEVELS] == list(STRIDES)
        return inputs["boxes"], np.full(len(inputs["boxes"]), score, np.float32)

    return Detector(run, ask_heads, weight)


def ask_discs(inputs: Mapping[str, np.ndarray]) -> Outputs:
    assert len(inputs["image"]) == 1
    assert len(inputs["boxes"]) <= CHOICE.crops
    return (np.tile(disc(), (len(inputs["boxes"]), 1, 1)),)


def draw_batch(*corners: tuple[int, int], tiles: int = 1, shape: tuple[int, int] = (64, 96)) -> np.ndarray:
    batch = np.zeros((tiles, 3, *shape), np.float32)
    for top, left in corners:
        batch[0, :, top : top + 12, left : left + 16] = 1.0
    return batch


def test_boxes_of_all_detectors_are_fused_by_their_weights() -> None:
    model = detect_and_mask([drawn_detector(0, 0.8, 1), drawn_detector(2, 0.8, 3)], ask_discs, CHOICE)
    foreground, cells = model(draw_batch((10, 20)))
    np.testing.assert_allclose(cells[0, :, :5], [[10, 21.5, 22, 37.5, 0.8]], rtol=1e-5)
    np.testing.assert_array_equal(cells[0, 0, 5:].reshape(MASK_SIDE, MASK_SIDE), disc())
    assert foreground[0, 0, 15, 25] == pytest.approx(0.8)
    assert foreground.shape == (1, 1, 64, 96)


def test_a_detector_that_finds_nothing_drops_nothing() -> None:
    model = detect_and_mask([drawn_detector(0, 0.8, 1), drawn_detector(0, 0.8, 3, blind=True)], ask_discs, CHOICE)
    _, cells = model(draw_batch((10, 20)))
    np.testing.assert_allclose(cells[0, :, :5], [[10, 20, 22, 36, 0.2]], rtol=1e-5)


def test_tiles_have_their_own_cells() -> None:
    model = detect_and_mask([drawn_detector(0, 0.8)], ask_discs, CHOICE)
    batch = draw_batch((10, 20), (40, 60), (5, 70), tiles=3)
    batch[2, :, 30:42, 30:46] = 1.0
    raws = DECODER.read(model(batch), SETTINGS)
    assert [len(raw.candidates) for raw in raws] == [3, 0, 1]
    alone = [DECODER.read(model(tile[None]), SETTINGS)[0] for tile in batch]
    for together, one in zip(raws, alone, strict=True):
        np.testing.assert_array_equal(together.candidates, one.candidates)
    assert model(np.zeros_like(batch))[1].shape == (3, 0, 5 + MASK_SIDE**2)


def test_boxes_of_mirrored_views_are_brought_back_and_fused() -> None:
    """A detector that is off by 1 px to the right is so to either side in mirrored views."""
    model = detect_and_mask([drawn_detector(1, 0.8)], ask_discs, CHOICE, ((), (3,), (2,), (2, 3)))
    foreground, cells = model(draw_batch((10, 20), (40, 60)))
    np.testing.assert_allclose(cells[0, :, :5], [[10, 20, 22, 36, 0.8], [40, 60, 52, 76, 0.8]], rtol=1e-5)
    np.testing.assert_allclose(foreground[0, 0, 15, 20:36], 0.8, rtol=1e-5)


def test_mirroring_boxes_twice_changes_nothing(rng: np.random.Generator) -> None:
    boxes = np.sort(rng.uniform(0, 60, (5, 2, 2)), axis=1).reshape(5, 4)
    for axes in ((2,), (3,), (2, 3)):
        mirrored = mirror_boxes(boxes, axes, (64, 96))
        assert (mirrored[:, :2] <= mirrored[:, 2:]).all()
        np.testing.assert_allclose(mirror_boxes(mirrored, axes, (64, 96)), boxes)


def test_unsure_and_double_boxes_of_a_detector_go_before_the_fusion() -> None:
    for strict in (
        replace(CHOICE, score=0.9),
        replace(CHOICE, proposal_score=0.95),
        replace(CHOICE, mask_score=0.85),
    ):
        assert detect_and_mask([drawn_detector(0, 0.8)], ask_discs, strict)(draw_batch((10, 20)))[1].shape[1] == 0
    few = replace(CHOICE, proposals=1)
    assert detect_and_mask([drawn_detector(0, 0.8)], ask_discs, few)(draw_batch((10, 20), (40, 60)))[1].shape[1] == 1


def test_tiled_cells_are_those_of_the_whole() -> None:
    """Squares of a large image, whole and in tiles: each is found once, where it is."""
    rng = np.random.default_rng(3)
    image = np.zeros((3, 256, 320), np.float32)
    corners = [(y + rng.integers(0, 8), x + rng.integers(0, 8)) for y in range(4, 230, 32) for x in range(4, 290, 40)]
    for top, left in corners:
        image[:, top : top + 12, left : left + 16] = 1.0
    model = detect_and_mask([drawn_detector(0, 0.8)], ask_discs, CHOICE)

    def run(batch: np.ndarray) -> list[Raw]:
        return DECODER.read(model(batch), SETTINGS)

    def keep(candidates: np.ndarray) -> np.ndarray:
        return DECODER.keep(candidates, SETTINGS)

    labels = []
    for window_px in (320, 128):
        tiles = plan_tiles((256, 320), window_px, 0.25, 32)
        raw = run_tiles(image, tiles, run, 2, keep, DECODER.slack_px)
        kept = replace(raw, candidates=raw.candidates[keep(raw.candidates)])
        labels.append(DECODER.decode(kept, SETTINGS))
    assert labels[0].max() == len(corners)
    np.testing.assert_array_equal(labels[0] > 0, labels[1] > 0)
    assert labels[1].max() == len(corners)


def open_detector(body: str, folder: Path) -> Detector:
    network = rounded(body, folder)
    assert isinstance(network, RCNN)
    recipe = make_recipe(body, folder)
    export_onnx(Exported(network, recipe, ANCHORS, "cellmask").eval(), folder / f"{body}.onnx")
    write_part(*make_heads(network), folder / f"{body}-heads.onnx")
    run, heads = (Session(folder / name, "cpu", 1, 0) for name in (f"{body}.onnx", f"{body}-heads.onnx"))
    return Detector(run.run, heads.ask, 1.0)


def test_real_networks_fit_together(tmp_path: Path) -> None:
    """Untrained: everything is as sure as anything else, so that all boxes pass."""
    detectors = [open_detector(body, tmp_path) for body in ("swin", "resnest")]
    masks = rounded(UPERNET, tmp_path)
    assert isinstance(masks, MaskNetwork)
    write_part(*make_masks(masks.masks), tmp_path / "masks.onnx")
    ask_masks = Session(tmp_path / "masks.onnx", "cpu", 1, 0).ask
    choice = replace(CHOICE, proposals=12, crops=8)
    model = detect_and_mask(detectors, ask_masks, choice)
    batch = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)).numpy()
    foreground, cells = model(batch)
    raws = DECODER.read((foreground, cells), SETTINGS)
    assert foreground.shape == (2, 1, 64, 96)
    for raw in raws:
        assert 0 < len(raw.candidates) <= 24
        assert ((raw.candidates[:, 4:] >= 0) & (raw.candidates[:, 4:] <= 1)).all()
        assert (raw.candidates[:, 2:4] <= [64, 96]).all()
