"""Growth of cells over a mask, ring by ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.numbering import Labels


def grow_labels(
    labels: Labels, mask: NDArray[np.bool_], steps: int, ranks: NDArray[np.integer] | None = None
) -> Labels:
    """Give pixels of a mask that belong to no cell to the cell that reaches them first.

    Parameters
    ----------
    labels : uint32 array (y, x)
        Label image, 0 = background.
    mask : bool array (y, x)
        Where cells may grow. What they hold outside of it stays.
    steps : int
        Number of times that each cell takes the pixels above, below, left and right of its own.
    ranks : integer array (n + 1,), optional
        By id: where cells reach a pixel in the same step, the lowest rank takes it, of equal ranks the lowest id. By
        default the lowest id.

    Returns
    -------
    uint32 array (y, x)
        The labels themselves when there is nothing to take. A cell that was 4-connected still is.
    """
    if labels.shape != mask.shape:
        raise ValueError(f"labels and mask differ in shape: {labels.shape} and {mask.shape}")
    width = labels.shape[1] + 2
    y, x = np.nonzero(mask & (labels == 0))
    if steps < 1 or not y.size:
        return labels
    places = (y + 1) * width + x + 1
    ids = np.arange(int(labels.max()) + 1)
    # cells in the order in which they take pixels, the background last
    order = np.lexsort((ids, np.zeros_like(ids) if ranks is None else ranks, ids == 0))
    turns = np.empty(ids.size, np.uint32)
    turns[order] = ids
    nobody = np.uint32(ids.size - 1)
    framed = np.pad(turns[labels], 1, constant_values=nobody)
    flat = framed.ravel()
    for _ in range(steps):
        first = np.minimum.reduce([flat[places + step] for step in (-width, -1, 1, width)])
        reached = first < nobody
        if not reached.any():
            break
        flat[places[reached]] = first[reached]
        places = places[~reached]
    return order.astype(np.uint32)[framed[1:-1, 1:-1]]
