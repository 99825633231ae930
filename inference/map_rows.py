"""The last rows of a slide's maps, from which blocks are cut and decoded."""

from __future__ import annotations

import numpy as np

from inference.branches import decode_local, keep_boxes
from inference.manifest import Card
from inference.scale import nearest_px, resize_map_part
from inference.tiling import Band
from postprocess.blocks import Bounds, Decode
from postprocess.objects import Labels, split_disconnected


class MapRows:
    """The last rows of the maps, from which blocks are cut; bounds are in px of the image, maps may be smaller.

    Parameters
    ----------
    shape_px, map_px
        Height and width of the image and of the maps.
    """

    def __init__(self, shape_px: tuple[int, int], map_px: tuple[int, int], card: Card) -> None:
        self._shape_px, self._map_px, self._card = shape_px, map_px, card
        self._bands: list[Band] = []
        self._boxes = np.empty((0, 5), np.float32)

    def append(self, band: Band) -> None:
        """Add the rows below those that are there."""
        self._bands.append(band)
        self._boxes = np.concatenate([self._boxes, band.boxes])

    def reaches(self, bounds: Bounds) -> bool:
        """Say whether all rows are there that these bounds need."""
        return self.map_bounds(bounds)[2] <= _last_row(self._bands[-1])

    def drop_above(self, bounds: Bounds) -> None:
        """Forget what lies above these bounds."""
        top = self.map_bounds(bounds)[0]
        self._bands = [band for band in self._bands if _last_row(band) > top]
        self._boxes = self._boxes[self._boxes[:, 2] > top]

    def cut(self, bounds: Bounds) -> Decode:
        """Return the decoder of what lies within bounds, or of less; it holds the bands that it needs."""
        y0, x0, y1, x1 = self.map_bounds(bounds)
        bands = [band for band in self._bands if _last_row(band) > y0 and band.start_px[0] < y1]
        boxes = self._boxes[self._inside(self._boxes, (y0, x0, y1, x1))]

        def decode(asked: Bounds) -> Labels:
            top, left, bottom, right = self.map_bounds(asked)
            # copied here, for the bounds that are asked for: blocks that wait would hold all of their margins
            part = np.concatenate([_cut_band(band, (top, left, bottom, right)) for band in bands], axis=1)
            inside = boxes[self._inside(boxes, (top, left, bottom, right))]
            inside -= np.array((top, left, top, left, 0), np.float32)
            labels = decode_local(part, inside[keep_boxes(inside, self._card)], self._card)
            if self._map_px == self._shape_px:
                return labels
            rows, columns = (self._nearest(np.arange(asked[axis], asked[axis + 2]), axis) for axis in (0, 1))
            sure = resize_map_part(part[0], (top, left), asked, self._shape_px, self._map_px)
            inside_px = sure > self._card.decoder["foreground_threshold"]
            enlarged = labels[(rows - top)[:, None], columns - left] * inside_px
            return split_disconnected(enlarged, self._card.decoder["min_cell_px"])

        return decode

    def _inside(self, boxes: np.ndarray, bounds: Bounds) -> np.ndarray:
        """Which boxes have their centre within bounds of the maps; one beyond the image counts as at its border."""
        y, x = (np.clip((boxes[:, axis] + boxes[:, axis + 2]) / 2, 0, self._map_px[axis] - 0.5) for axis in (0, 1))
        return (y >= bounds[0]) & (y < bounds[2]) & (x >= bounds[1]) & (x < bounds[3])

    def map_bounds(self, bounds: Bounds) -> Bounds:
        """Convert bounds in px of the image to bounds of the px of the maps that are nearest to those within."""
        (y0, y1), (x0, x1) = (
            self._nearest(np.array((bounds[axis], bounds[axis + 2] - 1)), axis).tolist() for axis in (0, 1)
        )
        return y0, x0, y1 + 1, x1 + 1

    def _nearest(self, positions: np.ndarray, axis: int) -> np.ndarray:
        return nearest_px(positions, self._shape_px[axis], self._map_px[axis])


def _last_row(band: Band) -> int:
    return band.start_px[0] + band.maps.shape[1]


def _cut_band(band: Band, bounds: Bounds) -> np.ndarray:
    """Return a view of the maps (m, y, x) of a band within bounds, with no rows where it has none of them."""
    y0, x0, y1, x1 = bounds
    top, left = band.start_px
    return band.maps[:, max(0, y0 - top) : max(0, y1 - top), x0 - left : x1 - left]
