"""AWF models of the Cell Segmenter: boxes become markers of a watershed on an energy map (paper section 2.2)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._mirroring import flip_boxes, flip_maps
from mosaicell.networks.raw import Outputs, Raw, no_candidates
from mosaicell.postprocess.boxes import drop_contained, suppress_boxes
from mosaicell.postprocess.cells import Cells, match_boxes
from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.objects import Labels, clean_labels
from mosaicell.postprocess.watershed import two_step_watershed


class AwfDecoder:
    """Foreground probability, energy, and boxes (y0, x0, y1, x1, score)."""

    channels = ("foreground", "energy")
    outputs = (*channels, "boxes")
    payload = 0
    slack_px = 4.0
    settings = (
        "foreground_threshold",
        "score_threshold",
        "box_iou_threshold",
        "contained_fraction",
        "e1",
        "e2",
        "min_marker_px",
        "min_unmarked_px",
        "min_cell_px",
        "min_size_fraction",
        "max_hole_fraction",
        "max_energy_error",
    )
    nullable = ("min_unmarked_px", "max_energy_error")
    judged_maps = 2
    evidence = ("foreground", "energy_error", "box_iou", "box_score")
    misfit = "energy_error"

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return maps and boxes of each tile; a model without boxes leaves all to the regions of the foreground."""
        maps, *boxes = outputs
        return [Raw(tile, boxes[0][index] if boxes else no_candidates()) for index, tile in enumerate(maps)]

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps and candidate boxes back."""
        maps, *boxes = outputs
        return flip_maps(maps, axes), *(flip_boxes(candidates, axes, shape_px) for candidates in boxes)

    def keep(self, candidates: np.ndarray, settings: Settings) -> np.ndarray:
        """Return the indices of the boxes that pass the score threshold and non-maximum suppression."""
        if not len(candidates):
            return np.zeros(0, np.intp)
        sure = np.flatnonzero(candidates[:, 4] > settings["score_threshold"])
        return sure[suppress_boxes(candidates[sure, :4], candidates[sure, 4], settings["box_iou_threshold"])]

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Return nothing: no step depends on the whole image."""
        return {}

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Flood the energy from the middles of the boxes, and drop what contradicts it."""
        foreground, energy = raw.maps[:2]
        boxes = raw.candidates
        boxes = boxes[drop_contained(boxes[:, :4], boxes[:, 4], settings["contained_fraction"])]
        labels = two_step_watershed(
            foreground,
            energy,
            boxes[:, :4],
            boxes[:, 4],
            e1=settings["e1"],
            e2=settings["e2"],
            foreground_threshold=settings["foreground_threshold"],
            min_marker_px=settings["min_marker_px"],
            min_unmarked_px=settings["min_unmarked_px"],
        )
        return clean_labels(
            labels,
            energy,
            min_px=settings["min_cell_px"],
            max_hole_fraction=settings["max_hole_fraction"],
            max_energy_error=settings["max_energy_error"],
        )

    def foreground(self, maps: np.ndarray, settings: Settings) -> tuple[np.ndarray, float]:
        """Return the foreground probability and its threshold."""
        return maps[0], settings["foreground_threshold"]

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps and boxes.

        - foreground: mean probability
        - energy_error: root of the mean squared distance between the energy map and the energy of the cell's shape
        - box_iou, box_score: as `match_boxes` says
        """
        foreground, energy = raw.maps[:2]
        return np.column_stack(
            (
                cells.mean(foreground),
                cells.deviation(energy[None], energy_of_labels(cells.labels)[None]),
                *match_boxes(cells, raw.candidates),
            )
        )


DECODER = AwfDecoder()
