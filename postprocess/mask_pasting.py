"""Masks of single cells, each known in its box, become one label image (MDE-CellMask, paper section 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.numbering import Labels

Map = NDArray[np.float32]


def paste_masks(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    masks: NDArray[np.floating],
    shape_px: tuple[int, int],
    threshold: float,
) -> Labels:
    """Paste masks into a label image, where the surer cell keeps a pixel that two of them claim.

    Parameters
    ----------
    boxes : float array (n, 4)
        (y0, x0, y1, x1) in px, along pixel edges; they may stick out of the image.
    scores : float array (n,)
        How sure each cell is. Equal scores: the cell that comes first keeps the pixel.
    masks : float array (n, s, s)
        Probability that a place belongs to the cell, in s x s even parts of its box.
    shape_px : tuple of int
        Height and width of the image.
    threshold : float
        A pixel belongs to the cell where the probability exceeds this.

    Returns
    -------
    uint32 array (y, x)
        Ids from 1 by falling score; those of cells of which nothing is left do not occur.

    Raises
    ------
    ValueError
        When arrays do not fit.

    Notes
    -----
    Probabilities are bilinear between the middles of the parts and go on evenly beyond the outer ones. The published
    program lets the earlier class and box win.
    """
    labels = np.zeros(shape_px, np.uint32)
    order = _order(boxes, scores, masks)
    for number in range(len(order), 0, -1):
        cell = order[number - 1]
        place, probability = _spread(boxes[cell], masks[cell], shape_px)
        labels[place][probability > threshold] = number
    return labels


def paint_foreground(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], masks: NDArray[np.floating], shape_px: tuple[int, int]
) -> Map:
    """Return how likely each pixel belongs to any cell: the largest probability in a mask times its cell's score.

    Parameters and errors as in `paste_masks`.
    """
    foreground = np.zeros(shape_px, np.float32)
    for cell in _order(boxes, scores, masks):
        place, probability = _spread(boxes[cell], masks[cell], shape_px)
        np.maximum(foreground[place], probability * scores[cell], out=foreground[place], casting="same_kind")
    return foreground


def _order(boxes: NDArray[np.floating], scores: NDArray[np.floating], masks: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the cells by falling score."""
    count = len(boxes)
    if boxes.shape != (count, 4) or scores.shape != (count,) or masks.ndim != 3 or len(masks) != count:
        raise ValueError(
            f"expected boxes (n, 4), scores (n,) and masks (n, s, s), got {boxes.shape}, {scores.shape}, {masks.shape}"
        )
    return np.argsort(-scores, kind="stable")


def _spread(
    box: NDArray[np.floating], mask: NDArray[np.floating], shape_px: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.floating]]:
    """Return the pixels of a box, and the probability of each."""
    places, shares = [], []
    for axis in (0, 1):
        low, high = float(box[axis]), float(box[axis + 2])
        # of a pixel the middle counts
        first, last = np.clip(np.rint([low, high]), 0, shape_px[axis]).astype(int)
        along = (np.arange(first, last) + 0.5 - low) / max(high - low, 1e-6) * mask.shape[axis] - 0.5
        along = along.clip(0, mask.shape[axis] - 1)
        # bilinear: how much of each part a pixel takes
        shares.append(np.maximum(1 - np.abs(along[:, None] - np.arange(mask.shape[axis])), 0))
        places.append(slice(first, last))
    return (places[0], places[1]), shares[0] @ mask @ shares[1].T
