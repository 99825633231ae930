"""Losses of R-CNNs: 0 for perfect answers, what each term sees, and a network that learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from mosaicell.training.networks.box_codes import PLAIN_UNITS, encode_boxes, pair_ious
from mosaicell.training.networks.detectors import compact_detector
from mosaicell.training.networks.rcnn import STAGE_IOUS, STAGE_UNITS, STRIDES, Detection, lay_anchors
from mosaicell.training.rcnn_losses import (
    RcnnLossWeights,
    proposal_loss,
    propose_boxes,
    split_boxes,
    stage_losses,
)
from mosaicell.training.rcnn_targets import match_boxes
from mosaicell.training.soft_teacher import look_again

ANCHORS = torch.tensor([[8.0 * 1.3**k, 8.0 * 1.3**k] for k in range(12)])
TRUTH = [torch.tensor([[4.0, 6, 20, 22], [30, 30, 58, 60], [8, 40, 20, 50]]), torch.zeros(0, 4)]
WEIGHTS = RcnnLossWeights()


def make_answer(judge: object = None, stages: int = 1) -> Detection:
    """Answer for two images of 64 x 64 px as a network would that knows every anchor."""
    levels = [torch.zeros(2, 1, 64 // stride, 64 // stride) for stride in STRIDES]
    laid = lay_anchors(levels, ANCHORS)
    matches = match_boxes(laid, TRUTH[0], 0.3, 0.7, keep_best=True)
    logits, codes = torch.full((2, len(laid)), -30.0), torch.zeros(2, len(laid), 4)
    held = matches >= 0
    logits[0, held] = 30.0
    codes[0, held] = encode_boxes(TRUTH[0][matches[held]], laid[held], PLAIN_UNITS)
    return Detection(levels, logits, codes, None, judge, stages)  # type: ignore[arg-type]


def knowing_judge(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
    """Tell cells of the first image by its boxes; no cell lies in the second one, whose proposals are few."""
    matches = match_boxes(boxes, TRUTH[0], STAGE_IOUS[stage], STAGE_IOUS[stage])
    held = matches >= 0
    logits, codes = torch.zeros(len(boxes), 2), torch.zeros(len(boxes), 4)
    logits[held, 0], logits[~held, 1] = 40.0, 40.0
    codes[held] = encode_boxes(TRUTH[0][matches[held]], boxes[held], STAGE_UNITS[stage])
    return logits, codes


def test_perfect_proposals_lose_nothing() -> None:
    torch.manual_seed(1)
    terms = proposal_loss(make_answer(), TRUTH, ANCHORS, WEIGHTS)
    assert float(torch.stack(list(terms.values())).sum()) < 1e-6


@pytest.mark.parametrize("wrong", ["logits", "codes"])
def test_each_term_of_proposals_sees_its_own_errors(wrong: str) -> None:
    torch.manual_seed(1)
    answer = make_answer()
    part = getattr(answer, wrong)
    terms = proposal_loss(
        answer._replace(**{wrong: part * -1 if wrong == "logits" else part + 1}), TRUTH, ANCHORS, WEIGHTS
    )
    assert (float(terms["objectness"]) > 10) == (wrong == "logits")
    assert (float(terms["anchor_box"]) > 0.005) == (wrong == "codes")


def test_proposals_are_the_cells_that_the_anchors_say() -> None:
    proposals = propose_boxes(make_answer(), ANCHORS)
    surest = proposals[0][:3]
    assert pair_ious(TRUTH[0], surest).max(1).values.min() > 0.999
    # what overlaps a chosen one much is gone
    assert (pair_ious(proposals[0], proposals[0]).fill_diagonal_(0) <= 0.7 + 1e-6).all()


@pytest.mark.parametrize("stages", [1, 3])
def test_perfect_heads_lose_nothing(stages: int) -> None:
    torch.manual_seed(2)
    answer = make_answer(knowing_judge, stages)
    proposals = [TRUTH[0] + 1, torch.tensor([[0.0, 0, 5, 5]])]
    terms = stage_losses(answer, proposals, TRUTH, WEIGHTS)
    assert float(torch.stack(list(terms.values())).sum()) < 1e-6


def test_later_stages_ask_for_better_boxes() -> None:
    """IoU 0.56 with a cell: a cell for the first stage alone, which does not move it."""
    truth, asked = [TRUTH[0][:1], TRUTH[1]], []

    def judge(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        asked.append(len(boxes))
        logits = torch.tensor([[40.0, 0.0]]).repeat(len(boxes), 1)
        return logits, torch.zeros(len(boxes), 4)

    proposals = [torch.tensor([[4.0, 6, 13, 22]]), torch.zeros(0, 4)]
    terms = [
        float(stage_losses(make_answer(judge, stages), proposals, truth, WEIGHTS)["classification"])
        for stages in (1, 2)
    ]
    assert terms[0] == pytest.approx(0, abs=1e-6)
    # one of two boxes is wrong, by 40, at half the weight
    assert terms[1] == pytest.approx(0.5 * 40 / 2)
    assert asked == [2, 0, 2, 0, 2, 0]


def _weigh_alike(weight: float, image: int, boxes: Tensor) -> Tensor:
    return torch.full((len(boxes),), weight)


def test_background_counts_as_much_as_it_is_weighed() -> None:
    def judge(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        return torch.tensor([[4.0, 0.0]]).repeat(len(boxes), 1), torch.zeros(len(boxes), 4)

    answer = make_answer(judge)
    proposals = [torch.tensor([[40.0, 0, 60, 20]]), torch.zeros(0, 4)]
    truth = [TRUTH[0][:1], TRUTH[1]]
    losses = []
    for weight in (0.0, 1.0):
        weigh = partial(_weigh_alike, weight)
        terms = stage_losses(answer, proposals, truth, WEIGHTS, weigh_background=weigh)
        losses.append(float(terms["classification"]))
    right, wrong = 0.01815, 4.01815
    assert losses == pytest.approx([right, (right + wrong) / 2], abs=1e-4)


def test_places_that_are_not_sure_teach_no_boxes() -> None:
    def judge(levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(boxes), 2), torch.ones(len(boxes), 4)

    answer, proposals = make_answer(judge), [TRUTH[0], TRUTH[1]]
    every = stage_losses(answer, proposals, TRUTH, WEIGHTS)
    some = stage_losses(answer, proposals, TRUTH, WEIGHTS, sure=[TRUTH[0][:1], TRUTH[1]])
    none = stage_losses(answer, proposals, TRUTH, WEIGHTS, sure=[TRUTH[1], TRUTH[1]])
    assert float(every["box"]) == pytest.approx(3 * float(some["box"]))
    assert float(none["box"]) == 0
    assert float(none["classification"]) == pytest.approx(float(every["classification"]))


def test_boxes_are_split_by_image() -> None:
    rows = torch.tensor([[0.0, 1, 2, 3, 4], [2, 5, 6, 7, 8], [0, 9, 9, 10, 10]])
    parts = split_boxes(rows, 3)
    assert [part.tolist() for part in parts] == [[[1, 2, 3, 4], [9, 9, 10, 10]], [], [[5, 6, 7, 8]]]


@pytest.mark.slow
@pytest.mark.parametrize("body", ["swin", "resnest"])
def test_a_small_detector_learns_where_cells_lie(body: str) -> None:
    torch.manual_seed(3)
    network = compact_detector(body, 0.25)
    images = torch.zeros(2, 3, 64, 64)
    for box in TRUTH[0].long().tolist():
        images[0, :, box[0] : box[2], box[1] : box[3]] = 1.0
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    first = 0.0
    for _ in range(60):
        answer = network(images)
        terms = proposal_loss(answer, TRUTH, ANCHORS, WEIGHTS)
        terms |= stage_losses(answer, propose_boxes(answer, ANCHORS, 100), TRUTH, WEIGHTS)
        total = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        first = first or total.item()
    assert total.item() < 0.35 * first
    with torch.no_grad():
        proposals = propose_boxes(answer, ANCHORS)
        found = look_again(network(images), 0, proposals[0])
    assert pair_ious(TRUTH[0], found.boxes).max(1).values.min() > 0.5
