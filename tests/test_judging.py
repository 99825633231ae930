"""Fitting of judges: they learn what decides, and examples and judges come back from their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.judges import IMAGE, IMAGE_FEATURES, Judge, read_judges
from mosaicell.errors import OptionError
from mosaicell.options import DEFAULT_SYSTEM
from mosaicell.training.judging import Examples, fit, join, read_examples, write_examples, write_judges
from tests.toys import CELL_FEATURES, JUDGED


def draw_cells(count: int, seed: int = 0) -> Examples:
    """Draw cells that are right by chance, more likely so with more of one feature and less of another."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3, 2, (count, len(CELL_FEATURES)))
    odds = 0.5 + 1.5 * (features[:, 1] - 3) - 1.0 * (features[:, 4] - 3)
    return Examples(
        CELL_FEATURES, features, (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(float), np.ones(count)
    )


def judge_of(cells: Examples, *, products: bool = True) -> Judge:
    entry = fit(cells, products=products)
    return Judge(
        cells.names, np.array(entry["mean"]), np.array(entry["scale"]), np.array(entry["slopes"]), entry["offset"]
    )


@pytest.mark.parametrize("products", [True, False])
def test_what_decides_is_learned(products: bool) -> None:
    judge, unseen = judge_of(draw_cells(4000), products=products), draw_cells(2000, seed=1)
    likelihoods = judge.judge(unseen.features)
    slopes = judge.slopes[: judge.scale.size] / judge.scale
    # the penalty makes both smaller, and products, of which there are many, take little
    assert 0.9 < slopes[1] < 1.8
    assert slopes[1] / slopes[4] == pytest.approx(-1.5, rel=0.15)
    assert np.abs(np.delete(slopes, [1, 4])).max() < 0.15
    assert np.abs(judge.slopes[judge.scale.size :]).max(initial=0) < 0.2 * judge.slopes[1]
    # of those that it finds as likely, that share is right
    for low in (0.1, 0.4, 0.7):
        among = (likelihoods >= low) & (likelihoods < low + 0.2)
        assert unseen.right[among].mean() == pytest.approx(likelihoods[among].mean(), abs=0.08)


def test_a_feature_that_counts_by_another_one_is_learned() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(0, 1, (4000, len(CELL_FEATURES)))
    right = (features[:, 2] * features[:, 5] + rng.normal(0, 0.3, 4000) > 0).astype(float)
    unseen = rng.normal(0, 1, (1000, len(CELL_FEATURES)))
    likelihoods = judge_of(Examples(CELL_FEATURES, features, right, np.ones(4000))).judge(unseen)
    assert ((likelihoods > 0.5) == (unseen[:, 2] * unseen[:, 5] > 0)).mean() > 0.85
    plain = judge_of(Examples(CELL_FEATURES, features, right, np.ones(4000)), products=False).judge(unseen)
    assert ((plain > 0.5) == (unseen[:, 2] * unseen[:, 5] > 0)).mean() < 0.6


def test_heavy_cells_count_more() -> None:
    cells = draw_cells(1000)
    opposite = replace(cells, right=1 - cells.right, weights=np.full(1000, 0.01))
    assert judge_of(join([cells, opposite])).slopes[1] > 0


def test_nothing_can_be_learned_from_cells_that_are_all_right() -> None:
    cells = draw_cells(50)
    with pytest.raises(OptionError, match="all right or all wrong"):
        fit(replace(cells, right=np.ones(50)), products=False)


def draw_answers(count: int) -> Examples:
    rng = np.random.default_rng(5)
    features = rng.random((count, len(IMAGE_FEATURES)))
    return Examples(IMAGE_FEATURES, features, features[:, 0], np.ones(count))


def test_f1_is_learned_from_answers() -> None:
    judge = judge_of(draw_answers(300))
    predicted = judge.judge(draw_answers(300).features)
    assert np.corrcoef(predicted, draw_answers(300).right)[0, 1] > 0.98
    assert np.abs(predicted - draw_answers(300).right).mean() < 0.05


def test_examples_come_back_from_their_files(tmp_path: Path) -> None:
    cells = {kind: draw_cells(20, seed) for seed, kind in enumerate(JUDGED)}
    write_examples(tmp_path / "cells.npz", cells)
    write_examples(tmp_path / "answers.npz", {IMAGE: draw_answers(30)})
    found = read_examples([tmp_path / f"{name}.npz" for name in ("cells", "answers", "cells")])
    assert set(found) == {*JUDGED, IMAGE}
    assert len(found[IMAGE].right) == 30
    for kind in JUDGED:
        np.testing.assert_array_equal(found[kind].features, np.tile(cells[kind].features, (2, 1)))
        np.testing.assert_array_equal(found[kind].right[20:], cells[kind].right)
        assert found[kind].names == CELL_FEATURES
    write_examples(tmp_path / "other.npz", {"awf": replace(cells["awf"], names=CELL_FEATURES[::-1])})
    np.savez(tmp_path / "nothing.npz", sizes=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive", encoding="utf-8")
    for name, complaint in (
        ("other.npz", "other features"),
        ("nothing.npz", "holds no examples"),
        ("missing.npz", "cannot read"),
        ("text.npz", "cannot"),
    ):
        with pytest.raises(OptionError, match=complaint):
            read_examples([tmp_path / "cells.npz", tmp_path / name])


def test_examples_of_other_features_are_not_joined() -> None:
    cells = draw_cells(5)
    with pytest.raises(ValueError, match="cannot be joined"):
        join([cells, replace(cells, names=CELL_FEATURES[::-1])])


def test_judges_of_answers_go_when_those_of_cells_are_fitted_anew(tmp_path: Path) -> None:
    cells = {kind: draw_cells(100, seed) for seed, kind in enumerate(JUDGED)}
    write_judges(tmp_path, DEFAULT_SYSTEM, cells)
    before = read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)
    write_judges(tmp_path, DEFAULT_SYSTEM, {IMAGE: draw_answers(50)})
    after = read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)
    assert set(after) == {*JUDGED, IMAGE}
    np.testing.assert_array_equal(after["awf"].slopes, before["awf"].slopes)
    assert after["awf"].slopes.size > after["awf"].mean.size
    assert after[IMAGE].slopes.size == after[IMAGE].mean.size
    write_judges(tmp_path, "another", cells)
    assert set(read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)) == {*JUDGED, IMAGE}
    assert set(read_judges(tmp_path, "another", JUDGED)) == set(JUDGED)
    write_judges(tmp_path, DEFAULT_SYSTEM, cells)
    assert set(read_judges(tmp_path, DEFAULT_SYSTEM, JUDGED)) == set(JUDGED)
