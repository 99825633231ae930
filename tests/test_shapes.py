"""Shapes of cells against scikit-image, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops_table

from mosaicell.postprocess import convexity
from mosaicell.postprocess.runs import find_runs
from mosaicell.postprocess.shapes import measure_shapes
from tests.cells import draw_cells

PROPERTIES = ("area", "bbox", "centroid", "eccentricity", "equivalent_diameter_area", "solidity")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(6))
def test_shapes_are_those_of_regionprops(seed: int) -> None:
    labels = draw_cells(np.random.default_rng(seed))
    expected = regionprops_table(labels.astype(np.int32), properties=PROPERTIES)
    shapes = measure_shapes(labels)
    assert len(shapes.areas) > 40
    assert shapes.areas.tolist() == expected["area"].tolist()
    assert shapes.boxes.T.tolist() == [expected[f"bbox-{side}"].tolist() for side in range(4)]
    for axis in range(2):
        np.testing.assert_allclose(shapes.centroids[:, axis], expected[f"centroid-{axis}"], atol=1e-9)
    np.testing.assert_allclose(shapes.eccentricities, expected["eccentricity"], atol=1e-7)
    np.testing.assert_allclose(shapes.diameters, expected["equivalent_diameter_area"])
    np.testing.assert_allclose(shapes.solidities, expected["solidity"])


def test_a_cell_far_from_the_origin_has_the_same_shape(rng: np.random.Generator) -> None:
    """Sums of squares about the origin would lose it: what is 1 px wide would have an eccentricity below 1."""
    labels = np.zeros((3, 200_000), np.uint32)
    labels[1, :40] = 1
    labels[1, 199_900:199_940] = 2
    shapes = measure_shapes(labels)
    assert shapes.eccentricities.tolist() == [1, 1]
    assert shapes.solidities.tolist() == [1, 1]


def test_renumbering_and_mirroring_change_nothing(rng: np.random.Generator) -> None:
    labels = draw_cells(rng)
    count = int(labels.max())
    order = rng.permutation(count).astype(np.uint32)
    shapes = measure_shapes(labels)
    mirrored = measure_shapes(np.concatenate(([0], order + 1)).astype(np.uint32)[labels][::-1, ::-1].copy())
    for name in ("areas", "eccentricities", "solidities"):
        np.testing.assert_allclose(getattr(mirrored, name)[order], getattr(shapes, name), atol=1e-7)


def test_the_result_does_not_depend_on_how_many_rows_are_done_at_once(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = draw_cells(rng)
    whole = measure_shapes(labels)
    monkeypatch.setattr(convexity, "CHUNK_ROWS", 7)
    assert measure_shapes(labels).solidities.tolist() == whole.solidities.tolist()


def test_cells_at_each_side_touch_the_border() -> None:
    labels = np.zeros((9, 9), np.uint32)
    for number, place in enumerate([np.s_[0, 4], np.s_[8, 4], np.s_[4, 0], np.s_[4, 8], np.s_[4, 4]], 1):
        labels[place] = number
    assert measure_shapes(labels).touch_border(labels.shape).tolist() == [True] * 4 + [False]


def test_runs_make_up_the_label_image(rng: np.random.Generator) -> None:
    labels = draw_cells(rng, (700, 900), 300)
    painted = np.zeros_like(labels)
    runs = find_runs(labels)
    for cell, row, start, end in zip(*runs, strict=True):
        assert not painted[row, start:end].any()
        painted[row, start:end] = cell
    np.testing.assert_array_equal(painted, labels)
    # none could be joined with the next
    joined = (runs.ends[:-1] == runs.starts[1:]) & (runs.rows[:-1] == runs.rows[1:]) & (runs.ids[:-1] == runs.ids[1:])
    assert not joined.any()


def test_without_cells_there_is_nothing() -> None:
    shapes = measure_shapes(np.zeros((5, 4), np.uint32))
    assert [len(values) for values in shapes] == [0] * 5
    assert shapes.touch_border((5, 4)).shape == (0,)
