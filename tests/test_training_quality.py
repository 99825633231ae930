"""Fitting the judges: they learn what decides, cells are right by the metric, and the commands agree."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.quality import IMAGE_FEATURES, JUDGED, QUALITY_FILE, Judge, read_judges
from mosaicell.answers.scale_search import scales_around
from mosaicell.errors import OptionError
from mosaicell.postprocess.cells import CELL_FEATURES
from mosaicell.training.quality import (
    IMAGE_POWER,
    KINDS,
    Branches,
    Examples,
    collect,
    collect_answers,
    draw_images,
    fit,
    main,
    read_examples,
    read_images,
    report,
    write_examples,
    write_judges,
)
from mosaicell.training.synthesis import SCENES
from tests.labelled import write_labelled_folder
from tests.toys import judge_with


def draw_cells(count: int, seed: int = 0) -> Examples:
    """Draw cells that are right by chance, more likely so with more of one feature and less of another."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3, 2, (count, len(CELL_FEATURES)))
    odds = 0.5 + 1.5 * (features[:, 1] - 3) - 1.0 * (features[:, 4] - 3)
    return Examples(features, (rng.random(count) < 1 / (1 + np.exp(-odds))).astype(float), np.ones(count))


def judge_of(cells: Examples, *, products: bool = True) -> Judge:
    entry = fit(cells, products=products)
    return Judge(np.array(entry["mean"]), np.array(entry["scale"]), np.array(entry["slopes"]), entry["offset"])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *map(str, arguments)])
    main()


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
    likelihoods = judge_of(Examples(features, right, np.ones(4000))).judge(unseen)
    assert ((likelihoods > 0.5) == (unseen[:, 2] * unseen[:, 5] > 0)).mean() > 0.85
    plain = judge_of(Examples(features, right, np.ones(4000)), products=False).judge(unseen)
    assert ((plain > 0.5) == (unseen[:, 2] * unseen[:, 5] > 0)).mean() < 0.6


def test_heavy_cells_count_more() -> None:
    cells = draw_cells(1000)
    opposite = Examples(cells.features, 1 - cells.right, np.full(1000, 0.01))
    both = Examples(*(np.concatenate(pair) for pair in zip(vars(cells).values(), vars(opposite).values(), strict=True)))
    assert judge_of(both).slopes[1] > 0


def test_nothing_can_be_learned_from_cells_that_are_all_right() -> None:
    cells = draw_cells(50)
    with pytest.raises(OptionError, match="all right or all wrong"):
        fit(Examples(cells.features, np.ones(50), cells.weights), products=False)


def test_cells_are_right_that_match_a_true_one(tmp_path: Path) -> None:
    card, truth = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    cells = collect(read_images(tmp_path, (), 0), branches)
    assert set(cells) == set(KINDS)
    for part in cells.values():
        assert part.features.shape == (part.right.size, len(CELL_FEATURES))
        assert part.right.size >= truth.max()
        assert part.right.mean() > 0.9
    nothing = ((pixels, np.zeros_like(labels)) for pixels, labels in read_images(tmp_path, (), 0))
    assert not collect(nothing, branches)["awf"].right.any()


