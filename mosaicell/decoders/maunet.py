"""MAUNet models: cells by the interior of cells and a distance field (MAUNet paper, section 2.3)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._maps import MapDecoder
from mosaicell.decoders._mirroring import flip_maps
from mosaicell.networks.raw import Outputs, Raw, no_candidates
from mosaicell.postprocess.cells import Cells
from mosaicell.postprocess.centre_distances import centre_closeness
from mosaicell.postprocess.distance_watershed import measure_blur, segment_distances
from mosaicell.postprocess.objects import Labels

#: what `measure` measures
BLUR = "blur_px"


class MaunetDecoder(MapDecoder):
    """Logits of interior, boundary, background and proxy, and a distance field.

    The softmax is taken here and not in the model: networks, scales and views are averaged before it, as published.
    Maps that are decoded are the probability of any cell, the distance, and the probability of the interior.
    """

    channels = ("interior", "boundary", "background", "proxy", "distance")
    outputs = channels
    settings = (
        "foreground_threshold",
        "interior_threshold",
        "marker_threshold",
        "peak_threshold",
        "min_marker_px",
        "min_unmarked_px",
        "min_cell_px",
        "min_size_fraction",
        "max_hole_fraction",
    )
    nullable = ("min_unmarked_px",)
    judged_maps = 2
    evidence = ("foreground", "distance_error")
    misfit = "distance_error"

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return what is decoded of each tile."""
        logits = outputs[0][:, :4]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        maps = np.stack((1 - shares[:, 2], outputs[0][:, 4], shares[:, 0]), axis=1)
        return [Raw(tile, no_candidates()) for tile in maps]

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps back."""
        return (flip_maps(outputs[0], axes),)

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Measure by how much the distance is blurred, which depends on the mean size of the cells."""
        return {BLUR: measure_blur(raw.maps[2], settings["interior_threshold"], settings["min_marker_px"])}

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Flood interior and foreground from the middles of cells."""
        foreground, distance, interior = raw.maps
        return segment_distances(
            foreground,
            distance,
            interior,
            foreground_threshold=settings["foreground_threshold"],
            interior_threshold=settings["interior_threshold"],
            marker_threshold=settings["marker_threshold"],
            peak_threshold=settings["peak_threshold"],
            blur_px=settings.get(BLUR),
            min_marker_px=settings["min_marker_px"],
            min_unmarked_px=settings["min_unmarked_px"],
            min_cell_px=settings["min_cell_px"],
            max_hole_fraction=settings["max_hole_fraction"],
        )

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps.

        - foreground: mean probability
        - distance_error: root of the mean squared difference between the distance and that of the cell's shape
        """
        error = cells.deviation(raw.maps[1:2], centre_closeness(cells.labels)[None])
        return np.column_stack((cells.mean(raw.maps[0]), error))


DECODER = MaunetDecoder()
