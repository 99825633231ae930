"""Losses of Faster R-CNN and Cascade R-CNN (Ren et al. 2015, equation 1; Cai and Vasconcelos 2018, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mosaicell.postprocess.proposals import choose_proposals
from mosaicell.training.networks.box_codes import PLAIN_UNITS, clip_boxes, decode_codes, encode_boxes
from mosaicell.training.networks.rcnn import STAGE_IOUS, STAGE_UNITS, STRIDES, Detection, lay_anchors, place_proposals
from mosaicell.training.rcnn_targets import draw_sample, match_boxes

#: IoU with a true cell below which an anchor is background, and from which on it belongs to it
ANCHOR_LOW, ANCHOR_HIGH = 0.3, 0.7
#: largest shares of anchors and of proposals in a step that hold cells
ANCHOR_SHARE, PROPOSAL_SHARE = 0.5, 0.25
#: weights of the stages of a cascade
STAGE_WEIGHTS = (1.0, 0.5, 0.25)
#: differences of codes below this count squared
ANCHOR_BETA, STAGE_BETA = 1 / 9, 1.0
#: numbers of the two classes of a head
CELL, BACKGROUND_CLASS = 0, 1

#: maps boxes (n, 4) of an image, by its index in the batch, to the weights (n,) of those that are background
WeighBackground = Callable[[int, Tensor], Tensor]


@dataclass(frozen=True)
class RcnnLossWeights:
    """Balance of the terms, and how many boxes of a crop take part.

    Attributes
    ----------
    anchors, proposals
        Of each crop, in a step: for cells by the hundred more than the published 256 and 512 of an image.
    foreground
        Of the pixels' foreground.
    unlabelled
        Soft Teacher: of the terms of the images whose labels are hidden; 0 trains without a teacher.
    least_score
        Soft Teacher: from which on what the teacher finds is taken for a cell.
    most_spread
        Soft Teacher: up to which spread under jitter the teacher's boxes teach where boxes lie.
    """

    objectness: float = 1.0
    anchor_box: float = 1.0
    classification: float = 1.0
    box: float = 1.0
    foreground: float = 1.0
    anchors: int = 512
    proposals: int = 512
    unlabelled: float = 0.0
    least_score: float = 0.9
    most_spread: float = 0.02


def split_boxes(boxes: Tensor, batch: int) -> list[Tensor]:
    """Split boxes (n, 5), index in the batch, y0, x0, y1, x1 in px, into those (n, 4) of each image."""
    return [boxes[boxes[:, 0] == image, 1:] for image in range(batch)]


def proposal_loss(
    answer: Detection, truth: Sequence[Tensor], anchors: Tensor, weights: RcnnLossWeights
) -> dict[str, Tensor]:
    """Return how wrong the proposals of a batch are, "objectness" and "anchor_box".

    Parameters
    ----------
    answer
        Of the network.
    truth
        Boxes (m, 4) of each image.
    anchors
        (12, 2): height and width in px, the smallest first.
    """
    laid = lay_anchors(answer.levels, anchors)
    entropies, distances, count = [], [], 0
    for logits, codes, boxes in zip(answer.logits.float(), answer.codes.float(), truth, strict=True):
        matches = match_boxes(laid, boxes, ANCHOR_LOW, ANCHOR_HIGH, keep_best=True)
        cells, others = draw_sample(matches, weights.anchors, ANCHOR_SHARE)
        asked = torch.cat((cells, others))
        wanted = (matches[asked] >= 0).to(logits)
        entropies.append(functional.binary_cross_entropy_with_logits(logits[asked], wanted, reduction="sum"))
        target = encode_boxes(boxes[matches[cells]], laid[cells], PLAIN_UNITS)
        distances.append(functional.smooth_l1_loss(codes[cells], target, reduction="sum", beta=ANCHOR_BETA))
        count += len(asked)
    return {
        "objectness": weights.objectness * torch.stack(entropies).sum() / max(count, 1),
        "anchor_box": weights.anchor_box * torch.stack(distances).sum() / max(count, 1),
    }


@torch.no_grad()
def propose_boxes(answer: Detection, anchors: Tensor, most: int = 1000) -> list[Tensor]:
    """Return the proposals (n, 4) of each image of a batch, without a gradient."""
    proposals = []
    placed = place_proposals(answer.levels, answer.codes.float(), anchors)
    for logits, boxes in zip(answer.logits.float(), placed, strict=True):
        chosen = choose_proposals(boxes.numpy(force=True), logits.sigmoid().numpy(force=True), most=most)
        proposals.append(boxes[torch.from_numpy(chosen).to(boxes.device)])
    return proposals


def stage_losses(
    answer: Detection,
    proposals: Sequence[Tensor],
    truth: Sequence[Tensor],
    weights: RcnnLossWeights,
    *,
    sure: Sequence[Tensor] | None = None,
    weigh_background: WeighBackground | None = None,
) -> dict[str, Tensor]:
    """Return how wrong the heads are about the proposals of a batch, "classification" and "box", summed over stages.

    Parameters
    ----------
    answer
        Of the network.
    proposals, truth
        Boxes (n, 4) and true ones (m, 4) of each image. True boxes are proposals, too.
    weights
        Of the losses.
    sure
        The true boxes (k, 4) of each image whose places are known well enough to be learned; by default all.
    weigh_background
        How much a box counts that belongs to no true one; by default as much as the others.
    """
    boxes = [torch.cat(pair) for pair in zip(proposals, truth, strict=True)]
    terms = {"classification": answer.logits.sum() * 0.0, "box": answer.logits.sum() * 0.0}
    height, width = (answer.levels[0].shape[axis] * STRIDES[0] for axis in (2, 3))
    # split once, as the gradient of every slice of a batch is as large as the batch
    levels = list(zip(*(level.split(1) for level in answer.levels), strict=True))
    for stage in range(answer.stages):
        entropies, distances, total, count = [], [], answer.logits.new_zeros((), dtype=torch.float32), 0
        for image, (own, cells) in enumerate(zip(boxes, truth, strict=True)):
            matches = match_boxes(own, cells, STAGE_IOUS[stage], STAGE_IOUS[stage])
            sample = draw_sample(matches, weights.proposals, PROPOSAL_SHARE)
            asked = own[torch.cat(sample)]
            logits, codes = (part.float() for part in answer.judge(levels[image], asked, stage))
            classes = torch.full((len(asked),), BACKGROUND_CLASS, device=asked.device)
            classes[: len(sample.cells)] = CELL
            importance = torch.ones(len(asked), device=asked.device)
            if weigh_background is not None:
                importance[len(sample.cells) :] = weigh_background(image, own[sample.others])
            entropies.append((functional.cross_entropy(logits, classes, reduction="none") * importance).sum())
            total = total + importance.sum()
            count += len(asked)
            # a sample's true boxes are known already, unless only some may be learned
            owners = torch.cat([matches[part] for part in sample]) if sure is None else None
            distances.append(_box_distance(codes, asked, cells if sure is None else sure[image], stage, owners))
            boxes[image] = clip_boxes(decode_codes(codes.detach(), asked, STAGE_UNITS[stage]), height, width)
        terms["classification"] = terms["classification"] + STAGE_WEIGHTS[stage] * torch.stack(
            entropies
        ).sum() / total.clamp(min=1e-6)
        terms["box"] = terms["box"] + STAGE_WEIGHTS[stage] * torch.stack(distances).sum() / max(count, 1)
    return {"classification": weights.classification * terms["classification"], "box": weights.box * terms["box"]}


def _box_distance(codes: Tensor, boxes: Tensor, cells: Tensor, stage: int, matches: Tensor | None) -> Tensor:
    """Return how far the codes of boxes are from those of the true boxes that they belong to, as a sum."""
    if matches is None:
        matches = match_boxes(boxes, cells, STAGE_IOUS[stage], STAGE_IOUS[stage])
    held = matches >= 0
    target = encode_boxes(cells[matches[held]], boxes[held], STAGE_UNITS[stage])
    return functional.smooth_l1_loss(codes[held], target, reduction="sum", beta=STAGE_BETA)
