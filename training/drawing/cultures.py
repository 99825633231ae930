"""Cultures in a dish or a chip: long cells, layers with dividing cells, suspensions, rods in channels."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from mosaicell.training.drawing.arrangements import Shape, arrange_layer, arrange_spread_cells, cells_for
from mosaicell.training.drawing.layouts import Labels, clean_labels, grow, noise_field, scatter
from mosaicell.training.drawing.shapes import Points, Stamp, anchored_outline, blob_outline, centreline, draw_stamp
from mosaicell.training.drawing.spindles import Spindle, contest

#: area of the unit shape of each `Spindle.taper`: |x|^2 + |y|^k <= 1
_AREA_OF_TAPER = (np.pi, 8 / 3, 32 / 15)


def arrange_adherent(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out adherent cells hung between a few attachment points, fans, ruffled discs and round ones."""
    if rng.random() < 0.3:
        return arrange_spread_cells(shape_px, diameter_px, rng)
    habit, spread, longest = rng.dirichlet([1.5, 0.8, 0.5, 0.3]), rng.uniform(0.1, 0.35), rng.uniform(1, 3)

    def draw() -> Stamp:
        d = diameter_px * float(np.exp(spread * rng.normal()))
        kind, aspect = int(rng.choice(4, p=habit)), rng.uniform(1, longest)
        if kind == 0:
            return draw_stamp(anchored_outline(d, rng, anchors=int(rng.integers(2, 7)), fan=0.15, aspect=aspect))
        if kind == 1:
            return draw_stamp(anchored_outline(d, rng, anchors=int(rng.integers(2, 5)), fan=0.7, aspect=aspect))
        if kind == 2:
            return draw_stamp(blob_outline(d, rng, aspect=min(aspect, 1.8), roughness=0.1, order=9))
        return draw_stamp(blob_outline(0.55 * d, rng, aspect=rng.uniform(1, 1.15), roughness=0.02))

    count = cells_for(shape_px, diameter_px, rng.uniform(0.08, 1.1))
    clusters = 0 if rng.random() < 0.4 else int(rng.integers(1, 6))
    return scatter(shape_px, draw, count, rng, clusters=clusters, max_overlap=rng.uniform(0.02, 0.25))


