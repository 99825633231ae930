"""Choice between two segmentations cell by cell: what the features say, and which cells stay."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess.cells import (
    CELL_FEATURES,
    MIN_FREE_FRACTION,
    Selection,
    best_ious,
    count_shared,
    describe_cells,
    find_unsure,
    median_size,
    merge_cells,
)
from mosaicell.postprocess.objects import energy_of_labels

NO_BOXES = np.zeros((0, 5), np.float32)


def draw_discs(shape: tuple[int, int] = (120, 160), pitch: int = 40, radius: int = 14) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    number = rows // pitch * (shape[1] // pitch) + columns // pitch + 1
    inside = (rows % pitch - pitch // 2) ** 2 + (columns % pitch - pitch // 2) ** 2 < radius**2
    return np.where(inside, number, 0).astype(np.uint32)


def perfect_maps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    foreground = (labels > 0).astype(np.float32)
    return np.stack([foreground, energy_of_labels(labels)]), np.stack([foreground, np.zeros_like(foreground)])


def boxes_of(labels: np.ndarray, score: float = 0.8) -> np.ndarray:
    boxes = []
    for cell in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == cell)
        boxes.append((rows.min(), columns.min(), rows.max() + 1, columns.max() + 1, score))
    return np.array(boxes, np.float32)


def describe(labels: np.ndarray, awf: np.ndarray, omnipose: np.ndarray, boxes: np.ndarray) -> dict[str, np.ndarray]:
    agreement = np.linspace(0, 1, int(labels.max()) + 1)
    described = describe_cells(labels, agreement, awf, omnipose, boxes, median_size(labels))
    assert described.shape == (agreement.size, len(CELL_FEATURES))
    return dict(zip(CELL_FEATURES, described[1:].T, strict=True))


def test_perfect_cells() -> None:
    labels = draw_discs()
    values = describe(labels, *perfect_maps(labels), boxes_of(labels))
    for name in ("foreground_awf", "foreground_omnipose", "box_iou"):
        np.testing.assert_allclose(values[name], 1)
    for name in ("energy_error", "outline_boundary", "inner_boundary", "relative_size", "debris", "at_border"):
        np.testing.assert_allclose(values[name], 0, atol=1e-6)
    np.testing.assert_allclose(values["box_score"], 0.8)
    np.testing.assert_allclose(values["agreement"], np.arange(1, 13) / 12)
    np.testing.assert_allclose(np.exp(values["size"]), np.pi * 14**2, rtol=0.02)
    assert (np.abs(values["outline"] - 1) < 0.3).all()


def test_what_speaks_against_a_cell_shows_in_its_row_only() -> None:
    labels = draw_discs()
    awf, omnipose = perfect_maps(labels)
    awf[0][labels == 3] = 0.4
    omnipose[0][labels == 3] = 0.6
    awf[1][labels == 4] += 1
    omnipose[1][labels == 5] = 0.7
    boxes = boxes_of(labels)[[index for index in range(12) if index != 5]]
    values = describe(labels, awf, omnipose, boxes)
    assert values["foreground_awf"][2] == pytest.approx(0.4)
    assert values["foreground_omnipose"][2] == pytest.approx(0.6)
    assert values["energy_error"][3] == pytest.approx(1)
    assert values["inner_boundary"][4] == values["outline_boundary"][4] == pytest.approx(0.7)
    assert values["box_iou"][5] == values["box_score"][5] == 0
    others = np.delete(np.arange(12), [2, 3, 4, 5])
    for name in ("foreground_awf", "foreground_omnipose", "box_iou"):
        np.testing.assert_allclose(values[name][others], 1)


def test_small_cells_and_cells_at_the_border_are_known() -> None:
    labels = draw_discs()
    labels[1:4, 50:53] = 13
    labels[0, 100:110] = 14
    values = describe(labels, *perfect_maps(labels), NO_BOXES)
    assert values["relative_size"][12] == pytest.approx(np.log(9 / (np.pi * 14**2)), abs=0.05)
    assert values["debris"][12] > 10
    assert values["at_border"].tolist() == [0] * 13 + [1]


def test_the_best_box_of_a_cell_counts() -> None:
    labels = draw_discs()
    right, half = boxes_of(labels, 0.6)[:1], boxes_of(labels, 0.9)[:1]
    half[0, 2:4] -= 8
    for boxes in (np.concatenate((right, half)), np.concatenate((half, right))):
        values = describe(labels, *perfect_maps(labels), boxes)
        assert (values["box_iou"][0], values["box_score"][0]) == (1, pytest.approx(0.6))


@pytest.mark.parametrize(
    "moved", [(0, 0, 9, 0), (-7, 0, 0, 0), (5, 0, 5, 0), (0, -6, 0, -6), (4, 3, -2, -5), (-3, 2, -8, 9)]
)
def test_the_iou_of_a_box_is_that_of_its_pixels(moved: tuple[int, int, int, int]) -> None:
    labels = draw_discs()
    boxes = boxes_of(labels)
    # the sixth cell, which lies amid others
    true, box = (np.zeros(labels.shape, bool) for _ in range(2))
    for mask, bounds in ((true, boxes[5]), (box, boxes[5] + (*moved, 0))):
        y0, x0, y1, x1 = bounds[:4].astype(int)
        mask[y0:y1, x0:x1] = True
    boxes[5, :4] += moved
    values = describe(labels, *perfect_maps(labels), boxes)
    assert values["box_iou"][5] == pytest.approx((true & box).sum() / (true | box).sum())
    np.testing.assert_allclose(np.delete(values["box_iou"], 5), 1)


@pytest.mark.parametrize("content", ["empty", "full", "gap"])
def test_odd_label_images_have_finite_features(content: str) -> None:
    labels = np.zeros((40, 30), np.uint32)
    if content == "full":
        labels[:] = 1
    elif content == "gap":
        labels[3:9, 4:9] = 5
    described = describe_cells(labels, np.zeros(int(labels.max()) + 1), *perfect_maps(labels), NO_BOXES, 0.0)
    assert np.isfinite(described).all()


def test_shared_pixels_are_those_of_pixel_pairs(rng: np.random.Generator) -> None:
    first, second = (np.kron(rng.integers(0, 5, (9, 11)), np.ones((3, 4))).astype(np.uint32) for _ in range(2))
    second = np.roll(second, 1, axis=1)
    pairs, shared = count_shared(first, second)
    expected: dict[tuple[int, int], int] = {}
    for pair in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
        if min(pair) > 0:
            expected[pair] = expected.get(pair, 0) + 1
    assert {tuple(pair): pixels for pair, pixels in zip(pairs.tolist(), shared.tolist(), strict=True)} == expected
    ious = best_ious(pairs, shared, (np.bincount(first.ravel()), np.bincount(second.ravel())))
    for cell in range(1, 5):
        best = max(
            ((first == cell) & (second == other)).sum() / ((first == cell) | (second == other)).sum()
            for other in range(1, 5)
        )
        assert ious[0][cell] == pytest.approx(best)


def merge(
    first: np.ndarray, second: np.ndarray, chances: tuple[list[float], list[float]], least: float = 0.3
) -> tuple[np.ndarray, list[float], int]:
    pairs, shared = count_shared(first, second)
    likelihoods = (np.array([0.0, *chances[0]]), np.array([0.0, *chances[1]]))
    selected = merge_cells((first, second), likelihoods, pairs, shared, least)
    assert selected.sources.size == selected.labels.max() + 1
    assert not any(flags.any() for flags in selected.unsure)
    kept = np.concatenate([chance[stays] for chance, stays in zip(likelihoods, selected.stays, strict=True)])
    return selected.labels, sorted(kept.tolist(), reverse=True), int(selected.sources.sum())


def rectangle(*spans: tuple[int, int]) -> np.ndarray:
    """Cells 1.. that fill these columns of a strip."""
    labels = np.zeros((10, 100), np.uint32)
    for number, (start, stop) in enumerate(spans, start=1):
        labels[:, start:stop] = number
    return labels


def test_the_likelier_of_two_answers_stays() -> None:
    whole, halves = rectangle((10, 50)), rectangle((10, 30), (30, 50))
    merged, kept, count = merge(whole, halves, ([0.9], [0.8, 0.7]))
    np.testing.assert_array_equal(merged, whole)
    assert (kept, count) == ([0.9], 0)
    merged, kept, count = merge(whole, halves, ([0.6], [0.8, 0.7]))
    np.testing.assert_array_equal(merged, halves)
    assert (kept, count) == ([0.8, 0.7], 2)


def test_cells_that_only_one_found_are_added_and_unlikely_ones_dropped() -> None:
    merged, found, count = merge(rectangle((0, 20), (80, 90)), rectangle((40, 60)), ([0.9, 0.2], [0.5]))
    np.testing.assert_array_equal(merged, rectangle((0, 20), (40, 60)))
    assert (found, count) == ([0.9, 0.5, 0.2], 1)
    # what both found and is unlikely counts once
    merged, found, count = merge(rectangle((0, 20)), rectangle((1, 21)), ([0.2], [0.1]))
    assert (merged.any(), found, count) == (False, [0.2], 0)


def test_a_cell_that_is_mostly_free_gives_its_contested_pixels_to_the_better_one() -> None:
    covered = round(20 * (1 - MIN_FREE_FRACTION))
    merged, kept, _ = merge(rectangle((0, 20)), rectangle((20 - covered, 40 - covered)), ([0.9], [0.6]))
    np.testing.assert_array_equal(merged, rectangle((0, 20), (20, 40 - covered)))
    assert kept == [0.9, 0.6]
    merged, kept, _ = merge(rectangle((0, 20)), rectangle((19 - covered, 39 - covered)), ([0.9], [0.6]))
    np.testing.assert_array_equal(merged, rectangle((0, 20)))


def test_equal_chances_prefer_the_first() -> None:
    merged, _, count = merge(rectangle((0, 20)), rectangle((2, 22)), ([0.7], [0.7]))
    np.testing.assert_array_equal(merged, rectangle((0, 20)))
    assert count == 0


def test_nothing_in_nothing_out() -> None:
    merged, kept, count = merge(rectangle(), rectangle(), ([], []))
    assert not merged.any()
    assert (kept, count) == ([], 0)


def test_merging_with_itself_changes_nothing(rng: np.random.Generator) -> None:
    labels = draw_discs()
    chances = rng.uniform(0.4, 1, 12)
    merged, kept, count = merge(labels, labels, (chances.tolist(), (chances - 0.01).tolist()))
    assert count == 0
    assert sorted(kept) == sorted(chances.tolist())
    np.testing.assert_array_equal(merged > 0, labels > 0)
    assert len(np.unique(np.stack([merged[labels > 0], labels[labels > 0]]), axis=1).T) == 12


def test_sizes_are_relative_to_the_typical_one() -> None:
    labels = rectangle((0, 10), (20, 40), (50, 90))
    assert median_size(labels) == pytest.approx(np.log(200))
    assert median_size(np.where(labels == 2, 0, labels)) == pytest.approx(np.log(100 * 400) / 2)
    assert median_size(np.zeros((3, 4), np.uint32)) == 0
    described = describe_cells(labels, np.zeros(4), *perfect_maps(labels), NO_BOXES, np.log(400))
    values = dict(zip(CELL_FEATURES, described[1:].T, strict=True))
    np.testing.assert_allclose(values["relative_size"], np.log([1 / 4, 1 / 2, 1]))
    np.testing.assert_allclose(values["debris"], np.log([1 / 4, 1 / 2, 1]) ** 2)


def strew(rng: np.random.Generator, count: int = 70) -> np.ndarray:
    """Label image of rectangles, later ones over earlier ones."""
    labels = np.zeros((120, 160), np.uint32)
    for number in range(1, count + 1):
        y, x, height, width = (int(rng.integers(*span)) for span in ((0, 118), (0, 158), (3, 24), (3, 24)))
        labels[y : y + height, x : x + width] = number
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.uint32)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_sure_in_a_part_is_so_in_the_whole(seed: int) -> None:
    """Cells that a part cuts, and those that agree with one, have any likelihood there: what hangs by them is flagged.

    Chains of conflicts go on from there, as the better cells decide about the worse ones.
    """
    rng = np.random.default_rng(seed)
    whole = (strew(rng), strew(rng))
    chances = [rng.random(int(labels.max()) + 1) for labels in whole]
    pairs, shared = count_shared(*whole)
    truth = merge_cells(whole, (chances[0], chances[1]), pairs, shared, 0.3)
    window = np.s_[20:100, 30:130]
    parts, ids = zip(*(np.unique(labels[window], return_inverse=True)[::-1] for labels in whole), strict=True)
    labels = tuple(part.reshape(80, 100).astype(np.uint32) for part in parts)
    cut = []
    for part in labels:
        flags = np.zeros(int(part.max()) + 1, bool)
        for side in (part[0], part[-1], part[:, 0], part[:, -1]):
            flags[side] = True
        flags[0] = False
        cut.append(flags)
    pairs, shared = count_shared(*labels)
    areas = [np.bincount(part.ravel()) for part in labels]
    unsure = find_unsure((cut[0], cut[1]), pairs, shared, (areas[0], areas[1]))
    known = zip(unsure, chances, ids, strict=True)
    seen = [np.where(flags, rng.random(flags.size), chance[one]) for flags, chance, one in known]
    found = merge_cells(labels, (seen[0], seen[1]), pairs, shared, 0.3, unsure)
    sure = 0
    for side in (0, 1):
        assert (found.unsure[side] >= unsure[side]).all()
        for cell in np.flatnonzero(~found.unsure[side])[1:]:
            assert found.stays[side][cell] == truth.stays[side][ids[side][cell]]
            inside = labels[side] == cell
            assert not found.stays[side][cell] or np.array_equal(
                own(found, side, cell, inside),
                own(truth, side, ids[side][cell], whole[side] == ids[side][cell], window),
            )
            sure += 1
    assert sure > 10
    assert sum(flags.sum() for flags in found.unsure) > sum(flags.sum() for flags in unsure)


def own(
    selected: Selection, side: int, cell: int, inside: np.ndarray, window: tuple[slice, ...] = np.s_[:, :]
) -> np.ndarray:
    """Mark where a cell that stays has its pixels, within a window."""
    merged = np.where(inside, selected.labels, 0)
    ids = np.flatnonzero(
        (np.bincount(merged.ravel(), minlength=len(selected.sources)) > 0) & (selected.sources == side)
    )
    return np.isin(merged, ids[ids > 0])[window]
