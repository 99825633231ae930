"""Suppression of star-convex polygons by overlap, for candidates by the hundred thousand (sribdmed paper, section 2.2).

Of two polygons the less sure one falls when they share more than a part of the smaller one's area, as in StarDist
(Schmidt et al. 2018). Most pairs are settled by the boxes, and by circles inside and around the polygons; the rest by
their exact shared area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.overlaps import shared_polygon_areas
from mosaicell.postprocess.stars import Stars, checked_stars, measure_extents
from mosaicell.postprocess.suppression import Flags, Floats, Indices, Rule, Verdict, choose, shared_areas

#: polygons that share less than this part of the smaller one share nothing: it may be the rounding of a sum
LEAST_OVERLAP = 1e-9


def suppress_polygons(
    centres: NDArray[np.floating],
    rays: NDArray[np.floating],
    scores: NDArray[np.floating],
    overlap_threshold: float,
) -> Indices:
    """Choose polygons greedily by score so that no two chosen ones overlap by more than a threshold.

    Parameters
    ----------
    centres : float array (n, 2)
        (y, x) in px.
    rays : float array (n, k)
        Lengths in px, as in `stars`.
    scores : float array (n,)
        Confidences. Equal scores: the polygon that comes first in the arrays wins.
    overlap_threshold : float
        0 to 1. A polygon is suppressed when it and a chosen one share more than this part of the area of the smaller
        of both (published: 0.4).

    Returns
    -------
    intp array (m,)
        Indices of the chosen polygons by falling score.

    Raises
    ------
    ValueError
        When arrays do not fit, hold NaN or infinity, or when the threshold lies outside 0..1.

    Notes
    -----
    StarDist's own code cuts corners off to whole px before it compares; here areas are those of the polygons given, and
    a shift of all of them changes nothing. A polygon without area suppresses nothing and stays.
    """
    stars, confidence = checked_stars(centres, rays), np.asarray(scores, np.float64)
    if confidence.shape != (len(stars),) or not np.isfinite(confidence).all():
        raise ValueError(f"expected {len(stars)} finite scores, got {confidence.shape}")
    if not 0 <= overlap_threshold <= 1:
        raise ValueError(f"a threshold of overlap must lie in 0..1, got {overlap_threshold}")
    order = np.argsort(-confidence, kind="stable")
    overlap = _Overlap(stars.take(order), max(overlap_threshold, LEAST_OVERLAP))
    rule = Rule(overlap.judge, reach=1.0, ratio=0.0, decide=overlap.decide)
    return order[choose(overlap.extents.boxes, rule)]


class _Overlap:
    """Compares pairs of polygons."""

    def __init__(self, stars: Stars, threshold: float) -> None:
        self._stars, self._threshold = stars, threshold
        self.extents = measure_extents(stars)

    def judge(self, early: Indices, late: Indices) -> Verdict:
        """Say of pairs what can be said without looking at their outlines."""
        extents = self.extents
        beaten, is_open = np.zeros(len(early), bool), np.zeros(len(early), bool)
        # the boxes rule out nine of ten
        needed = self._threshold * np.minimum(extents.areas[early], extents.areas[late])
        near = np.flatnonzero(shared_areas(extents.boxes, early, late) > needed)
        early, late, needed = early[near], late[near], needed[near]
        apart = np.hypot(*(extents.middles[early] - extents.middles[late]).T)
        beaten[near] = _lens_areas(extents.inner_px[early], extents.inner_px[late], apart) > needed
        around = _lens_areas(extents.outer_px[early], extents.outer_px[late], apart)
        is_open[near] = ~beaten[near] & (around > needed)
        return Verdict(beaten, is_open)

    def decide(self, early: Indices, late: Indices) -> Flags:
        """Say of pairs whether they share too much."""
        areas = self.extents.areas
        shared = shared_polygon_areas(self._stars, early, late)
        return shared > self._threshold * np.minimum(areas[early], areas[late])


def _lens_areas(one_px: Floats, other_px: Floats, apart_px: Floats) -> Floats:
    """Return the areas that pairs of circles share, of these radii and with their middles so far apart."""
    small, large = np.minimum(one_px, other_px), np.maximum(one_px, other_px)
    areas = np.where(apart_px <= large - small, np.pi * small**2, 0.0)
    crossed = np.flatnonzero((apart_px > large - small) & (apart_px < large + small))
    small, large, apart = small[crossed], large[crossed], apart_px[crossed]
    # the chord lies so far from the middles of the small and of the large circle
    to_small = np.clip((apart**2 + small**2 - large**2) / (2 * apart), -small, small)
    to_large = np.clip(apart - to_small, -large, large)
    areas[crossed] = _segment_areas(small, to_small) + _segment_areas(large, to_large)
    return areas


def _segment_areas(radii_px: Floats, chord_px: Floats) -> Floats:
    """Return the areas of what circles have beyond a chord at this signed distance from their middles."""
    ratio = np.clip(chord_px / radii_px, -1, 1)
    return radii_px**2 * (np.arccos(ratio) - ratio * np.sqrt(1 - ratio**2))
