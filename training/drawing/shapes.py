"""Outlines, stamps and centrelines of single drawn cells.

An *outline* is a closed polygon, a *stamp* one cell filled and cut out tightly, a *centreline* the axis of a
rod or filament. All lie at the origin; `training.drawing.layouts` puts them into an image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Stamp = NDArray[np.uint8]
Points = NDArray[np.float64]

SUBPIXEL_BITS = 4


def draw_stamp(outline: Points) -> Stamp:
    """Fill one closed outline.

    Parameters
    ----------
    outline : (n, 2) float64
        Corners as (y, x) in px, any origin.

    Returns
    -------
    stamp : (h, w) uint8
        1 inside, 0 outside, cut to the outline with a frame of one pixel.
    """
    low = np.floor(outline.min(axis=0)) - 1
    height, width = (np.ceil(outline.max(axis=0)) - low + 2).astype(int)
    stamp = np.zeros((height, width), np.uint8)
    corners = np.round((outline - low)[:, ::-1] * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(stamp, [corners], 1, shift=SUBPIXEL_BITS)
    return stamp


def blob_outline(
    diameter_px: float,
    rng: np.random.Generator,
    *,
    aspect: float = 1.0,
    roughness: float = 0.05,
    order: int = 4,
) -> Points:
    """Draw a smooth closed outline from random harmonics of the radius.

    Parameters
    ----------
    diameter_px : float
        Diameter of the circle with the same area.
    aspect : float
        Length over width.
    roughness : float
        Size of the harmonics over the mean radius; 0 is an ellipse, above 0.3 an amoeba.
    order : int
        Highest harmonic; high ones ruffle the edge.

    Returns
    -------
    outline : (n, 2) float64, centred at the origin, in a random direction.
    """
    angle = np.linspace(0, 2 * np.pi, max(24, int(1.2 * diameter_px)), endpoint=False)
    k = np.arange(2, order + 1)[:, None]
    size = rng.normal(0, roughness, k.shape) * (2 / k) ** 0.8
    radius = 1 + (size * np.cos(k * angle + rng.uniform(0, 2 * np.pi, k.shape))).sum(axis=0)
    return _polar(np.maximum(radius, 0.25), angle, diameter_px, aspect, rng)


def spiked_outline(diameter_px: float, rng: np.random.Generator, *, tips: int, reach: float, aspect: float) -> Points:
    """Draw a star-like outline: a rough body drawn out into a few concave-sided tips.

    Parameters
    ----------
    tips : int
        Number of tips; two opposite ones make a spindle.
    reach : float
        Length of the longest tip over the radius of the body.

    Returns
    -------
    outline : (n, 2) float64, centred at the origin; its area is that of a circle of `diameter_px`.
    """
    angle = np.linspace(0, 2 * np.pi, max(64, int(4 * diameter_px)), endpoint=False)
    k = np.arange(2, 14)[:, None]
    ruffles = rng.normal(0, rng.uniform(0.05, 0.3), k.shape) / k * np.cos(k * angle + rng.uniform(0, 6.3, k.shape))
    radius = 1 + ruffles.sum(axis=0)
    # Two tips stay opposite; more of them leave in any direction.
    loose = 0.15 if tips == 2 else 0.45
    for tip in range(tips):
        at = 2 * np.pi * (tip + rng.uniform(-loose, loose)) / tips
        away = np.abs((angle - at + np.pi) % (2 * np.pi) - np.pi)
        width = rng.uniform(0.1, 0.5)
        radius += reach * rng.uniform(0.2, 1) * np.exp(-((away / width) ** rng.uniform(0.8, 1.6)))
    return _polar(np.maximum(radius, 0.2), angle, diameter_px, aspect, rng)


def anchored_outline(
    diameter_px: float, rng: np.random.Generator, *, anchors: int, fan: float, aspect: float
) -> Points:
    """Draw a cell that hangs between points where it holds on to the ground.

    Parameters
    ----------
    anchors : int
        Number of attachment points, at least 2; the edge between two of them is an arc.
    fan : float
        Share of the arcs that bulge outwards, as the leading edge of a crawling cell does; the others are hollow.

    Returns
    -------
    outline : (n, 2) float64, centred near the origin, in a random direction.
    """
    at = np.sort(2 * np.pi * (np.arange(anchors) + rng.uniform(-0.3, 0.3, anchors)) / anchors)
    far = rng.uniform(0.5, 1.3, anchors)
    tips = far[:, None] * np.stack([np.sin(at), np.cos(at)], axis=1)
    width, steps = rng.uniform(0.06, 0.2), np.linspace(0, 1, max(16, int(diameter_px)))[:, None]
    parts = []
    for index in range(anchors):
        start, end = tips[index], tips[(index + 1) % anchors]
        middle = at[index] + ((at[(index + 1) % anchors] - at[index]) % (2 * np.pi)) / 2
        outwards = np.array([np.sin(middle), np.cos(middle)])
        pull = float(far.mean()) * (rng.uniform(1.2, 2) if rng.random() < fan else rng.uniform(0.15, 0.6))
        # Tips are blunt: each arc begins a little beside its anchor.
        start, end = start + width * (outwards - 0.3 * start), end + width * (outwards - 0.3 * end)
        parts.append((1 - steps) ** 2 * start + 2 * steps * (1 - steps) * pull * outwards + steps**2 * end)
    y, x = np.concatenate(parts).T
    ripple = 1 + rng.uniform(0, 0.03) * np.sin(np.arange(len(y)) * rng.uniform(0.1, 0.5) + rng.uniform(0, 6.3))
    return _polar(np.hypot(y, x) * ripple, np.arctan2(y, x), diameter_px, aspect, rng)


def angular_outline(diameter_px: float, rng: np.random.Generator, *, corners: int, aspect: float) -> Points:
    """Draw a flat cell with corners, nearly straight sides and a slightly ragged edge."""
    angle = np.linspace(0, 2 * np.pi, max(48, int(3 * diameter_px)), endpoint=False)
    at = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
    far = rng.uniform(0.75, 1.15, corners)
    y, x = (np.interp(angle, at, far * f(at), period=2 * np.pi) for f in (np.sin, np.cos))
    k = np.arange(3, 20)[:, None]
    ragged = rng.normal(0, 0.1, k.shape) / k * np.cos(k * angle + rng.uniform(0, 6.3, k.shape))
    return _polar(np.hypot(y, x) + ragged.sum(axis=0), np.arctan2(y, x), diameter_px, aspect, rng)


def crenated_outline(diameter_px: float, rng: np.random.Generator) -> Points:
    """Draw a round cell with regular blunt thorns, as red cells have in salty medium."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 1 + rng.uniform(0.06, 0.16) * np.cos(rng.integers(8, 15) * angle + rng.normal(0, 0.3, 120).cumsum() / 6)
    return _polar(radius, angle, diameter_px, rng.uniform(1, 1.2), rng)


