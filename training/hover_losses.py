"""Losses of horizontal and vertical distance maps (sribdmed paper, section 2.2; Graham et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: side in px of the kernels that differentiate distance maps
KERNEL_PX = 5


@dataclass(frozen=True)
class HoverLossWeights:
    """Balance factors, all 1 in the paper."""

    foreground: float = 1.0
    dice: float = 1.0
    distance: float = 1.0
    gradient: float = 1.0


def hover_loss(raw: Tensor, target: Tensor, weights: HoverLossWeights) -> dict[str, Tensor]:
    """Cross-entropy and Dice loss on the foreground, squared errors of the distance maps and of their gradients.

    Parameters
    ----------
    raw, target
        (b, 3, y, x): foreground, a logit in `raw`; horizontal and vertical distance from the cell's centre, -1..1.

    Notes
    -----
    The squared error is the mean over all pixels, those of the background too, where the truth is 0: the decoder
    differentiates across outlines. That of the gradients is the mean over cells: of the horizontal map along x, of
    the vertical one along y.
    """
    raw = raw.float()
    cells = target[:, :1]
    probability = raw[:, :1].sigmoid()
    overlap = 2 * (probability * cells).sum() + 1
    error = raw[:, 1:] - target[:, 1:]
    # differentiation is linear: the difference of the gradients is the gradient of the difference
    slopes = functional.conv2d(error, gradient_kernels(raw.device), padding=KERNEL_PX // 2, groups=2)
    return {
        "foreground": weights.foreground * functional.binary_cross_entropy_with_logits(raw[:, :1], cells),
        "dice": weights.dice * (1 - overlap / (probability.sum() + cells.sum() + 1)),
        "distance": weights.distance * error.square().sum(1).mean(),
        "gradient": weights.gradient * (slopes.square() * cells).sum() / cells.sum().clamp(min=1),
    }


def gradient_kernels(device: torch.device) -> Tensor:
    """Return kernels (2, 1, 5, 5) that differentiate the first of two maps along x, the second along y.

    A place (dy, dx) has the weight dx / (dx^2 + dy^2) or dy / (dx^2 + dy^2), as in HoVer-Net: a slope of 1 for each px
    gives 12. Slopes within a cell are small, 2 over its diameter in px.
    """
    steps = torch.arange(KERNEL_PX, device=device, dtype=torch.float32) - KERNEL_PX // 2
    dy, dx = torch.meshgrid(steps, steps, indexing="ij")
    return (torch.stack((dx, dy)) / (dx.square() + dy.square()).clamp(min=1))[:, None]
