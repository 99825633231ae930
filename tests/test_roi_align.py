"""RoIAlign against a plain loop over samples, its levels, boxes of any number and place, in torch and in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from mosaicell.training.networks.roi_align import SAMPLES, choose_levels, roi_align
from mosaicell.training.onnx_file import write_onnx

STRIDES = (4, 8, 16, 32)


def draw_levels(seed: int = 0, channels: int = 3, height: int = 96, width: int = 128) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.rand(1, channels, height // stride, width // stride) for stride in STRIDES]


def draw_boxes(count: int, seed: int = 0, height: int = 96, width: int = 128) -> Tensor:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (count, 2)) * (height, width)
    sides = rng.lognormal(3, 0.8, (count, 2)).clip(3, 90)
    return torch.from_numpy(np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32))


def align_plainly(features: np.ndarray, stride: int, box: np.ndarray, side: int) -> np.ndarray:
    """Look up each sample of a box by scipy, where places beyond the edge take its value."""
    share = (np.arange(side * SAMPLES) + 0.5) / (side * SAMPLES)
    rows = (box[0] + share * (box[2] - box[0])) / stride - 0.5
    columns = (box[1] + share * (box[3] - box[1])) / stride - 0.5
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    found = np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in features])
    return found.reshape(len(features), side, SAMPLES, side, SAMPLES).mean((2, 4))


@pytest.mark.parametrize("finest_px", [28.0, 14.0])
def test_it_equals_a_plain_loop(finest_px: float) -> None:
    levels, boxes = draw_levels(), draw_boxes(60)
    found = roi_align(levels, 4, boxes, 7, finest_px)
    chosen = choose_levels(boxes, 4, finest_px)
    assert len(set(chosen.tolist())) > 1
    for features, box, level in zip(found, boxes, chosen.tolist(), strict=True):
        expected = align_plainly(levels[level][0].numpy(), STRIDES[level], box.numpy(), 7)
        np.testing.assert_allclose(features.numpy(), expected, atol=2e-5)


def test_levels_follow_the_size_of_boxes() -> None:
    sides = torch.tensor([1.0, 56, 111, 112, 223, 224, 448, 2000])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], 1)
    assert choose_levels(boxes, 4).tolist() == [0, 0, 0, 1, 1, 2, 3, 3]
    assert choose_levels(torch.zeros(1, 4), 4).tolist() == [0]


def test_a_plane_is_looked_up_exactly() -> None:
    """What grows evenly with y and x has in each part of a box its value at the middle of that part."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    image = (rows + 0.5 + 100 * (columns + 0.5))[None, None]
    found = roi_align([image], 1, torch.tensor([[10.0, 20.0, 34.0, 44.0]]), 4)[0, 0]
    middles = torch.arange(4) * 6 + 3.0
    torch.testing.assert_close(found, 10 + middles[:, None] + 100 * (20 + middles))


def test_no_boxes_give_nothing() -> None:
    assert roi_align(draw_levels(), 4, torch.zeros(0, 4), 7).shape == (0, 3, 7, 7)


def test_levels_lie_apart() -> None:
    """A level beside another one in memory is not looked into."""
    levels = [torch.full((1, 1, 24 // 2**k, 32 // 2**k), float(k)) for k in range(4)]
    boxes = torch.tensor([[0.0, 0, 96, 128], [0.0, 100, 30, 128], [-50.0, -50, 200, 300], [60.0, 90, 96, 128]])
    for features, level in zip(roi_align(levels, 4, boxes, 7), choose_levels(boxes, 4), strict=True):
        assert (features == level).all()


def test_features_and_boxes_learn() -> None:
    levels, boxes = draw_levels(), draw_boxes(5).requires_grad_()
    for level in levels:
        level.requires_grad_()
    roi_align(levels, 4, boxes, 3, 14.0).square().sum().backward()
    assert boxes.grad is not None
    assert boxes.grad.any()
    assert levels[0].grad is not None


class Aligned(nn.Module):
    """Boxes in the rows of an image's second channel, so that both are one input."""

    def forward(self, finest: Tensor) -> tuple[Tensor]:
        """Return the features of the boxes."""
        levels = [finest[:, :3], *(nn.functional.max_pool2d(finest[:, :3], 2**k) for k in (1, 2, 3))]
        return (roi_align(levels, 4, finest[0, 3, :, :4], 7),)


@pytest.mark.parametrize("shape", [(24, 32), (40, 24), (8, 56)])
def test_the_exported_graph_takes_any_size(shape: tuple[int, int], tmp_path: Path) -> None:
    def draw(height: int, width: int) -> Tensor:
        image = torch.rand(1, 4, height, width)
        image[0, 3, :, :4] = draw_boxes(height, 1, 4 * height, 4 * width)
        return image

    path = tmp_path / "roi.onnx"
    write_onnx(Aligned(), draw(24, 32), path, {2: "height", 3: "width"}, {"features": {0: "boxes"}})
    image = draw(*shape)
    (answer,) = onnxruntime.InferenceSession(path).run(None, {"image": image.numpy()})
    np.testing.assert_allclose(answer, Aligned()(image)[0].numpy(), atol=1e-4)
