"""Quality: the paper's rule, the judges' file, and merging two branches of one image."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction
from mosaicell.answers.quality import (
    IMAGE_FEATURES,
    JUDGED,
    MIN_CELL_PX,
    MIN_LIKELIHOOD,
    QUALITY_FILE,
    Judge,
    judge_cells,
    judged_inputs,
    merge_branches,
    prefers_omnipose,
    read_judges,
)
from mosaicell.errors import OptionError
from mosaicell.networks.raw import Raw
from mosaicell.networks.scale import resize_labels
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.postprocess.cells import CELL_FEATURES, median_size
from mosaicell.postprocess.objects import split_disconnected
from tests.test_cells import boxes_of, draw_discs, perfect_maps
from tests.toys import judge_with, write_judges


@pytest.mark.parametrize(
    ("awf", "omnipose", "expected"),
    [
        (0.95, 0.97, False),
        (0.79, 0.60, True),
        (0.80, 0.86, True),
        (0.80, 0.84, False),
        (0.0, 0.0, False),
        (0.5, 0.0, False),
        (0.0, 0.6, True),
    ],
)
def test_rule_of_the_paper(awf: float, omnipose: float, expected: bool) -> None:
    assert prefers_omnipose(awf, omnipose) is expected


def judge_by(name: str, slope: float = 4.0, mean: float = 0.5) -> Judge:
    """Return what finds cells likely that have more than `mean` of a feature."""
    return judge_with({CELL_FEATURES.index(name): slope}, 0.0, mean, 0.5)


def predict(labels: np.ndarray, awf: bool, scale: float = 1.0) -> Prediction:
    """Return a branch's perfect answer with these cells; the Omnipose-style one has no boxes."""
    small = resize_labels(labels, (round(labels.shape[0] * scale), round(labels.shape[1] * scale)))
    maps = perfect_maps(small)[0 if awf else 1]
    boxes = boxes_of(small) if awf and labels.any() else np.zeros((0, 5), np.float32)
    return Prediction(labels, 0.9, 0.8, scale, raw=Raw(maps, boxes), map_labels=small)


def test_likelihoods_are_a_logistic_function_of_the_standardised_features() -> None:
    judge = judge_by("agreement", slope=2.0)
    features = np.full((3, len(CELL_FEATURES)), 0.5)
    features[1:, CELL_FEATURES.index("agreement")] = (1.0, 100.0)
    # nothing was fitted beyond four standard deviations
    np.testing.assert_allclose(judge.judge(features), [0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-8))])


def test_squares_and_products_follow_the_standardised_features() -> None:
    mean, scale = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.5, 2.0])
    features = np.array([[2.0, 1.0, 3.0], [4.0, 4.0, 3.0]])
    expected = [[1, -2, 0, 1, -2, 0, 4, 0, 0], [3, 4, 0, 4, 4, 0, 4, 0, 0]]
    np.testing.assert_array_equal(judged_inputs(features, mean, scale, products=True), expected)
    np.testing.assert_array_equal(judged_inputs(features, mean, scale, products=False), np.array(expected)[:, :3])


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_cells_that_both_found_stay_and_what_one_found_is_judged(scale: float) -> None:
    labels = draw_discs()
    lacking = np.where(labels == 7, 0, labels)
    judges = {"awf": judge_by("box_iou"), "omnipose": judge_by("agreement")}
    awf, omnipose = predict(labels, True, scale), predict(lacking, False, scale)
    merged = merge_branches(awf, omnipose, judges)
    assert merged.labels.max() == 12
    assert ((merged.labels > 0) == (labels > 0)).mean() > 0.99
    assert merged.predicted_f1 is not None
    assert merged.predicted_f1 > 0.9
    only_common = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    sure = merged.predicted_f1
    merged = merge_branches(awf, omnipose, only_common)
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
    merged = merge_branches(predict(nothing, True), predict(nothing, False), judges)
    assert not merged.labels.any()
    assert merged.predicted_f1 is None
    assert merged.described is None
    assert merged.cells == (0, 0)