def arrange_fibroblasts(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out long cells, sparse to confluent, in streams that swirl, lying partly on each other."""
    aspect, spread = rng.uniform(1.5, 5.5), rng.uniform(0.15, 0.4)
    coverage = rng.choice([rng.uniform(0.15, 0.7), rng.uniform(0.8, 1.6)])
    count = cells_for(shape_px, diameter_px, coverage)
    stream = noise_field(shape_px, rng.uniform(2, 8) * diameter_px, rng) * np.float32(rng.uniform(0.1, 1.2))
    turn, disorder = rng.uniform(0, np.pi), rng.choice([0.1, 0.3, 1.0])
    centres, angles = _spread_out(shape_px, count, stream + np.float32(turn), disorder, aspect, rng)
    tapers, star, bend = rng.dirichlet([0.4, 1, 1.5]), rng.choice([0.0, rng.uniform(0.1, 0.8)]), rng.uniform(0, 0.35)
    # What neighbours take is given back, so that the visible cells have the size asked for.
    covered = 1 + 0.35 * max(0.0, coverage - 0.5)
    arms: list[tuple[int, Spindle]] = []
    for label, (centre, angle) in enumerate(zip(centres, angles, strict=True), 1):
        taper = int(rng.choice(3, p=tapers))
        long = aspect * np.exp(0.3 * rng.normal())
        size = diameter_px * np.exp(spread * rng.normal()) * np.sqrt(covered * np.pi / 4 / _AREA_OF_TAPER[taper])
        half = size * np.sqrt(long), size / np.sqrt(long)
        arms.append((label, Spindle(centre, angle, *half, bend=rng.normal(0, bend), taper=taper)))
        for _ in range(int(rng.integers(1, 3)) if rng.random() < star else 0):
            away = rng.uniform(0, 2 * np.pi)
            reach = half[0] * rng.uniform(0.35, 1.1)
            tip = centre + 0.5 * reach * np.array([np.sin(away), np.cos(away)])
            arms.append((label, Spindle(tip, away, reach, half[1] * rng.uniform(0.2, 0.8), taper=2)))
    return contest(
        shape_px,
        arms,
        rng,
        waviness_px=rng.uniform(0.01, 0.06) * diameter_px,
        wave_px=max(4.0, rng.uniform(0.25, 0.9) * diameter_px),
        uneven=rng.choice([0.0, rng.uniform(0.2, 0.8)]),
        min_area_px=max(12, int(0.12 * diameter_px**2)),
    )


def _spread_out(
    shape_px: Shape, count: int, stream: np.ndarray, disorder: float, aspect: float, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Choose places and directions one by one, each the best of a few by its distance to those before.

    A distance along a cell counts less than one across it.
    """
    size = np.array(shape_px, float)
    # Some cells stand outside the image and reach into it.
    margin = 0.05 * size
    centres, angles = np.empty((count, 2)), np.empty(count)
    for index in range(count):
        tried = rng.uniform(-margin, size + margin, (6, 2)) if index else rng.uniform(0.3, 0.7, (1, 2)) * size
        row, column = np.clip(tried, 0, size - 1).astype(int).T
        turns = stream[row, column] + rng.normal(0, disorder, len(tried))
        best = 0
        if index:
            apart = centres[:index] - tried[:, None]
            sine, cosine = np.sin(turns)[:, None], np.cos(turns)[:, None]
            along = (apart[..., 0] * sine + apart[..., 1] * cosine) / aspect
            across = apart[..., 0] * cosine - apart[..., 1] * sine
            best = int((along**2 + across**2).min(axis=1).argmax())
        centres[index], angles[index] = tried[best], turns[best]
    return centres, angles


def arrange_dividing_layer(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out a confluent layer of polygonal or long cells in which some have rounded up to divide."""
    if rng.random() < 0.7:
        labels = arrange_layer(shape_px, diameter_px, rng, raggedness=0.07)
    else:
        labels = arrange_fibroblasts(shape_px, diameter_px, rng)
    count = int(labels.max())
    rounded = rng.choice(count, min(count - 1, rng.poisson(rng.choice([0.0, 0.03 * count, 0.12 * count]))), False) + 1
    area = np.bincount(labels.ravel(), minlength=count + 1)
    y, x = np.mgrid[0 : shape_px[0], 0 : shape_px[1]]
    middle = np.stack([np.bincount(labels.ravel(), axis.ravel(), count + 1) for axis in (y, x)]) / np.maximum(area, 1)
    for label in rounded:
        # The cell pulls back, and its neighbours do not follow at once.
        labels[labels == label] = 0
        size = diameter_px * rng.uniform(0.45, 0.75)
        halves = [np.zeros(2)]
        if rng.random() < 0.25:
            turn = rng.uniform(0, 2 * np.pi)
            halves = [0.4 * size * np.array([np.sin(turn), np.cos(turn)]) * sign for sign in (-1, 1)]
            size *= 0.8
        for side, offset in enumerate(halves):
            stamp = draw_stamp(blob_outline(size, rng, aspect=rng.uniform(1, 1.15), roughness=0.02))
            centre = middle[:, label] + offset
            top, left = (round(c - n / 2) for c, n in zip(centre, stamp.shape, strict=True))
            window = labels[max(top, 0) : top + stamp.shape[0], max(left, 0) : left + stamp.shape[1]]
            part = stamp[max(-top, 0) :, max(-left, 0) :][: window.shape[0], : window.shape[1]] > 0
            window[part] = label if side == 0 else count + label
    return clean_labels(labels, min_area_px=max(12, int(0.08 * diameter_px**2)))


def arrange_suspension(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out cells in suspension: loose, in clumps or packed, of one or two sizes, round to slightly bent."""
    area = shape_px[0] * shape_px[1]
    coverage = rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.4, 0.85)])
    count = max(1, int(min(coverage * area / (np.pi / 4 * diameter_px**2), area / 250)))
    size = np.array(shape_px, float)
    centres = rng.uniform(-0.02, 1.02, (count, 2)) * size
    if rng.random() < 0.6:
        hubs = rng.uniform(0, 1, (int(rng.integers(1, 2 + count // 4)), 2)) * size
        clumped = rng.random(count) < rng.uniform(0.4, 0.95)
        home = hubs[rng.integers(len(hubs), size=count)]
        sway = rng.normal(0, rng.uniform(0.3, 1.0) * diameter_px * np.sqrt(count / len(hubs)), (count, 2))
        centres[clumped] = (home + sway)[clumped]
    centres[0] = rng.uniform(0.3, 0.7, 2) * size
    radii = diameter_px / 2 * np.exp(rng.uniform(0.03, 0.25) * rng.normal(size=count))
    if rng.random() < 0.25:
        radii[rng.random(count) < rng.uniform(0.05, 0.3)] *= rng.choice([0.6, 1.5])
    centres = _push_apart(centres, radii, rng.uniform(0.88, 1.03))
    arms: list[tuple[int, Spindle]] = []
    oval = rng.uniform(0, 0.13)
    for label, (centre, radius) in enumerate(zip(centres, radii, strict=True), 1):
        long, bend = 1 + abs(rng.normal(0, oval)), rng.normal(0, 0.1)
        arms.append((label, Spindle(centre, rng.uniform(0, np.pi), radius * long, radius / long, bend, taper=0)))
    waves = rng.choice([0.0, rng.uniform(0.005, 0.03)]) * diameter_px
    uneven = rng.choice([0.0, rng.uniform(0.1, 0.6)])
    return contest(
        shape_px, arms, rng, waviness_px=waves, wave_px=max(3.0, 0.4 * diameter_px), uneven=uneven, min_area_px=20
    )


def _push_apart(centres: Points, radii: Points, closeness: float) -> Points:
    """Move discs away from each other until few are nearer than `closeness` times the sum of their radii."""
    centres = centres.copy()
    for _ in range(12):
        pairs = cKDTree(centres).query_pairs(2 * closeness * float(radii.max()), output_type="ndarray")
        apart = centres[pairs[:, 0]] - centres[pairs[:, 1]]
        distance = np.maximum(np.hypot(*apart.T), 1e-3)
        lacking = np.maximum(closeness * radii[pairs].sum(axis=1) - distance, 0)
        if not lacking.any():
            break
        step = apart * (0.45 * lacking / distance)[:, None]
        np.add.at(centres, pairs[:, 0], step)
        np.add.at(centres, pairs[:, 1], -step)
    return centres


def arrange_mat(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out rods or filaments so close that they fill the plane, in streams that swirl, with a few gaps."""
    aspect = rng.choice([rng.uniform(2, 5), rng.uniform(5, 10)])
    width = max(4.0, diameter_px * np.sqrt(np.pi / 4 / aspect))
    length = max(2 * width, np.pi / 4 * diameter_px**2 / width)
    count = cells_for(shape_px, diameter_px, rng.uniform(0.8, 1.6))
    stream = noise_field(shape_px, rng.uniform(2, 10) * diameter_px, rng) * np.float32(rng.uniform(0.1, 1.2))
    turn = np.float32(rng.uniform(0, np.pi))
    centres, angles = _spread_out(shape_px, count, stream + turn, rng.choice([0.03, 0.1, 0.4]), length / width, rng)
    torn = noise_field(shape_px, rng.uniform(3, 8) * diameter_px, rng) > rng.choice([5.0, rng.uniform(0, 1.5)])
    rows, columns = np.clip(centres, 0, np.array(shape_px) - 1).astype(int).T
    kept = ~torn[rows, columns]
    kept[0] = True
    bend = rng.uniform(0, 0.3)
    lines: list[Points] = []
    for centre, angle in zip(centres[kept], angles[kept], strict=True):
        long, sway = max(2.0, length * rng.uniform(0.6, 1.3) - width), rng.normal(0, bend)
        line = centreline(long, rng, angle=angle - sway / 2, bend=sway)
        lines.append(line - line.mean(axis=0) + centre)
    return grow(shape_px, lines, width / 2 * rng.uniform(0.95, 1.15, len(lines)))


def arrange_bundles(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out long filaments side by side in a few bundles, as chains of bacteria and cyanobacteria grow."""
    width = float(np.clip(diameter_px / rng.uniform(4, 9), 4, 12))
    length = np.pi / 4 * diameter_px**2 / width
    count = cells_for(shape_px, diameter_px, rng.uniform(0.03, 0.3))
    pitch, most = width * rng.uniform(0.95, 1.15), int(rng.integers(2, 7))
    bend, wiggle = rng.uniform(0, 1.5), rng.uniform(0, 0.5)
    taken: set[tuple[int, int]] = set()
    lines: list[Points] = []
    for _ in range(count):
        axis = centreline(1.5 * length, rng, angle=rng.uniform(0, 2 * np.pi), bend=rng.normal(0, bend), wiggle=wiggle)
        axis += rng.uniform(0, shape_px) - axis[len(axis) // 2]
        along = np.gradient(axis, axis=0)
        across = along[:, ::-1] * (1, -1) / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
        bundle: set[tuple[int, int]] = set()
        for row in range(int(rng.integers(1, most + 1))):
            start, stop = np.sort(rng.integers(0, len(axis) - 3, 2))
            line = (axis + row * pitch * across)[start : stop + 4]
            covered = set(map(tuple, np.floor(line / width).astype(int)))
            if not covered & taken:
                bundle |= covered
                lines.append(line)
        taken |= bundle
        if len(lines) >= count:
            break
    return grow(shape_px, lines, width / 2 * rng.uniform(0.9, 1.15, len(lines)))


def arrange_channels(shape_px: Shape, diameter_px: float, rng: np.random.Generator) -> Labels:
    """Lay out rods end to end in parallel narrow channels, as in a mother machine."""
    aspect = rng.uniform(1.8, 4.5)
    width = max(4.0, diameter_px * np.sqrt(np.pi / 4 / aspect))
    length = max(1.3 * width, np.pi / 4 * diameter_px**2 / width)
    pitch = width * rng.uniform(2, 8)
    closed, opened = np.sort(rng.uniform(0, 1, 2)) * (0.3, 1) * shape_px[0]
    opened = max(opened, closed + 2.5 * length)
    lines: list[Points] = []
    for middle in np.arange(rng.uniform(0.1, 0.9) * min(pitch, shape_px[1]), shape_px[1], pitch):
        if lines and rng.random() < 0.12:
            continue
        at = closed + width * rng.uniform(0, 0.6)
        while at < opened - 0.5 * length and (rng.random() > 0.04 or not lines):
            long = max(2.2 * width, length * rng.uniform(0.6, 1.5))
            lean, x = rng.normal(0, 0.06) * width, middle + rng.normal(0, 0.06) * width
            lines.append(np.array([[at + width / 2, x - lean], [at + long - width / 2, x + lean]]))
            at += long + width * rng.choice([0.03, rng.uniform(0.05, 0.5)])
    if rng.random() < 0.25:
        lines = [np.array([shape_px[0], 0]) + line * (-1, 1) for line in lines]
    return grow(shape_px, lines, width / 2 * rng.uniform(0.88, 1.05, len(lines)))
