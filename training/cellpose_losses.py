"""Losses of heat flows (cvml paper, equation 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

#: flows are learned as multiples of their length of 1, so that their errors weigh against that of the foreground
FLOW_FACTOR = 5.0


@dataclass(frozen=True)
class CellposeLossWeights:
    """Balance factors: equation 3 sums without any, its code halves the squared errors."""

    flow: float = 0.5
    foreground: float = 1.0


def cellpose_loss(raw: Tensor, target: Tensor, weights: CellposeLossWeights) -> dict[str, Tensor]:
    """Squared error of the flows and cross-entropy on the foreground (equation 3).

    Parameters
    ----------
    raw, target
        (b, 3, y, x): foreground, a logit in `raw`; dy and dx of the flow, `FLOW_FACTOR` times as long in `raw`.

    Notes
    -----
    Both are means over all pixels, those of the background too, where the flow is 0; that of the flow also over its two
    components.
    """
    raw = raw.float()
    return {
        "flow": weights.flow * functional.mse_loss(raw[:, 1:], FLOW_FACTOR * target[:, 1:]),
        "foreground": weights.foreground * functional.binary_cross_entropy_with_logits(raw[:, 0], target[:, 0]),
    }
