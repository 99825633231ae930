"""The pixel head in exported models: what kinds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn


def pick_rows(network: nn.Module, learned: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Leave of a network's pixel head what outputs the wanted channels, in their order, in place."""
    old = cast("nn.Conv2d", network.pixels)
    rows = [learned.index(name) for name in wanted]
    head = nn.Conv2d(old.in_channels, len(rows), 1)
    head.load_state_dict({name: values[rows] for name, values in old.state_dict().items()})
    network.pixels = head


def answer_maps(pixels: Tensor, probabilities: int) -> Tensor:
    """Return pixel outputs (b, c, h, w) with the sigmoid of the first so many channels."""
    return torch.cat((pixels[:, :probabilities].sigmoid(), pixels[:, probabilities:]), 1)


def sum_of_each(loss: Callable[..., dict[str, Tensor]], arrays: Sequence[Tensor]) -> Tensor:
    """Return the sum of the loss terms of each crop by itself, (b,), on the CPU; the first axis is that of crops."""
    crops = zip(*(array.split(1) for array in arrays), strict=True)
    return torch.stack([torch.stack(list(loss(*crop).values())).sum() for crop in crops]).cpu()
