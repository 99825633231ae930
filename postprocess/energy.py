"""Energy of cells: the scale-free distance map of their shapes (Cell Segmenter, paper section 2.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.distances import border_distances
from mosaicell.postprocess.numbering import Areas, Labels, keep_objects, number_objects


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
    labels, areas = number_objects(labels)
    inside = labels > 0
    energy = np.zeros(labels.shape, np.float32)
    energy[inside] = _energies(labels, areas, inside, labels[inside])
    return energy


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
    return refine_numbered(*number_objects(labels), energy, max_error)


def refine_numbered(labels: Labels, areas: Areas, energy: NDArray[np.floating], max_error: float) -> Labels:
    """Do what `refine_by_energy` does, for ids without gaps; takes the areas."""
    energy = np.asarray(energy, np.float32)
    if energy.shape != labels.shape:
        raise ValueError(f"labels and energy differ in shape: {labels.shape} and {energy.shape}")
    if not np.isfinite(energy).all():
        raise ValueError("the energy map holds NaN or infinity")
    inside = labels > 0
    ids = labels[inside]
    squares = np.square(energy[inside] - _energies(labels, areas, inside, ids))
    errors = np.bincount(ids, squares, minlength=areas.size) / areas.clip(1)
    return keep_objects(labels, areas, errors <= max_error)[0]


def _energies(labels: Labels, areas: Areas, inside: NDArray[np.bool_], ids: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Return the energy of the pixels inside cells, given their ids: distances over the median of each cell.

    Distances are not negative: the bits of such floats sort like integers, so one integer sort by (id, distance)
    gives all medians.
    """
    distances = border_distances(labels)[inside]
    if not ids.size or np.isinf(distances[0]):
        return np.ones(ids.size, np.float32)
    keys = ids.astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= distances.view(np.uint32)
    keys.sort()
    counts = areas[1:]
    starts = np.cumsum(counts) - counts
    middle = keys[np.stack([starts + (counts - 1) // 2, starts + counts // 2])]
    medians = 0.5 * (middle & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.float32).sum(axis=0)
    return distances / np.concatenate([np.ones(1, np.float32), medians])[ids]
