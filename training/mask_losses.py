"""The mask of the one cell in a crop: crops around true boxes, and their loss (MDE-CellMask, paper section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.crop_masks import AwfMasks
from mosaicell.training.networks.upernet import UperNet, cut_crops

#: weight of the auxiliary head (Zhao et al. 2017)
AUXILIARY_WEIGHT = 0.4


class MaskAnswer(NamedTuple):
    """Images (b, 3, h, w), and the network that is asked about crops of them."""

    images: Tensor
    network: UperNet | AwfMasks


class MaskNetwork(nn.Module):
    """Puts off asking a network until it is known where the cells of a batch lie."""

    #: where the body lies that a training may start from
    body = "masks"

    def __init__(self, masks: UperNet | AwfMasks) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, x: Tensor) -> MaskAnswer | Tensor:
        """Return the images (b, 3, h, w) with the network; in eval mode, what it says when each is one crop."""
        if self.training:
            return MaskAnswer(x, self.masks)
        side = self.masks.crop_px
        answer: Tensor = self.masks(functional.interpolate(x, (side, side), mode="bilinear", align_corners=False))
        return answer


def draw_crops(
    images: Tensor, targets: Mapping[str, Tensor], count: int, jitter: float, crop_px: int
) -> tuple[Tensor, Tensor]:
    """Cut so many cells at most out of a batch.

    Parameters
    ----------
    images
        (b, 3, h, w).
    targets
        "boxes" (n, 5) and "ids" (n, 2), which begin with the index in the batch, and "pieces" (b, 1, h, w).
    count
        Of crops.
    jitter
        Edges of boxes move by this share of their sides, as a standard deviation: a detector's are not exact.
    crop_px
        Side s of the crops.

    Returns
    -------
    crops
        (m, 3, s, s).
    masks
        (m, 1, s, s): 1 in the one cell, 0 elsewhere.
    """
    boxes, ids = targets["boxes"], targets["ids"][:, 1]
    chosen = torch.randperm(len(boxes), device=boxes.device)[:count].sort().values
    crops, masks = [images[:0, :, :1, :1].expand(0, 3, crop_px, crop_px)], []
    for row in chosen:
        image = int(boxes[row, 0])
        box = boxes[row, 1:]
        sides = (box[2:] - box[:2]).repeat(2)
        # half of a side at most, so that a box stays one
        moved = box + sides * (jitter * torch.randn(4, device=box.device)).clamp(-0.45, 0.45)
        inside = (targets["pieces"][image : image + 1] == ids[row]).float()
        both = cut_crops(torch.cat((images[image : image + 1].float(), inside), 1), moved[None], crop_px)
        crops.append(both[:, :3])
        masks.append(both[:, 3:] > 0.5)
    empty = [images.new_zeros(0, 1, crop_px, crop_px)]
    return torch.cat(crops), torch.cat([*empty, *(mask.to(images) for mask in masks)])


def mask_loss(answer: MaskAnswer, targets: Mapping[str, Tensor], count: int, jitter: float) -> dict[str, Tensor]:
    """Return the cross-entropy of the pixels of crops, "mask", and of a network that has such a head "auxiliary".

    Parameters as of `draw_crops`.
    """
    network = answer.network
    crops, masks = draw_crops(answer.images, targets, count, jitter, network.crop_px)
    if len(crops) < 2:
        # normalisation by batch needs more than one
        nothing = next(network.parameters()).sum() * 0.0
        return {"mask": nothing} if network.auxiliary is None else {"mask": nothing, "auxiliary": nothing}
    logits = network(crops)
    logits, auxiliary = logits if isinstance(logits, tuple) else (logits, None)
    terms = {"mask": functional.binary_cross_entropy_with_logits(logits.float(), masks)}
    if auxiliary is not None:
        entropy = functional.binary_cross_entropy_with_logits(auxiliary.float(), masks)
        terms["auxiliary"] = AUXILIARY_WEIGHT * entropy
    return terms
