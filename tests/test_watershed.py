"""The decoder gives back the cells it is told of, whatever their numbers, place and neighbours."""

from __future__ import annotations

from typing import Any

import cc3d
import cv2
import numpy as np
import pytest

from mosaicell.postprocess import bands
from mosaicell.postprocess.flood import flood
from mosaicell.postprocess.objects import energy_of_labels, relabel_sequential
from mosaicell.postprocess.watershed import two_step_watershed

THRESHOLDS: dict[str, Any] = {"e1": 0.8, "e2": 1.25, "foreground_threshold": 0.5}


def draw_cells(rng: np.random.Generator, count: int, radii_px: tuple[float, float], size_px: int) -> np.ndarray:
    """Draw discs and ellipses one over the other where they cover little of each other, so that many touch."""
    labels = np.zeros((size_px, size_px), np.uint32)
    y, x = np.mgrid[0:size_px, 0:size_px]
    for label in range(1, count + 1):
        centre, angle = rng.uniform(0, size_px, 2), rng.uniform(0, np.pi)
        radius, stretch = rng.uniform(*radii_px), rng.uniform(1.0, 1.8)
        along = (y - centre[0]) * np.cos(angle) + (x - centre[1]) * np.sin(angle)
        across = (x - centre[1]) * np.cos(angle) - (y - centre[0]) * np.sin(angle)
        cell = np.hypot(along / stretch, across) <= radius
        if np.count_nonzero(labels[cell]) <= 0.1 * np.count_nonzero(cell):
            labels[cell & (labels == 0)] = label
    pieces = cc3d.connected_components(labels, connectivity=4, out_dtype=np.uint32)
    sizes = np.bincount(pieces.ravel())
    pieces[sizes[pieces] < 12] = 0
    return relabel_sequential(pieces)


def boxes_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact box of every cell and a score for each."""
    places = [np.argwhere(labels == label) for label in range(1, labels.max() + 1)]
    boxes = np.array([[*p.min(axis=0), *(p.max(axis=0) + 1)] for p in places], np.float32).reshape(-1, 4)
    return boxes, np.linspace(1, 0.5, len(boxes), dtype=np.float32)


def matched_ious(truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return for every true cell its overlap (IoU) with the decoded cell that covers most of it."""
    both = np.histogram2d(
        truth.ravel(), labels.ravel(), [np.arange(truth.max() + 2) - 0.5, np.arange(labels.max() + 2) - 0.5]
    )[0]
    union = (both.sum(axis=1, keepdims=True) + both.sum(axis=0) - both)[1:, 1:]
    return (both[1:, 1:] / union).max(axis=1, initial=0)


def decode(labels: np.ndarray, boxes: np.ndarray, scores: np.ndarray, **options: float) -> np.ndarray:
    foreground = (labels > 0).astype(np.float32)
    return two_step_watershed(foreground, energy_of_labels(labels), boxes, scores, **(THRESHOLDS | options))


def assert_same_cells(one: np.ndarray, two: np.ndarray) -> None:
    """Assert equality up to the numbers of the cells."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(one)) == len(np.unique(two))
    assert ((pairs[0] == 0) == (pairs[1] == 0)).all()


SCENES = [(6, (20.0, 45.0), 0), (60, (6.0, 16.0), 1), (300, (3.0, 7.0), 2), (500, (2.5, 4.0), 3)]


@pytest.mark.parametrize(("count", "radii_px", "seed"), SCENES)
def test_round_trip_gives_the_cells_back(count: int, radii_px: tuple[float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = draw_cells(rng, count, radii_px, 200)
    boxes, scores = boxes_of(truth)
    ious = matched_ious(truth, decode(truth, boxes, scores))
    assert len(ious) >= 5
    assert decode(truth, boxes, scores).max() == len(ious)
    assert (ious >= 0.5).all()
    assert ious.mean() > 0.9
    # Boxes a tenth off in place and size find the same cells: a marker says which cell, not where it ends.
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    blurred = matched_ious(truth, decode(truth, boxes + rng.uniform(-0.1, 0.1, boxes.shape) * sides, scores))
    assert (blurred >= 0.5).mean() > 0.98
    assert blurred.mean() > 0.9


def test_round_trip_without_any_background() -> None:
    rng = np.random.default_rng(10)
    grid = np.mgrid[8:160:16, 8:160:16].reshape(2, -1).T
    seeds = grid + rng.uniform(-4, 4, grid.shape)
    y, x = np.mgrid[0:160, 0:160]
    nearest = np.argmin([np.hypot(y - sy, x - sx) for sy, sx in seeds], axis=0)
    truth = (nearest + 1).astype(np.uint32)
    ious = matched_ious(truth, decode(truth, *boxes_of(truth)))
    assert (ious >= 0.5).all()
    assert ious.mean() > 0.9


def test_lost_boxes_are_made_good_by_the_energy() -> None:
    truth = draw_cells(np.random.default_rng(4), 60, (6.0, 16.0), 200)
    boxes, scores = boxes_of(truth)
    ious = matched_ious(truth, decode(truth, boxes[::2], scores[::2]))
    assert (ious >= 0.5).mean() > 0.9
    without = matched_ious(truth, decode(truth, boxes[::2], scores[::2], e2=9.0))
    assert (without >= 0.5).mean() < 0.75


def test_order_of_boxes_and_scores_changes_only_the_numbers() -> None:
    rng = np.random.default_rng(5)
    truth = draw_cells(rng, 60, (6.0, 16.0), 200)
    boxes, scores = boxes_of(truth)
    shuffle = rng.permutation(len(boxes))
    assert_same_cells(decode(truth, boxes[shuffle], scores), decode(truth, boxes, scores))


def corners(y: float, x: float) -> np.ndarray:
    return np.array([y, x, y, x], np.float32)


def smooth_scene(seed: int, size_px: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return maps without equal values, as a network gives them, and boxes of odd sides, which have a centre."""
    rng = np.random.default_rng(seed)
    truth = draw_cells(rng, 60, (6.0, 16.0), size_px)
    boxes, scores = boxes_of(truth)
    boxes[:, 2:] -= (boxes[:, 2:] - boxes[:, :2] + 1) % 2
    energy = energy_of_labels(truth) + rng.normal(0, 0.15, truth.shape).astype(np.float32)
    return (truth > 0).astype(np.float32), energy, boxes, scores


