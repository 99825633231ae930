"""Boxes as numbers that a network learns: by how much they differ from a reference (Girshick 2015, section 2.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: boxes get at most so many times larger or smaller than their reference
MOST_GROWTH = 1000 / 16
#: in units of these: differences of centres as shares of height and width, and of logarithms of height and width
Units = tuple[float, float]
UNITS: Units = (0.1, 0.2)
PLAIN_UNITS: Units = (1.0, 1.0)


def encode_boxes(boxes: Tensor, references: Tensor, units: Units = UNITS) -> Tensor:
    """Return codes (n, 4) of boxes (n, 4) against references (n, 4), both (y0, x0, y1, x1) in px."""
    centres, sides = _measure(boxes)
    reference_centres, reference_sides = _measure(references)
    moved = (centres - reference_centres) / reference_sides
    return torch.cat((moved / units[0], (sides / reference_sides).log() / units[1]), -1)


def decode_codes(codes: Tensor, references: Tensor, units: Units = UNITS) -> Tensor:
    """Return the boxes (..., 4) that codes (..., 4) say of references (..., 4)."""
    centres, sides = _measure(references)
    centres = centres + codes[..., :2] * units[0] * sides
    most = math.log(MOST_GROWTH)
    half = sides * (codes[..., 2:] * units[1]).clamp(-most, most).exp() / 2
    return torch.cat((centres - half, centres + half), -1)


def clip_boxes(boxes: Tensor, height: Tensor | int, width: Tensor | int) -> Tensor:
    """Cut boxes (..., 4) at the edges of an image."""
    ends = torch.stack([as_length(length, boxes.device).to(boxes) for length in (height, width)])
    return torch.minimum(boxes.clamp(min=0), torch.cat((ends, ends)))


def as_length(length: Tensor | int, device: torch.device) -> Tensor:
    """Return the length of an axis as a tensor, so that a traced graph measures it again."""
    return length if isinstance(length, Tensor) else torch.tensor(length, device=device)


def pair_ious(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union (n, m) of all pairs of boxes (n, 4) and (m, 4)."""
    shared = first.new_ones(())
    for axis in (0, 1):
        # one axis after the other, as a processor is slow where the last axis has but two numbers
        low = torch.maximum(first[:, axis, None], second[:, axis])
        high = torch.minimum(first[:, axis + 2, None], second[:, axis + 2])
        shared = shared * (high - low).clamp(min=0)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1] - shared).clamp(min=1e-6)


def _measure(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centres and sides (..., 2) of boxes."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-3)
