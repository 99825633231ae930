"""Merging: the better cells of all branches of one image, and what is expected of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mosaicell.answers.judges import IMAGE_FEATURES, Judge
from mosaicell.answers.merging import MIN_CELL_PX, MIN_LIKELIHOOD, judge_cells, merge_branches
from mosaicell.networks.scale import resize_labels
from mosaicell.postprocess.cells import median_size
from mosaicell.postprocess.objects import split_disconnected
from tests.test_cells import draw_discs
from tests.test_features import predict
from tests.toys import judge_with


def judge_by(name: str, slope: float = 4.0, mean: float = 0.5) -> Judge:
    """Return what finds cells likely that have more than `mean` of a feature."""
    return judge_with({name: slope}, 0.0, mean, 0.5, (name,))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_cells_that_both_found_stay_and_what_one_found_is_judged(scale: float) -> None:
    labels = draw_discs()
    lacking = np.where(labels == 7, 0, labels)
    judges = {"awf": judge_by("awf.box_iou"), "omnipose": judge_by("agreement")}
    awf, omnipose = predict(labels, "awf", scale), predict(lacking, "omnipose", scale)
    merged = merge_branches((awf, omnipose), judges)
    assert merged.labels.max() == 12
    assert ((merged.labels > 0) == (labels > 0)).mean() > 0.99
    assert merged.predicted_f1 is not None
    assert merged.predicted_f1 > 0.9
    only_common = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    sure = merged.predicted_f1
    merged = merge_branches((awf, omnipose), only_common)
    assert merged.cells == (11, 0)
    assert merged.predicted_f1 is not None
    # one that was found is missed
    assert merged.predicted_f1 == pytest.approx(sure * 22 / 23, abs=0.03)
    assert merged.labels.max() == 11
    assert not merged.labels[labels == 7].any()
    assert merged.labels.dtype == np.uint32


def test_without_cells_nothing_is_predicted() -> None:
    nothing = np.zeros((50, 40), np.uint32)
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    merged = merge_branches((predict(nothing, "awf"), predict(nothing, "omnipose")), judges)
    assert not merged.labels.any()
    assert merged.predicted_f1 is None
    assert merged.described is None
    assert merged.cells == (0, 0)


def test_the_answer_is_described_and_judged_as_a_whole() -> None:
    labels = draw_discs()
    lacking = np.where(labels == 7, 0, np.where(labels == 12, 7, labels)).astype(np.uint32)
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    merged = merge_branches((predict(labels, "awf"), predict(lacking, "omnipose")), judges)
    assert merged.described is not None
    described = dict(zip(IMAGE_FEATURES, merged.described, strict=True))
    assert described["expected_f1"] == merged.predicted_f1
    # 11 cells that both found are as good as certain, and AWF's twelfth is not
    likely, unlikely = judges["awf"].judge(np.array([[1.0], [0.0]]))
    assert unlikely < MIN_LIKELIHOOD
    assert merged.predicted_f1 == pytest.approx(2 * 11 * likely / (11 + 12))
    assert described["matched"] == pytest.approx(22 / 23)
    assert described["agreement"] == pytest.approx(22 / 23)
    only_matched = judge_with({"matched": 3.0}, -0.5, features=IMAGE_FEATURES)
    judged = merge_branches((predict(labels, "awf"), predict(lacking, "omnipose")), {**judges, "image": only_matched})
    np.testing.assert_array_equal(judged.labels, merged.labels)
    assert judged.predicted_f1 == pytest.approx(1 / (1 + math.exp(0.5 - 3 * described["matched"])))


def test_of_a_cell_that_a_better_one_cuts_the_largest_piece_stays() -> None:
    bar, across = np.zeros((60, 60), np.uint32), np.zeros((60, 60), np.uint32)
    bar[5:55, 25:35] = 1
    across[25:30, 2:58] = 1
    judges = {"awf": judge_by("size", slope=0.1), "omnipose": judge_by("size", slope=0.2)}
    merged = merge_branches((predict(bar, "awf"), predict(across, "omnipose")), judges)
    expected = across.copy()
    expected[30:55, 25:35] = 2
    np.testing.assert_array_equal(merged.labels, expected)
    assert merged.cells == (1, 1)
    assert merged.sources is not None
    assert merged.likelihoods is not None
    assert merged.sources.tolist() == [1, 0]
    # what the judges say of the whole cells: size is the logarithm of the area
    said = [slope * (math.log(area) - 0.5) / 0.5 for slope, area in ((0.2, 5 * 56), (0.1, 50 * 10))]
    np.testing.assert_allclose(merged.likelihoods, [1 / (1 + math.exp(-min(0.8, odds))) for odds in said], atol=0.3)
    assert merged.likelihoods[0] > merged.likelihoods[1]


def test_a_cell_that_is_left_too_few_pixels_counts_for_no_branch() -> None:
    small, line = np.zeros((40, 40), np.uint32), np.zeros((40, 40), np.uint32)
    small[10:13, 10:15] = 1
    small[30, 5 : 5 + MIN_CELL_PX] = 2
    line[2:30, 12] = 1
    judges = {"awf": judge_by("size", slope=0.1), "omnipose": judge_by("size", slope=0.2)}
    merged = merge_branches((predict(small, "awf"), predict(line, "omnipose")), judges)
    assert merged.cells == (1, 1)
    assert merged.labels.max() == 2
    assert not merged.labels[11, 10]


def test_sizes_are_measured_in_px_of_the_maps() -> None:
    labels = draw_discs()
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    first, second = predict(labels, "awf", 0.5), replace(predict(labels, "omnipose", 0.5), least_px=7)
    sizes = merge_branches((first, second), judges).sizes
    area = (resize_labels(labels, (60, 80)) == 6).sum()
    assert sizes[0].typical == pytest.approx(np.log(area), abs=0.1)
    assert [one.least_px for one in sizes] == [1, 7]


@pytest.mark.parametrize("judged", ["relative_size", "debris"])
def test_parts_are_judged_as_the_whole_is(judged: str) -> None:
    """What one half and the other say adds up to what the whole says: cells are compared with the whole image's."""
    labels = draw_discs()
    labels[labels == 3] = 0
    # the right half has the smaller cells
    labels[:, 80:][(np.indices(labels[:, 80:].shape)[0] % 40 > 26)] = 0
    labels = split_disconnected(labels)
    lacking = np.where(labels == 7, 0, labels).astype(np.uint32)
    lacking = split_disconnected(lacking)
    judges = {kind: judge_by(judged, slope=1.0) for kind in ("awf", "omnipose")}
    typical = (median_size(labels), median_size(lacking))
    whole = judge_cells((predict(labels, "awf"), predict(lacking, "omnipose")), judges, typical)
    halves = [
        judge_cells(
            (
                predict(split_disconnected(labels[:, part]), "awf"),
                predict(split_disconnected(lacking[:, part]), "omnipose"),
            ),
            judges,
            typical,
            cut_sides,
        )
        for part, cut_sides in (
            (slice(0, 80), (False, False, False, True)),
            (slice(80, 160), (False, True, False, False)),
        )
    ]
    totals = sum(half.evidence.sum(axis=0) for half in halves)
    np.testing.assert_allclose(totals, whole.evidence.sum(axis=0))
    assert not any(half.unsure.any() for half in halves)
    assert sum(int(half.labels.max()) for half in halves) == whole.labels.max()


