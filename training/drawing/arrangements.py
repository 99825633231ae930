"""Whole images of cells of one kind: which shapes, how large, how many, how close together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mosaicell.training.drawing.layouts import Labels, clean_labels, grow, noise_field, scatter, tessellate
from mosaicell.training.drawing.shapes import (
    Points,
    Stamp,
    angular_outline,
    blob_outline,
    branched_stamp,
    centreline,
    crenated_outline,
    draw_stamp,
    spiked_outline,
)
from mosaicell.training.drawing.spindles import Spindle, contest

Shape = tuple[int, int]


def cells_for(shape_px: Shape, diameter_px: float, coverage: float) -> int:
    """Count the cells that cover a share of the image, at most one per 250 px to bound the time."""
    area = shape_px[0] * shape_px[1]
    return max(1, int(min(coverage * area / (np.pi / 4 * diameter_px**2), area / 250)))


def arrange_rods(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out rod-shaped bacteria: scattered, or in colonies of bent rows."""
    aspect = rng.uniform(1.8, 5)
    width = max(4.0, diameter_px * np.sqrt(np.pi / 4 / aspect))
    length = max(width * 1.2, np.pi / 4 * diameter_px**2 / width)
    lines: list[Points] = []
    if rng.random() < 0.65:
        for _ in range(int(rng.integers(1, 4))):
            centre = rng.uniform(0.15, 0.85, 2) * shape_px
            size = rng.uniform(0.15, 0.5) * min(shape_px) * rng.uniform(0.6, 1.6, 2)
            lines += _colony(centre, np.maximum(size, 1.5 * length), width, length, rng)
        lines += _loose_rods(shape_px, width, length, int(rng.integers(0, 8)), rng)
    else:
        count = cells_for(shape_px, diameter_px, rng.uniform(0.03, 0.3))
        lines += _loose_rods(shape_px, width, length, count, rng, bend=rng.uniform(0, 1))
    return grow(shape_px, lines, width / 2 * rng.uniform(0.88, 1.1, len(lines)))


def _colony(
    centre: np.ndarray, size: np.ndarray, width: float, length: float, rng: np.random.Generator
) -> list[Points]:
    """Lay rods end to end in rows, in a few domains of their own direction, then bend the whole colony."""
    reach = float(size.max()) * 1.3
    domains = rng.uniform(-0.7, 0.7, (int(rng.integers(1, 7)), 2)) * size
    turns = rng.uniform(0, np.pi) + rng.normal(0, rng.uniform(0.1, 0.8), len(domains))
    gap, edge, loose = width * rng.uniform(1.0, 1.25), rng.uniform(0, 6.3, 3), rng.uniform(0.02, 0.6)
    wave = rng.uniform(4, 14) * width
    bend, tilt, missing = wave * rng.uniform(0, 0.6), rng.uniform(0, 0.12), rng.uniform(0, 0.15)
    taken: set[tuple[int, int]] = set()
    lines: list[Points] = []
    for domain, turn in enumerate(turns):
        along, across = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
        for row in np.arange(-reach, reach, gap):
            longs = length * rng.uniform(0.55, 1.4, int(2 * reach / length) + 2)
            ends = -reach - rng.uniform(0, length) + np.cumsum(longs + width * rng.uniform(0.02, loose, len(longs)))
            middles = row * across + (ends - longs / 2)[:, None] * along
            angles = np.arctan2(middles[:, 0], middles[:, 1])[:, None]
            ragged = 1 + 0.2 * np.sin(np.array([2, 3, 5]) * angles + edge).sum(axis=1)
            own = ((middles[:, None] - domains) ** 2).sum(axis=2).argmin(axis=1) == domain
            kept = own & (np.hypot(*(middles / size).T) < ragged) & (rng.random(len(longs)) > missing)
            for middle, long in zip(middles[kept], longs[kept], strict=True):
                steps = np.linspace(-0.5, 0.5, 3 + int(2 * long / width))[:, None] * max(2.0, long - width)
                line = middle + steps * (along + rng.normal(0, tilt) * across)
                line = line + bend * np.sin(line[:, ::-1] / wave + edge[:2]) + centre
                _add_free(lines, line, taken, 0.65 * width)
    return lines


def _add_free(lines: list[Points], line: Points, taken: set[tuple[int, int]], grid_px: float) -> bool:
    """Add a line where none of those before runs within about one grid width of it."""
    cells = set(map(tuple, np.floor(line / grid_px).astype(int)))
    if cells & taken:
        return False
    taken |= cells
    lines.append(line)
    return True


