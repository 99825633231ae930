"""What anchors and proposals should answer: which true box each belongs to, and which of them take part in a step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mosaicell.training.networks.box_codes import pair_ious

#: pairs of boxes that are compared at once
PAIRS_AT_ONCE = 2**22
#: of a box that belongs to no true one, and of one that is near to one but not near enough to count
BACKGROUND, IGNORED = -1, -2


class Sample(NamedTuple):
    """The boxes of one image that take part in a step: those that hold cells, and others, by their index."""

    cells: Tensor
    others: Tensor


def match_boxes(boxes: Tensor, truth: Tensor, low: float, high: float, *, keep_best: bool = False) -> Tensor:
    """Find the true box that each box belongs to.

    Parameters
    ----------
    boxes, truth
        (n, 4) and (m, 4), as (y0, x0, y1, x1) in px.
    low, high
        IoU below which a box is background, and from which on it belongs to the true box that it overlaps most.
    keep_best
        The boxes that overlap a true one most belong to it however little that is, so that each has one.

    Returns
    -------
    int64 (n,): index of the true box, `BACKGROUND` or `IGNORED`.
    """
    if not len(truth) or not len(boxes):
        return torch.full((len(boxes),), BACKGROUND, device=boxes.device)
    ious = torch.cat([pair_ious(part, truth) for part in boxes.split(max(1, PAIRS_AT_ONCE // len(truth)))])
    best, owner = ious.max(1)
    matches = torch.where(best >= high, owner, torch.where(best < low, BACKGROUND, IGNORED))
    if keep_best:
        most = ious.max(0).values
        box, cell = ((ious == most) & (most > 0)).nonzero(as_tuple=True)
        matches[box] = cell
    return matches


def draw_sample(matches: Tensor, count: int, cell_share: float) -> Sample:
    """Draw the boxes of an image that take part in a step.

    Parameters
    ----------
    matches
        From `match_boxes`.
    count
        So many in all, as far as they are there.
    cell_share
        At most this share of them hold cells; others fill up what is left.
    """
    cells, others = (matches >= 0).nonzero()[:, 0], (matches == BACKGROUND).nonzero()[:, 0]
    cells = _draw(cells, int(count * cell_share))
    return Sample(cells, _draw(others, count - len(cells)))


def _draw(places: Tensor, count: int) -> Tensor:
    # torch's own generator, which a training seeds
    return places[torch.randperm(len(places), device=places.device)[:count]]
