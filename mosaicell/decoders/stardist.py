"""StarDist models of sribdmed: every pixel proposes a polygon, the surest ones become cells (paper section 2.2).

A network answers for every second or fourth pixel each way. A slide of rays from every second pixel would take four
times the memory of its two maps, so the polygons of a tile that are sure enough become candidates as soon as it was
run, and the rest is forgotten.
"""

from __future__ import annotations

import numpy as np

from mosaicell.decoders import Settings
from mosaicell.decoders._mirroring import flip_maps
from mosaicell.errors import OptionError
from mosaicell.networks.raw import Outputs, Raw, no_candidates
from mosaicell.postprocess.cells import Cells, match_boxes
from mosaicell.postprocess.objects import Labels
from mosaicell.postprocess.polygons import suppress_polygons
from mosaicell.postprocess.star_cells import segment_polygons
from mosaicell.postprocess.stars import ray_directions

RAYS = 32


class StardistDecoder:
    """Foreground and object probability, and the rays of a polygon on the pixels (0::s, 0::s), s the step of a grid.

    Notes
    -----
    A candidate is the box around the polygon, its score, and behind these the centre from the upper left corner of the
    box, (y, x), and the rays: what moves a box moves the polygon. Boxes are rounded to whole px outwards, as they may
    be anywhere in a slide and 32 bits hold few places of a fraction there.
    """

    channels = ("foreground", "object_probability")
    outputs = (*channels, "rays")
    payload = 2 + RAYS
    slack_px = 4.0
    settings = (
        "probability_threshold",
        "nms_threshold",
        "foreground_threshold",
        "max_growth_px",
        "min_cell_px",
        "min_size_fraction",
        "max_hole_fraction",
    )
    nullable = ("max_growth_px",)
    judged_maps = 2
    evidence = ("foreground", "object_probability", "box_iou", "box_score")
    misfit = ""

    def read(self, outputs: Outputs, settings: Settings) -> list[Raw]:
        """Return the maps of each tile and the polygons above the threshold of probability."""
        maps, rays = outputs
        step_px = _measure_step(rays, maps.shape[2:])
        threshold = settings["probability_threshold"]
        return [
            Raw(tile, _gather(tile[1], lengths, step_px, threshold)) for tile, lengths in zip(maps, rays, strict=True)
        ]

    def mirror(self, outputs: Outputs, axes: tuple[int, ...], shape_px: tuple[int, int]) -> Outputs:
        """Mirror maps and rays back."""
        maps, rays = outputs
        return flip_maps(maps, axes), _flip_rays(rays, axes, _measure_step(rays, shape_px))

    def keep(self, candidates: np.ndarray, settings: Settings) -> np.ndarray:
        """Return the indices of the polygons that pass the threshold of probability and non-maximum suppression."""
        sure = np.flatnonzero(candidates[:, 4] > settings["probability_threshold"])
        if not sure.size:
            return sure
        centres, rays, scores = _read_candidates(candidates[sure])
        return sure[suppress_polygons(centres, rays, scores, settings["nms_threshold"])]

    def measure(self, raw: Raw, settings: Settings) -> Settings:
        """Return nothing: no step depends on the whole image."""
        return {}

    def decode(self, raw: Raw, settings: Settings) -> Labels:
        """Paint the polygons, the surest on top, and fit them to the foreground."""
        return segment_polygons(
            raw.maps[0],
            *_read_candidates(raw.candidates),
            foreground_threshold=settings["foreground_threshold"],
            max_growth_px=settings["max_growth_px"],
            min_cell_px=settings["min_cell_px"],
            max_hole_fraction=settings["max_hole_fraction"],
        )

    def foreground(self, maps: np.ndarray, settings: Settings) -> tuple[np.ndarray, float]:
        """Return the foreground probability and its threshold."""
        return maps[0], settings["foreground_threshold"]

    def describe(self, cells: Cells, raw: Raw) -> np.ndarray:
        """Measure cells against maps, their means, and against the boxes of polygons, as `match_boxes` says."""
        foreground, probability = raw.maps[:2]
        boxes = match_boxes(cells, raw.candidates)
        return np.column_stack((cells.mean(foreground), cells.mean(probability), *boxes))


def _measure_step(rays: np.ndarray, shape_px: tuple[int, ...]) -> int:
    """Return the step of the grid on which rays (b, k, y, x) lie over tiles of this height and width, or refuse."""
    step_px = max(1, shape_px[0] // max(1, rays.shape[2]))
    if rays.shape[1:] != (RAYS, shape_px[0] // step_px, shape_px[1] // step_px):
        raise OptionError(
            f"the model answers {rays.shape[1]} rays on {rays.shape[2]} x {rays.shape[3]} points for a tile of "
            f"{shape_px[0]} x {shape_px[1]} px; this decoder takes {RAYS} on a grid with the same step both ways"
        )
    return step_px


def _gather(probability: np.ndarray, rays: np.ndarray, step_px: int, threshold: float) -> np.ndarray:
    """Return the candidates (n, 5 + payload) of a tile: probability (y, x), rays (k, y / step_px, x / step_px)."""
    scores = probability[::step_px, ::step_px]
    # without rays there is nothing to paint
    rows, columns = np.nonzero((scores > threshold) & (rays.max(axis=0) > 0))
    if not rows.size:
        return no_candidates(StardistDecoder.payload)
    # along pixel edges, as boxes are
    centres = step_px * np.stack([rows, columns], axis=1) + 0.5
    lengths = np.maximum(rays[:, rows, columns].T, 0).astype(np.float32)
    directions = ray_directions(RAYS)
    along = [lengths * directions[:, axis] for axis in (0, 1)]
    low = np.floor(centres + np.stack([side.min(axis=1) for side in along], axis=1))
    high = np.ceil(centres + np.stack([side.max(axis=1) for side in along], axis=1))
    return np.column_stack((low, high, scores[rows, columns], centres - low, lengths)).astype(np.float32)


def _read_candidates(candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the centres (n, 2) along pixel edges, the rays (n, k) and the scores of candidates."""
    return candidates[:, :2].astype(np.float64) + candidates[:, 5:7], candidates[:, 7:], candidates[:, 4]


def _flip_rays(rays: np.ndarray, axes: tuple[int, ...], step_px: int) -> np.ndarray:
    """Mirror rays (b, k, y, x) along axes of them, into a copy."""
    turned = np.arange(RAYS)
    mirrored = rays
    for axis in axes:
        # along y the angle changes its sign, along x its cosine does
        turned = -turned % RAYS if axis == 2 else (RAYS // 2 - turned) % RAYS
        mirrored = _slide(np.flip(mirrored, axis), axis, step_px)
    return np.array(mirrored[:, turned])


def _slide(rays: np.ndarray, axis: int, step_px: int) -> np.ndarray:
    """Bring mirrored rays, whose points lie step_px - 1 px beyond those of the grid, onto the grid along an axis.

    Between two points they are taken as even, which they are but at the border between cells.
    """
    share = (step_px - 1) / step_px
    first = rays.take([0], axis)
    before = np.concatenate([first, rays.take(np.arange(rays.shape[axis] - 1), axis)], axis)
    return (1 - share) * rays + share * before


DECODER = StardistDecoder()
