"""Ids of label images: checked, without gaps, and with the area of each, so that no step counts again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import count_pixels, look_up

Labels = NDArray[np.uint32]
#: pixels of each id from 0 to the highest
Areas = NDArray[np.int64]


def number_objects(labels: NDArray[np.integer]) -> tuple[Labels, Areas]:
    """Check a label image and renumber its objects to 1..n without gaps, keeping the order of their ids.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background, ids below 2**32 in any order and with any gaps.

    Returns
    -------
    labels : uint32 array (y, x)
        The argument itself when it is what it should be.
    areas : int64 array (n + 1,)
        Pixels of each id from 0.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.
    """
    checked = as_labels(labels)
    if int(checked.max(initial=0)) > 2 * checked.size + 1024:
        # A table over ids as sparse as these would outgrow the image itself.
        ids, dense = np.unique(checked, return_inverse=True)
        checked = (dense.reshape(checked.shape) + (0 if ids[0] == 0 else 1)).astype(np.uint32)
    areas = count_pixels(checked)
    return keep_objects(checked, areas, areas > 0)


def keep_objects(labels: Labels, areas: Areas, kept: NDArray[np.bool_]) -> tuple[Labels, Areas]:
    """Remove objects and renumber the others to 1..n in their order.

    Parameters
    ----------
    labels : uint32 array (y, x)
        Label image, 0 = background.
    areas : int64 array (n + 1,)
        Pixels of each id from 0 to the highest, as `bands.count_pixels` gives them.
    kept : bool array (n + 1,)
        Which ids stay; False for one that does not occur, whatever for 0.

    Returns
    -------
    labels, areas
        Of what is left; the arguments themselves when everything stays.
    """
    if kept[1:].all():
        return labels, areas
    kept = np.concatenate([[False], kept[1:]])
    table = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    return look_up(table, labels), np.concatenate([[areas[~kept].sum()], areas[kept]])


def as_labels(labels: NDArray[np.integer]) -> Labels:
    """Return a label image as a contiguous uint32 (y, x) array.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "ui":
        raise ValueError(f"a label image is a (y, x) array of integers, got {labels.dtype} of shape {labels.shape}")
    if labels.min(initial=0) < 0 or int(labels.max(initial=0)) >= 2**32:
        raise ValueError(f"label ids must lie in 0..2**32 - 1, got {labels.min()}..{labels.max()}")
    return np.ascontiguousarray(labels, np.uint32)
