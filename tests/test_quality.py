"""Quality: the paper's rule and the fitted predictor."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from inference.errors import OptionError
from inference.quality import INPUTS, QUALITY_FILE, foreground_confidence, prefers_omnipose, read_predictors


def test_confidence_is_the_mean_over_the_foreground_only() -> None:
    foreground = np.array([[0.9, 0.7], [0.5, 0.1]], np.float32)
    assert foreground_confidence(foreground) == pytest.approx(0.8)


def test_empty_prediction_has_no_confidence_and_no_warning() -> None:
    assert foreground_confidence(np.zeros((3, 3), np.float32)) == 0.0


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


def write_predictors(folder: Path, **changes: object) -> None:
    half = [0.5] * len(INPUTS)
    entry = {"mean": half, "scale": half, "slopes": [0.0] * (len(INPUTS) - 1) + [2.0], "offset": 0.0}
    table = {"inputs": list(INPUTS), "awf": entry, "omnipose": entry} | changes
    (folder / QUALITY_FILE).write_text(json.dumps(table), encoding="utf-8")


def test_the_prediction_is_a_logistic_function_of_the_standardised_inputs(tmp_path: Path) -> None:
    write_predictors(tmp_path)
    predictors = read_predictors(tmp_path)
    inputs = np.full(len(INPUTS), 0.5)
    assert predictors["awf"].predict(inputs) == pytest.approx(0.5)
    inputs[-1] = 1.0
    assert predictors["omnipose"].predict(inputs) == pytest.approx(1 / (1 + math.exp(-2)))
    # nothing was fitted beyond three standard deviations
    values = []
    for far in (2.0, 100.0):
        inputs[-1] = far
        values.append(predictors["awf"].predict(inputs))
    assert values[0] == values[1] == pytest.approx(1 / (1 + math.exp(-6)))


def test_an_estimator_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"cannot read the quality predictor .*quality\.json"):
        read_predictors(tmp_path)
    write_predictors(tmp_path, inputs=["confidence"])
    with pytest.raises(OptionError, match="was fitted to other inputs"):
        read_predictors(tmp_path)
    write_predictors(tmp_path, awf={"mean": []})
    with pytest.raises(OptionError, match="cannot read the quality predictor"):
        read_predictors(tmp_path)
