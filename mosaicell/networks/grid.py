"""Where the pixels of an image lie among those of its maps, which a network made of the image resized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mosaicell.networks.scale import interpolate, nearest_px
from mosaicell.postprocess.blocks import Bounds
from mosaicell.postprocess.objects import Labels


@dataclass(frozen=True)
class Grid:
    """Pixels of an image and those of its maps; bounds are (y0, x0, y1, x1) in px of the image, all of it or a part.

    Attributes
    ----------
    shape_px, map_px
        Height and width of the image and of the maps.
    """

    shape_px: tuple[int, int]
    map_px: tuple[int, int]

    @property
    def is_one(self) -> bool:
        """Whether the maps have the pixels of the image."""
        return self.shape_px == self.map_px

    @property
    def whole(self) -> Bounds:
        """Bounds of the image."""
        return (0, 0, *self.shape_px)

    def map_bounds(self, bounds: Bounds) -> Bounds:
        """Return the bounds of all pixels of the maps that lie within bounds of the image, if only in part."""
        (h, w), (tall, wide) = self.shape_px, self.map_px
        y0, x0, y1, x1 = bounds
        return y0 * tall // h, x0 * wide // w, -(-y1 * tall // h), -(-x1 * wide // w)

    def to_image(self, labels: Labels, bounds: Bounds) -> Labels:
        """Bring labels (y, x) in px of the maps, within `map_bounds(bounds)`, to px of the image, by nearest ones."""
        corner = self.map_bounds(bounds)[:2]
        return _pick(labels, corner, bounds, self.shape_px, self.map_px)

    def to_maps(self, labels: Labels, bounds: Bounds) -> Labels:
        """Bring labels (y, x) in px of the image, within bounds, to px of the maps within `map_bounds(bounds)`."""
        return _pick(labels, bounds[:2], self.map_bounds(bounds), self.map_px, self.shape_px)

    def resize_map(self, plane: np.ndarray, bounds: Bounds) -> np.ndarray:
        """Bring a map float32 (y, x), within `map_bounds(bounds)`, to px of the image, bilinear."""
        return interpolate(plane, self.map_bounds(bounds)[:2], bounds, self.shape_px, self.map_px)


def _pick(
    labels: Labels,
    corner: tuple[int, int],
    bounds: Bounds,
    shape_px: tuple[int, int],
    source_px: tuple[int, int],
) -> Labels:
    """Return labels within bounds of one grid from those of another one that begin at `corner`."""
    rows, columns = (
        np.clip(
            nearest_px(np.arange(bounds[axis], bounds[axis + 2]), shape_px[axis], source_px[axis]) - corner[axis],
            0,
            labels.shape[axis] - 1,
        )
        for axis in (0, 1)
    )
    return labels[rows[:, None], columns]
