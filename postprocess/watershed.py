"""Marker-controlled watershed of the energy map with two-step markers (Cell Segmenter, paper section 2.3)."""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import look_up
from mosaicell.postprocess.boxes import box_markers
from mosaicell.postprocess.flood import flood
from mosaicell.postprocess.numbering import Labels


def two_step_watershed(
    foreground: NDArray[np.floating],
    energy: NDArray[np.floating],
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    e1: float,
    e2: float,
    foreground_threshold: float,
    min_marker_px: int = 5,
    min_unmarked_px: int | None = None,
) -> Labels:
    """Turn foreground, energy and boxes into cells with the two-step watershed of paper section 2.3.

    Parameters
    ----------
    foreground : float array (y, x)
        Cell probability, 0 to 1.
    energy : float array (y, x)
        Distance to the cell's border over its median in the cell, as `objects.energy_of_labels` gives it.
    boxes : float array (n, 4)
        One box (y0, x0, y1, x1) in px per cell, after non-maximum suppression.
    scores : float array (n,)
        Confidence of each box; of two boxes with one centre the higher keeps its marker.
    e1, e2 : float
        Energies, e1 <= e2. The core of cells is foreground with energy >= e1. Parts of the core that hold no
        box marker give a marker of their own where energy >= e2.
    foreground_threshold : float
        Foreground is where the probability exceeds this.
    min_marker_px : int
        An energy marker has more pixels than this (paper: 5).
    min_unmarked_px : int or None
        A 4-connected piece of foreground without any marker becomes one cell when it has at least this many
        pixels; with None, the published rule, it is dropped.

    Returns
    -------
    uint32 array (y, x)
        Label image, 1..n without gaps, every cell 4-connected.

    Raises
    ------
    ValueError
        When maps differ in shape or hold NaN or infinity, when boxes and scores do not fit, or when e2 < e1.

    Notes
    -----
    The published code floods three times: the core from the box markers, the core again from the energy
    markers, then the foreground from both results. A flood in order of falling energy has filled the whole
    core around a marker before it leaves it, so the first two floods are the beginning of the third, and
    "left over by the first flood" means "in a piece of the core without a box marker". One labelling and one
    flood therefore give the same cells.
    """
    foreground, energy = _checked_maps(foreground, energy)
    if e2 < e1:
        raise ValueError(f"e2 must not lie below e1, got e1={e1}, e2={e2}: nothing would be left over for it")
    cells = foreground > foreground_threshold
    core = cells & (energy >= e1)
    markers = box_markers(boxes, scores, core)
    parts = cc3d.connected_components(core, connectivity=4, out_dtype=np.uint32)
    add_pieces(markers, find_unmarked(parts, markers) & (energy >= e2), min_marker_px + 1)
    # Every marker lies in the foreground and keeps its own pixels, so no number is missing.
    labels = flood(energy, markers, cells)
    if min_unmarked_px is not None:
        add_pieces(labels, cells & (labels == 0), min_unmarked_px)
    return labels


def find_unmarked(parts: NDArray[np.unsignedinteger], markers: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the parts, numbered from 1 without gaps, that hold no marker."""
    unmarked = np.ones(int(parts.max(initial=0)) + 1, bool)
    unmarked[0] = False
    unmarked[parts[markers > 0]] = False
    return look_up(unmarked, parts)


def add_pieces(labels: NDArray[np.integer], area: NDArray[np.bool_], min_px: int) -> None:
    """Add each 4-connected piece of an area without labels that has `min_px` pixels or more, under the next ids."""
    pieces = cc3d.connected_components(area, connectivity=4, out_dtype=np.uint32)
    places = np.flatnonzero(area)
    piece = pieces.ravel()[places]
    large = np.bincount(piece, minlength=1) >= min_px
    large[0] = False
    ids = np.where(large, np.cumsum(large) + int(labels.max(initial=0)), 0)
    labels.ravel()[places] = ids[piece]


def _checked_maps(foreground: NDArray, energy: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return both maps as float32 (y, x), refusing maps that do not fit or hold NaN or infinity."""
    foreground, energy = np.asarray(foreground, np.float32), np.asarray(energy, np.float32)
    if foreground.ndim != 2 or foreground.shape != energy.shape:
        raise ValueError(f"expected two (y, x) maps of one shape, got {foreground.shape} and {energy.shape}")
    for name, values in (("foreground", foreground), ("energy", energy)):
        if not np.isfinite(values).all():
            raise ValueError(f"the {name} map holds NaN or infinity: the network or the blending of tiles failed")
    return foreground, energy
