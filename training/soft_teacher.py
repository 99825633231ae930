"""Losses of Soft Teacher: what a teacher finds on images without labels (Xu et al. 2021, sections 3.2 and 3.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mosaicell.postprocess.boxes import suppress_boxes
from mosaicell.training.networks.rcnn import Detection, refine_boxes
from mosaicell.training.networks.teacher import Lesson
from mosaicell.training.rcnn_losses import (
    BACKGROUND_CLASS,
    RcnnLossWeights,
    proposal_loss,
    propose_boxes,
    stage_losses,
)

#: boxes that the teacher looks at, at least as sure as this, and IoU from which on two are one cell
FOUND_SCORE, FOUND_IOU = 0.05, 0.5
#: how often a box is jittered, and by which share of its sides, as a standard deviation
JITTERS, JITTER_SHARE = 10, 0.06


class Found(NamedTuple):
    """What a teacher finds on an image: boxes (n, 4) in px, and how sure each is a cell (n,)."""

    boxes: Tensor
    scores: Tensor


@torch.no_grad()
def look_again(answer: Detection, image: int, boxes: Tensor) -> Found:
    """Take boxes (n, 4) of one image of a batch through all stages of a detector."""
    levels = [level[image : image + 1] for level in answer.levels]
    return Found(*refine_boxes(answer.judge, answer.stages, levels, boxes))


def find_cells(answer: Detection, anchors: Tensor) -> list[Found]:
    """Return what a detector finds on each image of a batch, after suppression."""
    found = []
    for image, proposals in enumerate(propose_boxes(answer, anchors)):
        boxes, scores = look_again(answer, image, proposals)
        sure = (scores >= FOUND_SCORE).nonzero()[:, 0]
        chosen = suppress_boxes(boxes[sure].numpy(force=True), scores[sure].numpy(force=True), FOUND_IOU)
        kept = sure[torch.from_numpy(chosen).to(sure.device)]
        found.append(Found(boxes[kept], scores[kept]))
    return found


@torch.no_grad()
def measure_spread(answer: Detection, image: int, boxes: Tensor) -> Tensor:
    """Return how far boxes (n, 4) of one image part when they are jittered and refined, (n,).

    Standard deviation over jitters, as a share of the sides and as the mean of the four coordinates (equation 7).
    """
    if not len(boxes):
        return boxes.new_zeros(0)
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1).repeat(1, 2)
    moved = boxes + JITTER_SHARE * sides * torch.randn(JITTERS, *boxes.shape, device=boxes.device)
    refined = look_again(answer, image, moved.flatten(0, 1)).boxes.reshape(moved.shape)
    return (refined.std(0) / sides).mean(1)


def taught_loss(lesson: Lesson, truth: list[Tensor], anchors: Tensor, weights: RcnnLossWeights) -> dict[str, Tensor]:
    """Return the losses of a batch of which the second half has no labels.

    Parameters
    ----------
    lesson
        The answers.
    truth
        Boxes (m, 4) of each image of the first half.
    anchors
        As for `proposal_loss`.
    weights
        Of the losses.

    Notes
    -----
    On images without labels the student learns that there are cells where the teacher is sure of them, where their
    boxes lie only if jittered boxes come together again, and that the rest is background as far as the teacher says so
    (equation 4).
    """
    half = len(truth)
    student, teacher = lesson
    labelled, hidden = _part(student, slice(half)), _part(student, slice(half, None))
    terms = proposal_loss(labelled, truth, anchors, weights)
    terms |= stage_losses(labelled, propose_boxes(labelled, anchors), truth, weights)
    sure_cells, sure_places = [], []
    for image, found in enumerate(find_cells(teacher, anchors)):
        cells = found.boxes[found.scores >= weights.least_score]
        sure_cells.append(cells)
        sure_places.append(cells[measure_spread(teacher, image, cells) <= weights.most_spread])

    def weigh(image: int, boxes: Tensor) -> Tensor:
        with torch.no_grad():
            levels = [level[image : image + 1] for level in teacher.levels]
            return teacher.judge(levels, boxes, 0)[0].float().softmax(-1)[:, BACKGROUND_CLASS]

    unlabelled = proposal_loss(hidden, sure_cells, anchors, weights)
    unlabelled |= stage_losses(
        hidden,
        propose_boxes(hidden, anchors),
        sure_cells,
        weights,
        sure=sure_places,
        weigh_background=weigh,
    )
    return terms | {f"taught_{name}": weights.unlabelled * term for name, term in unlabelled.items()}


def _part(answer: Detection, images: slice) -> Detection:
    """Return what a detector says about some images of a batch."""
    return answer._replace(
        levels=[level[images] for level in answer.levels],
        logits=answer.logits[images],
        codes=answer.codes[images],
        pixels=None if answer.pixels is None else answer.pixels[images],
    )
