"""Headline figures: right sums and extremes, nothing shown that nobody measured, limits held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.evaluation.figures import GPU_LIMIT_GB, RAM_LIMIT_GB, Figure, correlate, seconds_text, summarise_run
from mosaicell.evaluation.records import ImageRecord, Run

IMAGES = (
    ImageRecord("a.png", cells=1200, f1=0.5, wall_s=4.0, slowest_s=5.0, late_s=0.0, tolerance_s=10.0, ram_mb=900),
    ImageRecord("b.png", cells=0, f1=1.0, wall_s=30.0, slowest_s=31.0, late_s=0.0, tolerance_s=40.0, ram_mb=1500),
    ImageRecord("c.png", cells=34, f1=0.9, wall_s=8.0, late_s=0.0, tolerance_s=10.0, skipped=True),
)


def figures(*images: ImageRecord) -> dict[str, Figure]:
    return {figure.label: figure for figure in summarise_run(Run("run", Path("run"), images))}


def test_everything_known_is_summed_up() -> None:
    assert {label: (figure.value, figure.detail, figure.state) for label, figure in figures(*IMAGES).items()} == {
        "Images": ("3", "1 skipped, their masks were there", ""),
        "Failures": ("0", "", "good"),
        "Cells": ("1,234", "none in 1 image", ""),
        "Mean F1": ("0.800", "at IoU 0.5; median 0.900; 3 scored", ""),
        "Beyond tolerance": ("0.00 s", "none of 3 images", "good"),
        "Slowest image": ("80%", "of the tolerance: 8.00 s of 10.0 s, c.png", "good"),
        "Highest RAM": ("1.50 GB", "of 30.1 GB, b.png", "good"),
    }


def test_the_order_of_the_images_changes_nothing() -> None:
    assert figures(*IMAGES) == figures(*IMAGES[::-1])


def test_what_nobody_measured_is_left_out() -> None:
    assert figures() == {}
    assert list(figures(ImageRecord("a.png"))) == ["Images", "Failures"]


def test_failures_are_counted_by_image() -> None:
    failed = replace(IMAGES[0], failures=("one", "two"))
    assert figures(failed, *IMAGES[1:])["Failures"] == Figure("Failures", "1", "listed below", "bad")


def predict(*values: tuple[float | None, float | None]) -> list[ImageRecord]:
    return [ImageRecord(str(index), predicted_f1=guess, f1=f1) for index, (guess, f1) in enumerate(values)]


def test_predictions_are_averaged_and_held_against_the_truth() -> None:
    images = predict((0.5, 0.4), (0.75, 0.6), (1.0, 0.8), (None, 0.1), (0.95, None))
    failed = replace(images[0], failures=("no mask",), f1=0.0, predicted_f1=0.8)
    shown = figures(*images, failed)["Mean predicted F1"]
    assert shown == Figure("Mean predicted F1", "0.800", "5 predicted; r 1.00 with the F1 of 3")
    images[0] = replace(images[0], doubtful=True)
    shown = figures(*images, failed)["Mean predicted F1"]
    assert shown.detail == "5 predicted, 1 of them doubtful; r 1.00 with the F1 of 3"
    assert shown.state == "bad"


def test_predictions_without_truth_are_averaged_alone_and_none_are_not_shown() -> None:
    assert figures(*predict((0.0, None), (0.5, None)))["Mean predicted F1"].detail == "2 predicted"
    assert "Mean predicted F1" not in figures(*predict((None, 0.5), (None, None)))


def test_the_correlation_has_its_bounds_signs_and_symmetry() -> None:
    pairs = [(0.1, 0.9), (0.4, 0.2), (0.7, 0.3), (0.9, 0.4)]
    r = correlate(pairs)
    assert r == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1])
    assert correlate([(b, a) for a, b in pairs]) == pytest.approx(r)
    assert correlate([(a, a / 2) for a, _ in pairs]) == pytest.approx(1)
    assert correlate([(a, 1 - a) for a, _ in pairs]) == pytest.approx(-1)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(0.1, 0.2), (0.3, 0.4)],
        [(0.1, 0.2), (0.1, 0.4), (0.1, 0.9)],
        [(0.2, 0.1), (0.4, 0.1), (0.9, 0.1)],
        [(0.0, 0.1), (1e-300, 0.2), (0.0, 0.3)],
    ],
    ids=["none", "two", "prediction constant", "truth constant", "as good as constant"],
)
def test_there_is_no_correlation_of_few_pairs_or_without_variation(pairs: list[tuple[float, float]]) -> None:
    assert correlate(pairs) is None
    shown = figures(*predict(*pairs)).get("Mean predicted F1")
    assert (shown.detail if shown else "0 predicted") == f"{len(pairs)} predicted"


def test_time_beyond_the_tolerance_is_summed() -> None:
    late = (replace(IMAGES[0], late_s=1.5), replace(IMAGES[1], late_s=2.0), IMAGES[2])
    assert figures(*late)["Beyond tolerance"] == Figure("Beyond tolerance", "3.50 s", "2 of 3 images", "bad")


@pytest.mark.parametrize(("slowest_s", "state"), [(10.0, "good"), (10.1, "bad")])
def test_the_slowest_image_is_held_against_its_tolerance(slowest_s: float, state: str) -> None:
    assert figures(replace(IMAGES[0], slowest_s=slowest_s))["Slowest image"].state == state


@pytest.mark.parametrize(("excess_mb", "state"), [(0.0, "good"), (1.0, "bad")])
def test_memory_is_held_against_its_limit(excess_mb: float, state: str) -> None:
    ram_mb, gpu_mb = (limit_gb * 1000 + excess_mb for limit_gb in (RAM_LIMIT_GB, GPU_LIMIT_GB))
    assert figures(ImageRecord("a.png", ram_mb=ram_mb))["Highest RAM"].state == state
    assert figures(ImageRecord("a.png", gpu_mb=gpu_mb))["Highest GPU"].state == state


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 s"), (0.4567, "0.46 s"), (12.34, "12.3 s"), (1234.5, "1,234 s"), (883, "883 s")],
)
def test_seconds_have_about_three_digits(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
