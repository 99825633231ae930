"""Judges from labelled images: cells are right by the metric, and the commands agree."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.features import name_branches, name_features
from mosaicell.answers.judges import IMAGE, IMAGE_FEATURES, QUALITY_FILE, read_judges
from mosaicell.answers.scale_search import scales_around
from mosaicell.networks.manifest import Card
from mosaicell.options import DEFAULT_SYSTEM
from mosaicell.systems import load_system
from mosaicell.training.judging import write_examples
from mosaicell.training.quality import (
    IMAGE_POWER,
    Branches,
    collect,
    collect_answers,
    draw_images,
    main,
    read_images,
    report,
)
from mosaicell.training.synthesis import SCENES
from tests.labelled import write_labelled_folder
from tests.test_judging import draw_answers, draw_cells
from tests.toys import JUDGED, judge_with, write_weights

#: the branches where one model is both
TWICE = name_branches(["awf", "awf"])


def twice(card: Card) -> Branches:
    return Branches(load_system(DEFAULT_SYSTEM), card.path.parent, [card.name, card.name])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *map(str, arguments)])
    main()


def test_cells_are_right_that_match_a_true_one(tmp_path: Path) -> None:
    card, truth = write_labelled_folder(tmp_path)
    branches = twice(card)
    cells = collect(read_images(tmp_path, (), 0), branches)
    assert set(cells) == set(TWICE)
    for part in cells.values():
        assert part.names == name_features(["awf", "awf"])
        assert part.features.shape == (part.right.size, len(part.names))
        assert part.right.size >= truth.max()
        assert part.right.mean() > 0.9
    nothing = ((pixels, np.zeros_like(labels)) for pixels, labels in read_images(tmp_path, (), 0))
    assert not collect(nothing, branches)["awf"].right.any()


def test_cells_of_an_image_of_many_weigh_less_each_and_more_together(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    pixels, truth = next(read_images(tmp_path, (), 0))
    cells = collect(iter([(pixels, truth), (pixels[:, :128], truth[:, :128])]), twice(card))
    for part in cells.values():
        few, many = np.unique(part.weights)[::-1]
        counts = [np.count_nonzero(part.weights == weight) for weight in (few, many)]
        assert counts[0] < counts[1]
        assert few * counts[0] == pytest.approx(counts[0] ** IMAGE_POWER)
        assert many * counts[1] == pytest.approx(counts[1] ** IMAGE_POWER)


def test_merging_a_branch_with_itself_changes_no_score(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    branches = twice(card)
    values = report(
        read_images(tmp_path, (), 0), branches, dict.fromkeys(TWICE, judge_with({}, 1.0, features=("size",)))
    )
    assert values["images"] == 2
    assert values["awf"] == values["awf-2"] == values["published"] == values["oracle"] == values["merged"]
    # the judge says the same of every cell
    assert values["answered"] == values["searched"] == values["merged"]
    assert values["predicted"] == pytest.approx(1 / (1 + math.exp(-1)))


def test_answers_are_collected_at_the_scales_of_a_search(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    branches = twice(card)
    judges = dict.fromkeys(TWICE, judge_with({}, 1.0, features=("size",)))
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


def test_the_commands_collect_fit_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_labelled_folder(tmp_path)
    weights = write_weights(tmp_path / "weights")
    (weights / QUALITY_FILE).unlink()
    folders = ["--data", tmp_path, "--weights", weights]
    run(monkeypatch, "collect", *folders, "--models", "awf-grey", "omnipose-grey", "-o", tmp_path / "found.npz")
    write_examples(tmp_path / "drawn.npz", {kind: draw_cells(200) for kind in JUDGED})
    run(monkeypatch, "fit", tmp_path / "found.npz", tmp_path / "drawn.npz", "-o", weights)
    with caplog.at_level(logging.INFO, "training"):
        run(monkeypatch, "report", *folders, "--judges", weights)
    assert caplog.messages[-1].startswith("awf ")
    assert caplog.messages[-1].endswith(" images 2")
    run(monkeypatch, "collect", *folders, "--judges", weights, "--answers", "-o", tmp_path / "answers.npz")
    write_examples(tmp_path / "more.npz", {IMAGE: draw_answers(20)})
    run(monkeypatch, "fit", tmp_path / "answers.npz", tmp_path / "more.npz", "-o", weights)
    assert set(read_judges(weights, DEFAULT_SYSTEM, JUDGED)) == {*JUDGED, IMAGE}


def test_models_of_choice_take_the_place_of_the_branches_in_their_order(tmp_path: Path) -> None:
    write_labelled_folder(tmp_path)
    weights = write_weights(tmp_path / "weights")
    ((pixels, _), *_) = read_images(tmp_path, (), 0)
    branches = Branches(load_system(DEFAULT_SYSTEM), weights, ["omnipose", "awf-{modality}"])
    assert [prediction.kind for prediction in branches.segment(pixels)] == ["omnipose", "awf"]
    case = branches.open(pixels)
    assert case.holds(3.0)
    assert case.segment("omnipose", 1.0).kind == "awf"
    assert [one.kind for one in Branches(load_system(DEFAULT_SYSTEM), weights).segment(pixels)] == list(JUDGED)
