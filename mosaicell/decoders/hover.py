"""HoVer models of sribdmed: cells by the distances of their pixels to their middles (paper section 2.2)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._maps import MapDecoder
from mosaicell.decoders._mirroring import flip_maps
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.postprocess.cells import Cells
from mosaicell.postprocess.hover import segment_hover
from mosaicell.postprocess.hover_targets import distance_maps
from mosaicell.postprocess.objects import Labels

#: which channel holds the distances along an axis of a batch (b, m, y, x)
DISTANCE_CHANNELS = {3: 1, 2: 2}


class HoverDecoder(MapDecoder):
    """Foreground probability, and distances to the middle of the cell across and down."""

    channels = ("foreground", "horizontal", "vertical")
    outputs = channels
    settings = (
        "foreground_threshold",
        "marker_threshold",
        "min_marker_px",
        "min_cell_px",
        "min_size_fraction",
        "max_hole_fraction",
    )
    nullable = ()
    judged_maps = 3
    evidence = ("foreground", "distance_error")
    misfit = "distance_error"

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps back; distances change their sign along a mirrored axis."""
        return (flip_maps(outputs[0], axes, DISTANCE_CHANNELS),)

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Flood the foreground from the middles of cells."""
        foreground, horizontal, vertical = raw.maps
        return segment_hover(
            foreground,
            horizontal,
            vertical,
            foreground_threshold=settings["foreground_threshold"],
            marker_threshold=settings["marker_threshold"],
            min_marker_px=settings["min_marker_px"],
            min_cell_px=settings["min_cell_px"],
            max_hole_fraction=settings["max_hole_fraction"],
        )

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps.

        - foreground: mean probability
        - distance_error: root of the mean squared difference between both distances and those of the cell's shape
        """
        error = cells.deviation(raw.maps[1:3], distance_maps(cells.labels))
        return np.column_stack((cells.mean(raw.maps[0]), error))


DECODER = HoverDecoder()