def _polar(radius: Points, angle: Points, diameter_px: float, aspect: float, rng: np.random.Generator) -> Points:
    y, x = radius * np.sin(angle) / np.sqrt(aspect), radius * np.cos(angle) * np.sqrt(aspect)
    turn = rng.uniform(0, 2 * np.pi)
    y, x = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    area = 0.5 * abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1)))
    return np.stack([y, x], axis=1) * diameter_px * np.sqrt(np.pi / 4 / area)


def branched_stamp(diameter_px: float, rng: np.random.Generator) -> Stamp:
    """Draw a small body with long thin processes that fork, as neurons and glia have.

    `diameter_px` is that of the circle with the area of body and processes together, kept within about half.
    """
    body_px = 0.75 * diameter_px
    reach = int(3.2 * diameter_px) + 4
    stamp = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    tips, stretch = int(rng.integers(2, 6)), rng.uniform(1, 1.6)
    body = spiked_outline(body_px, rng, tips=tips, reach=0.5, aspect=stretch) + reach
    cv2.fillPoly(stamp, [np.round(body[:, ::-1]).astype(np.int32)], 1)
    thick = max(2, round(0.09 * diameter_px))
    wanted = np.pi / 4 * diameter_px**2 - np.count_nonzero(stamp)
    paths = int(rng.integers(2, 5))
    for path in range(paths):
        angle = 2 * np.pi * (path + rng.uniform(0, 0.6)) / paths
        length = min(wanted / thick / paths, 2.2 * diameter_px) * rng.uniform(0.7, 1.5)
        line = centreline(length + body_px / 2, rng, angle=angle, wiggle=0.6)
        # A fork leaves the middle third; the far half is thinner by one pixel.
        fork_at = line[len(line) // 2]
        fork = fork_at + centreline(length * 0.4, rng, angle=angle + rng.choice([-0.7, 0.7]), wiggle=0.5)
        for part, width in (
            (line[: len(line) // 2 + 1], thick),
            (line[len(line) // 2 :], thick - 1),
            (fork, thick - 1),
        ):
            xy = np.round(np.clip(part + reach, 1, 2 * reach - 1)[:, ::-1]).astype(np.int32)
            cv2.polylines(stamp, [xy], False, 1, thickness=max(2, width))
    rows, columns = np.flatnonzero(stamp.any(axis=1)), np.flatnonzero(stamp.any(axis=0))
    return stamp[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def centreline(
    length_px: float, rng: np.random.Generator, *, angle: float, bend: float = 0.0, wiggle: float = 0.0
) -> Points:
    """Draw a curved line from the origin.

    Parameters
    ----------
    angle, bend : float
        Direction at the start and total turn along the line, in radians.
    wiggle : float
        Spread of additional random turns, in radians; they change over about a sixth of the line.

    Returns
    -------
    line : (n, 2) float64 (y, x) points about 2 px apart.
    """
    count = max(2, int(length_px / 2) + 1)
    along = np.linspace(0, 1, count)
    turns = np.interp(along, np.linspace(0, 1, 7), rng.normal(0, 1, 7)) * wiggle
    heading = angle + bend * along + turns
    steps = np.stack([np.sin(heading), np.cos(heading)], axis=1) * length_px / (count - 1)
    steps[0] = 0
    return steps.cumsum(axis=0)
