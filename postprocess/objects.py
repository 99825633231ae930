"""Label images: renumbering, cleaning and the energy map of their cells (Cell Segmenter, paper sections 2.1 and 2.3)."""

from __future__ import annotations

import edt
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint32]


def relabel_sequential(labels: NDArray[np.integer]) -> Labels:
    """Renumber the objects to 1..n without gaps, keeping the order of their ids.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background, ids below 2**32 in any order and with any gaps.

    Returns
    -------
    uint32 array (y, x)
        A new array; equal to the input when that had no gaps.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.
    """
    labels = _as_labels(labels)
    highest = int(labels.max(initial=0))
    if highest > 2 * labels.size + 1024:
        # A table over ids as sparse as these would outgrow the image itself.
        ids, dense = np.unique(labels, return_inverse=True)
        first = 0 if ids[0] == 0 else 1
        return (dense.reshape(labels.shape) + first).astype(np.uint32)
    table = np.zeros(highest + 1, np.uint32)
    table[labels.ravel()] = 1
    table[0] = 0
    return np.cumsum(table, dtype=np.uint32)[labels] if highest else labels.copy()


def energy_of_labels(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Divide each cell's distance map by its median, the scale-free energy of paper section 2.1.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background. Ids need not be contiguous.

    Returns
    -------
    float32 array (y, x)
        0 in the background, above 0 in every cell with median 1; roughly 0 to 2 in compact cells, up to about 3.4 in
        the centre of a disc. Distances are those of pixel centres to the nearest pixel of another cell or of the background.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.

    Notes
    -----
    The image border is not a cell border: a cell cut by it goes on outside, and a distance that shrank towards the cut
    would teach a ridge that no image evidence supports, one that moves with every crop. A cell that fills the whole image
    has no visible border; it gets 1 everywhere, the limit of the ratio far from any border.

    The published code divides by median + 1, which halves the energy of cells of a few pixels and so puts them below
    both thresholds of the watershed; here it is the median, as in the paper.
    """
    labels = relabel_sequential(labels)
    if not labels.any():
        return np.zeros(labels.shape, np.float32)
    distance = edt.edt(labels, black_border=False)
    if np.isinf(distance.flat[0]):
        return np.ones(labels.shape, np.float32)
    inside = labels > 0
    medians = _medians_by_label(labels[inside], distance[inside])
    return distance / medians[labels]


def _as_labels(labels: NDArray[np.integer]) -> Labels:
    """Return `labels` as a contiguous uint32 (y, x) array, refusing what is not a label image."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "ui":
        raise ValueError(
            f"a label image is a (y, x) array of integers, got {labels.dtype} of shape {labels.shape}"
        )
    if (
        labels.size
        and labels.dtype != np.uint32
        and (labels.min() < 0 or labels.max() > np.iinfo(np.uint32).max)
    ):
        raise ValueError(f"label ids must lie in 0..2**32 - 1, got {labels.min()}..{labels.max()}")
    return np.ascontiguousarray(labels, np.uint32)


def _medians_by_label(ids: NDArray[np.uint32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median value of each id: a float32 table indexed by the ids 1..n, with 1 at index 0.

    Values must not be negative: the bits of such floats sort like integers, so one integer sort by (id, value) serves all.
    """
    keys = (ids.astype(np.uint64) << np.uint64(32)) | values.view(np.uint32)
    keys.sort()
    ordered = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)
    counts = np.bincount(ids)[1:]
    starts = np.cumsum(counts) - counts
    medians = 0.5 * (ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2])
    return np.concatenate([np.ones(1, np.float32), medians.astype(np.float32)])
