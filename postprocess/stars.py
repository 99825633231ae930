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
CHUNK = 1024
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
    # corner by corner, each of all polygons: rows of numbers that lie side by side are added up the fastest
    rays = np.ascontiguousarray(stars.rays.T)
    sines, cosines = ray_directions(len(rays)).T[..., None]
    y, x = sines * rays, cosines * rays
    next_y, next_x = np.roll(y, -1, axis=0), np.roll(x, -1, axis=0)
    dy, dx = next_y - y, next_x - x
    # twice the areas of the triangles between the centre and the edges
    wedges = rays * np.roll(rays, -1, axis=0) * np.sin(2 * np.pi / len(rays))
    doubled = wedges.sum(axis=0)
    thrice = 3 * np.where(doubled > 0, doubled, 1)
    centroids = np.stack([((y + next_y) * wedges).sum(axis=0), ((x + next_x) * wedges).sum(axis=0)]) / thrice
    # a bent polygon has its centroid outside; its centre lies inside
    edge = _find_edges(len(rays), centroids), np.arange(len(stars))
    is_inside = dx[edge] * (centroids[0] - y[edge]) > dy[edge] * (centroids[1] - x[edge])
    middles = np.where(is_inside, centroids, 0.0)
    to_y, to_x = middles[0] - y, middles[1] - x
    squared = dy * dy + dx * dx
    along = np.clip((to_y * dy + to_x * dx) / np.where(squared > 0, squared, 1), 0, 1)
    nearest = (to_y - along * dy) ** 2 + (to_x - along * dx) ** 2
    furthest = to_y * to_y + to_x * to_x
    ends = np.stack([y.min(axis=0), x.min(axis=0), y.max(axis=0), x.max(axis=0)], axis=1)
    return (
        np.tile(stars.centres, 2) + ends,
        doubled / 2,
        stars.centres + middles.T,
        np.sqrt(nearest.min(axis=0)),
        np.sqrt(furthest.max(axis=0)),
    )


def _find_edges(count: int, points: Floats) -> Indices:
    """Return of points (2, n), (dy, dx) from a centre, the ray of `count` before each: its edge is the next one's."""
    turn = np.arctan2(*points) / (2 * np.pi)
    return np.floor(turn * count).astype(np.intp) % count
