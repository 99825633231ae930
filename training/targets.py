"""Training targets: label images to pixel maps and boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import cc3d
import numpy as np
from scipy import ndimage

from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.flow_targets import boundary_of_labels, flows_of_labels
from mosaicell.postprocess.heat_flows import heat_flows
from mosaicell.postprocess.hover_targets import distance_maps
from mosaicell.training.star_targets import object_probability

#: what a network should answer for one crop, by name: maps (c, y, x), and lists of boxes (n, 4)
Targets = Mapping[str, np.ndarray]

#: how the maps (y, x) or (c, y, x) of pixel channels are computed from numbered cells
MAKERS: dict[tuple[str, ...], Callable[[np.ndarray], np.ndarray]] = {
    ("foreground",): lambda pieces: pieces > 0,
    ("energy",): energy_of_labels,
    ("boundary",): boundary_of_labels,
    ("flow_y", "flow_x"): flows_of_labels,
    ("object_probability",): object_probability,
    ("horizontal", "vertical"): distance_maps,
    ("heat_flow_y", "heat_flow_x"): heat_flows,
}
#: order in which pixel heads output what they learn of these
PIXEL_CHANNELS = tuple(chain(*MAKERS))
#: a cell cut by the crop keeps its box only if this fraction of its pixels is left (paper section 3.2.2)
MIN_VISIBLE_FRACTION = 0.2


def find_pieces(labels: np.ndarray) -> np.ndarray:
    """Give the cells of a crop (y, x) ids 1..n; pieces of one id that do not touch count as separate cells."""
    pieces: np.ndarray = cc3d.connected_components(np.ascontiguousarray(labels, np.uint32), connectivity=4)
    return pieces


def pixel_targets(pieces: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Compute the maps that a pixel head should answer for one crop.

    Parameters
    ----------
    pieces
        Integer (y, x) from `find_pieces`.
    channels
        Some of `PIXEL_CHANNELS`.

    Returns
    -------
    float32 (len(channels), y, x).

    Notes
    -----
    All are those of the visible piece: the network sees no more of a cut cell either.
    """
    maps = np.empty((len(channels), *pieces.shape), np.float32)
    for names, make in MAKERS.items():
        if not set(names).isdisjoint(channels):
            made = make(pieces).reshape(len(names), *pieces.shape)
            for name, plane in zip(names, made, strict=True):
                if name in channels:
                    maps[channels.index(name)] = plane
    return maps


def visible_boxes(pieces: np.ndarray, labels: np.ndarray, full_areas: np.ndarray | None = None) -> np.ndarray:
    """Return the boxes of `visible_cells`."""
    return visible_cells(pieces, labels, full_areas)[0]


def visible_cells(
    pieces: np.ndarray, labels: np.ndarray, full_areas: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the cells of which a crop shows enough (`MIN_VISIBLE_FRACTION`).

    Parameters
    ----------
    pieces
        Integer (y, x) from `find_pieces`.
    labels
        Integer (y, x), of which they are pieces.
    full_areas
        float (max id + 1,): area in px that each id of `labels` would have, uncut, at the crop's scale. Without it no
        cell counts as cut.

    Returns
    -------
    boxes
        float32 (n, 4) as (y0, x0, y1, x1) in px, in the order of the pieces.
    ids
        Of the pieces, float32 (n, 1).

    Raises
    ------
    IndexError
        When an id has no entry in `full_areas`.
    """
    areas = np.bincount(pieces.ravel())
    boxes, ids = [], []
    for piece, region in enumerate(ndimage.find_objects(pieces.astype(np.int32)), start=1):
        rows, columns = region
        if full_areas is not None:
            inside = pieces[region] == piece
            label = labels[region].ravel()[np.flatnonzero(inside)[0]]
            if areas[piece] < MIN_VISIBLE_FRACTION * full_areas[label]:
                continue
        boxes.append((rows.start, columns.start, rows.stop, columns.stop))
        ids.append(piece)
    return np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(ids, np.float32).reshape(-1, 1)