def test_a_cell_on_a_side_beyond_which_the_image_goes_on_is_unsure() -> None:
    labels = np.zeros((40, 60), np.uint32)
    labels[:12, 10:20], labels[20:30, 50:] = 1, 2
    judges = {kind: judge_by("agreement") for kind in ("awf", "omnipose")}
    for cut_sides, unsure in (
        ((True, False, False, False), [True, False]),
        ((False, False, False, True), [False, True]),
        ((False, True, True, False), [False, False]),
    ):
        judged = judge_cells((predict(labels, "awf"), predict(labels, "omnipose")), judges, (4.0, 4.0), cut_sides)
        assert judged.unsure.tolist() == 2 * unsure


def test_a_branch_alone_keeps_the_cells_that_are_likely() -> None:
    labels = draw_discs()
    labels[labels == 3] = 0
    labels[1:4, 50:53] = 3
    merged = merge_branches([predict(labels, "awf")], {"awf": judge_by("debris", slope=-4.0)})
    assert merged.cells == (11,)
    np.testing.assert_array_equal(merged.labels > 0, (labels > 0) & (labels != 3))
    assert merged.described is not None
    assert merged.described.tolist()[1:] == [0, 0]


def test_three_branches_are_merged_by_what_two_of_them_say() -> None:
    """The second lacks a cell and the third another one: what one alone found goes."""
    labels = draw_discs()
    others = [np.where(labels == cell, 0, np.where(labels == 12, cell, labels)).astype(np.uint32) for cell in (4, 7)]
    alone = labels.copy()
    alone[0, :12] = 13
    predictions = [predict(alone, "awf"), *(predict(one, "omnipose") for one in others)]
    judges = dict.fromkeys(("awf", "omnipose", "omnipose-2"), judge_by("matched_share", mean=0.25))
    merged = merge_branches(predictions, judges)
    assert sum(merged.cells) == 12
    np.testing.assert_array_equal(merged.labels > 0, labels > 0)
    assert len(merged.sizes) == 3
