"""MDE-CellMask: cells are found as boxes first, and a mask is made for each box (paper section 4)."""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.errors import OptionError
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.postprocess.boxes import suppress_boxes
from mosaicell.postprocess.cells import Cells, match_boxes
from mosaicell.postprocess.mask_pasting import paste_masks
from mosaicell.postprocess.objects import Labels, clean_labels, keep_largest_pieces

#: side of the mask of a candidate
MASK_SIDE = 28


class CellmaskDecoder:
    """Foreground probability, and cells (y0, x0, y1, x1, score) with a mask each, as many for each tile of a batch.

    Notes
    -----
    Tiles with fewer cells than others of their batch end with rows of zeros, which `read` leaves out.
    """

    channels = ("foreground",)
    outputs = (*channels, "cells")
    payload = MASK_SIDE**2
    slack_px = 4.0
    settings = (
        "foreground_threshold",
        "score_threshold",
        "box_iou_threshold",
        "mask_threshold",
        "min_cell_px",
        "min_size_fraction",
        "max_hole_fraction",
    )
    nullable = ()
    judged_maps = 1
    evidence = ("foreground", "box_iou", "box_score")
    misfit = ""

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return the foreground and the cells of each tile."""
        maps, cells = outputs
        return [Raw(tile, found[found[:, 4] > 0]) for tile, found in zip(maps, cells, strict=True)]

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Refuse: the cells of mirrored views are fused (`networks.detection`), a mean of them would say nothing."""
        raise OptionError("the cells that detectors find in mirrored views are no numbers to be averaged")

    def keep(self, candidates: np.ndarray, settings: Settings) -> np.ndarray:
        """Return the indices of the cells that pass the score threshold and non-maximum suppression."""
        sure = np.flatnonzero(candidates[:, 4] > settings["score_threshold"])
        return sure[suppress_boxes(candidates[sure, :4], candidates[sure, 4], settings["box_iou_threshold"])]

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Return nothing: no step depends on the whole image."""
        return {}

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Paste the masks, the surest on top; of a cell that others cut to pieces the largest stays."""
        boxes, scores, masks = _read_candidates(raw.candidates)
        labels = paste_masks(boxes, scores, masks, raw.maps.shape[1:], settings["mask_threshold"])
        labels, _ = keep_largest_pieces(labels, 1)
        return clean_labels(labels, min_px=settings["min_cell_px"], max_hole_fraction=settings["max_hole_fraction"])

    def foreground(self, maps: np.ndarray, settings: Settings) -> tuple[np.ndarray, float]:
        """Return the foreground probability and its threshold."""
        return maps[0], settings["foreground_threshold"]

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against the foreground, its mean, and against the boxes, as `match_boxes` says."""
        return np.column_stack((cells.mean(raw.maps[0]), *match_boxes(cells, raw.candidates)))


def _read_candidates(candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes (n, 4), scores (n,) and masks (n, s, s) of candidates."""
    return candidates[:, :4], candidates[:, 4], candidates[:, 5:].reshape(-1, MASK_SIDE, MASK_SIDE)


DECODER = CellmaskDecoder()
