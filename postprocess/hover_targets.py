"""Distances that HoVer-Net learns: where a pixel lies between the middle and the sides of its cell.

Source: sribdmed paper, section 2.2 (ConvNeXt-Hover), after Graham et al. 2019.
"""

from __future__ import annotations

import cc3d
import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.numbering import number_objects

#: a side that reaches less far from the centre of mass is not stretched to 1: the centre of a cell one pixel wide with
#: a bump lies a hair beside its pixels
SHORTEST_SIDE_PX = 0.5


def distance_maps(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Measure how far each pixel lies beside and below the centre of mass of its cell, each side scaled to 1.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background, ids with any gaps. One id is one cell, in however many pieces.

    Returns
    -------
    float32 array (2, y, x)
        The horizontal map, then the vertical one. In each cell they rise from -1 at its leftmost (uppermost) pixels
        over 0 at the centre of mass to 1 at its rightmost (lowest) ones; 0 in the background.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.

    Notes
    -----
    A cell one pixel wide has 0, where its centre of mass lies; see `SHORTEST_SIDE_PX`. Of a cell that the edge of the
    image cuts, the visible piece counts. The published code rounds the centre to a pixel; exact centres make the maps
    of a mirrored cell the mirrored maps.
    """
    numbers, areas = number_objects(labels)
    maps = np.zeros((2, *numbers.shape), np.float32)
    if areas.size == 1:
        return maps
    found = cc3d.statistics(numbers, no_slice_conversion=True)
    for axis, one in zip((1, 0), maps, strict=True):
        centres = found["centroids"][:, axis]
        # first and last pixel of each cell along the axis
        first, last = found["bounding_boxes"][:, 2 * axis : 2 * axis + 2].T.astype(np.float64)
        stretch_before = 1 / np.maximum(centres - first, SHORTEST_SIDE_PX)
        stretch_behind = 1 / np.maximum(last - centres, SHORTEST_SIDE_PX)
        stretch_before[0] = stretch_behind[0] = centres[0] = 0
        places = np.arange(numbers.shape[axis], dtype=np.float32)
        way = (places if axis == 1 else places[:, None]) - centres.astype(np.float32).take(numbers)
        np.multiply(np.minimum(way, 0), stretch_before.astype(np.float32).take(numbers), out=one)
        one += np.maximum(way, 0) * stretch_behind.astype(np.float32).take(numbers)
    return maps
