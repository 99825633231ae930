"""From star-convex polygons to cells: painted by score, then fitted to the foreground (sribdmed paper, section 2.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.growth import grow_labels
from mosaicell.postprocess.numbering import Labels
from mosaicell.postprocess.objects import clean_labels, keep_largest_pieces
from mosaicell.postprocess.painting import paint_polygons


def segment_polygons(
    foreground: NDArray[np.floating],
    centres: NDArray[np.floating],
    rays: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    foreground_threshold: float,
    max_growth_px: int | None = None,
    min_cell_px: int = 1,
    max_hole_fraction: float = 0.0,
) -> Labels:
    """Turn polygons into cells.

    Parameters
    ----------
    foreground : float array (y, x)
        Cell probability, 0 to 1; it counts only where `max_growth_px` is given.
    centres, rays, scores
        One polygon for each cell, as `painting.paint_polygons` takes them.
    foreground_threshold : float
        Foreground is where the probability exceeds this.
    max_growth_px : int or None
        With None, the published rule, cells are the polygons. Otherwise they lose what is not foreground, and take
        foreground that no polygon covers, up to so many px from what they have left.
    min_cell_px : int
        Cells of fewer pixels are dropped.
    max_hole_fraction : float
        As in `objects.fill_holes`.

    Returns
    -------
    uint32 array (y, x)
        Label image, 1..n without gaps, every cell 4-connected.

    Raises
    ------
    ValueError
        When the foreground is no map or holds NaN or infinity, or when the polygons' arrays do not fit.

    Notes
    -----
    A polygon of 32 straight sides cuts the bends of a large cell short, and one predicted from a single pixel is a px
    or two off; the foreground is decided for each pixel. Of a cell that surer ones or the background cut to pieces the
    largest stays.
    """
    foreground = np.asarray(foreground, np.float32)
    if foreground.ndim != 2 or not np.isfinite(foreground).all():
        raise ValueError(f"expected a finite foreground map (y, x), got one of shape {foreground.shape}")
    labels = paint_polygons(centres, rays, scores, (foreground.shape[0], foreground.shape[1]))
    inside = foreground > foreground_threshold
    if max_growth_px is not None:
        labels *= inside
    labels, ranks = keep_largest_pieces(labels, 1)
    if max_growth_px is not None:
        # the numbers of the polygons rise as their scores fall: a pixel between two cells goes to the surer one
        labels = grow_labels(labels, inside, max_growth_px, np.concatenate([[0], ranks]))
    return clean_labels(labels, min_px=min_cell_px, max_hole_fraction=max_hole_fraction)
