"""Losses of MAUNet: Dice and focal loss of the classes, weighted error of the distance, consistency of two networks.

Source: MAUNet paper, equations 1 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: classes that have pixels, in the order of the outputs
TRUE_CLASSES = ("interior", "boundary", "background")
#: exponent of the focal loss (Lin et al. 2017)
FOCUS = 2.0


@dataclass(frozen=True)
class MaunetLossWeights:
    """Balance factors, all 1 in the paper, which names one for the distance without a value.

    Attributes
    ----------
    consistency
        Where not 0, two networks learn together, and this is lambda of equation 4 (paper: 1.5, for an ablation).
    unlabelled_fraction
        Then the labels of this share of a batch, its last crops, are hidden (paper: half of a batch has none).
    """

    dice: float = 1.0
    focal: float = 1.0
    distance: float = 1.0
    consistency: float = 0.0
    unlabelled_fraction: float = 0.5


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
    logarithms = _log_probabilities(raw, channels)
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


def twin_loss(
    first: Tensor, second: Tensor, target: Tensor, channels: tuple[str, ...], weights: MaunetLossWeights
) -> dict[str, Tensor]:
    """Let two networks learn from the labelled crops of a batch, and from each other on the others.

    Parameters
    ----------
    first, second
        As `raw` in `maunet_loss`.
    target, channels
        As there; what stands in `target` for the last crops is not looked at.

    Returns
    -------
    The sum of both networks' terms of `maunet_loss`, and "consistency".
    """
    unlabelled = min(round(len(target) * weights.unlabelled_fraction), len(target) - 1)
    labelled = len(target) - unlabelled
    one, other = (maunet_loss(raw[:labelled], target[:labelled], channels, weights) for raw in (first, second))
    losses = {name: one[name] + other[name] for name in one}
    if unlabelled:
        apart = consistency_loss(first[labelled:], second[labelled:], channels)
        losses["consistency"] = weights.consistency * apart
    return losses


def consistency_loss(first: Tensor, second: Tensor, channels: tuple[str, ...]) -> Tensor:
    """Measure how far two networks are apart (equation 3).

    Each network's most likely classes are the truth for the other one's cross-entropy; distances are compared directly.
    Parameters as in `twin_loss`.
    """
    first, second = first.float(), second.float()
    logarithms = [_log_probabilities(raw, channels) for raw in (first, second)]
    guesses = [values.detach().argmax(1) for values in logarithms]
    apart = functional.nll_loss(logarithms[0], guesses[1]) + functional.nll_loss(logarithms[1], guesses[0])
    if "distance" in channels:
        where = channels.index("distance")
        apart = apart + functional.mse_loss(first[:, where], second[:, where])
    return apart


def _log_probabilities(raw: Tensor, channels: tuple[str, ...]) -> Tensor:
    """Return the logarithms (b, 3, y, x) of the probabilities of `TRUE_CLASSES` among all classes."""
    classes = sum(name != "distance" for name in channels)
    return raw[:, :classes].log_softmax(1)[:, : len(TRUE_CLASSES)]
