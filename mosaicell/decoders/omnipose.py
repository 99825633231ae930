"""Omnipose-style models of the Cell Segmenter: pixels follow flows to their cell (paper section 2.2)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._maps import MapDecoder
from mosaicell.decoders._mirroring import flip_maps
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.postprocess.cells import Cells
from mosaicell.postprocess.flows import segment_flows
from mosaicell.postprocess.objects import Labels

#: which channel holds the flow along an axis of a batch (b, m, y, x)
FLOW_CHANNELS = {2: 2, 3: 3}


class OmniposeDecoder(MapDecoder):
    """Foreground and boundary probability, and flows."""

    channels = ("foreground", "boundary", "flow_y", "flow_x")
    outputs = channels
    settings = ("foreground_threshold", "boundary_threshold", "flow_threshold", "min_cell_px", "min_size_fraction")
    nullable = ()
    judged_maps = 2
    evidence = ("foreground", "outline_boundary", "inner_boundary")

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps back; flows change their sign along a mirrored axis."""
        return (flip_maps(outputs[0], axes, FLOW_CHANNELS),)

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Follow the flows within the foreground."""
        return segment_flows(
            raw.maps[0],
            raw.maps[1],
            raw.maps[2:],
            foreground_threshold=settings["foreground_threshold"],
            boundary_threshold=settings["boundary_threshold"],
            flow_threshold=settings["flow_threshold"],
            min_size_px=settings["min_cell_px"],
            min_size_fraction=0.0,
        )

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps: mean foreground, mean boundary on the outermost pixels and on the others."""
        foreground, boundary = raw.maps[:2]
        return np.column_stack(
            (
                cells.mean(foreground),
                cells.mean_of(cells.outermost_ids, boundary[cells.outermost]),
                cells.mean_of(cells.labels[cells.inner], boundary[cells.inner]),
            )
        )


DECODER = OmniposeDecoder()
