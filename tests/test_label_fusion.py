"""Fusion of segmentations: which cells share pixels, and which of them stay."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from mosaicell.postprocess.label_fusion import (
    MIN_FREE_FRACTION,
    Selection,
    best_ious,
    find_unsure,
    measure_overlaps,
    merge_cells,
)
from tests.test_cells import draw_discs


def draw_blocks(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Draw label images of blocks of four cells, each image shifted against the others."""
    found = [np.kron(rng.integers(0, 5, (9, 11)), np.ones((3, 4))).astype(np.uint32) for _ in range(count)]
    return [np.roll(labels, shift, axis=1) for shift, labels in enumerate(found)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shared_pixels_are_those_of_pixels(rng: np.random.Generator, count: int) -> None:
    images = draw_blocks(rng, count)
    overlaps = measure_overlaps(images)
    assert overlaps.starts.tolist() == [4 * index for index in range(count + 1)]
    assert overlaps.sources.tolist() == [index for index in range(count) for _ in range(4)]
    assert overlaps.areas.tolist() == [(labels == cell).sum() for labels in images for cell in range(1, 5)]
    meetings: dict[tuple[int, ...], int] = {}
    pairs: dict[tuple[int, ...], int] = {}
    for ids in zip(*(labels.ravel().tolist() for labels in images), strict=True):
        cells = tuple(4 * index + cell - 1 if cell else -1 for index, cell in enumerate(ids))
        if sum(cell >= 0 for cell in cells) > 1:
            meetings[cells] = meetings.get(cells, 0) + 1
        for pair in itertools.combinations([cell for cell in cells if cell >= 0], 2):
            pairs[pair] = pairs.get(pair, 0) + 1
    found = dict(zip(map(tuple, overlaps.meetings.tolist()), overlaps.shared_px.tolist(), strict=True))
    assert found == meetings
    rows, shared_px = overlaps.pairs
    assert dict(zip(map(tuple, rows.tolist()), shared_px.tolist(), strict=True)) == pairs
    assert len(rows) == len(pairs)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_best_iou_with_each_segmentation(rng: np.random.Generator, count: int) -> None:
    images = draw_blocks(rng, count)
    ious = best_ious(measure_overlaps(images))
    assert ious.shape == (4 * count, count)
    for mine, other in itertools.product(range(count), repeat=2):
        for cell in range(1, 5):
            inside = images[mine] == cell
            best = max(
                (inside & (images[other] == one)).sum() / (inside | (images[other] == one)).sum() for one in range(1, 5)
            )
            assert ious[4 * mine + cell - 1, other] == pytest.approx(0 if mine == other else best)


def merge(*images: np.ndarray, chances: Sequence[Sequence[float]], least: float = 0.3) -> tuple[Selection, list[float]]:
    """Merge segmentations; return what stays, and the chances of all that stays or would, the best first."""
    likelihoods = np.array(list(itertools.chain(*chances)), float)
    selected = merge_cells(images, likelihoods, measure_overlaps(images), least)
    assert selected.sources.size == selected.labels.max() + 1
    expected = sorted(likelihoods[selected.stays & (likelihoods >= least)], reverse=True)
    np.testing.assert_allclose(selected.likelihoods, [0, *expected], rtol=1e-6)
    assert not selected.unsure.any()
    return selected, sorted(likelihoods[selected.stays].tolist(), reverse=True)


def rectangle(*spans: tuple[int, int]) -> np.ndarray:
    """Cells 1.. that fill these columns of a strip."""
    labels = np.zeros((10, 100), np.uint32)
    for number, (start, stop) in enumerate(spans, start=1):
        labels[:, start:stop] = number
    return labels


def test_the_likelier_of_two_answers_stays() -> None:
    whole, halves = rectangle((10, 50)), rectangle((10, 30), (30, 50))
    found, kept = merge(whole, halves, chances=([0.9], [0.8, 0.7]))
    np.testing.assert_array_equal(found.labels, whole)
    assert (kept, found.sources[1:].tolist()) == ([0.9], [0])
    found, kept = merge(whole, halves, chances=([0.6], [0.8, 0.7]))
    np.testing.assert_array_equal(found.labels, halves)
    assert (kept, found.sources[1:].tolist()) == ([0.8, 0.7], [1, 1])


def test_of_three_answers_the_likeliest_cells_stay() -> None:
    first, second, third = rectangle((0, 20), (60, 80)), rectangle((2, 22), (30, 50)), rectangle((31, 51), (61, 81))
    found, kept = merge(first, second, third, chances=([0.5, 0.6], [0.9, 0.4], [0.8, 0.7]))
    np.testing.assert_array_equal(found.labels, rectangle((2, 22), (31, 51), (61, 81)))
    assert (kept, found.sources[1:].tolist()) == ([0.9, 0.8, 0.7], [1, 2, 2])


def test_what_two_better_cells_cover_together_counts_once() -> None:
    """Either covers 40 of 200 pixels and both 60, which is just not too much; without their overlap it would be."""
    cell, left, right, wide = (np.zeros((20, 40), np.uint32) for _ in range(4))
    cell[:10, 10:30], left[:10, :14], right[:, 12:16], wide[:, 12:17] = 1, 1, 1, 1
    found, _ = merge(cell, left, right, chances=([0.5], [0.9], [0.8]))
    assert found.stays.tolist() == [True, True, True]
    assert found.sources.tolist() == [0, 1, 2, 0]
    found, _ = merge(cell, left, wide, chances=([0.5], [0.9], [0.8]))
    assert found.stays.tolist() == [False, True, True]


def test_one_segmentation_alone_loses_its_unlikely_cells() -> None:
    labels = rectangle((0, 20), (30, 50), (60, 80))
    found, kept = merge(labels, chances=([0.5, 0.2, 0.9],))
    np.testing.assert_array_equal(found.labels, np.choose(labels, [0, 2, 0, 1]))
    assert kept == [0.9, 0.5, 0.2]


def test_cells_that_only_one_found_are_added_and_unlikely_ones_dropped() -> None:
    found, kept = merge(rectangle((0, 20), (80, 90)), rectangle((40, 60)), chances=([0.9, 0.2], [0.5]))
    np.testing.assert_array_equal(found.labels, rectangle((0, 20), (40, 60)))
    assert (kept, found.sources.tolist()) == ([0.9, 0.5, 0.2], [0, 0, 1])
    # what both found and is unlikely counts once
    found, kept = merge(rectangle((0, 20)), rectangle((1, 21)), chances=([0.2], [0.1]))
    assert (found.labels.any(), kept, found.sources.tolist()) == (False, [0.2], [0])


def test_a_cell_that_is_mostly_free_gives_its_contested_pixels_to_the_better_one() -> None:
    covered = round(20 * (1 - MIN_FREE_FRACTION))
    found, kept = merge(rectangle((0, 20)), rectangle((20 - covered, 40 - covered)), chances=([0.9], [0.6]))
    np.testing.assert_array_equal(found.labels, rectangle((0, 20), (20, 40 - covered)))
    assert kept == [0.9, 0.6]
    found, kept = merge(rectangle((0, 20)), rectangle((19 - covered, 39 - covered)), chances=([0.9], [0.6]))
    np.testing.assert_array_equal(found.labels, rectangle((0, 20)))


def test_equal_chances_prefer_the_first() -> None:
    found, _ = merge(rectangle((0, 20)), rectangle((2, 22)), rectangle((1, 21)), chances=([0.7], [0.7], [0.7]))
    np.testing.assert_array_equal(found.labels, rectangle((0, 20)))
    assert found.sources.tolist() == [0, 0]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_nothing_in_nothing_out(count: int) -> None:
    found, kept = merge(*[rectangle()] * count, chances=[[]] * count)
    assert not found.labels.any()
    assert (kept, found.sources.tolist()) == ([], [0])


@pytest.mark.parametrize("count", [2, 3])
def test_merging_with_itself_changes_nothing(rng: np.random.Generator, count: int) -> None:
    labels = draw_discs()
    chances = rng.uniform(0.4, 1, 12)
    found, kept = merge(*[labels] * count, chances=[(chances - 0.01 * index).tolist() for index in range(count)])
    assert not found.sources.any()
    assert sorted(kept) == sorted(chances.tolist())
    np.testing.assert_array_equal(found.labels > 0, labels > 0)
    assert len(np.unique(np.stack([found.labels[labels > 0], labels[labels > 0]]), axis=1).T) == 12


def strew(rng: np.random.Generator, count: int = 70) -> np.ndarray:
    """Label image of rectangles, later ones over earlier ones."""
    labels = np.zeros((120, 160), np.uint32)
    for number in range(1, count + 1):
        y, x, height, width = (int(rng.integers(*span)) for span in ((0, 118), (0, 158), (3, 24), (3, 24)))
        labels[y : y + height, x : x + width] = number
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.uint32)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_sure_in_a_part_is_so_in_the_whole(seed: int, count: int) -> None:
    """Cells that a part cuts, and those that agree with one, have any likelihood there: what hangs by them is flagged.

    Chains of conflicts go on from there, as the better cells decide about the worse ones.
    """
    rng = np.random.default_rng(seed)
    whole = [strew(rng) for _ in range(count)]
    overlaps = measure_overlaps(whole)
    chances = rng.random(overlaps.areas.size)
    truth = merge_cells(whole, chances, overlaps, 0.3)
    window = np.s_[20:100, 30:130]
    parts, numbers, cut = [], [], []
    for start, labels in zip(overlaps.starts.tolist(), whole, strict=False):
        ids, part = np.unique(labels[window], return_inverse=True)
        assert ids[0] == 0
        parts.append(part.reshape(80, 100).astype(np.uint32))
        numbers.append(ids[1:].astype(int) - 1 + start)
        flags = np.zeros(ids.size, bool)
        for side in (parts[-1][0], parts[-1][-1], parts[-1][:, 0], parts[-1][:, -1]):
            flags[side] = True
        cut.append(flags[1:])
    of_whole = np.concatenate(numbers)
    seen = measure_overlaps(parts)
    unsure = find_unsure(np.concatenate(cut), seen)
    likelihoods = np.where(unsure, rng.random(unsure.size), chances[of_whole])
    found = merge_cells(parts, likelihoods, seen, 0.3, unsure)
    assert (found.unsure >= unsure).all()
    sure = 0
    for cell in np.flatnonzero(~found.unsure).tolist():
        assert found.stays[cell] == truth.stays[of_whole[cell]]
        if found.stays[cell]:
            source = int(seen.sources[cell])
            mine = parts[source] == cell - seen.starts[source] + 1
            true = whole[source] == of_whole[cell] - overlaps.starts[source] + 1
            np.testing.assert_array_equal(own(found, source, mine), own(truth, source, true)[window])
        sure += 1
    assert sure > 5
    assert count == 1 or found.unsure.sum() > unsure.sum()


def test_a_match_in_another_segmentation_does_not_make_up_for_a_cut_cell() -> None:
    """The cut cell may agree with the first even better than the one that is seen whole."""
    whole, matched, cut = rectangle((60, 90)), rectangle((64, 90)), rectangle((80, 100))
    flags = np.array([False, False, True])
    assert find_unsure(flags, measure_overlaps([whole, matched, cut])).tolist() == [True, True, True]
    # of its own segmentation one that is seen whole matches it: no other cell there can
    both = np.where(matched > 0, 1, np.where(rectangle((92, 100)) > 0, 2, 0)).astype(np.uint32)
    assert find_unsure(np.array([False, False, True]), measure_overlaps([whole, both])).tolist() == [False, False, True]


def own(selected: Selection, source: int, inside: np.ndarray) -> np.ndarray:
    """Mark where a cell that stays has its pixels."""
    merged = np.where(inside, selected.labels, 0)
    ids = np.flatnonzero(
        (np.bincount(merged.ravel(), minlength=len(selected.sources)) > 0) & (selected.sources == source)
    )
    return np.isin(merged, ids[ids > 0])
