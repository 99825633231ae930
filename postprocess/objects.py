"""Label images: renumbering, cleaning, and the energy of their cells (Cell Segmenter, paper section 2.1)."""

from __future__ import annotations

from itertools import product

import cc3d
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


def remove_small(labels: NDArray[np.integer], min_px: int) -> Labels:
    """Remove objects of fewer than `min_px` pixels and renumber the others to 1..n in their order.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.
    min_px : int
        Smallest number of pixels an object may have.

    Returns
    -------
    uint32 array (y, x)
    """
    labels = relabel_sequential(labels)
    return _keep(labels, _sizes(labels) >= min_px)


def remove_debris(labels: Labels, min_size_fraction: float) -> Labels:
    """Remove cells that are small against the mean cell of the image.

    Parameters
    ----------
    labels : (y, x) uint32 array
        Label image.
    min_size_fraction : float
        Smallest area of a cell as a fraction of the mean area.

    Returns
    -------
    (y, x) uint32 array
        Labels renumbered to 1..n in their order.
    """
    areas = np.bincount(labels.ravel(), minlength=1)[1:]
    return remove_small(labels, int(np.ceil(min_size_fraction * areas.mean()))) if areas.size else labels


def split_disconnected(labels: NDArray[np.integer], min_px: int = 5) -> Labels:
    """Make every 4-connected piece an object and remove small ones: the label cleaning of paper section 2.1.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.
    min_px : int
        Pieces of fewer pixels are removed (paper: 5).

    Returns
    -------
    uint32 array (y, x)
        Objects numbered 1..n in the order of their first pixel, row by row.
    """
    pieces = cc3d.connected_components(_as_labels(labels), connectivity=4, out_dtype=np.uint32)
    return remove_small(pieces, min_px)


def fill_holes(labels: NDArray[np.integer], max_fraction: float) -> Labels:
    """Fill holes that are small against the cell around them.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.
    max_fraction : float
        A hole is filled when its area is below this fraction of the area of its cell, the cell without its
        holes.

    Returns
    -------
    uint32 array (y, x)
        Objects numbered 1..n in the order of their ids.

    Notes
    -----
    A hole is an 8-connected piece of background that touches one cell only and not the image border. So a
    hole that holds another cell stays, and so does background that two cells enclose together.
    """
    labels = relabel_sequential(labels)
    gaps = cc3d.connected_components(labels == 0, connectivity=8, out_dtype=np.uint32)
    areas, cell_areas = _sizes(gaps), _sizes(labels)
    closed = areas < max_fraction * cell_areas[1:].max(initial=0)
    closed[0] = False
    for edge in (gaps[:1], gaps[-1:], gaps[:, :1], gaps[:, -1:]):
        closed[edge] = False
    y, x = np.nonzero(closed[gaps])
    gap = gaps[y, x]
    lowest = np.full(areas.size, np.iinfo(np.uint32).max, np.uint32)
    highest = np.zeros(areas.size, np.uint32)
    for down, right in product((-1, 0, 1), repeat=2):
        cell = labels[y + down, x + right]
        np.minimum.at(lowest, gap[cell > 0], cell[cell > 0])
        np.maximum.at(highest, gap, cell)
    filled = closed & (lowest == highest) & (areas < max_fraction * cell_areas[highest])
    return np.where(filled[gaps], highest[gaps], labels)


def refine_by_energy(labels: NDArray[np.integer], energy: NDArray[np.floating], max_error: float) -> Labels:
    """Drop cells whose shape contradicts the predicted energy, as published after the watershed.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.
    energy : float array (y, x)
        Predicted energy.
    max_error : float
        A cell is dropped when the mean of (energy - energy of its shape)^2 over its pixels exceeds this
        (published: 0.4).

    Returns
    -------
    uint32 array (y, x)
        Remaining objects numbered 1..n in the order of their ids.

    Raises
    ------
    ValueError
        When the arrays differ in shape or the energy holds NaN or infinity.
    """
    labels = relabel_sequential(labels)
    energy = np.asarray(energy, np.float32)
    if energy.shape != labels.shape:
        raise ValueError(f"labels and energy differ in shape: {labels.shape} and {energy.shape}")
    if not np.isfinite(energy).all():
        raise ValueError("the energy map holds NaN or infinity")
    squares = np.square(energy - energy_of_labels(labels))
    errors = np.bincount(labels.ravel(), squares.ravel(), minlength=1) / np.maximum(_sizes(labels), 1)
    return _keep(labels, errors <= max_error)


