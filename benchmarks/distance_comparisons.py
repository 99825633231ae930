"""The decoder of MAUNet maps timed against the same passes by other packages."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.comparison import Chain, Row, compare_cells, time_call, time_chain
from benchmarks.distance_peers import flood_three_times
from benchmarks.drawn_maps import DrawnMaps, draw_noise
from mosaicell.postprocess.distance_watershed import segment_distances

Map = NDArray[np.float32]

#: noise of the distance, as a share of that of other maps: it varies half as much
DISTANCE_NOISE = 0.5
PASSES: dict[str, Any] = {
    "foreground_threshold": 0.5,
    "interior_threshold": 0.5,
    "marker_threshold": 0.75,
    "peak_threshold": 0.5,
    "min_marker_px": 16,
    "min_unmarked_px": None,
    "min_cell_px": 10,
    "max_hole_fraction": 0.0,
}
#: how much faster than the other way one flood should be than three
LEAST_RATIO = 2.0


def draw_distance_maps(maps: DrawnMaps, seed: int = 0) -> Map:
    """Return what a MAUNet with a little noise would answer for drawn cells.

    Returns
    -------
    float32 array (3, y, x)
        Foreground, distance and interior.
    """
    rng = np.random.default_rng(seed)
    interior, distance = fields_of_labels(maps.labels)
    interior = (interior + draw_noise(interior.shape, rng)).clip(0, 1)
    distance += DISTANCE_NOISE * draw_noise(distance.shape, rng)
    return np.stack([maps.foreground, distance, interior])


def fields_of_labels(labels: NDArray[np.integer]) -> Map:
    """Return the exact interior and distance of cells, one after the other (MAUNet paper, section 2.1).

    Returns
    -------
    float32 array (2, y, x)
        The interior lies further than sqrt(S) / 20 px, S the area, from the outside; the distance is
        1 / (1 + g / sqrt(S)), g the distance to the centre of mass.
    """
    fields = np.zeros((2, *labels.shape), np.float32)
    depths = edt.edt(np.ascontiguousarray(labels), black_border=False)
    for number, place in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if place is None:
            continue
        inside = labels[place] == number
        side = np.sqrt(np.count_nonzero(inside))
        from_middle = [along - along.mean() for along in np.nonzero(inside)]
        fields[0][place][inside] = depths[place][inside] > max(1, side / 20)
        fields[1][place][inside] = 1 / (1 + np.hypot(*from_middle) / side)
    return fields


def compare_distances(maps: DrawnMaps, subject: str) -> tuple[Row, Chain]:
    """Time the three watershed passes, from the probabilities that a network answers to labels."""
    drawn = draw_distance_maps(maps)
    labels, seconds = time_call(lambda: segment_distances(*drawn, **PASSES))
    other, peer_seconds = time_call(lambda: flood_three_times(*drawn, **PASSES))
    peer = f"scikit-image {version('scikit-image')} and OpenCV, same steps"
    alike = compare_cells(labels, other)
    chain = time_chain(
        "distance and interior (MAUNet)", subject, maps.megapixels, lambda: segment_distances(*drawn, **PASSES)
    )
    return Row("three watershed passes", subject, seconds, peer, peer_seconds, *alike, LEAST_RATIO), chain