def test_flips_and_transposition_commute() -> None:
    foreground, energy, boxes, scores = smooth_scene(6, 150)
    whole = two_step_watershed(foreground, energy, boxes, scores, **THRESHOLDS)
    assert whole.max() > 20
    flipped = boxes[:, [2, 1, 0, 3]] * corners(-1, 1) + corners(150, 0)
    again = two_step_watershed(foreground[::-1], energy[::-1], flipped, scores, **THRESHOLDS)
    assert np.array_equal(again[::-1], whole)
    flipped = boxes[:, [0, 3, 2, 1]] * corners(1, -1) + corners(0, 150)
    again = two_step_watershed(foreground[:, ::-1], energy[:, ::-1], flipped, scores, **THRESHOLDS)
    assert np.array_equal(again[:, ::-1], whole)
    again = two_step_watershed(foreground.T, energy.T, boxes[:, [1, 0, 3, 2]], scores, **THRESHOLDS)
    assert np.array_equal(again.T, whole)


def test_a_shift_commutes() -> None:
    foreground, energy, boxes, scores = smooth_scene(7, 150)
    foreground[[0, -1]], foreground[:, [0, -1]] = 0, 0
    pad = ((17, 5), (0, 31))
    whole = two_step_watershed(foreground, energy, boxes, scores, **THRESHOLDS)
    moved = two_step_watershed(
        np.pad(foreground, pad), np.pad(energy, pad, constant_values=9), boxes + corners(17, 0), scores, **THRESHOLDS
    )
    assert np.array_equal(moved, np.pad(whole, pad))


def test_cells_are_four_connected_and_cover_the_foreground_that_holds_a_marker() -> None:
    foreground, energy, boxes, scores = smooth_scene(8, 150)
    foreground[np.random.default_rng(8).random(foreground.shape) < 0.3] = 0
    labels = two_step_watershed(foreground, energy, boxes, scores, **THRESHOLDS)
    assert cc3d.connected_components(labels, connectivity=4).max() == labels.max() > 20
    pieces = cc3d.connected_components(foreground > 0.5, connectivity=4)
    for piece in range(1, pieces.max() + 1):
        assert len(np.unique(labels[pieces == piece] > 0)) == 1


def test_unmarked_foreground_is_dropped_or_becomes_a_cell_by_size() -> None:
    foreground = np.zeros((20, 40), np.float32)
    foreground[2:8, 2:8] = foreground[2:8, 20:24] = foreground[12:14, 2:4] = 1
    box, score = np.array([[2, 2, 8, 8]], np.float32), np.ones(1, np.float32)
    maps = foreground, np.where(foreground > 0, np.float32(1), np.float32(0))
    for smallest, sizes in [(None, [36]), (25, [36]), (24, [36, 24]), (0, [36, 24, 4])]:
        labels = two_step_watershed(*maps, box, score, **THRESHOLDS, min_unmarked_px=smallest)
        assert np.bincount(labels.ravel())[1:].tolist() == sizes


