"""Cells that two blocks own both: part by part the same stays as where the image is put together in memory."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mosaicell.postprocess.assembly import Assembly
from mosaicell.postprocess.blocks import Owned, plan_blocks
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.contested import UNWANTED, Crop, Key, Meetings, find_meetings, paint, settle
from tests.test_blocks import draw_ellipses

SHAPE_PX = (96, 130)


def draw_crops(rng: np.random.Generator, cells: int) -> list[Crop]:
    """Draw blocks that reach far into each other and agree about nothing."""
    crops = []
    for number, (y0, x0, y1, x1) in enumerate(core for row in plan_blocks(SHAPE_PX, (40, 40)) for core in row):
        bounds = (max(0, y0 - 15), max(0, x0 - 15), min(SHAPE_PX[0], y1 + 15), min(SHAPE_PX[1], x1 + 15))
        labels = draw_ellipses(rng, (bounds[2] - bounds[0], bounds[3] - bounds[1]), cells, 12)
        crops.append(Crop(number, bounds, labels))
    return crops


def assemble(crops: list[Crop]) -> np.ndarray:
    with Assembly(SHAPE_PX, workers=1) as assembly:
        for crop in crops:
            count = int(crop.labels.max(initial=0))
            nothing = np.zeros(count, np.uint8), np.zeros(count, np.float32), np.zeros(0), 0
            assembly._paste(crop.bounds, Owned(crop.bounds, crop.labels, *nothing))
        return assembly.finish()


def by_parts(crops: list[Crop], side_px: int) -> np.ndarray:
    """Do what the workers of a cluster do with blocks."""
    regions = [region for row in plan_blocks(SHAPE_PX, (side_px, side_px)) for region in row]

    def cut(region: Bounds) -> list[Crop]:
        return [crop.cut(region) for crop in crops]

    meetings: Meetings = Counter()
    for region in regions:
        meetings.update(find_meetings(cut(region), region))
    counted = [np.bincount(crop.labels.ravel()) for crop in crops]
    areas = {key: int(counted[key[0]][key[1]]) for keys in meetings for key in keys}
    left: dict[Key, int] = settle(meetings, areas)
    tables, first = [], 1
    for crop, areas_px in zip(crops, counted, strict=True):
        stays = np.array([left.get((crop.number, label), 1) > 0 for label in range(len(areas_px))])
        stays[0] = False
        tables.append(np.where(stays, np.cumsum(stays) + first - 1, 0).astype(np.uint32))
        first += int(stays.sum())
    labels = np.zeros(SHAPE_PX, np.uint32)
    for y0, x0, y1, x1 in regions:
        labels[y0:y1, x0:x1] = paint(cut((y0, x0, y1, x1)), tables, (y0, x0, y1, x1))
    return labels


@pytest.mark.parametrize("cells", [0, 3, 20])
@pytest.mark.parametrize("side_px", [16, 50, 200])
def test_parts_are_those_of_the_whole(cells: int, side_px: int) -> None:
    crops = draw_crops(np.random.default_rng(cells + side_px), cells)
    whole = assemble(crops)
    assert np.array_equal(by_parts(crops, side_px), whole)
    # blocks own many cells twice, and some of them stay in part
    assert whole.max() < sum(crop.labels.max(initial=0) for crop in crops) or cells == 0


def test_what_is_dropped_takes_no_pixels() -> None:
    # the second loses more than half to the first, so that the third keeps all
    meetings: Meetings = Counter({((0, 1), (1, 1)): 60, ((1, 1), (2, 1)): 40})
    assert settle(meetings, {(0, 1): 90, (1, 1): 100, (2, 1): 50}) == {(0, 1): 90, (1, 1): 0, (2, 1): 50}
    assert settle(meetings, {(0, 1): 90, (1, 1): 120, (2, 1): 50}) == {(0, 1): 90, (1, 1): 60, (2, 1): 0}
    assert settle(meetings, {(0, 1): 90, (1, 1): 120, (2, 1): 80}) == {(0, 1): 90, (1, 1): 60, (2, 1): 40}


def test_what_is_not_wanted_keeps_its_place() -> None:
    first, second = np.array([[1, 1, 0]], np.uint32), np.array([[1, 1, 1]], np.uint32)
    crops = [Crop(0, (0, 0, 1, 3), first), Crop(1, (0, 0, 1, 3), second)]
    assert find_meetings(crops, (0, 0, 1, 3)) == {((0, 1), (1, 1)): 2}
    painted = paint(crops, [np.array([0, UNWANTED], np.uint32), np.array([0, 7], np.uint32)], (0, 0, 1, 3))
    assert painted.tolist() == [[0, 0, 7]]


def test_a_crop_that_lies_elsewhere_is_empty() -> None:
    crop = Crop(0, (10, 10, 20, 20), np.ones((10, 10), np.uint32))
    assert crop.cut((30, 0, 40, 40)).labels.size == 0
    assert crop.cut((0, 15, 12, 90)).bounds == (10, 15, 12, 20)
    assert crop.cut((0, 15, 12, 90)).labels.shape == (2, 5)
    assert not find_meetings([crop.cut((30, 0, 40, 40))] * 2, (30, 0, 40, 40))
