"""Greedy suppression that scales: of candidates in order, each stays that no candidate which stays before it beats.

What a candidate looks like is left to a `Rule`; here is which pairs are compared at all, by the boxes around them.
Boxes are (y0, x0, y1, x1) in px.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Candidates are settled in blocks. Where thousands lie on one spot the first block already rules out most of the
# others. Each takes a search among all that are left, so they grow where candidates leave each other alone, with so
# few pairs to one of them. The limits hold the memory for the worst case below 1 GB instead of n * n values.
_FIRST_BLOCK, _LARGEST_BLOCK = 1024, 8192
_FEW_PAIRS = 4
_PAIRS_AT_ONCE = 2**20
# Together they keep the bin numbers of the grid in 64 bits; no image is that large.
LARGEST_PX, SMALLEST_REACH = 2.0**27, 2.0**-3


class Verdict(NamedTuple):
    """What a quick look says of pairs: which of the later candidates are beaten, and of which pairs it cannot say."""

    beaten: Flags
    is_open: Flags | None = None


class Rule(NamedTuple):
    """When a candidate that stays rules out a later one, and what follows for the boxes around two such candidates.

    `judge` takes the indices of the earlier and of the later ones, `decide` those of pairs that it left open: it is
    asked only where that still matters. The longer of the longest sides of the two boxes is at most 1 / `ratio` times
    the other, and their centres part along no axis by more than `reach` times it.
    """

    judge: Callable[[Indices, Indices], Verdict]
    reach: float
    ratio: float
    decide: Callable[[Indices, Indices], Flags] | None = None


def choose(boxes: Floats, rule: Rule) -> Indices:
    """Go through candidates in order, choose each that no one chosen before beats, return the chosen indices."""
    chosen = [np.zeros(0, np.intp)]
    rest = np.arange(len(boxes))
    size = _FIRST_BLOCK
    while rest.size:
        block, rest = rest[:size], rest[size:]
        early, late, is_sure = _list_pairs(boxes, block, rule)
        chosen.append(block[_settle(block, early, late, is_sure, rule)])
        rest = rest[~_find_beaten(boxes, chosen[-1], rest, rule)]
        if early.size <= _FEW_PAIRS * len(block):
            size = min(2 * size, _LARGEST_BLOCK)
    return np.concatenate(chosen)


def _settle(block: Indices, early: Indices, late: Indices, is_sure: Flags, rule: Rule) -> Flags:
    """Resolve "early beats late, if early stays itself" for all pairs of a block; return which of it stay.

    One that no remaining pair can beat stays for good, so what it beats falls for good with its own pairs.
    """
    stays = np.ones(len(block), bool)
    while early.size:
        unbeaten = np.ones(len(block), bool)
        unbeaten[late] = False
        counts = unbeaten[early]
        stays[late[counts & is_sure]] = False
        asked = np.flatnonzero(counts & ~is_sure & stays[late])
        if rule.decide is not None and asked.size:
            stays[late[asked[rule.decide(block[early[asked]], block[late[asked]])]]] = False
        rest = ~counts & stays[early] & stays[late]
        early, late, is_sure = early[rest], late[rest], is_sure[rest]
    return stays


def _list_pairs(boxes: Floats, block: Indices, rule: Rule) -> tuple[Indices, Indices, Flags]:
    """Return the places in a block of all pairs of which the earlier beats the later or may do so, and if it does."""
    found = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, bool))]
    for early, late in near_pairs(boxes[block], boxes[block], rule.reach, rule.ratio):
        ordered = early < late
        early, late = early[ordered], late[ordered]
        verdict = rule.judge(block[early], block[late])
        listed = verdict.beaten if verdict.is_open is None else verdict.beaten | verdict.is_open
        found.append((early[listed], late[listed], verdict.beaten[listed]))
    first, second, is_sure = zip(*found, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(is_sure)


def _find_beaten(boxes: Floats, chosen: Indices, rest: Indices, rule: Rule) -> Flags:
    """Flag those of the rest that a chosen candidate beats."""
    beaten = np.zeros(len(rest), bool)
    waiting: list[tuple[Indices, Indices]] = []
    for by, place in near_pairs(boxes[chosen], boxes[rest], rule.reach, rule.ratio):
        verdict = rule.judge(chosen[by], rest[place])
        beaten[place[verdict.beaten]] = True
        if verdict.is_open is not None:
            waiting.append((by[verdict.is_open], place[verdict.is_open]))
        if sum(len(by) for by, _ in waiting) > _PAIRS_AT_ONCE:
            _decide(beaten, waiting, chosen, rest, rule)
            waiting.clear()
    _decide(beaten, waiting, chosen, rest, rule)
    return beaten


def _decide(beaten: Flags, pairs: list[tuple[Indices, Indices]], chosen: Indices, rest: Indices, rule: Rule) -> None:
    """Flag those of the rest that a chosen one beats by one of these open pairs, of the places in both lists."""
    if rule.decide is None or not pairs:
        return
    by, place = (np.concatenate(side) for side in zip(*pairs, strict=True))
    # most of them are beaten by another one without a doubt
    asked = np.flatnonzero(~beaten[place])
    if asked.size:
        beaten[place[asked[rule.decide(chosen[by[asked]], rest[place[asked]])]]] = True


def near_pairs(first: Floats, second: Floats, reach: float, ratio: float) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs (i, j) of boxes `first[i]` and `second[j]` that are as near and alike as said, some at a time.

    `reach` and `ratio` are those of a `Rule`; a few other pairs come with them. Boxes are sorted into levels, level k
    holding sides up to 2**k px. A pair of which the larger box is of level k has centres at most reach * 2**k px apart,
    so they lie in the same or adjacent bins of a grid of that pitch.
    """
    levels = (_levels(first), _levels(second))
    for level in np.unique(levels[0]):
        for other in np.unique(levels[1]):
            if 2.0 ** (min(level, other) + 1 - max(level, other)) <= ratio:
                continue
            one, two = np.flatnonzero(levels[0] == level), np.flatnonzero(levels[1] == other)
            pitch_px = reach * 2.0 ** max(level, other)
            for near, by in _neighbours(box_centres(second[two]), box_centres(first[one]), pitch_px):
                yield one[by], two[near]