def test_the_answer_is_described_and_judged_as_a_whole() -> None:
    labels = draw_discs()
    lacking = np.where(labels == 7, 0, np.where(labels == 12, 7, labels)).astype(np.uint32)
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    merged = merge_branches(predict(labels, True), predict(lacking, False), judges)
    assert merged.described is not None
    described = dict(zip(IMAGE_FEATURES, merged.described, strict=True))
    assert described["expected_f1"] == merged.predicted_f1
    # 11 cells that both found are as good as certain, and AWF's twelfth is not
    likely, unlikely = judges["awf"].judge(np.array([np.ones(len(CELL_FEATURES)), np.zeros(len(CELL_FEATURES))]))
    assert unlikely < MIN_LIKELIHOOD
    assert merged.predicted_f1 == pytest.approx(2 * 11 * likely / (11 + 12))
    assert described["matched"] == pytest.approx(22 / 23)
    assert described["agreement"] == pytest.approx(22 / 23)
    only_matched = judge_with({IMAGE_FEATURES.index("matched"): 3.0}, -0.5, count=len(IMAGE_FEATURES))
    judged = merge_branches(predict(labels, True), predict(lacking, False), {**judges, "image": only_matched})
    np.testing.assert_array_equal(judged.labels, merged.labels)
    assert judged.predicted_f1 == pytest.approx(1 / (1 + math.exp(0.5 - 3 * described["matched"])))


def test_of_a_cell_that_a_better_one_cuts_the_largest_piece_stays() -> None:
    bar, across = np.zeros((60, 60), np.uint32), np.zeros((60, 60), np.uint32)
    bar[5:55, 25:35] = 1
    across[25:30, 2:58] = 1
    judges = {"awf": judge_by("size", slope=0.1), "omnipose": judge_by("size", slope=0.2)}
    merged = merge_branches(predict(bar, True), predict(across, False), judges)
    expected = across.copy()
    expected[30:55, 25:35] = 2
    np.testing.assert_array_equal(merged.labels, expected)
    assert merged.cells == (1, 1)


def test_a_cell_that_is_left_too_few_pixels_counts_for_no_branch() -> None:
    small, line = np.zeros((40, 40), np.uint32), np.zeros((40, 40), np.uint32)
    small[10:13, 10:15] = 1
    small[30, 5 : 5 + MIN_CELL_PX] = 2
    line[2:30, 12] = 1
    judges = {"awf": judge_by("size", slope=0.1), "omnipose": judge_by("size", slope=0.2)}
    merged = merge_branches(predict(small, True), predict(line, False), judges)
    assert merged.cells == (1, 1)
    assert merged.labels.max() == 2
    assert not merged.labels[11, 10]


def test_judges_of_the_repository_fit_the_program() -> None:
    judges = read_judges(WEIGHTS_FOLDER)
    assert set(judges) == set(JUDGED)
    for kind, judge in judges.items():
        count = len(IMAGE_FEATURES if kind == "image" else CELL_FEATURES)
        assert judge.mean.shape == (count,)
        assert (judge.scale > 0).all()


def test_judges_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"cannot read the judges .*quality\.json"):
        read_judges(tmp_path)
    write_judges(tmp_path)
    entry = json.loads((tmp_path / QUALITY_FILE).read_text(encoding="utf-8"))["awf"]
    size = {"features": ["size"], "mean": [0.0], "scale": [1.0], "slopes": [1.0, 0.0], "offset": 0.0}
    for table, complaint in (
        ({"awf": entry, "omnipose": size}, "was fitted to other features"),
        ({"awf": entry, "omnipose": entry, "image": entry}, "was fitted to other features"),
        ({"awf": entry}, "was fitted to other features"),
        ({"awf": {"mean": []}}, "cannot read the judges"),
        ({"awf": entry, "omnipose": {**entry, "mean": [0.0]}}, "13 features have means"),
        ({"awf": entry, "omnipose": {**entry, "slopes": [0.0] * 14}}, r"13 features have slopes \(14,\)"),
        ([1], "cannot read the judges"),
    ):
        (tmp_path / QUALITY_FILE).write_text(json.dumps(table), encoding="utf-8")
        with pytest.raises(OptionError, match=complaint):
            read_judges(tmp_path)


def test_sizes_are_measured_in_px_of_the_maps() -> None:
    labels = draw_discs()
    judges = {"awf": judge_by("agreement"), "omnipose": judge_by("agreement")}
    first, second = predict(labels, True, 0.5), replace(predict(labels, False, 0.5), least_px=7)
    sizes = merge_branches(first, second, judges).sizes
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
    whole = judge_cells(predict(labels, True), predict(lacking, False), judges, typical)
    halves = [
        judge_cells(
            predict(split_disconnected(labels[:, part]), True),
            predict(split_disconnected(lacking[:, part]), False),
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
        judged = judge_cells(predict(labels, True), predict(labels, False), judges, (4.0, 4.0), cut_sides)
        assert judged.unsure.tolist() == 2 * unsure
