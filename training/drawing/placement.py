"""Where drawn cells go when their place matters: single outlines along a direction, pasted at given centres."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing.layouts import Labels, clean_labels, noise_field
from mosaicell.training.drawing.shapes import Points, Stamp

Shape = tuple[int, int]
Placed = tuple[Stamp, NDArray[np.float64]]


def nucleus_outline(
    diameter_px: float,
    rng: np.random.Generator,
    *,
    aspect: float,
    angle: float,
    bend: float = 0.0,
    roughness: float = 0.04,
) -> Points:
    """Draw an oval along a given direction, bent to a kidney if asked.

    Parameters
    ----------
    diameter_px : float
        Diameter of the circle with the same area.
    aspect : float
        Length over width.
    angle : float
        Direction of the length in radians, from x towards y.
    bend : float
        Sag over the half width; 0 is straight, 0.8 a kidney.
    roughness : float
        Size of the harmonics over the mean radius.

    Returns
    -------
    outline : (n, 2) float64 (y, x), centred near the origin.
    """
    turn = np.linspace(0, 2 * np.pi, max(18, int(1.1 * diameter_px)), endpoint=False)
    k = np.arange(2, 6)[:, None]
    harmonics = rng.normal(0, roughness, k.shape) * (2 / k) ** 0.7 * np.cos(k * turn + rng.uniform(0, 6.3, k.shape))
    radius = 1 + harmonics.sum(axis=0)
    along, across = radius * np.cos(turn) * np.sqrt(aspect), radius * np.sin(turn) / np.sqrt(aspect)
    across = across + bend / np.sqrt(aspect) * (along**2 / aspect - 0.5)
    area = 0.5 * abs(np.dot(along, np.roll(across, 1)) - np.dot(across, np.roll(along, 1)))
    y = along * np.sin(angle) + across * np.cos(angle)
    x = along * np.cos(angle) - across * np.sin(angle)
    return np.stack([y, x], axis=1) * diameter_px * np.sqrt(np.pi / 4 / area)


def settle(
    shape_px: Shape, candidates: Iterable[Placed], max_overlap: float, blocked: NDArray[np.bool_] | None = None
) -> Labels:
    """Paste stamps at given places, in order; one that would lose too much to earlier cells is left out.

    Parameters
    ----------
    candidates : iterable of (stamp, centre)
        Centres as (y, x) in px; they may lie outside the image.
    max_overlap : float
        Fraction of a stamp that earlier cells may cover; the covered part stays theirs.
    blocked : (y, x) bool, optional
        Where no cell may have its centre.

    Returns
    -------
    labels : (y, x) uint32
        Cleaned as by `clean_labels`; possibly empty.
    """
    labels = np.zeros(shape_px, np.uint32)
    for label, (stamp, centre) in enumerate(candidates, 1):
        row, column = int(centre[0]), int(centre[1])
        inside = 0 <= row < shape_px[0] and 0 <= column < shape_px[1]
        if blocked is not None and inside and blocked[row, column]:
            continue
        top, left = round(centre[0] - stamp.shape[0] / 2), round(centre[1] - stamp.shape[1] / 2)
        y, x = max(top, 0), max(left, 0)
        window = labels[y : max(y, top + stamp.shape[0]), x : max(x, left + stamp.shape[1])]
        if not window.size:
            continue
        part = stamp[y - top : y - top + window.shape[0], x - left : x - left + window.shape[1]] > 0
        free = part & (window == 0)
        if np.count_nonzero(part) - np.count_nonzero(free) <= max_overlap * np.count_nonzero(stamp):
            window[free] = label
    return clean_labels(labels)


def count_cells(shape_px: Shape, diameter_px: float, coverage: float, largest: int = 1100) -> int:
    """Count the cells that cover a share of the image; `largest` is the limit for 448 x 448 px."""
    area = shape_px[0] * shape_px[1]
    return max(3, int(min(coverage * area / (np.pi / 4 * diameter_px**2), largest * area / 448**2)))


def draw_places(shape_px: Shape, diameter_px: float, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw centres: even, or gathered in thick regions of random size."""
    size = np.array(shape_px)
    centres = rng.uniform(-0.3 * diameter_px, size + 0.3 * diameter_px, (4 * count, 2))
    field = noise_field(shape_px, rng.uniform(3, 12) * diameter_px, rng)
    y, x = np.clip(centres, 0, size - 1).astype(int).T
    weight = np.exp(rng.choice([0.0, rng.uniform(0.5, 4)]) * np.clip(field[y, x], -2, 2))
    return centres[rng.choice(len(centres), count, replace=False, p=weight / weight.sum())]


def gather_places(
    shape_px: Shape, reach_px: float, count: int, clusters: int, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Draw centres one after another, most a cell's width away from one before."""
    places: list[NDArray[np.float64]] = []
    for _ in range(count):
        place = rng.uniform(-0.3 * reach_px, np.array(shape_px) + 0.3 * reach_px)
        if len(places) >= clusters > 0 and rng.random() < 0.85:
            turn = rng.uniform(0, 2 * np.pi)
            step = reach_px * rng.uniform(0.7, 1.1) * np.array([np.sin(turn), np.cos(turn)])
            place = np.clip(places[int(rng.integers(len(places)))] + step, 0, shape_px)
        places.append(place)
    return places
