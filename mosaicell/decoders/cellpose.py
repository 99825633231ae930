"""Cellpose models of cvml: pixels follow flows to the middle of their cell (paper sections 2.3 and 2.4)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._maps import MapDecoder
from mosaicell.decoders._mirroring import flip_maps
from mosaicell.networks.raw import Outputs, Raw, no_candidates
from mosaicell.postprocess.cells import Cells
from mosaicell.postprocess.flow_sinks import segment_heat_flows
from mosaicell.postprocess.heat_flows import heat_flows
from mosaicell.postprocess.objects import Labels

#: which channel holds the flow along an axis of a batch (b, m, y, x)
FLOW_CHANNELS = {2: 1, 3: 2}


class CellposeDecoder(MapDecoder):
    """Foreground probability, heat flows, and a style vector that tells what kind of image it is."""

    channels = ("foreground", "heat_flow_y", "heat_flow_x")
    outputs = (*channels, "style")
    settings = (
        "foreground_threshold",
        "flow_threshold",
        "steps",
        "min_cell_px",
        "min_size_fraction",
        "max_hole_fraction",
    )
    nullable = ("flow_threshold",)
    judged_maps = 3
    evidence = ("foreground", "flow_error")
    misfit = "flow_error"

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return the maps of each tile, and its style as a summary."""
        return [Raw(maps, no_candidates(), style) for maps, style in zip(*outputs, strict=True)]

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps back; flows change their sign along a mirrored axis, the style is the same."""
        maps, style = outputs
        return flip_maps(maps, axes, FLOW_CHANNELS), style.copy()

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Follow the flows within the foreground."""
        return segment_heat_flows(
            raw.maps[0],
            raw.maps[1:],
            foreground_threshold=settings["foreground_threshold"],
            flow_threshold=settings["flow_threshold"],
            steps=int(settings["steps"]),
            min_size_px=settings["min_cell_px"],
            max_hole_fraction=settings["max_hole_fraction"],
        )

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps.

        - foreground: mean probability
        - flow_error: root of the mean squared length of the difference between the flow and that of the cell's shape
        """
        error = cells.deviation(raw.maps[1:3], heat_flows(cells.labels))
        return np.column_stack((cells.mean(raw.maps[0]), error))


DECODER = CellposeDecoder()
