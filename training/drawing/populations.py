"""Mixed populations of cells: tissue with glands and stroma, smears, marrow, brain slices, neurons.

Unlike the arrangements of one kind of cell, these place every cell by where it lies: nuclei follow the
stroma around them, glands are rings, white cells lie among red ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.training.drawing.layouts import Labels, clean_labels, noise_field
from mosaicell.training.drawing.placement import (
    Placed,
    Shape,
    count_cells,
    draw_places,
    gather_places,
    nucleus_outline,
    settle,
)
from mosaicell.training.drawing.shapes import (
    Points,
    Stamp,
    blob_outline,
    centreline,
    crenated_outline,
    draw_stamp,
    spiked_outline,
)


def arrange_crowded(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out nuclei of uneven size that touch and overlap: ovals, kidneys, dents, plates of dividing cells."""
    spread, rough = rng.uniform(0.08, 0.4), rng.uniform(0.02, 0.09)
    longest, odd = rng.uniform(1.2, 2.2), rng.uniform(0, 0.4)

    def draw() -> Stamp:
        d = max(5.5, diameter_px * float(np.exp(spread * rng.normal())))
        angle, aspect = rng.uniform(0, np.pi), rng.uniform(1, longest)
        if rng.random() > odd:
            return draw_stamp(nucleus_outline(d, rng, aspect=aspect, angle=angle, roughness=rough))
        if rng.random() < 0.3:
            return draw_stamp(nucleus_outline(0.8 * d, rng, aspect=rng.uniform(2.5, 4), angle=angle, roughness=rough))
        bend = rng.uniform(0.3, 1.1)
        return draw_stamp(nucleus_outline(d, rng, aspect=1.2 * aspect, angle=angle, bend=bend, roughness=rough))

    count = count_cells(shape_px, diameter_px, rng.uniform(0.15, 1.3))
    # Small nuclei are many; they share some shapes, mirrored.
    shapes = [draw() for _ in range(min(count, 160))]

    def pick() -> Stamp:
        stamp = shapes[int(rng.integers(len(shapes)))][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        return stamp.T if rng.random() < 0.5 else stamp

    places = draw_places(shape_px, diameter_px, count, rng)
    return settle(shape_px, ((pick(), place) for place in places), rng.choice([0.03, rng.uniform(0.1, 0.4)]))


def arrange_section(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out the nuclei of a tissue section: epithelium, glands around a lumen, streams of spindles, lymphocytes."""
    size = np.array(shape_px)
    direction = rng.uniform(0, np.pi) + rng.uniform(0.1, 1) * noise_field(shape_px, 7 * diameter_px, rng)
    stroma = noise_field(shape_px, rng.uniform(3, 9) * diameter_px, rng) > rng.choice([-9, -0.5, 0.5, 1.2, 9])
    spread, rough, slim = rng.uniform(0.06, 0.28), rng.uniform(0.02, 0.09), rng.uniform(1.6, 4.5)
    plump, immune = rng.uniform(1.1, 1.7), rng.choice([0.0, rng.uniform(0, 0.4)])
    blocked = np.zeros(shape_px, np.uint8)
    rings: list[Placed] = []
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 7))):
            rings += _gland(rng.uniform(0, size), diameter_px, blocked, rng)

    def loose() -> Iterator[Placed]:
        yield from rings
        count = count_cells(shape_px, diameter_px, rng.uniform(0.1, 1.1), 800)
        for place in draw_places(shape_px, diameter_px, count, rng):
            y, x = np.clip(place, 0, size - 1).astype(int)
            d = max(6.0, diameter_px * float(np.exp(spread * rng.normal())))
            if stroma[y, x]:
                angle, aspect = direction[y, x] + rng.normal(0, 0.15), slim * rng.uniform(0.6, 1.3)
                bend = rng.normal(0, 0.4)
                outline = nucleus_outline(0.9 * d, rng, aspect=max(1, aspect), angle=angle, bend=bend, roughness=rough)
            elif rng.random() < immune:
                outline = nucleus_outline(max(6.0, 0.7 * d), rng, aspect=1.05, angle=0, roughness=0.03)
            else:
                angle, aspect = rng.uniform(0, np.pi), rng.uniform(1, plump)
                outline = nucleus_outline(d, rng, aspect=aspect, angle=angle, roughness=rough)
            yield draw_stamp(outline), place

    return settle(shape_px, loose(), rng.choice([0.02, rng.uniform(0.05, 0.25)]), blocked > 0)


def _gland(
    centre: NDArray[np.float64], diameter_px: float, blocked: NDArray[np.uint8], rng: np.random.Generator
) -> list[Placed]:
    """Stand nuclei around a lumen, one or two deep, and block the lumen in place."""
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    k = np.arange(2, 5)[:, None]
    wave = (rng.normal(0, 0.1, k.shape) * np.cos(k * turn + rng.uniform(0, 6.3, k.shape))).sum(axis=0)
    radius = diameter_px * rng.uniform(1.6, 5) * (1 + wave)
    aspect, tall, step = rng.uniform(0.5, 1), rng.uniform(1, 2.2), rng.uniform(0.75, 1.3)
    ring = np.stack([radius * np.sin(turn) * aspect, radius * np.cos(turn)], axis=1)
    lumen = ring * (1 - 1.1 * diameter_px / radius[:, None]).clip(0.1) + centre
    cv2.fillPoly(blocked, [np.round(lumen[:, ::-1]).astype(np.int32)], 1)
    placed: list[Placed] = []
    walk = np.hypot(*np.diff(ring, axis=0, append=ring[:1]).T).cumsum()
    for layer in range(1 if rng.random() < 0.6 else 2):
        gap = step * diameter_px / np.sqrt(tall)
        for stop in np.arange(rng.uniform(0, gap), walk[-1], gap):
            point = ring[int(np.searchsorted(walk, stop)) % len(ring)]
            out = point / max(float(np.hypot(*point)), 1e-6)
            place = centre + point + out * diameter_px * (0.9 * layer + rng.normal(0, 0.18))
            angle = np.arctan2(out[0], out[1]) + rng.normal(0, 0.2)
            d = max(6.0, diameter_px * float(np.exp(0.1 * rng.normal())))
            placed.append((draw_stamp(nucleus_outline(d, rng, aspect=tall, angle=angle)), place))
    return placed


def arrange_smear(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out a blood smear: red cells, round to sickle- and drop-shaped, some overlapping, and larger white cells."""
    odd, thorny = rng.choice([0.02, rng.uniform(0.05, 0.5)]), rng.choice([0.0, 0.0, rng.uniform(0.1, 0.8)])
    spread, oval = rng.uniform(0.04, 0.14), rng.uniform(0.03, 0.25)
    share = rng.choice([0.0, 0.02, rng.uniform(0.03, 0.3)])

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(spread * rng.normal()))
        angle, aspect = rng.uniform(0, np.pi), 1 + abs(rng.normal(0, oval))
        if rng.random() < share:
            return draw_stamp(blob_outline(d * rng.uniform(1.5, 2.1), rng, aspect=min(aspect, 1.3), roughness=0.04))
        if rng.random() < thorny:
            return draw_stamp(crenated_outline(0.9 * d, rng))
        if rng.random() < odd:
            if rng.random() < 0.4:
                return draw_stamp(spiked_outline(d, rng, tips=1, reach=rng.uniform(0.5, 1.4), aspect=1.1))
            bend, aspect = rng.uniform(0, 0.7), rng.uniform(1.4, 3)
            return draw_stamp(nucleus_outline(0.9 * d, rng, aspect=aspect, angle=angle, bend=bend, roughness=0.07))
        return draw_stamp(nucleus_outline(d, rng, aspect=aspect, angle=angle, roughness=0.025))

    count = count_cells(shape_px, diameter_px, rng.uniform(0.15, 1.1), 500)
    clusters = 0 if rng.random() < 0.4 else int(rng.integers(3, 14))
    places = gather_places(shape_px, diameter_px, count, clusters, rng)
    return settle(shape_px, ((draw(), place) for place in places), rng.choice([0.03, rng.uniform(0.1, 0.4)]))


def arrange_marrow(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out nucleated cells of bone marrow pressed against each other, with smaller red cells between them."""
    spread, red = rng.uniform(0.06, 0.25), rng.choice([0.0, rng.uniform(0.05, 0.35)])

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(spread * rng.normal()))
        if rng.random() < red:
            return draw_stamp(blob_outline(0.62 * diameter_px, rng, aspect=rng.uniform(1, 1.2), roughness=0.03))
        return draw_stamp(blob_outline(d, rng, aspect=rng.uniform(1, 1.4), roughness=rng.uniform(0.02, 0.07)))

    count = count_cells(shape_px, diameter_px, rng.uniform(0.2, 1.6), 500)
    places = gather_places(shape_px, diameter_px, count, int(rng.integers(1, 10)), rng)
    return settle(shape_px, ((draw(), place) for place in places), rng.uniform(0.05, 0.3))


def arrange_slice(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out cell bodies in a thick slice of tissue: pyramids and ovals, often along one direction, and glia."""
    direction, aligned = rng.uniform(0, np.pi), rng.choice([0.3, 3.0])
    spread, pointed, glia = rng.uniform(0.08, 0.3), rng.uniform(0, 0.7), rng.uniform(0, 0.35)

    def draw() -> Stamp:
        d = max(6.0, diameter_px * float(np.exp(spread * rng.normal())))
        if rng.random() < glia:
            return draw_stamp(blob_outline(max(6.0, 0.62 * d), rng, aspect=rng.uniform(1, 1.6), roughness=0.05))
        if rng.random() < pointed:
            tips = int(rng.integers(1, 4))
            return draw_stamp(spiked_outline(d, rng, tips=tips, reach=rng.uniform(0.2, 0.9), aspect=1.3))
        angle = direction + rng.normal(0, aligned)
        return draw_stamp(nucleus_outline(d, rng, aspect=rng.uniform(1, 2), angle=angle, roughness=0.08))

    count = count_cells(shape_px, diameter_px, rng.uniform(0.04, 0.45))
    places = draw_places(shape_px, diameter_px, count, rng)
    return settle(shape_px, ((draw(), place) for place in places), 0.08)


def arrange_sheet(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out cells that have grown around their nuclei until they met: islands with free and shared sides."""
    apart = rng.uniform(0.7, 0.88) * diameter_px
    kept: list[NDArray[np.float64]] = []
    taken: dict[tuple[int, int], NDArray[np.float64]] = {}
    for centre in draw_places(shape_px, diameter_px, count_cells(shape_px, diameter_px, rng.uniform(0.4, 4), 900), rng):
        row, column = (centre // apart).astype(int)
        near = [taken[i, j] for i in range(row - 1, row + 2) for j in range(column - 1, column + 2) if (i, j) in taken]
        if all(np.hypot(*(centre - other)) > apart for other in near):
            taken[row, column] = centre
            kept.append(centre)
    reach, oval = rng.uniform(0.5, 0.75) * diameter_px, rng.uniform(0, 0.6) * diameter_px
    halves = rng.uniform(0, 0.5, len(kept)) * oval
    radii = reach * np.exp(rng.normal(0, rng.uniform(0.05, 0.25), len(kept))) - 0.5 * halves
    labels = _grow_from(shape_px, np.array(kept), halves, radii, rng)
    bent = rng.uniform(0, 0.07) * diameter_px
    y, x = np.mgrid[0 : shape_px[0], 0 : shape_px[1]].astype(np.float32)
    for scale, share in ((0.6, 1.0), (0.2, 0.35)):
        size = np.float32(share * bent)
        y += size * noise_field(shape_px, max(3.0, scale * diameter_px), rng)
        x += size * noise_field(shape_px, max(3.0, scale * diameter_px), rng)
    return clean_labels(cv2.remap(labels.astype(np.float32), x, y, cv2.INTER_NEAREST).astype(np.uint32))


def _grow_from(
    shape_px: Shape,
    centres: NDArray[np.float64],
    halves_px: NDArray[np.float64],
    radii_px: NDArray[np.float64],
    rng: np.random.Generator,
) -> Labels:
    """Give every pixel within a cell's radius to the nearest centre, drawn out to a line of two halves."""
    frame = int(np.ceil(radii_px.max())) + 1
    owner = np.zeros((shape_px[0] + 2 * frame, shape_px[1] + 2 * frame), np.int32)
    for label, (centre, half, turn) in enumerate(
        zip(centres, halves_px, rng.uniform(0, np.pi, len(centres)), strict=True), 1
    ):
        step = half * np.array([np.sin(turn), np.cos(turn)])
        ends = np.round(np.stack([centre - step, centre + step])[:, ::-1] + frame).astype(np.int32)
        cv2.polylines(owner, [ends], False, label)
    away_px, nearest = cv2.distanceTransformWithLabels(
        (owner == 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner_of = np.zeros(int(nearest.max()) + 1, np.int32)
    owner_of[nearest[owner > 0]] = owner[owner > 0]
    labels = owner_of[nearest]
    labels[away_px > np.concatenate([[0.0], radii_px])[labels]] = 0
    return labels[frame:-frame, frame:-frame].astype(np.uint32)


def arrange_neurons(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out neurons: small bodies, long thin tapering processes that branch and cross those of others."""
    count = count_cells(shape_px, diameter_px, rng.uniform(0.05, 0.3), 250)
    processes, sway = int(rng.integers(2, 6)), rng.uniform(0.3, 1)
    places = gather_places(shape_px, 2 * diameter_px, count, rng.choice([0, 4]), rng)
    stamps = ((_neuron(diameter_px, processes, sway, rng), place) for place in places)
    return settle(shape_px, stamps, 0.15)


def _neuron(diameter_px: float, processes: int, sway: float, rng: np.random.Generator) -> Stamp:
    diameter_px *= float(np.exp(0.15 * rng.normal()))
    body_px = rng.uniform(0.55, 0.8) * diameter_px
    tips = int(rng.integers(2, 5))
    body = spiked_outline(body_px, rng, tips=tips, reach=rng.uniform(0.2, 0.9), aspect=rng.uniform(1, 1.7))
    thick = max(2, round(rng.uniform(0.05, 0.1) * diameter_px))
    total_px = min((np.pi / 4 * (diameter_px**2 - body_px**2)) / (0.8 * thick), 9 * diameter_px)
    parts: list[tuple[Points, int]] = []
    for share in rng.dirichlet(np.full(processes, 1.5)):
        angle, length = rng.uniform(0, 2 * np.pi), total_px * share + 0.5 * body_px
        line = centreline(length, rng, angle=angle, wiggle=sway, bend=rng.normal(0, 0.5))
        half = len(line) // 2
        parts += [(line[: half + 1], thick), (line[half:], max(2, thick - 1))]
        if rng.random() < 0.6 and length > diameter_px:
            start = line[int(rng.uniform(0.3, 0.9) * len(line))]
            fork = centreline(0.3 * length, rng, angle=angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1), wiggle=sway)
            parts.append((start + fork, max(2, thick - 1)))
    points = np.concatenate([body, *(part for part, _ in parts)])
    low = np.floor(points.min(axis=0)) - thick - 1
    # The stamp is centred on the body, so that the image's border cuts processes first.
    half_size = np.ceil(np.maximum(-low, points.max(axis=0) + thick + 2)).astype(int)
    stamp = np.zeros(2 * half_size + 1, np.uint8)
    cv2.fillPoly(stamp, [np.round((body + half_size)[:, ::-1]).astype(np.int32)], 1)
    for part, width in parts:
        cv2.polylines(stamp, [np.round((part + half_size)[:, ::-1]).astype(np.int32)], False, 1, thickness=width)
    return stamp
