"""Judges: what their numbers come to, and their file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.features import name_features
from mosaicell.answers.judges import IMAGE, IMAGE_FEATURES, QUALITY_FILE, judged_inputs, read_judges
from mosaicell.errors import OptionError
from mosaicell.options import DEFAULT_SYSTEM, SYSTEM_NAMES, WEIGHTS_FOLDER
from mosaicell.systems import JUDGED_WAY, load_system
from tests.toys import CELL_FEATURES, JUDGED, judge_with, write_judges


def test_likelihoods_are_a_logistic_function_of_the_standardised_features() -> None:
    judge = judge_with({"agreement": 2.0}, 0.0, 0.5, 0.5)
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


@pytest.mark.parametrize("name", SYSTEM_NAMES)
def test_judges_of_the_repository_fit_the_program(name: str) -> None:
    system = load_system(name)
    if JUDGED_WAY not in system.ways:
        pytest.skip("a system without judges")
    judges = read_judges(WEIGHTS_FOLDER, name, system.judged)
    assert set(judges) - {IMAGE} == set(system.judged)
    for kind, judge in judges.items():
        assert set(judge.features) <= set(IMAGE_FEATURES if kind == IMAGE else name_features(system.judged))
        assert (judge.scale > 0).all()


def test_judges_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"cannot read the judges .*quality\.json"):
        read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)
    write_judges(tmp_path)
    entry = json.loads((tmp_path / QUALITY_FILE).read_text(encoding="utf-8"))[DEFAULT_SYSTEM]["awf"]
    count = len(CELL_FEATURES)
    other = {"features": ["colour"], "mean": [0.0], "scale": [1.0], "slopes": [1.0, 0.0], "offset": 0.0}
    for table, complaint in (
        ({"awf": entry, "omnipose": other}, "was fitted to other features"),
        ({"awf": entry, "omnipose": entry, "image": entry}, "was fitted to other features"),
        ({"awf": entry}, "was fitted to other features or branches"),
        ({"awf": entry, "omnipose": entry, "hover": entry}, "was fitted to other features or branches"),
        ({"awf": {"mean": []}}, "cannot read the judges"),
        ({"awf": 1}, "cannot read the judges"),
        ({"awf": entry, "omnipose": {**entry, "mean": [0.0]}}, f"{count} features have means"),
        ({"awf": entry, "omnipose": {**entry, "mean": ["much"] * count}}, "cannot read the judges"),
        ({"awf": entry, "omnipose": {**entry, "slopes": [0.0] * 15}}, rf"{count} features have slopes \(15,\)"),
        ({"awf": entry, "omnipose": {**entry, "scale": [0.0] * count}}, "scales that are not above 0"),
        ({"awf": entry, "omnipose": {**entry, "offset": math.inf}}, "numbers that are not finite"),
        ({"awf": entry, "omnipose": {**entry, "offset": 10**400}}, "cannot read the judges"),
        ({"awf": entry, "omnipose": {**entry, "features": [["size"]] * count}}, "not texts"),
        ([1], "cannot read the judges"),
    ):
        (tmp_path / QUALITY_FILE).write_text(json.dumps({DEFAULT_SYSTEM: table}), encoding="utf-8")
        with pytest.raises(OptionError, match=complaint):
            read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)
    for text in ("[1]", "no JSON", "{}"):
        (tmp_path / QUALITY_FILE).write_text(text, encoding="utf-8")
        with pytest.raises(OptionError, match="cannot read the judges" if text != "{}" else "has no judges for"):
            read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)


def test_a_judge_may_see_fewer_features_in_another_order(tmp_path: Path) -> None:
    write_judges(tmp_path)
    table = json.loads((tmp_path / QUALITY_FILE).read_text(encoding="utf-8"))
    few = {"features": ["size", "agreement"], "mean": [0.0] * 2, "scale": [1.0] * 2, "slopes": [1.0] * 2, "offset": 0.0}
    table[DEFAULT_SYSTEM]["awf"] = few
    (tmp_path / QUALITY_FILE).write_text(json.dumps(table), encoding="utf-8")
    assert read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)["awf"].features == ("size", "agreement")
