"""Label images stay label images: numbering, pieces, holes, and energies that know neither ids nor place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from mosaicell.postprocess import bands
from mosaicell.postprocess.objects import (
    clean_labels,
    energy_of_labels,
    fill_holes,
    keep_largest_pieces,
    refine_by_energy,
    relabel_sequential,
    remove_small,
    split_disconnected,
)


def draw_labels(seed: int, shape: tuple[int, int] = (90, 120), cells: int = 40) -> np.ndarray:
    """Draw touching cells, most of them cut by others, some with holes and in pieces."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    y, x = np.indices(shape)
    for label in range(1, cells + 1):
        distance = np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1]))
        labels[distance < rng.uniform(3, 12)] = label
    labels[rng.random(shape) < 0.02] = 0
    return labels


def rename(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Give the objects other ids below 2**32."""
    ids = np.random.default_rng(seed).choice(2**31, int(labels.max()) + 1, replace=False).astype(np.uint32) + 2**31
    ids[0] = 0
    return ids[labels]


CLEANERS: list[Callable[[np.ndarray], np.ndarray]] = [
    relabel_sequential,
    lambda labels: remove_small(labels, 30),
    split_disconnected,
    lambda labels: fill_holes(labels, 0.1),
    lambda labels: refine_by_energy(labels, np.ones(labels.shape, np.float32), 0.3),
    lambda labels: clean_labels(labels, min_px=10, max_hole_fraction=0.1),
]


@pytest.mark.parametrize("clean", CLEANERS)
def test_cleaning_gives_labels_without_gaps_and_again_the_same(clean: Callable[[np.ndarray], np.ndarray]) -> None:
    labels = draw_labels(0)
    before = labels.copy()
    cleaned = clean(labels)
    assert cleaned.dtype == np.uint32
    assert cleaned.shape == labels.shape
    assert np.array_equal(np.unique(cleaned), np.arange(cleaned.max() + 1))
    assert cleaned.max() > 5
    assert np.array_equal(clean(cleaned), cleaned)
    assert np.array_equal(labels, before)


@pytest.mark.parametrize("clean", CLEANERS)
def test_cleaning_does_not_look_at_ids_or_orientation(clean: Callable[[np.ndarray], np.ndarray]) -> None:
    labels = draw_labels(1)
    cleaned = clean(labels)
    for other, back in [(rename(labels), cleaned), (labels[::-1], cleaned[::-1]), (labels.T, cleaned.T)]:
        pairs = np.unique(np.stack([clean(other).ravel(), back.ravel()]), axis=1)
        assert pairs.shape[1] == cleaned.max() + 1


@pytest.mark.parametrize("clean", [*CLEANERS, energy_of_labels])
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (1, 1), (1, 9), (9, 1), (6, 6)])
def test_empty_and_tiny_images(clean: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int]) -> None:
    for labels in (np.zeros(shape, np.uint16), np.full(shape, 7, np.int64)):
        result = clean(labels)
        assert result.shape == shape
        assert np.isfinite(result).all()
        assert (result[labels == 0] == 0).all()


@pytest.mark.parametrize("clean", [*CLEANERS, energy_of_labels])
def test_what_is_no_label_image_is_refused(clean: Callable[[np.ndarray], np.ndarray]) -> None:
    for bad in (
        np.ones((4, 4)),
        np.ones((4, 4), bool),
        np.ones((2, 4, 4), int),
        np.full((4, 4), -1),
        np.full((4, 4), 2**32),
    ):
        with pytest.raises(ValueError, match="label"):
            clean(bad)


def test_relabelling_keeps_the_order_of_ids() -> None:
    labels = np.array([[9, 0, 4], [4, 70_000, 9]])
    assert relabel_sequential(labels).tolist() == [[2, 0, 1], [1, 3, 2]]
    assert relabel_sequential(labels * 50_000).tolist() == [[2, 0, 1], [1, 3, 2]]
    many = np.arange(70_000, dtype=np.uint32).reshape(700, 100)
    assert np.array_equal(relabel_sequential(many), many)


def test_small_objects_go_at_the_limit() -> None:
    labels = np.zeros((6, 9), np.uint8)
    labels[0, :4], labels[2, :5], labels[4, :6] = 1, 2, 3
    assert np.bincount(remove_small(labels, 5).ravel())[1:].tolist() == [5, 6]
    assert np.bincount(split_disconnected(labels).ravel())[1:].tolist() == [5, 6]
    assert remove_small(labels, 7).max() == 0


def test_pieces_are_those_of_four_neighbours_within_one_label() -> None:
    labels = draw_labels(2)
    pieces = split_disconnected(labels, min_px=1)
    expected = sum(ndimage.label(labels == label)[1] for label in range(1, labels.max() + 1))
    assert pieces.max() == expected > len(np.unique(labels)) - 1
    diagonal = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    assert split_disconnected(diagonal, min_px=1).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]


def ring(size_px: int, hole: slice) -> np.ndarray:
    labels = np.zeros((size_px + 4, size_px + 4), np.uint32)
    labels[2:-2, 2:-2] = 3
    labels[hole, hole] = 0
    return labels


def test_holes_are_filled_below_the_fraction_of_the_cell() -> None:
    labels = ring(10, slice(5, 8))  # 9 px of hole, 91 px of cell
    assert np.array_equal(fill_holes(labels, 9 / 91), relabel_sequential(labels))
    assert np.count_nonzero(fill_holes(labels, 9.1 / 91)) == 100
    assert np.count_nonzero(fill_holes(np.tile(labels, (2, 3)), 0.1)) == 600


def test_a_hole_with_another_cell_or_a_way_out_is_kept() -> None:
    occupied = ring(12, slice(5, 10))
    occupied[7, 7] = 9
    touching = ring(12, slice(5, 10))
    touching[5:9, 5:10] = 9
    open_to_border = ring(12, slice(5, 10))[:8]
    between_two = ring(12, slice(5, 10))
    between_two[8:, :][between_two[8:, :] > 0] = 8
    leak = ring(12, slice(5, 10))
    leak[2:5, 7] = 0
    for labels in (occupied, touching, open_to_border, between_two, leak):
        assert np.array_equal(fill_holes(labels, 1.0), relabel_sequential(labels))


def fill_each_alone(labels: np.ndarray, max_fraction: float) -> np.ndarray:
    filled = labels.copy()
    for label in range(1, labels.max() + 1):
        cell = labels == label
        inside = ndimage.binary_fill_holes(cell, np.ones((3, 3)) > 0)
        gaps, count = ndimage.label(inside & ~cell, np.ones((3, 3)))
        for gap in range(1, count + 1):
            pixels = gaps == gap
            if not labels[pixels].any() and pixels.sum() < max_fraction * cell.sum():
                filled[pixels] = label
    return filled


def test_filling_equals_filling_each_cell_alone() -> None:
    labels = split_disconnected(draw_labels(3))
    expected = fill_each_alone(labels, 0.1)
    assert np.array_equal(fill_holes(labels, 0.1), expected)
    assert np.count_nonzero(expected) > np.count_nonzero(labels) + 20


def test_filling_images_of_odd_size() -> None:
    """cc3d 4.1.1 labels stray pixels of bool images of odd size: every 40th image or so came out wrong."""
    for seed in range(300):
        labels = (np.random.default_rng(seed).random((15, 15)) > 0.3).astype(np.uint32)
        assert np.array_equal(fill_holes(labels, 3.0), fill_each_alone(labels, 3.0)), seed


def test_steps_give_the_same_band_by_band(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = draw_labels(7)
    energy = np.random.default_rng(7).random(labels.shape, np.float32) + np.float32(0.5)

    def clean_all() -> list[np.ndarray]:
        refined = clean_labels(labels, energy, min_px=10, max_hole_fraction=0.1, max_energy_error=0.3)
        return [*(clean(labels) for clean in CLEANERS), energy_of_labels(labels), refined]

    whole = clean_all()
    monkeypatch.setattr(bands, "BAND_PX", 500)
    for one, other in zip(clean_all(), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_energy_has_median_one_and_is_the_scaled_distance_inside_each_cell() -> None:
    labels = draw_labels(4)
    energy = energy_of_labels(labels)
    assert energy.dtype == np.float32
    assert (energy[labels == 0] == 0).all()
    for label in np.unique(labels)[1:]:
        cell = labels == label
        assert np.median(energy[cell]) == pytest.approx(1, abs=1e-5)
        # A frame that repeats the border pixels stands for "the cell goes on outside".
        distance = ndimage.distance_transform_edt(np.pad(cell, 60, mode="edge"))[60:-60, 60:-60][cell]
        np.testing.assert_allclose(energy[cell], distance / np.median(distance), rtol=1e-5)


def test_energy_of_a_disc_and_of_thin_and_single_pixels() -> None:
    y, x = np.indices((201, 201))
    assert energy_of_labels((np.hypot(y - 100, x - 100) < 90).astype(int)).max() == pytest.approx(3.41, abs=0.1)
    labels = np.zeros((5, 9), np.uint8)
    labels[1, 1:8], labels[3, 4] = 1, 2
    assert np.array_equal(energy_of_labels(labels), (labels > 0).astype(np.float32))


def test_energy_knows_neither_ids_nor_place_nor_orientation() -> None:
    labels = draw_labels(5)
    energy = energy_of_labels(labels)
    assert np.array_equal(energy_of_labels(rename(labels)), energy)
    np.testing.assert_allclose(energy_of_labels(labels[::-1])[::-1], energy, rtol=1e-6)
    np.testing.assert_allclose(energy_of_labels(labels.T).T, energy, rtol=1e-6)
    labels[[0, -1]], labels[:, [0, -1]] = 0, 0
    pad = ((3, 11), (8, 0))
    assert np.array_equal(energy_of_labels(np.pad(labels, pad)), np.pad(energy_of_labels(labels), pad))


def test_energy_does_not_fall_towards_the_image_border() -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30] = 1
    energy = energy_of_labels(labels)
    assert (energy == energy[:, :1]).all()
    assert (energy_of_labels(np.ones((12, 7), int)) == 1).all()


def test_refining_drops_the_cell_whose_energy_says_otherwise() -> None:
    labels = split_disconnected(draw_labels(6), min_px=20)
    energy = energy_of_labels(labels)
    assert np.array_equal(refine_by_energy(labels, energy, 1e-9), labels)
    wrong = labels == 5
    energy[wrong] += np.float32(0.7)
    assert np.array_equal(refine_by_energy(labels, energy, 0.5), labels)
    refined = refine_by_energy(labels, energy, 0.48)
    assert np.array_equal(refined > 0, (labels > 0) & ~wrong)
    assert refined.max() == labels.max() - 1


def test_bad_energies_are_refused() -> None:
    labels = np.ones((4, 4), np.uint8)
    with pytest.raises(ValueError, match="shape"):
        refine_by_energy(labels, np.ones((4, 5)), 0.4)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN"):
            refine_by_energy(labels, np.full((4, 4), bad), 0.4)
    with pytest.raises(ValueError, match="energy"):
        clean_labels(labels, min_px=5, max_hole_fraction=0.1, max_energy_error=0.4)


def test_cleaning_is_its_steps_one_after_the_other() -> None:
    labels = draw_labels(7)
    energy = np.random.default_rng(7).uniform(0, 2.5, labels.shape)
    steps = refine_by_energy(fill_holes(split_disconnected(labels, 10), 0.1), energy, 0.9)
    cleaned = clean_labels(labels, energy, min_px=10, max_hole_fraction=0.1, max_energy_error=0.9)
    assert np.array_equal(cleaned, steps)
    without = clean_labels(labels, min_px=10, max_hole_fraction=0.1)
    assert 0 < cleaned.max() < without.max()


@pytest.mark.parametrize("min_px", [1, 12])
@pytest.mark.parametrize("seed", range(3))
def test_of_every_object_the_largest_piece_stays(seed: int, min_px: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND_PX", 700)
    labels = draw_labels(seed)
    found, ids = keep_largest_pieces(labels, min_px)
    expected = np.zeros_like(labels)
    for label in np.unique(labels[labels > 0]):
        pieces, _ = ndimage.label(labels == label)
        areas = np.bincount(pieces.ravel())[1:]
        if areas.max() >= min_px:
            expected[pieces == areas.argmax() + 1] = label
    np.testing.assert_array_equal(np.append(0, ids)[found], expected)
    assert np.unique(ids).size == ids.size == found.max()
    first = [np.flatnonzero(found == label)[0] for label in range(1, ids.size + 1)]
    assert first == sorted(first)


def test_nothing_has_no_largest_piece() -> None:
    found, ids = keep_largest_pieces(np.zeros((4, 5), np.uint32), 1)
    assert not found.any()
    assert ids.size == 0
