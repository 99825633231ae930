"""Losses: geometry of boxes and grid, the weights of equations 2 and 3, and 0 for a perfect answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mosaicell.training.losses import (
    LEARNABLE,
    LossWeights,
    assign_anchors,
    complete_iou,
    crop_losses,
    decode_boxes,
    detection_loss,
    pixel_loss,
)
from mosaicell.training.networks.awf import DETECTION_STRIDE
from mosaicell.training.targets import find_pieces, pixel_targets

ANCHORS = torch.tensor([[10.0, 12.0], [30.0, 24.0], [80.0, 90.0]])
WEIGHTS = LossWeights()
#: height and width of the detection grid
GRID = (12, 16)


def draw_boxes(count: int, batch: int = 2, seed: int = 3) -> Tensor:
    """Boxes (n, 5) within the image, centres anywhere, sizes 6 to 90 px."""
    rng = np.random.default_rng(seed)
    limits = np.array(GRID) * DETECTION_STRIDE
    sizes = rng.uniform(6, 90, (count, 2))
    centres = rng.uniform(0, 1, (count, 2)) * limits
    low, high = (centres - sizes / 2).clip(0), np.minimum(centres + sizes / 2, limits)
    return torch.from_numpy(np.column_stack((rng.integers(0, batch, count), low, high))).float()


def centre_and_size(boxes: Tensor) -> Tensor:
    """(n, 5) with corners to (n, 4) as (centre y, centre x, height, width)."""
    return torch.cat(((boxes[:, 1:3] + boxes[:, 3:5]) / 2, boxes[:, 3:5] - boxes[:, 1:3]), 1)


def perfect_logits(boxes: Tensor, batch: int) -> Tensor:
    """Return detection logits (b, 15, h, w) that answer every box exactly and surely."""
    raw = torch.zeros(batch, len(ANCHORS), 5, *GRID)
    raw[:, :, 4] = -30
    where, box = assign_anchors(boxes, ANCHORS, *GRID)
    truth = centre_and_size(boxes)[box]
    offsets = (truth[:, :2] / DETECTION_STRIDE - where[:, 2:] + 0.5) / 2
    sizes = (truth[:, 2:] / ANCHORS[where[:, 1]]).sqrt() / 2
    image, anchor, row, column = where.T
    raw[image, anchor, :4, row, column] = torch.logit(torch.cat((offsets, sizes), 1))
    raw[image, anchor, 4, row, column] = 30
    return raw.flatten(1, 2)


def test_logits_of_zero_are_the_anchors_in_the_middle_of_their_cells() -> None:
    boxes, objectness = decode_boxes(torch.zeros(2, 15, *GRID), ANCHORS)
    assert boxes.shape == (2, 3, *GRID, 4)
    assert objectness.shape == (2, 3, *GRID)
    assert not objectness.any()
    for anchor, size in enumerate(ANCHORS):
        torch.testing.assert_close(boxes[1, anchor, 5, 7], torch.tensor([44.0, 60.0, *size]))


@pytest.mark.parametrize(("logit", "offset_px", "factor"), [(-40.0, -4.0, 0.0), (40.0, 12.0, 4.0)])
def test_boxes_reach_half_a_cell_further_and_4_times_the_anchor(logit: float, offset_px: float, factor: float) -> None:
    boxes, _ = decode_boxes(torch.full((1, 15, *GRID), logit), ANCHORS)
    expected = torch.tensor([16 + offset_px, 24 + offset_px, *(ANCHORS[1] * factor)])
    torch.testing.assert_close(boxes[0, 1, 2, 3], expected)


def test_every_channel_of_the_head_has_its_meaning() -> None:
    raw = torch.zeros(1, 15, *GRID)
    raw[0, 5:10, 4, 6] = torch.tensor([1.0, 2.0, 3.0, -1.0, 7.0])
    boxes, objectness = decode_boxes(raw, ANCHORS)
    still, _ = decode_boxes(torch.zeros_like(raw), ANCHORS)
    changed = (boxes != still).any(-1)
    assert changed.nonzero().tolist() == [[0, 1, 4, 6]] == objectness.nonzero().tolist()
    y, x, height, width = boxes[0, 1, 4, 6].tolist()
    assert still[0, 1, 4, 6, 0] < y < x - 16
    assert height > ANCHORS[1, 0]
    assert width < ANCHORS[1, 1]
    assert objectness[0, 1, 4, 6] == 7


def test_every_box_is_assigned_to_its_own_cell_and_to_reachable_neighbours() -> None:
    boxes = draw_boxes(200)
    where, box = assign_anchors(boxes, ANCHORS, *GRID)
    centres = centre_and_size(boxes)[box, :2] / DETECTION_STRIDE
    # within what decode_boxes can express
    offset = centres - where[:, 2:]
    assert offset.min() >= -0.5
    assert offset.max() <= 1.5
    assert (where[:, 2:] >= 0).all()
    assert (where[:, 2:] < torch.tensor(GRID)).all()
    torch.testing.assert_close(where[:, 0], boxes[box, 0].long())
    own = box[(centres.floor() == where[:, 2:]).all(1)]
    assert set(own.tolist()) == set(range(200))
    assert len(torch.unique(torch.column_stack((where, box)), dim=0)) == len(where)


def test_a_box_trains_anchors_of_similar_size_or_the_nearest() -> None:
    boxes = torch.tensor([[0, 40, 40, 52, 52], [0, 30, 30, 60, 60], [0, 20, 20, 21, 21], [0, 1, 1, 95, 127]]).float()
    where, box = assign_anchors(boxes, ANCHORS, *GRID)
    chosen = [sorted(set(where[box == index, 1].tolist())) for index in range(4)]
    # 12 px differ from the largest anchor by more than 4; so do 126 px from the middle one; 1 px fits none
    assert chosen == [[0, 1], [0, 1, 2], [0], [2]]


@pytest.mark.parametrize(
    ("centre", "cells"),
    [
        pytest.param((42.0, 42.0), {(5, 5), (4, 5), (5, 4)}, id="upper left of the middle"),
        pytest.param((47.0, 42.0), {(5, 5), (6, 5), (5, 4)}, id="lower left"),
        pytest.param((1.0, 1.0), {(0, 0)}, id="in the corner of the image"),
    ],
)
def test_the_neighbours_nearest_in_y_and_in_x_answer_too(
    centre: tuple[float, float], cells: set[tuple[int, int]]
) -> None:
    y, x = centre
    where, _ = assign_anchors(torch.tensor([[0, y - 5, x - 6, y + 5, x + 6]]), ANCHORS[:1], *GRID)
    assert {tuple(cell) for cell in where[:, 2:].tolist()} == cells


def test_complete_iou_of_equal_boxes_is_1_and_gradients_are_finite() -> None:
    boxes = centre_and_size(draw_boxes(50)).requires_grad_()
    iou = complete_iou(boxes, boxes.detach())
    torch.testing.assert_close(iou, torch.ones(50))
    iou.sum().backward()
    assert boxes.grad is not None
    assert torch.isfinite(boxes.grad).all()


def test_complete_iou_by_hand() -> None:
    one = torch.tensor([[10.0, 10.0, 10.0, 10.0]])
    # half beside it: IoU 1/3, centres 5 apart, enclosing 10 x 15, same shape
    beside = torch.tensor([[10.0, 15.0, 10.0, 10.0]])
    torch.testing.assert_close(complete_iou(one, beside), torch.tensor([1 / 3 - 25 / 325]))
    # same centre, twice as wide: IoU 1/2, shape term v^2 / (1 - IoU + v)
    wide = torch.tensor([[10.0, 10.0, 10.0, 20.0]])
    v = 4 / np.pi**2 * (np.arctan(2) - np.arctan(1)) ** 2
    torch.testing.assert_close(complete_iou(one, wide), torch.tensor([0.5 - v**2 / (0.5 + v)]).float())


def test_complete_iou_has_no_direction_and_falls_with_distance() -> None:
    one = centre_and_size(draw_boxes(40))
    other = centre_and_size(draw_boxes(40, seed=4))
    torch.testing.assert_close(complete_iou(one, other), complete_iou(other, one))
    transposed = [1, 0, 3, 2]
    torch.testing.assert_close(complete_iou(one[:, transposed], other[:, transposed]), complete_iou(one, other))
    far = torch.tensor([[0.0, 50.0 * k, 10.0, 10.0] for k in range(1, 5)])
    values = complete_iou(torch.zeros(4, 4) + torch.tensor([0.0, 0.0, 10.0, 10.0]), far)
    # apart the IoU is 0 everywhere: the distance term still leads home
    assert (values.diff() < 0).all()
    assert values.min() >= -1


def test_a_perfect_answer_costs_nothing() -> None:
    boxes = torch.tensor([[0, 20, 30, 48, 52], [1, 8, 8, 19, 21], [1, 5, 30, 85, 120]]).float()
    losses = detection_loss(perfect_logits(boxes, 2), boxes, ANCHORS, WEIGHTS)
    assert set(losses) == {"objectness", "box"}
    assert losses["objectness"] < 1e-4
    assert losses["box"] < 1e-4
    worse = detection_loss(torch.zeros(2, 15, *GRID), boxes, ANCHORS, WEIGHTS)
    assert worse["objectness"] > 1
    assert worse["box"] > 0.1


def test_the_order_of_the_boxes_does_not_count() -> None:
    boxes = draw_boxes(60)
    raw = torch.randn(2, 15, *GRID, generator=torch.Generator().manual_seed(2))
    one = detection_loss(raw, boxes, ANCHORS, WEIGHTS)
    two = detection_loss(raw, boxes.flip(0), ANCHORS, WEIGHTS)
    for name in one:
        torch.testing.assert_close(one[name], two[name])


def test_of_boxes_that_claim_one_cell_the_best_answered_counts() -> None:
    near, far = torch.tensor([[0, 35, 35, 52, 52]]).float(), torch.tensor([[0, 38, 38, 49, 49]]).float()
    raw = perfect_logits(near, 1)
    alone = detection_loss(raw, near, ANCHORS, WEIGHTS)["objectness"]
    assert alone < 1e-4
    for boxes in (torch.cat((near, far)), torch.cat((far, near)), torch.cat((near, near))):
        together = detection_loss(raw, boxes, ANCHORS, WEIGHTS)["objectness"]
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_images_weigh_by_one_over_their_boxes() -> None:
    """Equations 2 and 3: n = (1, 3, 0) gives weights (3/4, 1/4) to the images with cells."""
    boxes = draw_boxes(4, batch=1)
    boxes[1:, 0] = 1
    raw = torch.randn(3, 15, *GRID, generator=torch.Generator().manual_seed(2))

    def objectness(index: int) -> Tensor:
        mine = boxes[boxes[:, 0] == index].clone()
        mine[:, 0] = 0
        return detection_loss(raw[index, None], mine, ANCHORS, WEIGHTS)["objectness"]

    together = detection_loss(raw, boxes, ANCHORS, WEIGHTS)["objectness"]
    torch.testing.assert_close(together, 0.75 * objectness(0) + 0.25 * objectness(1) + objectness(2))


def test_an_image_without_cells_weighs_as_much_as_all_others() -> None:
    boxes = draw_boxes(6, batch=2)
    raw = torch.randn(3, 15, *GRID, generator=torch.Generator().manual_seed(1))
    both = detection_loss(raw[:2], boxes, ANCHORS, WEIGHTS)
    three = detection_loss(raw, boxes, ANCHORS, WEIGHTS)
    alone = detection_loss(raw[2:], torch.zeros(0, 5), ANCHORS, WEIGHTS)
    assert alone["objectness"] > 0.1
    torch.testing.assert_close(three["objectness"], both["objectness"] + alone["objectness"])
    torch.testing.assert_close(three["box"], both["box"])


def test_balance_factors_scale_their_terms() -> None:
    boxes, raw = draw_boxes(9), torch.zeros(2, 15, *GRID)
    plain = detection_loss(raw, boxes, ANCHORS, WEIGHTS)
    doubled = detection_loss(
        raw, boxes, ANCHORS, replace(WEIGHTS, objectness=2 * WEIGHTS.objectness, box=3 * WEIGHTS.box)
    )
    torch.testing.assert_close(doubled["objectness"], 2 * plain["objectness"])
    torch.testing.assert_close(doubled["box"], 3 * plain["box"])


def test_crops_without_cells_give_finite_losses_and_gradients() -> None:
    raw = torch.randn(2, 15, *GRID).requires_grad_()
    pixels = torch.randn(2, 5, 96, 128).requires_grad_()
    losses = detection_loss(raw, torch.zeros(0, 5), ANCHORS, WEIGHTS)
    losses |= pixel_loss(pixels, torch.zeros(2, 5, 96, 128), LEARNABLE, WEIGHTS)
    assert losses["box"] == losses["flow"] == 0
    assert losses["foreground"] > 0
    assert losses["objectness"] > 0
    torch.stack(list(losses.values())).sum().backward()
    assert raw.grad is not None
    # every objectness is pushed down, and nothing else is touched
    fields = raw.grad.reshape(2, 3, 5, *GRID)
    assert (fields[:, :, 4] > 0).all()
    assert not fields[:, :, :4].any()
    assert pixels.grad is not None
    assert torch.isfinite(pixels.grad).all()


def draw_pixel_targets(channels: tuple[str, ...] = LEARNABLE) -> Tensor:
    labels = np.zeros((40, 48), np.uint16)
    labels[3:20, 5:22] = 1
    labels[10:36, 22:40] = 2
    return torch.from_numpy(np.stack([pixel_targets(find_pieces(part), channels) for part in (labels, labels[::-1])]))


@pytest.mark.parametrize("channels", [LEARNABLE, LEARNABLE[:2], ("foreground", "boundary", "flow_y", "flow_x")])
def test_perfect_maps_cost_nothing_whatever_their_selection(channels: tuple[str, ...]) -> None:
    target = draw_pixel_targets(channels)
    raw = target.clone()
    for index, name in enumerate(channels):
        if name in ("foreground", "boundary"):
            raw[:, index] = raw[:, index] * 60 - 30
    losses = pixel_loss(raw, target, channels, WEIGHTS)
    assert set(losses) == {name.split("_")[0] for name in channels}
    assert all(loss < 1e-6 for loss in losses.values())
    for index, name in enumerate(channels):
        wrong = raw.clone()
        wrong[:, index] = -wrong[:, index] + 1
        spoilt = pixel_loss(wrong, target, channels, WEIGHTS)
        assert {kind for kind, loss in spoilt.items() if loss > 0.01} == {name.split("_")[0]}


def test_pixel_losses_by_hand() -> None:
    target = torch.zeros(1, 5, 2, 2)
    target[0, 0, 0] = 1
    target[0, 3, 0] = 0.5
    raw = torch.zeros(1, 5, 2, 2)
    raw[0, 1] = 2
    losses = pixel_loss(raw, target, LEARNABLE, WEIGHTS)
    expected = {
        "foreground": WEIGHTS.foreground * np.log(2),
        "energy": WEIGHTS.energy * 4,
        "boundary": WEIGHTS.boundary * np.log(2),
        # mean over the two cell pixels and over both directions
        "flow": WEIGHTS.flow * 0.25 / 2,
    }
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected)


def test_flows_outside_of_cells_do_not_count() -> None:
    target = draw_pixel_targets()
    raw = target.clone()
    raw[:, 3:] += 9 * (target[:, :1] == 0)
    assert pixel_loss(raw, target, LEARNABLE, WEIGHTS)["flow"] == 0


def test_the_losses_of_crops_are_those_of_each_alone() -> None:
    torch.manual_seed(2)
    raw, target = torch.randn(3, 2, 8, 8), torch.rand(3, 2, 8, 8).round()
    losses = crop_losses(raw, target, ("foreground", "energy"), WEIGHTS)
    for index in range(3):
        alone = pixel_loss(raw[[index]], target[[index]], ("foreground", "energy"), WEIGHTS)
        assert losses[index] == pytest.approx(sum(term.item() for term in alone.values()))
