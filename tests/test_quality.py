from __future__ import annotations

import numpy as np
import pytest

from inference.quality import foreground_confidence, prefers_omnipose


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
