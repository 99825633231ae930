"""Faster R-CNN and Cascade R-CNN on any encoder (Ren et al. 2015; Lin et al. 2017; Cai and Vasconcelos 2018).

Proposals come from anchors on a pyramid of features, and one or more heads say whether a proposal is a cell and where
its box lies. Boxes are (y0, x0, y1, x1) in px.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.body import initialise_head
from mosaicell.training.networks.box_codes import PLAIN_UNITS, UNITS, clip_boxes, decode_codes
from mosaicell.training.networks.roi_align import roi_align

#: pixels between the features of each level of the pyramid
STRIDES = (4, 8, 16, 32)
#: anchors at each place of a level
ANCHORS_PER_LEVEL = 3
#: features of a box in y and x
BOX_SIDE = 7
#: units of the codes of each stage of a cascade (paper of Cascade R-CNN, section 4); Faster R-CNN has the first
STAGE_UNITS = (UNITS, (0.05, 0.1), (0.033, 0.067))
#: least IoU of a box that a stage takes for a cell in training
STAGE_IOUS = (0.5, 0.6, 0.7)
HEAD_STD, DELTA_STD = 0.01, 0.001


#: maps levels and boxes (n, 4) of one image, and the number of a stage, to logits and codes, as `RCNN.judge`
Judge = Callable[[Sequence[Tensor], Tensor, int], tuple[Tensor, Tensor]]


class Detection(NamedTuple):
    """What a detector says about a batch, before any box is looked at again.

    Attributes
    ----------
    levels
        Of the pyramid, (b, c, h, w).
    logits, codes
        Of all anchors, (b, n) and (b, n, 4).
    pixels
        Pixel outputs (b, p, h, w) of detectors that have them.
    judge, stages
        What looks at boxes again, as `RCNN.judge`, and how often.
    """

    levels: list[Tensor]
    logits: Tensor
    codes: Tensor
    pixels: Tensor | None
    judge: Judge
    stages: int


class FeaturePyramid(nn.Module):
    """Levels of features with as many channels each, the coarse ones added to the finer ones.

    Parameters
    ----------
    channels
        Of the encoder's levels.
    width
        Channels of each level of the pyramid.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map features (b, c, h, w), from the finest to the coarsest, to the same with `width` channels."""
        summed = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        for fine in reversed(range(len(summed) - 1)):
            summed[fine] = summed[fine] + functional.interpolate(summed[fine + 1], scale_factor=2.0, mode="nearest")
        return [smooth(level) for smooth, level in zip(self.smooth, summed, strict=True)]


class ProposalHead(nn.Module):
    """For each anchor at each place of each level: how sure it holds a cell, and the code of its box."""

    def __init__(self, width: int, anchors: int = ANCHORS_PER_LEVEL) -> None:
        super().__init__()
        self.shared = nn.Conv2d(width, width, 3, padding=1)
        self.objectness = nn.Conv2d(width, anchors, 1)
        self.codes = nn.Conv2d(width, 4 * anchors, 1)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Map levels (b, c, h, w) to logits (b, n) and codes (b, n, 4) of anchors, in the order of `lay_anchors`."""
        logits, codes = [], []
        for level in levels:
            shared = torch.relu(self.shared(level))
            logits.append(self.objectness(shared).permute(0, 2, 3, 1).flatten(1))
            codes.append(self.codes(shared).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        return torch.cat(logits, 1), torch.cat(codes, 1)


class BoxHead(nn.Module):
    """Two linear layers on the features of a box, then its class and the codes of a better box.

    Parameters
    ----------
    width
        Channels of the features.
    hidden
        Outputs of the linear layers.
    classes
        Kinds of object, beside the background, which comes last.
    boxes
        Codes of so many boxes: one for each class, or one for all in a cascade.
    """

    def __init__(self, width: int, hidden: int, classes: int = 1, boxes: int = 1) -> None:
        super().__init__()
        self.first = nn.Linear(width * BOX_SIDE**2, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.classify = nn.Linear(hidden, classes + 1)
        self.codes = nn.Linear(hidden, 4 * boxes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (n, c, 7, 7) to logits (n, classes + 1) and codes (n, 4 boxes)."""
        hidden = torch.relu(self.second(torch.relu(self.first(features.flatten(1)))))
        return self.classify(hidden), self.codes(hidden)


class RCNN(nn.Module):
    """A detector of cells.

    Parameters
    ----------
    encoder
        Maps images to levels of features, of which the last four lie `STRIDES` apart, and has their `channels`.
    stages
        Heads one behind the other: 1 in Faster R-CNN, 3 in Cascade R-CNN.
    width, hidden
        Channels of the pyramid, outputs of the linear layers of a head.
    classes
        Kinds of object; Faster R-CNN has a box for each, as published, and a cascade one for all.
    pixel_channels
        Outputs of a pixel head on the finest level; 0, as published, leaves it out.
    """

    #: where the body lies that a training may start from
    body = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        stages: int = 1,
        width: int = 256,
        hidden: int = 1024,
        classes: int = 1,
        pixel_channels: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        channels: list[int] = encoder.channels  # type: ignore[assignment]
        self.pyramid = FeaturePyramid(channels[-len(STRIDES) :], width)
        self.proposals = ProposalHead(width)
        boxes = classes if stages == 1 else 1
        self.heads = nn.ModuleList(BoxHead(width, hidden, classes, boxes) for _ in range(stages))
        self.pixels = nn.Conv2d(width, pixel_channels, 1) if pixel_channels else None
        self._initialise()

    def forward(self, x: Tensor) -> Detection:
        """Map images (b, 3, h, w), h and w multiples of 32, to what is learned."""
        levels = self.features(x)
        logits, codes = self.proposals(levels)
        # boxes are judged later, where nothing is computed in half precision
        full = [level.float() for level in levels]
        return Detection(full, logits, codes, self.answer_pixels(levels), self.judge, len(self.heads))

    def answer_pixels(self, levels: Sequence[Tensor]) -> Tensor | None:
        """Map levels to pixel outputs (b, p, h, w); None without a pixel head."""
        if self.pixels is None:
            return None
        return functional.interpolate(
            self.pixels(levels[0]), scale_factor=float(STRIDES[0]), mode="bilinear", align_corners=False
        )

    def features(self, x: Tensor) -> list[Tensor]:
        """Map images (b, 3, h, w), h and w multiples of 32, to the levels of the pyramid."""
        return self.pyramid(self.encoder(x)[-len(STRIDES) :])

    def judge(self, levels: Sequence[Tensor], boxes: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        """Return logits (n, classes + 1) and codes of boxes (n, 4) of one image, by one of the heads."""
        answer: tuple[Tensor, Tensor] = self.heads[stage](roi_align(levels, STRIDES[0], boxes, BOX_SIDE))
        return answer

    def refine(self, levels: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Take proposals (n, 4) of one image through all stages, as `refine_boxes`."""
        return refine_boxes(self.judge, len(self.heads), levels, boxes)

    def _initialise(self) -> None:
        """Draw the weights of all but the encoder as published: small ones, so that the first answers are near 0."""
        for module in (*self.pyramid.modules(), *self.proposals.modules(), *self.heads.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for layer in self.proposals.children():
            nn.init.normal_(layer.weight, std=HEAD_STD)  # type: ignore[arg-type]
        for head in self.heads:
            nn.init.normal_(head.classify.weight, std=HEAD_STD)  # type: ignore[union-attr, arg-type]
            nn.init.normal_(head.codes.weight, std=DELTA_STD)  # type: ignore[union-attr, arg-type]
        if self.pixels is not None:
            initialise_head(self.pixels)


def refine_boxes(judge: Judge, stages: int, levels: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Take boxes (n, 4) of one image through all stages; return better ones (n, 4) and how sure each is a cell (n,).

    The score is the mean of what the heads say, each of the box that it was given. For networks of one class.
    """
    height, width = (levels[0].shape[axis] * STRIDES[0] for axis in (2, 3))
    scores = []
    for stage in range(stages):
        logits, codes = (part.float() for part in judge(levels, boxes, stage))
        scores.append(logits.softmax(-1)[:, 0])
        boxes = clip_boxes(decode_codes(codes, boxes, STAGE_UNITS[stage]), height, width)
    return boxes, torch.stack(scores).mean(0)


def place_proposals(levels: Sequence[Tensor], codes: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes (b, n, 4) that the codes (b, n, 4) of all anchors (12, 2) say, cut at the edges of the image."""
    height, width = (levels[0].shape[axis] * STRIDES[0] for axis in (2, 3))
    return clip_boxes(decode_codes(codes, lay_anchors(levels, anchors), PLAIN_UNITS), height, width)


def lay_anchors(levels: Sequence[Tensor], anchors: Tensor) -> Tensor:
    """Lay anchors over levels of features.

    Parameters
    ----------
    levels
        (b, c, h, w), as far apart as `STRIDES` says.
    anchors
        (levels * k, 2): height and width in px, the smallest first; each level has k of them.

    Returns
    -------
    Tensor (n, 4)
        Boxes: level by level, row by row, and at each place the anchors in their order.
    """
    laid = []
    for level, stride, sizes in zip(levels, STRIDES, anchors.chunk(len(levels)), strict=True):
        centres = [(torch.arange(level.shape[axis], device=level.device) + 0.5) * stride for axis in (2, 3)]
        rows, columns = torch.meshgrid(*centres, indexing="ij")
        middles = torch.stack((rows, columns), -1).reshape(-1, 1, 2)
        half = sizes.to(middles) / 2
        laid.append(torch.cat((middles - half, middles + half), -1).reshape(-1, 4))
    return torch.cat(laid)
