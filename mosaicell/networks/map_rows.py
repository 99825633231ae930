"""The last rows of the maps of a branch, from which blocks are cut and decoded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mosaicell.answers.branches import Prediction, decode_part
from mosaicell.networks.grid import Grid
from mosaicell.networks.manifest import Card
from mosaicell.networks.raw import Raw, no_candidates
from mosaicell.networks.tiling import Band
from mosaicell.postprocess.bounds import Bounds

#: decodes the part of an image within bounds
Predict = Callable[[Bounds], Prediction]


class MapRows:
    """The last rows of the maps of a branch; bounds are in px of the image.

    Parameters
    ----------
    grid
        Of the image and the maps.
    card
        The branch's.
    least_px
        Cells of fewer px of the maps are dropped.
    """

    def __init__(self, grid: Grid, card: Card, least_px: int) -> None:
        self._grid, self._card, self._least_px = grid, card, least_px
        self._bands: list[Band] = []
        self._candidates = no_candidates(card.decoder.payload)

    def append(self, band: Band) -> None:
        """Add the rows below those that are there."""
        self._bands.append(band)
        self._candidates = np.concatenate([self._candidates, band.candidates])

    def reaches(self, bounds: Bounds) -> bool:
        """Say whether all rows are there that these bounds need."""
        return bool(self._bands) and self._grid.map_bounds(bounds)[2] <= _last_row(self._bands[-1])

    def drop_above(self, bounds: Bounds) -> None:
        """Forget what lies above these bounds."""
        top = self._grid.map_bounds(bounds)[0]
        self._bands = [band for band in self._bands if _last_row(band) > top]
        self._candidates = self._candidates[self._candidates[:, 2] > top]

    def cut(self, bounds: Bounds) -> Predict:
        """Return the decoder of what lies within bounds, or of less; it holds the bands that it needs."""
        y0, x0, y1, x1 = self._grid.map_bounds(bounds)
        bands = [band for band in self._bands if _last_row(band) > y0 and band.start_px[0] < y1]
        candidates = self._candidates[self._inside(self._candidates, (y0, x0, y1, x1))]

        def decode(asked: Bounds) -> Prediction:
            top, left, bottom, right = self._grid.map_bounds(asked)
            # copied here, for the bounds that are asked for: blocks that wait would hold all of their margins
            part = np.concatenate([_cut_band(band, (top, left, bottom, right)) for band in bands], axis=1)
            inside = candidates[self._inside(candidates, (top, left, bottom, right))]
            inside[:, :4] -= np.array((top, left, top, left), np.float32)
            raw = Raw(part, inside[self._card.keep(inside)])
            if not len(inside) and not part.any():
                # tiles that were not run, of which most of a sparse slide consists
                y0, x0, y1, x1 = asked
                nothing, map_nothing = (np.zeros(side, np.uint32) for side in ((y1 - y0, x1 - x0), part.shape[1:]))
                least_px, kind = self._least_px, self._card.kind
                return Prediction(nothing, 0.0, raw=raw, map_labels=map_nothing, least_px=least_px, kind=kind)
            return decode_part(raw, self._card, self._grid, asked, self._least_px)

        return decode

    def _inside(self, candidates: np.ndarray, bounds: Bounds) -> np.ndarray:
        """Which candidates have their centre within bounds of the maps; one beyond the image is as at its border."""
        map_px = self._grid.map_px
        y, x = (np.clip((candidates[:, axis] + candidates[:, axis + 2]) / 2, 0, map_px[axis] - 0.5) for axis in (0, 1))
        return (y >= bounds[0]) & (y < bounds[2]) & (x >= bounds[1]) & (x < bounds[3])


def _last_row(band: Band) -> int:
    return band.start_px[0] + band.maps.shape[1]


def _cut_band(band: Band, bounds: Bounds) -> np.ndarray:
    """Return a view of the maps (m, y, x) of a band within bounds, with no rows where it has none of them."""
    y0, x0, y1, x1 = bounds
    top, left = band.start_px
    return band.maps[:, max(0, y0 - top) : max(0, y1 - top), x0 - left : x1 - left]
