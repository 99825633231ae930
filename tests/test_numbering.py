"""Numbers have no gaps, keep their order, and come with areas that are right."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess.numbering import as_labels, keep_objects, number_objects


@pytest.mark.parametrize("factor", [1, 3, 40_000_000])
def test_objects_are_numbered_in_their_order_with_their_areas(factor: int) -> None:
    labels = np.random.default_rng(0).choice([0, 2, 3, 7, 50], (30, 40)).astype(np.int64) * factor
    numbered, areas = number_objects(labels)
    ids, counts = np.unique(labels, return_counts=True)
    assert np.array_equal(ids[numbered], labels)
    assert areas.tolist() == counts.tolist()


def test_an_image_without_background_keeps_zero_for_it() -> None:
    numbered, areas = number_objects(np.full((3, 4), 9, np.uint8))
    assert (numbered == 1).all()
    assert areas.tolist() == [0, 12]


def test_what_needs_no_change_is_not_copied() -> None:
    labels = np.array([[0, 1], [2, 2]], np.uint32)
    numbered, areas = number_objects(labels)
    assert numbered is labels
    kept, left = keep_objects(labels, areas, np.array([False, True, True]))
    assert kept is labels
    assert left is areas


def test_keeping_some_objects_moves_the_others_to_the_background() -> None:
    labels = np.random.default_rng(1).integers(0, 9, (20, 20)).astype(np.uint32)
    _, areas = number_objects(labels)
    chosen = np.array([True, False, True, True, False, True, False, False, True])
    kept, left = keep_objects(labels, areas, chosen)
    assert np.array_equal(kept > 0, np.isin(labels, [2, 3, 5, 8]))
    assert np.array_equal(np.unique(labels[kept == 4]), [8])
    assert np.array_equal(left, np.bincount(kept.ravel()))
    assert labels.max() == 8
    nothing, area = keep_objects(labels, areas, np.zeros(9, bool))
    assert not nothing.any()
    assert area.tolist() == [400]


def test_labels_are_made_contiguous_and_checked() -> None:
    turned = np.arange(6).reshape(2, 3).T
    checked = as_labels(turned)
    assert checked.flags.c_contiguous
    assert checked.dtype == np.uint32
    assert np.array_equal(checked, turned)
    with pytest.raises(ValueError, match=r"got float64 of shape \(2,\)"):
        as_labels(np.zeros(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"got -3\.\.0"):
        as_labels(np.array([[0, -3]]))
