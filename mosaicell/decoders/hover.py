"""HoVer models of sribdmed: cells by the distances of their pixels to their middles (paper section 2.2)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._mirroring import flip_maps
from mosaicell.networks.raw import Outputs, Raw, no_candidates
from mosaicell.postprocess.cells import Cells
from mosaicell.postprocess.hover import segment_hover
from mosaicell.postprocess.hover_targets import distance_maps
from mosaicell.postprocess.objects import Labels

#: which channel holds the distances along an axis of a batch (b, m, y, x)
DISTANCE_CHANNELS = {3: 1, 2: 2}


class HoverDecoder:
    """Foreground probability, and distances to the middle of the cell across and down."""

    channels = ("foreground", "horizontal", "vertical")
    outputs = channels
    payload = 0
    slack_px = 0.0
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

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return the maps of each tile."""
        return [Raw(maps, no_candidates()) for maps in outputs[0]]

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps back; distances change their sign along a mirrored axis."""
        return (flip_maps(outputs[0], axes, DISTANCE_CHANNELS),)

    def keep(self, candidates: np.ndarray, settings: Settings) -> np.ndarray:
        """Return no index: there are no candidates."""
        return np.zeros(0, np.intp)

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Return nothing: no step depends on the whole image."""
        return {}

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

    def foreground(self, maps: np.ndarray, settings: Settings) -> tuple[np.ndarray, float]:
        """Return the foreground probability and its threshold."""
        return maps[0], settings["foreground_threshold"]

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps.

        - foreground: mean probability
        - distance_error: root of the mean squared difference between both distances and those of the cell's shape
        """
        foreground, *distances = raw.maps[:3]
        errors = np.zeros(cells.ids.size)
        for found, wanted in zip(distances, distance_maps(cells.labels), strict=True):
            errors += np.square(found[cells.inside] - wanted[cells.inside])
        return np.column_stack((cells.mean(foreground), np.sqrt(cells.mean_of(cells.ids, errors))))


DECODER = HoverDecoder()
