"""Losses of MAUNet: Dice and focal loss of the classes, weighted error of the distance (paper, equations 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: classes that have pixels, in the order of the outputs
TRUE_CLASSES = ("interior", "boundary", "background")
#: exponent of the focal loss (Lin et al. 2017)
FOCUS = 2.0


@dataclass(frozen=True)
class MaunetLossWeights:
    """Balance factors, all 1 in the paper, which names one for the distance without a value."""

    dice: float = 1.0
    focal: float = 1.0
    distance: float = 1.0


def maunet_loss(
    raw: Tensor, target: Tensor, channels: tuple[str, ...], weights: MaunetLossWeights
) -> dict[str, Tensor]:
    """Dice and focal loss of interior, boundary and background; absolute error of the distance.

    Parameters
    ----------
    raw
        (b, len(channels), y, x): logits of classes and, behind them, the distance, if it is among the channels.
    target
        (b, len(channels), y, x).
    channels
        As in `maunet_targets.maunet_maps`; the first three are `TRUE_CLASSES`.

    Notes
    -----
    The proxy takes part in the softmax and has no pixels: an output for it lowers the probability of the other three
    (section 2.2.3). The Dice loss is one for each class over the batch, so that a crop without cells has no class of
    nothing. The error of the distance is its mean over the cells plus that over the background (equation 2), each
    over the batch.
    """
    raw = raw.float()
    classes = sum(name != "distance" for name in channels)
    logarithms = raw[:, :classes].log_softmax(1)[:, : len(TRUE_CLASSES)]
    truth = target[:, : len(TRUE_CLASSES)]
    probabilities = logarithms.exp()
    overlap = 2 * (probabilities * truth).sum((0, 2, 3)) + 1
    dice = 1 - overlap / (probabilities.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)
    focal = -((1 - probabilities) ** FOCUS * logarithms * truth).sum(1).mean()
    losses = {"dice": weights.dice * dice.mean(), "focal": weights.focal * focal}
    if "distance" in channels:
        where = channels.index("distance")
        wanted = target[:, where]
        error = (raw[:, where] - wanted).abs()
        cells = (wanted > 0).float()
        parts = [(error * mask).sum() / mask.sum().clamp(min=1) for mask in (cells, 1 - cells)]
        losses["distance"] = weights.distance * torch.stack(parts).sum()
    return losses