def clean_labels(
    labels: NDArray[np.integer],
    energy: NDArray[np.floating] | None = None,
    *,
    min_px: int,
    max_hole_fraction: float,
    max_energy_error: float | None = None,
) -> Labels:
    """Split cells, drop small ones, fill holes, drop contradicted ones: the clean-up of the AWF branch.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background.
    energy : float array (y, x) or None
        Predicted energy; needed for `max_energy_error` only.
    min_px, max_hole_fraction, max_energy_error
        As in `split_disconnected`, `fill_holes` and `refine_by_energy` (published: 10, 0.1, 0.4). None for
        the last leaves that step out.

    Returns
    -------
    uint32 array (y, x)
        Label image, 1..n without gaps, every cell 4-connected.

    Raises
    ------
    ValueError
        When an energy error is given without an energy, or as the steps say.
    """
    labels = fill_holes(split_disconnected(labels, min_px), max_hole_fraction)
    if max_energy_error is None:
        return labels
    if energy is None:
        raise ValueError("max_energy_error needs the energy map")
    return refine_by_energy(labels, energy, max_energy_error)


def energy_of_labels(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Divide each cell's distance map by its median, the scale-free energy of paper section 2.1.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background. Ids need not be contiguous.

    Returns
    -------
    float32 array (y, x)
        0 in the background, above 0 in every cell with median 1; roughly 0 to 2 in compact cells, up to about
        3.4 in the centre of a disc. Distances are those of pixel centres to the nearest pixel of another cell
        or of the background.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.

    Notes
    -----
    The image border is not a cell border: a cell cut by it goes on outside, and a distance that shrank
    towards the cut would teach a ridge that no image evidence supports, one that moves with every crop. A
    cell that fills the whole image has no visible border; it gets 1 everywhere, the limit of the ratio far
    from any border.

    The published code divides by median + 1, which halves the energy of cells of a few pixels and so puts
    them below both thresholds of the watershed; here it is the median, as in the paper.
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


def _sizes(labels: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """Return the pixels of each id from 0 to the highest."""
    return np.bincount(labels.ravel(), minlength=1)


def _keep(labels: Labels, kept: NDArray[np.bool_]) -> Labels:
    """Remove the objects whose entry in `kept`, by id, is False and renumber the others in their order."""
    kept = kept.copy()
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[labels]


def _as_labels(labels: NDArray[np.integer]) -> Labels:
    """Return `labels` as a contiguous uint32 (y, x) array, refusing what is not a label image."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "ui":
        raise ValueError(f"a label image is a (y, x) array of integers, got {labels.dtype} of shape {labels.shape}")
    if labels.min(initial=0) < 0 or int(labels.max(initial=0)) >= 2**32:
        raise ValueError(f"label ids must lie in 0..2**32 - 1, got {labels.min()}..{labels.max()}")
    return np.ascontiguousarray(labels, np.uint32)


def _medians_by_label(ids: NDArray[np.uint32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median value of each id: a float32 table indexed by the ids 1..n, with 1 at index 0.

    Values must not be negative: the bits of such floats sort like integers, so one integer sort by (id,
    value) serves all.
    """
    keys = (ids.astype(np.uint64) << np.uint64(32)) | values.view(np.uint32)
    keys.sort()
    ordered = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32)
    counts = np.bincount(ids)[1:]
    starts = np.cumsum(counts) - counts
    medians = 0.5 * (ordered[starts + (counts - 1) // 2] + ordered[starts + counts // 2])
    return np.concatenate([np.ones(1, np.float32), medians.astype(np.float32)])
