"""The mask of the one cell in a crop: crops around true boxes, and their loss (MDE-CellMask, paper section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mosaicell.training.networks.upernet import CROP_PX, UperNet, cut_crops

#: weight of the auxiliary head (Zhao et al. 2017)
AUXILIARY_WEIGHT = 0.4


class MaskAnswer(NamedTuple):
    """Images (b, 3, h, w), and the network that is asked about crops of them."""

    images: Tensor
    network: UperNet


class MaskNetwork(nn.Module):
    """Puts off asking a network until it is known where the cells of a batch lie."""

    def __init__(self, masks: UperNet) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, x: Tensor) -> MaskAnswer:
        """Return the images (b, 3, h, w) with the network."""
        return MaskAnswer(x, self.masks)


def draw_crops(images: Tensor, targets: Mapping[str, Tensor], count: int, jitter: float) -> tuple[Tensor, Tensor]:
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

    Returns
    -------
    crops
        (m, 3, 128, 128).
    masks
        (m, 1, 128, 128): 1 in the one cell, 0 elsewhere.
    """
    boxes, ids = targets["boxes"], targets["ids"][:, 1]
    chosen = torch.randperm(len(boxes), device=boxes.device)[:count].sort().values
    crops, masks = [images[:0, :, :1, :1].expand(0, 3, CROP_PX, CROP_PX)], []
    for row in chosen:
        image = int(boxes[row, 0])
        box = boxes[row, 1:]
        sides = (box[2:] - box[:2]).repeat(2)
        # half of a side at most, so that a box stays one
        moved = box + sides * (jitter * torch.randn(4, device=box.device)).clamp(-0.45, 0.45)
        inside = (targets["pieces"][image : image + 1] == ids[row]).float()
        both = cut_crops(torch.cat((images[image : image + 1].float(), inside), 1), moved[None])
        crops.append(both[:, :3])
        masks.append(both[:, 3:] > 0.5)
    empty = [images.new_zeros(0, 1, CROP_PX, CROP_PX)]
    return torch.cat(crops), torch.cat([*empty, *(mask.to(images) for mask in masks)])


def mask_loss(answer: MaskAnswer, targets: Mapping[str, Tensor], count: int, jitter: float) -> dict[str, Tensor]:
    """Return the cross-entropy of the pixels of crops, "mask" and "auxiliary"; parameters as of `draw_crops`."""
    crops, masks = draw_crops(answer.images, targets, count, jitter)
    if len(crops) < 2:
        # normalisation by batch needs more than one
        nothing = answer.network.classify.weight.sum() * 0.0
        return {"mask": nothing, "auxiliary": nothing}
    logits = answer.network(crops)
    logits, auxiliary = logits if isinstance(logits, tuple) else (logits, None)
    terms = {"mask": functional.binary_cross_entropy_with_logits(logits.float(), masks)}
    if auxiliary is not None:
        entropy = functional.binary_cross_entropy_with_logits(auxiliary.float(), masks)
        terms["auxiliary"] = AUXILIARY_WEIGHT * entropy
    return terms
