"""RoIAlign: features of boxes at a fixed size, bilinear (He et al. 2017), of operators that all ONNX runtimes have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mosaicell.training.networks.box_codes import as_length

#: places in each direction whose mean is one feature of a box
SAMPLES = 2
#: boxes whose area is below the square of twice this are taken from the finest level (Lin et al. 2017)
FINEST_PX = 56.0


def roi_align(levels: Sequence[Tensor], stride: int, boxes: Tensor, side: int, finest_px: float = FINEST_PX) -> Tensor:
    """Take the features of boxes, each from the level that fits its size.

    Parameters
    ----------
    levels
        Features (1, c, h, w) of one image, from the finest to the coarsest; the finest is the highest.
    stride
        Pixels between the features of the finest level; those of each further one lie twice as far apart.
    boxes
        (n, 4) as (y0, x0, y1, x1) in px, along pixel edges; n may be 0.
    side
        Features of a box in y and x.
    finest_px
        Boxes of so many px, as the root of their area, up to twice that are taken from the finest level, twice as
        large ones from the next and so on.

    Returns
    -------
    Tensor (n, c, side, side)

    Notes
    -----
    The levels are laid side by side, so that one look-up serves all boxes, however many each level has: a graph with as
    many branches as levels could not have an empty one. Beyond the edges of an image the features at them go on, where
    the original fades to 0.
    """
    canvas, lefts = _join(levels)
    level = choose_levels(boxes, len(levels), finest_px)
    strides = stride * torch.pow(2.0, level.to(boxes))
    places, steps = [], []
    for axis, origins in ((0, None), (1, lefts)):
        lengths = torch.stack([_length(features, 2 + axis) for features in levels]).to(boxes)[level]
        # the first feature lies in the middle of as many px as a stride has
        low, high = boxes[:, axis] / strides - 0.5, boxes[:, axis + 2] / strides - 0.5
        share = (torch.arange(side * SAMPLES, device=boxes.device, dtype=boxes.dtype) + 0.5) / (side * SAMPLES)
        along = low[:, None] + (high - low)[:, None] * share
        along = torch.minimum(along.clamp(min=0), (lengths - 1)[:, None])
        first = along.floor()
        second = torch.minimum(first + 1, (lengths - 1)[:, None])
        start = 0 if origins is None else origins.to(boxes)[level][:, None]
        steps.append(_split_samples(along - first))
        places.append([_split_samples(place + start).long() for place in (first, second)])
    features = canvas[0].permute(1, 2, 0).flatten(0, 1)
    found = features.new_zeros(())
    for low_or_high in range(2):
        for left_or_right in range(2):
            row, share_y = places[0][low_or_high], _share(steps[0], low_or_high)
            column, share_x = places[1][left_or_right], _share(steps[1], left_or_right)
            index = row[:, None, :, :, None] * _length(canvas, 3) + column[None, :, :, None, :]
            share = share_y[:, None, :, :, None] * share_x[None, :, :, None, :]
            # (samples, samples, n, side, side, channels): rows of features lie together in memory
            found = found + functional.embedding(index, features) * share[..., None].to(features)
    return found.mean((0, 1)).permute(0, 3, 1, 2)


def choose_levels(boxes: Tensor, count: int, finest_px: float = FINEST_PX) -> Tensor:
    """Return the level (n,) that each of the boxes (n, 4) is taken from."""
    sides_px = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    return torch.log2(sides_px / finest_px + 1e-6).floor().clamp(0, count - 1).long()


def _join(levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Lay levels side by side; also return where each begins."""
    height = levels[0].shape[2]
    padded = [functional.pad(level, (0, 0, 0, height - level.shape[2])) for level in levels]
    lefts = [_length(levels[0], 3) * 0]
    for level in levels[:-1]:
        lefts.append(lefts[-1] + _length(level, 3))
    return torch.cat(padded, 3) if len(padded) > 1 else padded[0], torch.stack(lefts)


def _split_samples(along: Tensor) -> Tensor:
    """Map (n, side * samples) to (samples, n, side): a mean over what lies far apart is fastest."""
    return torch.stack([along[:, sample::SAMPLES] for sample in range(SAMPLES)])


def _share(step: Tensor, second: int) -> Tensor:
    """Return how much the first or the second of two neighbours counts at this distance from the first."""
    return step if second else 1 - step


def _length(x: Tensor, axis: int) -> Tensor:
    return as_length(x.shape[axis], x.device)
