"""Energies of cells know neither ids nor place, and tell shapes that contradict a map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mosaicell.postprocess.energy import energy_of_labels, refine_by_energy
from mosaicell.postprocess.objects import split_disconnected
from tests.test_objects import draw_labels, rename


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
