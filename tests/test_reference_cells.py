"""Masks of the default system change only when that is wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.reference_cells import PATH, SCENES, measure_cells, segment_scenes

#: cells are the same whose centres are this near, in px, and whose areas differ by this share at most
NEAR_PX, AREA_SHARE = 0.7, 0.03
#: one in so many cells may differ: of two that are equally likely another processor may take the other
MOST_DIFFERING = 40


def count_differing(found: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> int:
    """Count the cells of either table that are not in the other."""
    one, two = (np.array(cells, float).reshape(-1, 3) for cells in (found, expected))
    near = np.hypot(*(one[:, None, axis] - two[None, :, axis] for axis in (0, 1))) <= NEAR_PX
    alike = np.abs(one[:, None, 2] - two[None, :, 2]) <= AREA_SHARE * two[None, :, 2] + 1
    same = near & alike
    return int((~same.any(axis=1)).sum() + (~same.any(axis=0)).sum())


@pytest.mark.slow
def test_the_shipped_weights_find_the_cells_that_they_found(tmp_path: Path) -> None:
    expected = json.loads(PATH.read_text(encoding="utf-8"))
    found = segment_scenes(tmp_path)
    assert list(found) == list(expected) == [kind for kind, _, _ in SCENES]
    for kind, cells in found.items():
        assert len(expected[kind]) >= 8
        assert count_differing(cells, expected[kind]) <= len(expected[kind]) // MOST_DIFFERING, kind


def test_cells_that_moved_grew_or_went_are_seen() -> None:
    labels = np.zeros((60, 80), np.uint32)
    labels[5:15, 10:20], labels[30:50, 30:50] = 1, 2
    cells = measure_cells(labels)
    assert cells == [(9.5, 14.5, 100), (39.5, 39.5, 400)]
    assert count_differing(cells, cells) == 0
    moved, grown, gone = labels.copy(), labels.copy(), labels.copy()
    moved[5:15, 10], moved[5:15, 20:22] = 0, 1
    grown[30:50, 50] = 2
    gone[labels == 1] = 0
    for changed, count in ((moved, 2), (grown, 2), (np.where(gone > 0, 1, 0).astype(np.uint32), 1)):
        assert count_differing(measure_cells(changed), cells) == count
