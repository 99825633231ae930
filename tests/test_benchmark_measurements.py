"""The benchmark of tables runs on a small image, and says what it measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import measurements


def test_a_small_image_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert measurements.main(["--side", "300"]) == 0
    said = capsys.readouterr().out
    assert "25 cells" in said
    assert "times as long for 25 cells" in said


def test_what_takes_too_long_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "TABLE_S", 1e-9)
    assert measurements.main(["--side", "200"]) == 1


def test_all_cells_are_drawn_apart() -> None:
    labels = measurements.draw_cells(300)
    assert np.unique(labels).tolist() == list(range(26))
