"""Quality: the paper's rule, the judges' file, and merging two branches of one image."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from inference.branches import Prediction
from inference.errors import OptionError
from inference.options import WEIGHTS_FOLDER
from inference.quality import (
    IMAGE_FEATURES,
    JUDGED,
    MIN_CELL_PX,
    QUALITY_FILE,
    Judge,
    judged_inputs,
    merge_branches,
    prefers_omnipose,
    read_judges,
)
from inference.scale import resize_labels
from postprocess.cells import CELL_FEATURES
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
    return Prediction(labels, 0.9, 0.8, scale, maps=maps, boxes=boxes)


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
    assert (merged.from_awf, merged.from_omnipose) == (11, 0)
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
    assert merged.alone_f1 == (0, 0)


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
    expected = (2 * (11 * likely + unlikely) / (12 + 11 * likely), 2 * 11 * likely / (11 + 11 * likely))
    assert merged.alone_f1 == pytest.approx(expected)
    assert merged.alone_f1[1] > merged.alone_f1[0]
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
    assert (merged.from_awf, merged.from_omnipose) == (1, 1)


def test_a_cell_that_is_left_too_few_pixels_counts_for_no_branch() -> None:
    small, line = np.zeros((40, 40), np.uint32), np.zeros((40, 40), np.uint32)
    small[10:13, 10:15] = 1
    small[30, 5 : 5 + MIN_CELL_PX] = 2
    line[2:30, 12] = 1
    judges = {"awf": judge_by("size", slope=0.1), "omnipose": judge_by("size", slope=0.2)}
    merged = merge_branches(predict(small, True), predict(line, False), judges)
    assert (merged.from_awf, merged.from_omnipose) == (1, 1)
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
