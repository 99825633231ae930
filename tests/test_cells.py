"""Cells of one segmentation: whose pixels are whose, and what can be measured of any cell."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.postprocess.cells import SHAPE_FEATURES, Cells, describe_shapes, match_boxes, median_size
from mosaicell.postprocess.energy import energy_of_labels


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


def describe(labels: np.ndarray, typical: float | None = None) -> dict[str, np.ndarray]:
    described = describe_shapes(Cells(labels), median_size(labels) if typical is None else typical)
    assert described.shape == (int(labels.max()) + 1, len(SHAPE_FEATURES))
    return dict(zip(SHAPE_FEATURES, described[1:].T, strict=True))


def test_discs_of_one_size() -> None:
    values = describe(draw_discs())
    for name in ("relative_size", "debris", "at_border"):
        np.testing.assert_allclose(values[name], 0, atol=1e-6)
    np.testing.assert_allclose(np.exp(values["size"]), np.pi * 14**2, rtol=0.02)
    assert (np.abs(values["outline"] - 1) < 0.3).all()


def test_every_pixel_of_a_cell_is_outermost_or_inner(rng: np.random.Generator) -> None:
    labels = np.kron(rng.integers(0, 4, (7, 9)), np.ones((4, 5))).astype(np.uint32)
    cells = Cells(labels)
    np.testing.assert_array_equal(cells.outermost ^ cells.inner, labels > 0)
    padded = np.pad(labels, 1, "edge")
    neighbours = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    np.testing.assert_array_equal(cells.outermost, (labels > 0) & np.any([one != labels for one in neighbours], axis=0))
    np.testing.assert_array_equal(cells.outermost_ids, labels[cells.outermost])


def test_means_are_those_of_the_pixels_of_each_cell(rng: np.random.Generator) -> None:
    labels = draw_discs()
    labels[labels == 5] = 0
    plane = rng.random(labels.shape).astype(np.float32)
    means = Cells(labels, 15).mean(plane)
    assert means.shape == (15,)
    for cell in range(1, 13):
        expected = plane[labels == cell].mean(dtype=np.float64) if cell != 5 else 0
        assert means[cell] == pytest.approx(expected)
    assert not means[13:].any()


def test_small_cells_and_cells_at_the_border_are_known() -> None:
    labels = draw_discs()
    labels[1:4, 50:53] = 13
    labels[0, 100:110] = 14
    values = describe(labels)
    assert values["relative_size"][12] == pytest.approx(np.log(9 / (np.pi * 14**2)), abs=0.05)
    assert values["debris"][12] > 10
    assert values["at_border"].tolist() == [0] * 13 + [1]


def test_the_best_box_of_a_cell_counts() -> None:
    labels = draw_discs()
    right, half = boxes_of(labels, 0.6)[:1], boxes_of(labels, 0.9)[:1]
    half[0, 2:4] -= 8
    for boxes in (np.concatenate((right, half)), np.concatenate((half, right))):
        iou, score = match_boxes(Cells(labels), boxes)
        assert (iou[1], score[1]) == (1, pytest.approx(0.6))
        assert not iou[2:].any()
        assert not score[2:].any()


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
    found = match_boxes(Cells(labels), boxes)[0][1:]
    assert found[5] == pytest.approx((true & box).sum() / (true | box).sum())
    np.testing.assert_allclose(np.delete(found, 5), 1)


@pytest.mark.parametrize("content", ["empty", "full", "gap"])
def test_odd_label_images_have_finite_features(content: str) -> None:
    labels = np.zeros((40, 30), np.uint32)
    if content == "full":
        labels[:] = 1
    elif content == "gap":
        labels[3:9, 4:9] = 5
    assert np.isfinite(describe_shapes(Cells(labels), 0.0)).all()
    assert np.isfinite(match_boxes(Cells(labels), np.zeros((0, 5), np.float32))).all()


def test_sizes_are_relative_to_the_typical_one() -> None:
    labels = np.zeros((10, 100), np.uint32)
    for number, (start, stop) in enumerate([(0, 10), (20, 40), (50, 90)], start=1):
        labels[:, start:stop] = number
    assert median_size(labels) == pytest.approx(np.log(200))
    assert median_size(np.where(labels == 2, 0, labels)) == pytest.approx(np.log(100 * 400) / 2)
    assert median_size(np.zeros((3, 4), np.uint32)) == 0
    values = describe(labels, np.log(400))
    np.testing.assert_allclose(values["relative_size"], np.log([1 / 4, 1 / 2, 1]))
    np.testing.assert_allclose(values["debris"], np.log([1 / 4, 1 / 2, 1]) ** 2)