def _loose_rods(
    shape_px: Shape, width: float, length: float, count: int, rng: np.random.Generator, bend: float = 0.2
) -> list[Points]:
    """Scatter single rods and pairs that have just divided, none across another."""
    taken: set[tuple[int, int]] = set()
    lines: list[Points] = []
    for _ in range(count):
        long = length * rng.uniform(0.6, 1.4)
        start = rng.uniform(0, shape_px)
        angle, curve = rng.uniform(0, 2 * np.pi), rng.normal(0, bend)
        pieces = 2 if rng.random() < 0.25 else 1
        for _ in range(pieces):
            line = start + centreline(max(2.0, long - width), rng, angle=angle, bend=curve)
            if not _add_free(lines, line, taken, width):
                break
            direction = np.array([np.sin(angle + curve), np.cos(angle + curve)])
            start, angle = line[-1] + direction * width * 1.05, angle + curve + rng.normal(0, 0.2)
    return lines


def arrange_filaments(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out long curved filaments, often among bent short cells."""
    width = float(np.clip(diameter_px / rng.uniform(3, 6), 4, 12))
    length = np.pi / 4 * diameter_px**2 / width
    wiggle, bend = rng.uniform(0.1, 0.9), rng.uniform(0, 1.2)
    short = rng.uniform(0, 0.6)
    taken: set[tuple[int, int]] = set()
    lines: list[Points] = []
    for _ in range(cells_for(shape_px, diameter_px, rng.uniform(0.06, 0.3))):
        start, angle = rng.uniform(0, shape_px), rng.uniform(0, 2 * np.pi)
        if rng.random() < short:
            long, turn, sway = width * rng.uniform(3, 7), rng.normal(0, 1.2), 0.0
        else:
            long, turn, sway = length * rng.uniform(0.5, 1.6), rng.normal(0, bend), wiggle
        line = start + centreline(long, rng, angle=angle, bend=turn, wiggle=sway)
        line -= (line.mean(axis=0) - start) * rng.uniform(0, 1)
        _add_free(lines, line, taken, width)
    return grow(shape_px, lines, width / 2 * rng.uniform(0.85, 1.15, len(lines)))


def arrange_yeast(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out round to oval cells, single or in packed colonies, some with buds."""
    size = np.array(shape_px)
    clusters, packed = int(rng.integers(1, 5)), rng.choice([rng.uniform(0.3, 0.9), 0.98])
    count = cells_for(shape_px, diameter_px, rng.uniform(0.05, 0.45))
    spread, oval, buds = rng.uniform(0.08, 0.3), rng.uniform(0, 0.7), rng.uniform(0, 0.4)
    compact = rng.choice([1.0, 2.5])
    cells: list[tuple[float, float, float]] = []
    # Buckets as wide as two large cells, so that all neighbours lie in the nine around a point.
    buckets: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for _ in range(count):
        radius = diameter_px / 2 * float(np.clip(1 + spread * rng.normal(), 0.4, 1.5))
        for _ in range(14):
            y, x = rng.uniform(0, size)
            if len(cells) >= clusters and rng.random() < packed:
                # Preferring the oldest cells fills a colony from its middle.
                near_y, near_x, near_radius = cells[int(len(cells) * rng.random() ** compact)]
                if rng.random() < buds:
                    radius = near_radius * rng.uniform(0.4, 0.7)
                away, turn = (radius + near_radius) * rng.uniform(0.94, 1.02), rng.uniform(0, 2 * np.pi)
                y, x = near_y + away * np.sin(turn), near_x + away * np.cos(turn)
            row, column = int(y // (1.5 * diameter_px)), int(x // (1.5 * diameter_px))
            around = [buckets.get((row + i, column + j), []) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            free = all(np.hypot(v - y, u - x) > 0.92 * (r + radius) for bucket in around for v, u, r in bucket)
            if free and -radius < y < size[0] + radius and -radius < x < size[1] + radius:
                cells.append((y, x, radius))
                buckets.setdefault((row, column), []).append(cells[-1])
                break
    centres, radii = np.array(cells)[:, :2], np.array(cells)[:, 2]
    angle, half = rng.uniform(0, np.pi, len(radii)), rng.uniform(0, oval, len(radii)) * radii * 0.5
    axes = zip(centres, angle, radii + 0.6 * half, radii - 0.4 * half, strict=True)
    cells_drawn = [(n, Spindle(c, turn, long, wide, taper=0)) for n, (c, turn, long, wide) in enumerate(axes, 1)]
    return contest(shape_px, cells_drawn, rng, waviness_px=0)


def arrange_spread_cells(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out adherent animal cells: stars, spindles, amoebae, a few round ones, sparse or touching."""
    habit = rng.dirichlet([0.8, 1.0, 1.0, 0.6, 0.2, 0.35])
    spread = rng.uniform(0.1, 0.35)

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(spread * rng.normal()))
        kind = int(rng.choice(6, p=habit))
        if kind == 0:
            tips, reach = int(rng.integers(3, 7)), rng.uniform(0.5, 2.5)
            return draw_stamp(spiked_outline(d, rng, tips=tips, reach=reach, aspect=rng.uniform(1, 2)))
        if kind == 1:
            return draw_stamp(spiked_outline(d, rng, tips=2, reach=rng.uniform(0.8, 3.5), aspect=rng.uniform(1, 2.5)))
        if kind == 2:
            return draw_stamp(blob_outline(d, rng, aspect=rng.uniform(1, 2), roughness=0.16, order=9))
        if kind == 3:
            return draw_stamp(angular_outline(d, rng, corners=int(rng.integers(3, 7)), aspect=rng.uniform(1, 2)))
        if kind == 4:
            return branched_stamp(d, rng)
        return draw_stamp(blob_outline(0.55 * d, rng, aspect=rng.uniform(1, 1.15), roughness=0.02))

    count = cells_for(shape_px, diameter_px, rng.uniform(0.08, 0.7))
    clusters = 0 if rng.random() < 0.4 else int(rng.integers(1, 6))
    return scatter(shape_px, draw, count, rng, clusters=clusters, max_overlap=rng.uniform(0.02, 0.2))


def arrange_branched(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out neurons or glia: small bodies with long processes that cross each other."""
    count = cells_for(shape_px, diameter_px, rng.uniform(0.06, 0.3))
    return scatter(shape_px, lambda: branched_stamp(diameter_px, rng), count, rng, max_overlap=0.12)


def arrange_layer(shape_px: Shape, diameter_px: float, rng: np.random.Generator, *, raggedness: float = 0.14) -> Labels:
    """Lay out a confluent layer of polygonal cells, sometimes torn into islands.

    `raggedness` bounds how far the sides stray from straight lines, over the diameter.
    """
    labels = tessellate(
        shape_px,
        diameter_px,
        rng,
        regularity=int(rng.integers(0, 4)),
        stretch=rng.uniform(1, 2),
        waviness=0.02 + raggedness * rng.random() ** 2,
    )
    if rng.random() < 0.35:
        centres_kept = noise_field(shape_px, rng.uniform(2, 5) * diameter_px, rng) > rng.uniform(-1, 0.2)
        # Whole cells go where most of them lies in a gap, so that the tear follows their sides.
        count = int(labels.max()) + 1
        area = np.bincount(labels.ravel(), minlength=count)
        kept = np.bincount(labels.ravel(), centres_kept.ravel(), count) > 0.5 * area
        if kept[1:].any():
            labels = clean_labels(np.where(kept[labels], labels, 0))
    return labels


def arrange_nuclei(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out round to oval nuclei, sparse to crowded."""
    longest, rough, spread = rng.uniform(1.1, 2.6), rng.uniform(0.02, 0.1), rng.uniform(0.05, 0.35)

    def draw() -> Stamp:
        d = max(5.0, diameter_px * float(np.exp(spread * rng.normal())))
        return draw_stamp(blob_outline(d, rng, aspect=rng.uniform(1, longest), roughness=rough))

    count = cells_for(shape_px, diameter_px, rng.uniform(0.08, 0.65))
    clusters = 0 if rng.random() < 0.7 else int(rng.integers(1, 9))
    return scatter(shape_px, draw, count, rng, clusters=clusters, max_overlap=rng.uniform(0, 0.15))


def arrange_round(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out round cells in suspension: even sizes, some oval, thorny or bent, in chains and clumps."""
    thorny = 0.0 if rng.random() < 0.7 else rng.uniform(0.2, 0.8)

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(0.08 * rng.normal()))
        if rng.random() < thorny:
            return draw_stamp(crenated_outline(0.85 * d, rng))
        return draw_stamp(blob_outline(d, rng, aspect=1 + abs(rng.normal(0, 0.15)), roughness=0.03))

    count = cells_for(shape_px, diameter_px, rng.uniform(0.1, 0.6))
    clusters = 0 if rng.random() < 0.3 else int(rng.integers(3, 12))
    return scatter(shape_px, draw, count, rng, clusters=clusters, max_overlap=0.15)


def arrange_flakes(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out large flat squamous cells with angular outlines, overlapping in clumps."""

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(0.2 * rng.normal()))
        if rng.random() < 0.25:
            return draw_stamp(blob_outline(d, rng, aspect=rng.uniform(1, 1.5), roughness=0.07, order=8))
        return draw_stamp(angular_outline(d, rng, corners=int(rng.integers(4, 9)), aspect=rng.uniform(1, 1.4)))

    count = cells_for(shape_px, diameter_px, rng.uniform(0.25, 1))
    return scatter(shape_px, draw, count, rng, clusters=int(rng.integers(1, 4)), max_overlap=0.3)


def arrange_capsules(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out long ovals such as embryos and ciliates."""
    longest = rng.uniform(1.6, 3)

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(0.08 * rng.normal()))
        return draw_stamp(blob_outline(d, rng, aspect=rng.uniform(0.8, 1) * longest, roughness=0.02))

    count = cells_for(shape_px, diameter_px, rng.uniform(0.2, 0.8))
    return scatter(shape_px, draw, count, rng, clusters=int(rng.integers(1, 5)), max_overlap=0.04)


Arrangement = Callable[[Shape, float, np.random.Generator], Labels]
