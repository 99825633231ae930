"""MDE-CellMask models: detectors of cells, and the network that makes a mask for each box (paper section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.decoders.cellmask import MASK_SIDE
from mosaicell.errors import OptionError
from mosaicell.training.kinds import Kind
from mosaicell.training.mask_losses import MaskAnswer, MaskNetwork, mask_loss
from mosaicell.training.networks.crop_masks import AwfMasks
from mosaicell.training.networks.detectors import ON_AWF, PUBLISHED, compact_detector
from mosaicell.training.networks.rcnn import ANCHORS_PER_LEVEL, RCNN, STRIDES, Detection, place_proposals
from mosaicell.training.networks.teacher import Lesson, TaughtRCNN
from mosaicell.training.networks.upernet import UperNet, compact_upernet
from mosaicell.training.rcnn_losses import RcnnLossWeights, proposal_loss, propose_boxes, split_boxes, stage_losses
from mosaicell.training.soft_teacher import taught_loss
from mosaicell.training.targets import Targets, find_pieces, pixel_targets, visible_cells

if TYPE_CHECKING:
    from mosaicell.training.recipe import Recipe

NAME = "cellmask"
#: bodies of networks that make masks; all others are detectors
MASKS: dict[str, Callable[[float], UperNet | AwfMasks]] = {"upernet": compact_upernet, "awf-masks": AwfMasks}

#: model of that network for detectors on the AWF body and for the others, unless a card names another
AWF_MASKS_MODEL, MASKS_MODEL = "cellmask-crops", "cellmask-masks"
#: of the detectors in the fusion (paper section 5.3.2); on the AWF body those of one stage count as the first one
#: published, and cascades as the second
WEIGHTS = {"swin": 2.0, "resnest": 3.0, "resnext": 3.0, "resnext-one-stage": 1.0, "awf": 2.0, "awf-cascade": 3.0}
#: how boxes are chosen: the published code's test settings, but that proposals which are hardly cells, most of a tile's
#: thousand, are not looked at again
DETECTION = {
    "proposals": 1000,
    "proposal_score": 0.05,
    "score": 0.05,
    "iou": 0.5,
    "fusion_iou": 0.6,
    "fusion_score": 0.01,
    "mask_score": 0.05,
    "crops": 32,
    "mask_side": MASK_SIDE,
}


@dataclass(frozen=True)
class CellmaskLossWeights(RcnnLossWeights):
    """Balance of the terms of detectors, and for the mask network the crops of a batch and how its boxes are moved."""

    crops: int = 32
    jitter: float = 0.03


class ExportedDetector(nn.Module):
    """Foreground, proposals in px and the levels of features, which the heads ask again."""

    anchors: Tensor

    def __init__(self, anchors: Tensor) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)

    def forward(self, answer: Detection) -> tuple[Tensor, ...]:
        """Return maps (b, 1, h, w), proposals (b, n, 5) as (y0, x0, y1, x1, score) in px, and four levels."""
        assert answer.pixels is not None
        boxes = place_proposals(answer.levels, answer.codes, self.anchors)
        proposals = torch.cat((boxes, answer.logits.sigmoid()[..., None]), -1)
        return answer.pixels.sigmoid(), proposals, *answer.levels


class CellmaskKind(Kind):
    """The detectors also learn the foreground, on the finest level: by it cells are judged and empty tiles known."""

    def build_network(self, recipe: Recipe) -> RCNN | MaskNetwork:
        """Return a detector, with a teacher where the recipe has one, or the network of masks.

        Raises
        ------
        OptionError
            When a teacher has no images to teach on.
        """
        if recipe.body in MASKS:
            return MaskNetwork(MASKS[recipe.body](recipe.width))
        if recipe.loss.unlabelled and recipe.schedule.batch_size < 2:
            raise OptionError(f"{recipe.name!r}: half of a batch has no labels, so it has 2 crops or more")
        network = TaughtRCNN if recipe.loss.unlabelled else RCNN
        return compact_detector(recipe.body, recipe.width, len(recipe.pixel_channels), network)

    def make_targets(self, labels: np.ndarray, full_areas: np.ndarray | None, recipe: Recipe) -> Targets:
        """Return "pixels" and "boxes", and for the network of masks "pieces" (1, y, x) and the "ids" of the boxes."""
        pieces = find_pieces(labels)
        boxes, ids = visible_cells(pieces, labels, full_areas)
        targets = {"pixels": pixel_targets(pieces, recipe.pixel_channels), "boxes": boxes}
        if recipe.body in MASKS:
            targets |= {"ids": ids, "pieces": pieces[None].astype(np.float32)}
        return targets

    def losses(
        self,
        answer: Detection | Lesson | MaskAnswer,
        targets: Mapping[str, Tensor],
        recipe: Recipe,
        anchors: Tensor,
    ) -> dict[str, Tensor]:
        """Return the losses of masks, of a detector, or of a detector that has a teacher."""
        weights = recipe.loss
        if isinstance(answer, MaskAnswer):
            return mask_loss(answer, targets, weights.crops, weights.jitter)
        student = answer.student if isinstance(answer, Lesson) else answer
        boxes = split_boxes(targets["boxes"], len(student.logits))
        if isinstance(answer, Lesson):
            half = len(boxes) - len(answer.teacher.logits)
            terms = taught_loss(answer, boxes[:half], anchors, weights)
            pixels, wanted = _pixels(student)[:half], targets["pixels"][:half]
        else:
            terms = proposal_loss(student, boxes, anchors, weights)
            terms |= stage_losses(student, propose_boxes(student, anchors), boxes, weights)
            pixels, wanted = _pixels(student), targets["pixels"]
        foreground = functional.binary_cross_entropy_with_logits(pixels, wanted)
        return terms | {"foreground": weights.foreground * foreground}

    def crop_losses(
        self, answer: Detection | Lesson | MaskAnswer, targets: Mapping[str, Tensor], recipe: Recipe
    ) -> Tensor:
        """Return how wrong the foreground of each crop is; for masks all crops are alike."""
        if isinstance(answer, MaskAnswer):
            return torch.zeros(len(answer.images))
        pixels = _pixels(answer.student if isinstance(answer, Lesson) else answer)
        entropy = functional.binary_cross_entropy_with_logits(pixels, targets["pixels"], reduction="none")
        return entropy.mean((1, 2, 3)).cpu()

    def missing(self, recipe: Recipe) -> list[str]:
        """Name what the network would have to learn; networks of other kinds propose nothing."""
        return [] if recipe.kind == NAME else ["proposals"]

    def card_entries(self, recipe: Recipe, old: Mapping[str, Any]) -> dict[str, Any]:
        """Return the section "detection": whom a detector asks about its boxes, and how they are chosen."""
        masks = AWF_MASKS_MODEL if recipe.body in ON_AWF else MASKS_MODEL
        parts = {"heads": f"{recipe.name}-heads", "masks": masks, "weight": WEIGHTS[recipe.body]}
        return {"detection": old.get("detection", parts | DETECTION)}

    def make_head(self, network: nn.Module, recipe: Recipe, anchors: Tensor) -> ExportedDetector:
        """Return the head for foreground, proposals and features; a teacher goes.

        Raises
        ------
        OptionError
            For the network of masks, which answers for boxes: `training.parts` writes it.
        """
        if recipe.body in MASKS:
            raise OptionError(f"{recipe.name!r} makes masks for boxes: python -m training.parts {recipe.name}")
        if isinstance(network, TaughtRCNN):
            network.teacher = None
        return ExportedDetector(anchors)


def _pixels(answer: Detection) -> Tensor:
    assert answer.pixels is not None
    return answer.pixels.float()


_LEVELS = {f"features_{stride}": {0: "batch", 2: f"height_{stride}", 3: f"width_{stride}"} for stride in STRIDES}

KIND = CellmaskKind(
    channels=("foreground",),
    learnable=("foreground",),
    substitutes={},
    bodies=(*PUBLISHED, *ON_AWF, *MASKS),
    anchors=ANCHORS_PER_LEVEL * len(STRIDES),
    loss=CellmaskLossWeights,
    outputs={
        "maps": {0: "batch", 2: "height", 3: "width"},
        "proposals": {0: "batch", 1: "candidates"},
        **_LEVELS,
    },
    settings={
        "foreground_threshold": 0.5,
        "score_threshold": 0.3,
        "box_iou_threshold": 0.5,
        "mask_threshold": 0.5,
        "min_cell_px": 10,
        "min_size_fraction": 0.0,
        "max_hole_fraction": 0.1,
    },
    scale_rule="boxes",
    loose={"score_threshold": 0.05, "box_iou_threshold": 0.7},
    grids={
        "score_threshold": [0.1, 0.2, 0.25, 0.3, 0.35, 0.45, 0.55],
        "box_iou_threshold": [0.3, 0.4, 0.5, 0.6],
        "mask_threshold": [0.3, 0.4, 0.5, 0.6],
        "foreground_threshold": [0.3, 0.4, 0.5, 0.6],
        "min_cell_px": [5, 10, 20, 30],
        "min_size_fraction": [0.0, 0.05, 0.1, 0.2, 0.3],
    },
)
