"""Fitting the judges of cells: they learn what decides, cells are right by the metric, and the commands agree."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from inference.errors import OptionError
from inference.quality import QUALITY_FILE, Judge, read_judges
from postprocess.cells import CELL_FEATURES
from tests.labelled import write_labelled_folder
from training.quality import (
    KINDS,
    Branches,
    Cells,
    collect,
    draw_images,
    fit,
    main,
    read_cells,
    read_images,
    report,
    write_cells,
)
from training.synthesis import SCENES


def draw_cells(count: int, seed: int = 0) -> Cells:
    """Draw cells that are right by chance, more likely so with more of one feature and less of another."""
    rng = np.random.default_rng(seed)
    features = rng.normal(3, 2, (count, len(CELL_FEATURES)))
    odds = 0.5 + 1.5 * (features[:, 1] - 3) - 1.0 * (features[:, 4] - 3)
    return Cells(features, rng.random(count) < 1 / (1 + np.exp(-odds)), np.ones(count))


def judge_of(cells: Cells) -> Judge:
    entry = fit(cells)
    return Judge(np.array(entry["mean"]), np.array(entry["scale"]), np.array(entry["slopes"]), entry["offset"])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *map(str, arguments)])
    main()


def test_what_decides_is_learned() -> None:
    judge, unseen = judge_of(draw_cells(4000)), draw_cells(2000, seed=1)
    likelihoods = judge.judge(unseen.features)
    slopes = judge.slopes / judge.scale
    assert slopes[1] == pytest.approx(1.5, rel=0.25)
    assert slopes[4] == pytest.approx(-1.0, rel=0.25)
    assert np.abs(np.delete(slopes, [1, 4])).max() < 0.15
    # of those that it finds as likely, that share is right
    for low in (0.1, 0.4, 0.7):
        among = (likelihoods >= low) & (likelihoods < low + 0.2)
        assert unseen.right[among].mean() == pytest.approx(likelihoods[among].mean(), abs=0.08)


def test_heavy_cells_count_more() -> None:
    cells = draw_cells(1000)
    opposite = Cells(cells.features, ~cells.right, np.full(1000, 0.01))
    both = Cells(*(np.concatenate(pair) for pair in zip(vars(cells).values(), vars(opposite).values(), strict=True)))
    assert judge_of(both).slopes[1] > 0


def test_nothing_can_be_learned_from_cells_that_are_all_right() -> None:
    cells = draw_cells(50)
    with pytest.raises(OptionError, match="all right or all wrong"):
        fit(Cells(cells.features, np.ones(50, bool), cells.weights))


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


def test_merging_a_branch_with_itself_changes_no_score(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    nothing = np.zeros(len(CELL_FEATURES))
    judge = Judge(nothing, nothing + 1, nothing, 1.0)
    values = report(read_images(tmp_path, (), 0), branches, dict.fromkeys(KINDS, judge))
    assert values["images"] == 2
    assert values["awf"] == values["omnipose"] == values["paper"] == values["oracle"] == values["merged"]


def test_every_kind_of_scene_is_drawn() -> None:
    images = draw_images(1)
    pixels, labels = next(images)
    assert pixels.shape[:2] == labels.shape
    assert 1 + sum(1 for _ in images) == len(SCENES)


def test_cells_come_back_from_their_file(tmp_path: Path) -> None:
    cells = {kind: draw_cells(20, seed) for seed, kind in enumerate(KINDS)}
    write_cells(tmp_path / "cells.npz", cells)
    twice = read_cells([tmp_path / "cells.npz"] * 2)
    for kind in KINDS:
        np.testing.assert_array_equal(twice[kind].features, np.tile(cells[kind].features, (2, 1)))
        np.testing.assert_array_equal(twice[kind].right[20:], cells[kind].right)
    np.savez(tmp_path / "other.npz", names=np.array(["size"]))
    for name, complaint in (("other.npz", "other features"), ("missing.npz", "cannot read")):
        with pytest.raises(OptionError, match=complaint):
            read_cells([tmp_path / name])


def test_the_commands_collect_fit_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card, _ = write_labelled_folder(tmp_path)
    folders = ["--data", tmp_path, "--weights", card.path.parent, "--awf", card.name, "--omnipose", card.name]
    run(monkeypatch, "collect", *folders, "-o", tmp_path / "found.npz")
    write_cells(tmp_path / "drawn.npz", {kind: draw_cells(200) for kind in KINDS})
    files = [tmp_path / "found.npz", tmp_path / "drawn.npz"]
    run(monkeypatch, "fit", *files, "-o", card.path.parent / QUALITY_FILE)
    assert set(read_judges(card.path.parent)) == set(KINDS)
    with caplog.at_level(logging.INFO, "training"):
        run(monkeypatch, "report", *folders)
    assert caplog.messages[-1].startswith("awf ")
    assert caplog.messages[-1].endswith(" images 2")
