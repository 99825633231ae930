"""Scores in a part of an image: the same as on that part alone, and every false cell elsewhere counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.trials import Row, Trial, format_table, score_trial, summarise
from mosaicell.evaluation.metrics import score_image
from mosaicell.training.synthesis import draw_scene


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Labels of a scene, and a prediction that misses some, moves some and finds some too many."""
    _, truth = draw_scene("fluorescence_nuclei", (160, 200), np.random.default_rng(4), diameter_px=16)
    prediction = np.roll(truth, 3, axis=1)
    prediction[np.isin(prediction, np.arange(1, truth.max(), 4))] = 0
    prediction[np.isin(truth, [2, 6])] = truth.max() + 5
    return truth, prediction


def embed(labels: np.ndarray, corner: tuple[int, int] = (40, 70), shape: tuple[int, int] = (300, 400)) -> np.ndarray:
    whole = np.zeros(shape, labels.dtype)
    whole[corner[0] : corner[0] + labels.shape[0], corner[1] : corner[1] + labels.shape[1]] = labels
    return whole


def test_the_whole_image_is_scored_as_the_metric_does(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = pair
    f1 = score_image(truth, prediction)[0].f1
    assert 0.2 < f1 < 0.95
    assert score_trial(Trial("a", "g", "", truth), prediction) == f1


def test_a_part_of_a_larger_image_scores_as_on_its_own(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = pair
    trial = Trial("a", "g", "", truth, corner=(40, 70))
    alone = score_image(truth, prediction)[0].f1
    assert score_trial(trial, embed(prediction)) == alone
    # the same, said with an area of the whole image
    area = embed(np.ones(truth.shape, np.uint8)) > 0
    assert score_trial(Trial("a", "g", "", embed(truth), area=area), embed(prediction)) == alone


def test_false_cells_elsewhere_count_unless_they_are_not_asked_for(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, _ = pair
    prediction = embed(truth)
    prediction[0:6, 0:6], prediction[280:290, 300:310] = 9001, 9002
    trial = Trial("a", "g", "", truth, corner=(40, 70))
    count = score_image(truth, truth)[0].n_truth
    assert score_trial(trial, prediction) == pytest.approx(2 * count / (2 * count + 2))
    assert score_trial(replace(trial, elsewhere=False), prediction) == 1
    # a cell that reaches over the border is neither right nor wrong
    prediction[36:44, 72:80] = 9003
    assert score_trial(replace(trial, elsewhere=False), prediction) >= 2 * (count - 1) / (2 * count)


def test_nothing_inside_an_excluded_hole_counts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, _ = pair
    area = np.ones(truth.shape, bool)
    area[50:90, 60:110] = False
    prediction = truth.copy()
    prediction[50:90, 60:110] = 0
    hole = Trial("a", "g", "", truth, area=area)
    assert score_trial(hole, prediction) == 1
    assert score_trial(replace(hole, area=None), prediction) < 1
    # but a cell found in it is false
    prediction[60:70, 70:80] = 9001
    assert 0.9 < score_trial(hole, prediction) < 1


def test_rows_are_means_against_the_undisturbed_images() -> None:
    labels = np.zeros((4, 4), np.uint32)
    first, second = Trial("a", "g", "", labels), Trial("b", "g", "", labels)
    trials = [
        first,
        replace(first, name="a1", row="slight", reference=first),
        replace(first, name="a2", row="strong", reference=first, most_lost=0.1),
        second,
        replace(second, name="b1", row="slight", reference=second),
    ]
    f1 = {"a": 0.9, "a1": 0.9, "a2": 0.7, "b": 0.8, "b1": 0.74}
    rows = summarise(trials, f1, {"a": 0.9, "a1": 0.5, "a2": None, "b": 0.9, "b1": 0.7})
    assert [(row.row, row.images, row.short) for row in rows] == [("slight", 2, False), ("strong", 1, True)]
    assert rows[0].undisturbed == pytest.approx(0.85)
    assert rows[0].f1 == pytest.approx(0.82)
    assert rows[0].worst == pytest.approx(-0.06)
    assert rows[0].predicted_f1 == pytest.approx(0.6)
    assert rows[1].predicted_f1 == 0
    lines = format_table("g", rows).splitlines()
    assert lines[2] == "| slight | 2 | 0.850 | 0.820 | -0.030 | -0.03 | -0.060 | 0.60 |  |"
    assert lines[3].endswith("| -0.200 | -0.1 | -0.200 | 0.00 | short |")


def test_a_better_score_never_falls_short() -> None:
    assert not Row("g", "r", 1, undisturbed=0.5, f1=0.9, worst=0.4, predicted_f1=0.9, most_lost=0.0).short
    assert Row("g", "r", 1, undisturbed=0.5, f1=0.4, worst=-0.1, predicted_f1=0.9, most_lost=0.09).short
