"""Label images: renumbering, cleaning, and the energy of their cells (Cell Segmenter, paper section 2.1).

A step of the cleaning that finds nothing to do returns the labels that it was given.
"""

from __future__ import annotations

import math
from itertools import product

import cc3d
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import bands, count_pixels, look_up
from mosaicell.postprocess.distances import border_distances
from mosaicell.postprocess.numbering import Areas, Labels, as_labels, keep_objects, number_objects


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
    numbered, _ = number_objects(labels)
    return numbered.copy() if numbered is labels else numbered


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
    labels, areas = number_objects(labels)
    return keep_objects(labels, areas, areas >= min_px)[0]


def remove_debris(labels: Labels, min_size_fraction: float) -> Labels:
    """Remove cells that are small against the mean cell of the image, as `debris_px` says, and renumber the others."""
    return remove_small(labels, debris_px(labels, min_size_fraction))


def debris_px(labels: Labels, min_size_fraction: float) -> int:
    """Return how many pixels a cell must have not to be debris.

    Parameters
    ----------
    labels : (y, x) uint32 array
        Label image, 1..n without gaps.
    min_size_fraction : float
        Smallest area of a cell as a fraction of the mean area.
    """
    areas = count_pixels(labels)[1:]
    return max(1, math.ceil(min_size_fraction * areas.mean())) if areas.size else 1


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
    return _split(labels, min_px)[0]


def keep_largest_pieces(labels: Labels, min_px: int) -> tuple[Labels, NDArray[np.uint32]]:
    """Keep of every object its largest 4-connected piece, unless that is small.

    Parameters
    ----------
    labels : uint32 array (y, x)
        Label image, 0 = background.
    min_px : int
        Objects whose largest piece has fewer pixels are removed.

    Returns
    -------
    labels : uint32 array (y, x)
        Objects numbered 1..n in the order of their first pixel, row by row.
    ids : uint32 array (n,)
        The ids that they had.

    Notes
    -----
    Of pieces of equal size the one that begins first, row by row, stays.
    """
    pieces = cc3d.connected_components(as_labels(labels), connectivity=4, out_dtype=np.uint32).astype(
        np.uint32, copy=False
    )
    areas = count_pixels(pieces)
    owners = np.zeros(areas.size, np.uint32)
    for rows in bands(labels.shape):
        owners[pieces[rows]] = labels[rows]
    # by object, the largest piece first, then the one of the lowest id
    order = np.lexsort((-areas, owners))
    largest = np.zeros(areas.size, bool)
    largest[order[np.flatnonzero(np.diff(owners[order], prepend=-1))]] = True
    kept = largest & (areas >= max(1, min_px))
    kept[0] = False
    return keep_objects(pieces, areas, kept)[0], owners[kept]


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
    return _fill(*number_objects(labels), max_fraction)[0]


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
    return _refine(*number_objects(labels), energy, max_error)


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
    labels, areas = _fill(*_split(labels, min_px), max_hole_fraction)
    if max_energy_error is None:
        return labels
    if energy is None:
        raise ValueError("max_energy_error needs the energy map")
    return _refine(labels, areas, energy, max_energy_error)


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


def _split(labels: NDArray[np.integer], min_px: int) -> tuple[Labels, Areas]:
    """Do what `split_disconnected` does; returns the areas too."""
    pieces = cc3d.connected_components(as_labels(labels), connectivity=4, out_dtype=np.uint32)
    areas = count_pixels(pieces)
    return keep_objects(pieces.astype(np.uint32, copy=False), areas, areas >= max(1, min_px))


def _fill(labels: Labels, areas: Areas, max_fraction: float) -> tuple[Labels, Areas]:
    """Do what `fill_holes` does, for ids without gaps; takes and returns the areas."""
    # Of a bool image of odd size cc3d 4.1.1 labels pixels that are False; of integers it does not.
    gaps = cc3d.connected_components((labels == 0).view(np.uint8), connectivity=8, out_dtype=np.uint32)
    gap_areas = count_pixels(gaps)
    closed = gap_areas < max_fraction * areas[1:].max(initial=0)
    closed[0] = False
    for edge in (gaps[:1], gaps[-1:], gaps[:, :1], gaps[:, -1:]):
        closed[edge] = False
    if not closed.any():
        return labels, areas
    places = np.flatnonzero(look_up(closed, gaps))
    gap = gaps.ravel()[places]
    lowest = np.full(gap_areas.size, np.iinfo(np.uint32).max, np.uint32)
    highest = np.zeros(gap_areas.size, np.uint32)
    for down, right in product((-1, 0, 1), repeat=2):
        cell = labels.ravel()[places + (down * labels.shape[1] + right)]
        np.minimum.at(lowest, gap[cell > 0], cell[cell > 0])
        np.maximum.at(highest, gap, cell)
    filled = closed & (lowest == highest) & (gap_areas < max_fraction * areas[highest])
    labels, areas = labels.copy(), areas.copy()
    labels.ravel()[places[filled[gap]]] = highest[gap[filled[gap]]]
    np.add.at(areas, highest[filled], gap_areas[filled])
    areas[0] -= gap_areas[filled].sum()
    return labels, areas


def _refine(labels: Labels, areas: Areas, energy: NDArray[np.floating], max_error: float) -> Labels:
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
