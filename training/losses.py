"""Losses of the AWF and the Omnipose-style network (Cell Segmenter paper, eq. 1 to 5 and section 2.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mosaicell.training.networks.awf import DETECTION_STRIDE

#: a box trains the anchors whose height and width differ from its own by less than this factor (YOLOv5)
ANCHOR_RATIO = 4.0
#: numbers per anchor: x, y, width, height, objectness
BOX_FIELDS = 5
#: pixel channels that `pixel_loss` knows
LEARNABLE = ("foreground", "energy", "boundary", "flow_y", "flow_x")


@dataclass(frozen=True)
class LossWeights:
    """Balance factors; `box` is alpha of equation 4, the pixel weights split beta of equation 5."""

    objectness: float = 4.0
    box: float = 0.5
    foreground: float = 1.0
    energy: float = 0.5
    boundary: float = 0.5
    flow: float = 2.0


def decode_boxes(raw: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Turn detection logits (b, 5 a, h, w) into boxes (b, a, h, w, 4) and objectness logits (b, a, h, w).

    Boxes are (centre y, centre x, height, width) in px; anchors (a, 2) are (height, width) in px. The centre
    may lie up to half a grid cell outside of its own, the size is 0 to 4 times the anchor's (YOLOv5).
    """
    batch, _, height, width = raw.shape
    fields = raw.reshape(batch, anchors.shape[0], BOX_FIELDS, height, width).permute(0, 1, 3, 4, 2)
    rows = torch.arange(height, device=raw.device, dtype=raw.dtype).reshape(1, 1, -1, 1)
    columns = torch.arange(width, device=raw.device, dtype=raw.dtype).reshape(1, 1, 1, -1)
    sigmoid = fields[..., :4].sigmoid()
    centre_y = (sigmoid[..., 0] * 2 - 0.5 + rows) * DETECTION_STRIDE
    centre_x = (sigmoid[..., 1] * 2 - 0.5 + columns) * DETECTION_STRIDE
    sizes = (sigmoid[..., 2:4] * 2) ** 2 * anchors.reshape(1, -1, 1, 1, 2)
    return torch.stack((centre_y, centre_x, sizes[..., 0], sizes[..., 1]), -1), fields[..., 4]