def test_cells_of_an_image_of_many_weigh_less_each_and_more_together(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    pixels, truth = next(read_images(tmp_path, (), 0))
    cells = collect(
        iter([(pixels, truth), (pixels[:, :128], truth[:, :128])]), Branches(card.name, card.name, tmp_path)
    )
    for part in cells.values():
        few, many = np.unique(part.weights)[::-1]
        counts = [np.count_nonzero(part.weights == weight) for weight in (few, many)]
        assert counts[0] < counts[1]
        assert few * counts[0] == pytest.approx(counts[0] ** IMAGE_POWER)
        assert many * counts[1] == pytest.approx(counts[1] ** IMAGE_POWER)


def test_merging_a_branch_with_itself_changes_no_score(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    values = report(read_images(tmp_path, (), 0), branches, dict.fromkeys(KINDS, judge_with({}, 1.0)))
    assert values["images"] == 2
    assert values["awf"] == values["omnipose"] == values["paper"] == values["oracle"] == values["merged"]


def test_answers_are_collected_at_the_scales_of_a_search(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    judges = dict.fromkeys(KINDS, judge_with({}, 1.0))
    images = list(read_images(tmp_path, (), 0))
    answers = collect_answers(iter(images), branches, judges)
    scales = [1 + len(scales_around(1.0, pixels.shape[:2])) for pixels, _ in images]
    assert len(answers.right) == sum(scales) > len(images)
    assert answers.features.shape == (len(answers.right), len(IMAGE_FEATURES))
    # the first of each image is at the scale that the branch finds
    assert answers.right[[0, scales[0]]].mean() == report(iter(images), branches, judges)["merged"] > 0
    assert len(collect_answers(iter([]), branches, judges).right) == 0


def test_every_kind_of_scene_is_drawn() -> None:
    images = draw_images(1)
    pixels, labels = next(images)
    assert pixels.shape[:2] == labels.shape
    assert 1 + sum(1 for _ in images) == len(SCENES)


def draw_answers(count: int) -> Examples:
    rng = np.random.default_rng(5)
    features = rng.random((count, len(IMAGE_FEATURES)))
    return Examples(features, features[:, 0], np.ones(count))


def test_f1_is_learned_from_answers() -> None:
    judge = judge_of(draw_answers(300))
    predicted = judge.judge(draw_answers(300).features)
    assert np.corrcoef(predicted, draw_answers(300).right)[0, 1] > 0.98
    assert np.abs(predicted - draw_answers(300).right).mean() < 0.05


def test_examples_come_back_from_their_files(tmp_path: Path) -> None:
    cells = {kind: draw_cells(20, seed) for seed, kind in enumerate(KINDS)}
    write_examples(tmp_path / "cells.npz", cells)
    write_examples(tmp_path / "answers.npz", {"image": draw_answers(30)})
    found = read_examples([tmp_path / f"{name}.npz" for name in ("cells", "answers", "cells")])
    assert set(found) == set(JUDGED)
    assert len(found["image"].right) == 30
    for kind in KINDS:
        np.testing.assert_array_equal(found[kind].features, np.tile(cells[kind].features, (2, 1)))
        np.testing.assert_array_equal(found[kind].right[20:], cells[kind].right)
    np.savez(tmp_path / "other.npz", names=np.array(["size"]))
    (tmp_path / "text.npz").write_text("no archive", encoding="utf-8")
    for name, complaint in (("other.npz", "other features"), ("missing.npz", "cannot read"), ("text.npz", "cannot")):
        with pytest.raises(OptionError, match=complaint):
            read_examples([tmp_path / name])


def test_judges_of_answers_go_when_those_of_cells_are_fitted_anew(tmp_path: Path) -> None:
    cells = {kind: draw_cells(100, seed) for seed, kind in enumerate(KINDS)}
    path = tmp_path / QUALITY_FILE
    write_judges(path, cells)
    before = read_judges(tmp_path)
    write_judges(path, {"image": draw_answers(50)})
    after = read_judges(tmp_path)
    assert set(after) == set(JUDGED)
    np.testing.assert_array_equal(after["awf"].slopes, before["awf"].slopes)
    write_judges(path, cells)
    assert set(read_judges(tmp_path)) == set(KINDS)


def test_the_commands_collect_fit_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card, _ = write_labelled_folder(tmp_path)
    weights = card.path.parent
    folders = ["--data", tmp_path, "--weights", weights, "--awf", card.name, "--omnipose", card.name]
    run(monkeypatch, "collect", *folders, "-o", tmp_path / "found.npz")
    write_examples(tmp_path / "drawn.npz", {kind: draw_cells(200) for kind in KINDS})
    files = [tmp_path / "found.npz", tmp_path / "drawn.npz"]
    run(monkeypatch, "fit", *files, "-o", weights / QUALITY_FILE)
    with caplog.at_level(logging.INFO, "training"):
        run(monkeypatch, "report", *folders, "--judges", weights)
    assert caplog.messages[-1].startswith("awf ")
    assert caplog.messages[-1].endswith(" images 2")
    run(monkeypatch, "collect", *folders, "--judges", weights, "--answers", "-o", tmp_path / "answers.npz")
    write_examples(tmp_path / "more.npz", {"image": draw_answers(20)})
    run(monkeypatch, "fit", tmp_path / "answers.npz", tmp_path / "more.npz", "-o", weights / QUALITY_FILE)
    assert set(read_judges(weights)) == set(JUDGED)
