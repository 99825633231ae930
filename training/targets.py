"""Training targets: label images to pixel maps and boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.flow_targets import boundary_of_labels, flows_of_labels

#: channel order of the pixel targets; the networks' pixel heads output subsets of it in this order
PIXEL_CHANNELS = ("foreground", "energy", "boundary", "flow_y", "flow_x")
#: a cell cut by the crop keeps its box only if this fraction of its pixels is left (paper section 3.2.2)
MIN_VISIBLE_FRACTION = 0.2


@dataclass(frozen=True)
class Targets:
    """What the network should answer for one crop.

    Attributes
    ----------
    pixels
        float32 (5, y, x), channels in the order of `PIXEL_CHANNELS`.
    boxes
        float32 (n, 4) as (y0, x0, y1, x1) in px.
    """

    pixels: np.ndarray
    boxes: np.ndarray


def make_targets(labels: np.ndarray, full_areas: np.ndarray | None = None) -> Targets:
    """Compute all targets of one label crop.

    Parameters
    ----------
    labels
        Integer (y, x). Pieces of one id that do not touch count as separate cells.
    full_areas
        float (max id + 1,): area in px that each id would have, uncut, at the crop's scale. Without it no
        cell counts as cut.

    Returns
    -------
    Targets
        Boxes only of pieces of which enough is visible (`MIN_VISIBLE_FRACTION`), in the order of the pieces.

    Raises
    ------
    IndexError
        When an id has no entry in `full_areas`.

    Notes
    -----
    Energy and flows are those of the visible piece: the network sees no more of a cut cell either.
    """
    pieces = cc3d.connected_components(np.ascontiguousarray(labels, np.uint32), connectivity=4)
    maps = np.empty((len(PIXEL_CHANNELS), *labels.shape), np.float32)
    maps[0] = pieces > 0
    maps[1] = energy_of_labels(pieces)
    maps[2] = boundary_of_labels(pieces)
    maps[3:] = flows_of_labels(pieces)
    return Targets(maps, _visible_boxes(pieces, labels, full_areas))


def _visible_boxes(pieces: np.ndarray, labels: np.ndarray, full_areas: np.ndarray | None) -> np.ndarray:
    areas = np.bincount(pieces.ravel())
    boxes = []
    for piece, region in enumerate(ndimage.find_objects(pieces.astype(np.int32)), start=1):
        rows, columns = region
        if full_areas is not None:
            inside = pieces[region] == piece
            label = labels[region].ravel()[np.flatnonzero(inside)[0]]
            if areas[piece] < MIN_VISIBLE_FRACTION * full_areas[label]:
                continue
        boxes.append((rows.start, columns.start, rows.stop, columns.stop))
    return np.asarray(boxes, np.float32).reshape(-1, 4)