def assign_anchors(boxes: Tensor, anchors: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Choose the grid cells that answer for each box.

    Parameters
    ----------
    boxes
        (n, 5): index in the batch, y0, x0, y1, x1 in px.
    anchors
        (a, 2): height, width in px.

    Returns
    -------
    (m, 4) integer tensor of (batch, anchor, row, column) and (m,) index of the box each belongs to. A box is
    given to its own grid cell and to the nearest neighbour in y and in x, for every anchor of a similar size.
    """
    centres = (boxes[:, 1:3] + boxes[:, 3:5]) / 2 / DETECTION_STRIDE
    ratio = (boxes[:, None, 3:5] - boxes[:, None, 1:3]) / anchors[None]
    worst = torch.maximum(ratio, 1 / ratio).amax(-1)
    similar = (worst < ANCHOR_RATIO) | (worst == worst.amin(1, keepdim=True))
    box, anchor = similar.nonzero(as_tuple=True)
    cell = centres[box].floor()
    side = torch.where(centres[box] - cell < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(side[:, :1])
    shifts = (torch.zeros_like(side), torch.cat((side[:, :1], zero), 1), torch.cat((zero, side[:, 1:]), 1))
    cells = torch.cat([cell + shift for shift in shifts]).long()
    box, anchor = box.repeat(3), anchor.repeat(3)
    inside = (cells >= 0).all(1) & (cells[:, 0] < height) & (cells[:, 1] < width)
    where = torch.column_stack((boxes[box, 0].long(), anchor, cells))
    return where[inside], box[inside]


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Complete IoU (n,) of boxes (n, 4) given as (centre y, centre x, height, width)."""
    low = torch.maximum(first[:, :2] - first[:, 2:] / 2, second[:, :2] - second[:, 2:] / 2)
    high = torch.minimum(first[:, :2] + first[:, 2:] / 2, second[:, :2] + second[:, 2:] / 2)
    overlap = (high - low).clamp(min=0).prod(1)
    iou = overlap / (first[:, 2:].prod(1) + second[:, 2:].prod(1) - overlap + 1e-6)
    outer_low = torch.minimum(first[:, :2] - first[:, 2:] / 2, second[:, :2] - second[:, 2:] / 2)
    outer_high = torch.maximum(first[:, :2] + first[:, 2:] / 2, second[:, :2] + second[:, 2:] / 2)
    diagonal = ((outer_high - outer_low) ** 2).sum(1) + 1e-6
    distance = ((first[:, :2] - second[:, :2]) ** 2).sum(1) / diagonal
    angles = torch.atan(second[:, 3] / (second[:, 2] + 1e-6)) - torch.atan(first[:, 3] / (first[:, 2] + 1e-6))
    shape = 4 / torch.pi**2 * angles**2
    with torch.no_grad():
        trade_off = shape / (1 - iou + shape + 1e-6)
    return iou - distance - trade_off * shape


def detection_loss(raw: Tensor, boxes: Tensor, anchors: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """Image-weighted objectness (equations 2 and 3) and complete-IoU loss (equation 4).

    Raw is (b, 5 a, h, w); boxes (n, 5) start with the index in the batch. Among images with cells the weights are those
    of equation 3, of sum 1; one without, which that leaves out, weighs as much as all of them.
    """
    raw = raw.float()
    batch, _, height, width = raw.shape
    decoded, objectness = decode_boxes(raw, anchors)
    target = torch.zeros(objectness.shape, device=raw.device)
    location = raw.sum() * 0.0
    if len(boxes):
        where, box = assign_anchors(boxes, anchors, height, width)
        truth = torch.cat(((boxes[:, 1:3] + boxes[:, 3:5]) / 2, boxes[:, 3:5] - boxes[:, 1:3]), 1)[box]
        iou = complete_iou(decoded[tuple(where.T)], truth)
        location = (1 - iou).mean()
        # several boxes may claim one cell: the best overlap counts, whatever their order
        flat = ((where[:, 0] * len(anchors) + where[:, 1]) * height + where[:, 2]) * width + where[:, 3]
        target.view(-1).scatter_reduce_(0, flat, iou.detach().clamp(min=0), "amax")
    entropy = functional.binary_cross_entropy_with_logits(objectness, target, reduction="none")
    per_image = entropy.mean((1, 2, 3))
    counts = torch.bincount(boxes[:, 0].long(), minlength=batch).float()
    image_weights = torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0)
    image_weights = image_weights / image_weights.sum().clamp(min=1e-6)
    # equation 3 leaves images without cells out; nothing would teach the boxes to stay away from noise
    image_weights = torch.where(counts > 0, image_weights, 1.0)
    return {
        "objectness": weights.objectness * (image_weights * per_image).sum(),
        "box": weights.box * location,
    }


def pixel_loss(raw: Tensor, target: Tensor, channels: tuple[str, ...], weights: LossWeights) -> dict[str, Tensor]:
    """Cross-entropy on foreground and boundary, squared error on energy and flow (equation 1, section 2.2.2).

    Parameters
    ----------
    raw
        (b, len(channels), y, x) network outputs, logits where the target is binary.
    target
        (b, len(channels), y, x).
    channels
        Some of `LEARNABLE`, the foreground first.
    """
    raw = raw.float()
    losses: dict[str, Tensor] = {}
    cells = target[:, 0]
    for channel, name in enumerate(channels):
        truth = target[:, channel]
        if name in ("foreground", "boundary"):
            loss = functional.binary_cross_entropy_with_logits(raw[:, channel], truth)
        elif name == "energy":
            loss = functional.mse_loss(raw[:, channel], truth)
        else:
            loss = ((raw[:, channel] - truth) ** 2 * cells).sum() / cells.sum().clamp(min=1) / 2
        kind = name.split("_")[0]
        losses[kind] = losses.get(kind, 0) + getattr(weights, kind) * loss
    return losses


@torch.no_grad()
def crop_losses(raw: Tensor, target: Tensor, channels: tuple[str, ...], weights: LossWeights) -> Tensor:
    """Return the sum of `pixel_loss` of each crop by itself, (b,), on the CPU."""
    per_crop = [pixel_loss(raw[i : i + 1], target[i : i + 1], channels, weights) for i in range(len(raw))]
    return torch.stack([torch.stack(list(terms.values())).sum() for terms in per_crop]).cpu()
