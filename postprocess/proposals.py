"""Region proposals: of the boxes of all anchors of a tile, those that are looked at again (Ren et al. 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.boxes import suppress_boxes

#: boxes with a side below this were cut at the edge of a tile to almost nothing
LEAST_SIDE_PX = 1.0


def choose_proposals(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    most_compared: int = 4000,
    most: int = 1000,
    iou_threshold: float = 0.7,
) -> NDArray[np.intp]:
    """Choose proposals among the boxes of a tile.

    Parameters
    ----------
    boxes : float array (n, 4)
        (y0, x0, y1, x1) in px.
    scores : float array (n,)
        How sure each holds a cell. Equal scores: the box that comes first in the array wins.
    most_compared : int
        Only so many of the surest boxes are compared with each other.
    most : int
        So many at most are chosen.
    iou_threshold : float
        0 to 1, as for `suppress_boxes`.

    Returns
    -------
    intp array (k,)
        Indices by falling score.

    Notes
    -----
    Both numbers are meant for a tile. Published detectors count per image, where the thousandth cell has no proposal.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    large = np.flatnonzero((sides >= LEAST_SIDE_PX).all(axis=1))
    surest = large[np.argsort(-scores[large], kind="stable")[:most_compared]]
    return surest[suppress_boxes(boxes[surest], scores[surest], iou_threshold)[:most]]