def _neighbours(first: Floats, second: Floats, pitch_px: float) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of points (i, j) in the same or adjacent bins of a square grid, some at a time."""
    origin = np.minimum(first.min(axis=0), second.min(axis=0))
    bins = [np.floor((points - origin) / pitch_px).astype(np.int64) + 1 for points in (first, second)]
    width = max(int(b[:, 1].max()) for b in bins) + 2
    keys, targets = (b[:, 0] * width + b[:, 1] for b in bins)
    # Both sides sorted: searches then walk through memory in order, which is most of the speed.
    asked, order = np.argsort(keys), np.argsort(targets)
    keys, targets = keys[asked], targets[order]
    # The three bins of one row of the grid have consecutive keys: one range of the sorted targets.
    rows = (keys + width * np.arange(-1, 2)[:, None]).ravel()
    starts = np.searchsorted(targets, rows - 1, "left")
    counts = np.searchsorted(targets, rows + 1, "right") - starts
    parts = 1 + int(counts.sum()) // _PAIRS_AT_ONCE
    for part in np.array_split(np.arange(rows.size), min(parts, rows.size)):
        row, target = expand_ranges(starts[part], counts[part])
        yield asked[part[row] % keys.size], order[target]


def expand_ranges(starts: NDArray[np.integer], counts: NDArray[np.integer]) -> tuple[Indices, Indices]:
    """Return the numbers in all ranges start..start + count - 1 one after another, as (range, number)."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, (starts - np.cumsum(counts) + counts)[owner] + np.arange(owner.size)


def box_centres(boxes: Floats) -> Floats:
    """Return the centres (n, 2) of boxes (n, 4)."""
    return 0.5 * (boxes[:, :2] + boxes[:, 2:])


def shared_areas(boxes: Floats, first: Indices, second: Indices) -> Floats:
    """Return the area that the boxes `first` and `second` share, in px, for each pair."""
    a, b = boxes.take(first, axis=0), boxes.take(second, axis=0)
    height = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0])
    width = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1])
    return np.maximum(height, 0) * np.maximum(width, 0)


def _levels(boxes: Floats) -> NDArray[np.int64]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.ceil(np.log2(np.maximum(sides.max(axis=1, initial=1.0), 1.0))).astype(np.int64)
