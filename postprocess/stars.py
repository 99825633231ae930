"""Star-convex polygons: a centre and the distances from it to the outline along rays of even angles.

Ray k of n points at the angle 2 pi k / n: dy is its sine, dx its cosine, so ray 0 runs along +x and, in images, whose
rows count downwards, ray n / 4 points down. Centres are (y, x) in px along pixel edges, as boxes are: the centre of
pixel (3, 5) is (3.5, 5.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.suppression import LARGEST_PX, Flags, Floats, Indices

#: so many polygons are measured at a time
CHUNK = 2048
#: rays of which neighbours are half a turn apart or more enclose nothing
FEWEST_RAYS = 3


@dataclass(frozen=True)
class Stars:
    """Star-convex polygons.

    Attributes
    ----------
    centres
        float64 (n, 2) as (y, x) in px along pixel edges.
    rays
        float64 (n, k) in px, 0 or more.
    """

    centres: Floats
    rays: Floats

    def __len__(self) -> int:
        return len(self.centres)

    def take(self, indices: Indices | Flags | slice) -> Stars:
        """Return some of the polygons."""
        return Stars(self.centres[indices], self.rays[indices])

    def spokes(self) -> Floats:
        """Return the corners (n, k, 2) as seen from the centres, (dy, dx) in px."""
        return self.rays[:, :, None] * ray_directions(self.rays.shape[1])

    def corners(self) -> Floats:
        """Return the corners (n, k, 2) as (y, x) in px along pixel edges."""
        return self.centres[:, None] + self.spokes()


def ray_directions(count: int) -> Floats:
    """Return the unit vectors (count, 2), (dy, dx), of so many rays."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)


def checked_stars(centres: NDArray[np.floating], rays: NDArray[np.floating]) -> Stars:
    """Return polygons of centres (n, 2) and rays (n, k).

    Raises
    ------
    ValueError
        When the arrays do not fit, rays are fewer than three or negative, or a number is not finite.
    """
    middles, lengths = np.asarray(centres, np.float64), np.asarray(rays, np.float64)
    if middles.ndim != 2 or middles.shape[1] != 2 or lengths.ndim != 2 or len(lengths) != len(middles):
        raise ValueError(f"expected centres (n, 2) and rays (n, k), got {middles.shape} and {lengths.shape}")
    if lengths.shape[1] < FEWEST_RAYS:
        raise ValueError(f"a polygon needs {FEWEST_RAYS} rays or more, got {lengths.shape[1]}")
    if not ((np.abs(middles) <= LARGEST_PX).all() and (lengths >= 0).all() and (lengths <= LARGEST_PX).all()):
        raise ValueError(f"centres and rays must be finite, at most {LARGEST_PX:.0f} px, and rays not negative")
    return Stars(middles, lengths)


@dataclass(frozen=True)
class Extents:
    """How far polygons reach, all from their centres.

    Attributes
    ----------
    boxes
        float64 (n, 4), the boxes (y0, x0, y1, x1) around them in px along pixel edges.
    areas
        (n,) in px.
    middles
        (n, 2): points (y, x) inside, about which the circles below lie.
    inner_px, outer_px
        (n,): radii of a circle that lies inside the polygon and of one around it.
    """

    boxes: Floats
    areas: Floats
    middles: Floats
    inner_px: Floats
    outer_px: Floats


def measure_extents(stars: Stars) -> Extents:
    """Measure how far polygons reach, some at a time."""
    parts = [_measure(stars.take(slice(first, first + CHUNK))) for first in range(0, max(1, len(stars)), CHUNK)]
    columns = zip(*parts, strict=True)
    return Extents(*(np.concatenate(column) for column in columns))


def _measure(stars: Stars) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    spokes = stars.spokes()
    y, x = spokes[..., 0], spokes[..., 1]
    low, high = spokes.min(axis=1, initial=np.inf), spokes.max(axis=1, initial=-np.inf)
    following = np.roll(spokes, -1, axis=1)
    next_y, next_x = following[..., 0], following[..., 1]
    # twice the areas of the triangles between the centre and the edges, none of them negative
    wedges = x * next_y - y * next_x
    doubled = wedges.sum(axis=1)
    centroids = np.stack([((y + next_y) * wedges).sum(axis=1), ((x + next_x) * wedges).sum(axis=1)], axis=1)
    centroids /= 3 * np.where(doubled > 0, doubled, 1)[:, None]
    # A bent polygon has its centroid outside; its centre lies inside.
    middles = np.where(_contains(stars, spokes, centroids)[:, None], centroids, 0.0)
    dy, dx = next_y - y, next_x - x
    to_y, to_x = middles[:, :1] - y, middles[:, 1:] - x
    squared = dy * dy + dx * dx
    along = np.clip((to_y * dy + to_x * dx) / np.where(squared > 0, squared, 1), 0, 1)
    nearest = (to_y - along * dy) ** 2 + (to_x - along * dx) ** 2
    furthest = to_y * to_y + to_x * to_x
    return (
        np.concatenate([stars.centres + low, stars.centres + high], axis=1),
        doubled / 2,
        stars.centres + middles,
        np.sqrt(nearest.min(axis=1)),
        np.sqrt(furthest.max(axis=1)),
    )


def _contains(stars: Stars, spokes: Floats, points: Floats) -> Flags:
    """Say of each polygon whether it holds a point, (dy, dx) from its centre."""
    count = stars.rays.shape[1]
    turn = np.arctan2(points[:, 0], points[:, 1]) / (2 * np.pi)
    before = np.floor(turn * count).astype(np.intp) % count
    rows = np.arange(len(points))
    start, end = spokes[rows, before], spokes[rows, (before + 1) % count]
    edge, to = end - start, points - start
    return edge[:, 1] * to[:, 0] - edge[:, 0] * to[:, 1] > 0