def test_energy_markers_need_more_pixels_than_the_minimum() -> None:
    foreground = np.ones((10, 12), np.float32)
    energy = np.full((10, 12), 0.9, np.float32)
    energy[4, 2:7] = 1.3
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    assert not two_step_watershed(foreground, energy, *nothing, **THRESHOLDS).any()
    energy[4, 7] = 1.25
    assert (two_step_watershed(foreground, energy, *nothing, **THRESHOLDS) == 1).all()
    # Beside a box marker in the same core it is no cell of its own.
    box = np.array([[6, 8, 9, 11]], np.float32)
    assert two_step_watershed(foreground, energy, box, np.ones(1, np.float32), **THRESHOLDS).max() == 1


def test_one_flood_equals_the_published_three() -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    foreground, energy, boxes, scores = smooth_scene(9, 150)
    boxes, scores = boxes[::3], scores[::3]
    cells, core = foreground > 0.5, (foreground > 0.5) & (energy >= 0.8)
    markers = np.zeros(energy.shape, np.int32)
    for label, (y, x) in enumerate(((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int), start=1):
        markers[y, x] = label if core[y, x] else 0
    first = segmentation.watershed(-energy, markers, mask=core)
    extra = cc3d.connected_components(core & (first == 0) & (energy >= 1.25), connectivity=4)
    extra[np.bincount(extra.ravel())[extra] <= 5] = 0
    second = segmentation.watershed(-energy, np.where(extra > 0, extra + 1000, first), mask=core)
    third = segmentation.watershed(-energy, second, mask=cells)
    moved = np.flatnonzero(~core[tuple(((boxes[:, :2] + boxes[:, 2:]) / 2).astype(int).T)])
    boxes, scores = np.delete(boxes, moved, axis=0), np.delete(scores, moved)
    labels = two_step_watershed(foreground, energy, boxes, scores, **THRESHOLDS)
    assert labels.max() == len(np.unique(third)) - 1
    assert matched_ious(relabel_sequential(third), labels).mean() > 0.99


def plain_flood(energy: np.ndarray, markers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Flood pixel by pixel: the highest pixel beside a region joins that of its highest neighbour, markers first."""
    labels = np.where(mask, markers, 0).astype(np.uint32)
    ways = [(-1, 0), (0, -1), (0, 1), (1, 0)]
    levels = np.where(mask, np.where(labels > 0, np.inf, energy), -np.inf)
    padded, levels = np.pad(labels, 1), np.pad(levels, 1, constant_values=-np.inf)
    while True:
        open_pixels = (padded == 0) & (levels > -np.inf)
        beside = [open_pixels & (np.roll(padded, (-down, -right), (0, 1)) > 0) for down, right in ways]
        shore = np.any(beside, axis=0)
        if not shore.any():
            return padded[1:-1, 1:-1]
        y, x = np.unravel_index(np.argmax(np.where(shore, levels, -np.inf)), levels.shape)
        reached = [(levels[y + down, x + right], padded[y + down, x + right]) for down, right in ways]
        padded[y, x] = max(pair for pair in reached if pair[1] > 0)[1]


@pytest.mark.parametrize("seed", range(6))
def test_flood_equals_flooding_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (24, 31)
    energy = rng.permutation(shape[0] * shape[1]).reshape(shape).astype(np.float32) - 300
    if seed % 2:
        energy = (energy + 2 * np.roll(energy, 1, 0) + 3 * np.roll(energy, 1, 1)) + np.float32(0.001) * energy
    mask = rng.random(shape) < 0.85
    markers = np.zeros(shape, np.int32)
    places = markers[rng.integers(1, 4) :: 6, rng.integers(1, 4) :: 6]
    places[:] = np.arange(1, places.size + 1).reshape(places.shape)
    assert len(np.unique(energy)) == energy.size
    assert np.array_equal(flood(energy, markers, mask), plain_flood(energy, markers, mask))


def level_scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return energy of few levels, so that plateaus and equal passes abound, markers and a mask."""
    rng = np.random.default_rng(seed)
    shape = (40, 51)
    energy = cv2.GaussianBlur(rng.normal(0, 4, shape).astype(np.float32), (0, 0), 2)
    markers = np.zeros(shape, np.int32)
    markers.ravel()[rng.choice(markers.size, 30, replace=False)] = np.arange(1, 31)
    return np.round(2 * energy) / 2, markers, rng.random(shape) < 0.9


@pytest.mark.parametrize("seed", range(6))
def test_equal_heights_are_settled_alike_one_by_one_and_by_a_map_of_distances(seed: int) -> None:
    energy, markers, mask = level_scene(seed)
    few = np.abs(np.arange(51) - 25) <= 1  # equal neighbours in three columns alone
    energy = np.where(few, energy, energy + np.random.default_rng(seed).random(energy.shape)).astype(np.float32)
    labels = flood(energy, markers, mask)
    pad = ((0, 900), (0, 900))
    among_much_else = flood(np.pad(energy, pad), np.pad(markers, pad), np.pad(mask, pad))
    assert np.array_equal(among_much_else, np.pad(labels, pad))
    assert len(np.unique(labels)) > 20


@pytest.mark.parametrize("seed", range(6))
def test_flood_gives_the_same_band_by_band(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = level_scene(seed)
    whole = flood(*scene)
    monkeypatch.setattr(bands, "BAND_PX", 200)
    assert np.array_equal(flood(*scene), whole)


def test_of_equal_passes_the_one_nearer_to_a_marker_counts_as_the_higher() -> None:
    energy = np.array([[2.0, 0.5, 1.0, 0.5, 1.5, 2.0]], np.float32)
    markers = np.array([[1, 0, 0, 0, 0, 2]], np.int32)
    mask = np.ones(energy.shape, bool)
    assert flood(energy, markers, mask)[0, 2] == 1
    assert flood(energy[:, ::-1], markers, mask)[0, 3] == 2
    even = np.array([[2.0, 0.5, 1.0, 0.5, 2.0]], np.float32)
    ends = np.array([[1, 0, 0, 0, 2]], np.int32)
    assert flood(even, ends, mask[:, 1:])[0].tolist() == [1, 1, 2, 2, 2]
    assert flood(even.T, ends.T, mask[:, 1:].T)[:, 0].tolist() == [1, 1, 2, 2, 2]


def test_flooding_plateaus_commutes_with_a_shift() -> None:
    energy, markers, mask = level_scene(9)
    pad = ((3, 1), (0, 7))
    moved = flood(np.pad(energy, pad), np.pad(markers, pad), np.pad(mask, pad))
    assert np.array_equal(moved, np.pad(flood(energy, markers, mask), pad))


def test_numbers_have_no_gaps() -> None:
    foreground, energy, boxes, scores = smooth_scene(11, 150)
    foreground[::7] = 0
    for smallest in (None, 3):
        labels = two_step_watershed(foreground, energy, boxes[::3], scores[::3], **THRESHOLDS, min_unmarked_px=smallest)
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert labels.max() > 20


def test_flood_keeps_ids_beyond_sixteen_bits() -> None:
    markers = np.arange(1, 300 * 300 + 1, dtype=np.int32).reshape(300, 300)
    wide = np.zeros((300, 600), np.int32)
    wide[:, ::2] = markers
    labels = flood(np.zeros(wide.shape, np.float32), wide, np.ones(wide.shape, bool))
    assert np.array_equal(labels[:, ::2], markers)
    assert np.isin(labels[:, 1::2], markers).all()


def test_a_marker_on_a_slope_owns_the_summit() -> None:
    energy = np.array([[0.9, 1.5, 2.0, 1.5, 1.0, 1.5, 2.0]], np.float32)
    markers = np.array([[1, 0, 0, 0, 0, 0, 2]], np.int32)
    labels = flood(energy, markers, np.ones(energy.shape, bool))
    assert labels[0, :4].tolist() == [1, 1, 1, 1]
    assert labels[0, 5:].tolist() == [2, 2]


def test_flood_shares_a_plateau_by_distance() -> None:
    markers = np.zeros((21, 41), np.int32)
    markers[10, 10], markers[10, 31] = 1, 2
    labels = flood(np.ones(markers.shape, np.float32), markers, np.ones(markers.shape, bool))
    assert (labels[:, :20] == 1).all()
    assert (labels[:, 22:] == 2).all()


@pytest.mark.parametrize("shape", [(0, 0), (0, 7), (1, 1), (1, 50), (50, 1), (3, 3)])
def test_empty_and_tiny_maps(shape: tuple[int, int]) -> None:
    zero, one = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    whole = np.array([[0, 0, *shape]], np.float32), np.ones(1, np.float32)
    assert not two_step_watershed(zero, zero, *whole, **THRESHOLDS).any()
    assert not two_step_watershed(one, one, *nothing, **THRESHOLDS).any()
    labels = two_step_watershed(one, one, *whole, **THRESHOLDS, min_unmarked_px=1)
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, one.astype(np.uint32))


def test_bad_maps_and_thresholds_are_refused() -> None:
    good = np.ones((8, 8), np.float32)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    for bad in (np.nan, np.inf):
        holed = good.copy()
        holed[3, 3] = bad
        for maps in ((holed, good), (good, holed)):
            with pytest.raises(ValueError, match="NaN"):
                two_step_watershed(*maps, *nothing, **THRESHOLDS)
    with pytest.raises(ValueError, match="one shape"):
        two_step_watershed(good, good[:4], *nothing, **THRESHOLDS)
    with pytest.raises(ValueError, match="e2"):
        two_step_watershed(good, good, *nothing, e1=1.0, e2=0.9, foreground_threshold=0.5)
