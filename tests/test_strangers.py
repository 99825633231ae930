"""Folds: judges learn from other folds' sources alone, and the program is scored on a fold's own."""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mosaicell.answers.judges import IMAGE, read_judges
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_manifest, read_models
from mosaicell.options import DEFAULT_SYSTEM
from mosaicell.training.roles import main as write_roles_main
from mosaicell.training.roles import write_roles
from mosaicell.training.strangers import Folds, Row, format_rows, main
from mosaicell.writing.masks import write_labels
from tests.test_branches import draw_discs
from tests.toys import JUDGED, write_weights

#: by fold, the source that it was trained without
FOLDS = {"one": "discs", "two": "more"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images of each source, of whose discs the labels lack some, so that there are wrong cells."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    rows = [("image", "source", "modality")]
    for number, source in enumerate([*FOLDS.values(), *FOLDS.values()]):
        labels = draw_discs((192, 256), 8 + 2 * number, 64)
        noise = np.random.default_rng(number).integers(0, 5, labels.shape)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), ((labels > 0) * 200 + noise).astype(np.uint8))
        labels[labels % 3 == 0] = 0
        write_labels(folder / "labels" / f"{number}_label.tiff", labels)
        rows.append((f"{number}.png", source, "fluorescence"))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return folder


@pytest.fixture
def folds(tmp_path: Path) -> tuple[list[str], Path]:
    """Paths of two recipes, and the folder of their models."""
    toys = write_weights(tmp_path / "toys")
    paths = []
    for name, source in FOLDS.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(f'[sampling]\nheld_out = ["{source}"]\n', encoding="utf-8")
        paths.append(str(path))
        write_roles(tmp_path / "models", toys, {name: "awf-grey", f"{name}-omnipose": "omnipose-grey"})
    return paths, tmp_path / "models"


def test_a_model_may_have_several_roles(tmp_path: Path) -> None:
    toys = write_weights(tmp_path / "toys")
    roles = {"awf-grey": "awf-brightfield", "awf-fluorescence": "awf-brightfield"}
    write_roles(tmp_path / "out", toys, roles, terms="open")
    assert [path.name for path in (tmp_path / "out").glob("*.onnx")] == ["awf-brightfield.onnx"]
    assert {card.path.name for card in read_models(roles, tmp_path / "out").values()} == {"awf-brightfield.onnx"}
    write_roles(tmp_path / "out", toys, {"flows": "omnipose-grey"})
    cards = read_manifest(tmp_path / "out")
    assert set(cards) == {*roles, "flows"}
    assert cards["awf-grey"]["data"] == "open"
    assert "data" not in cards["flows"]


def test_roles_are_refused_without_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toys = write_weights(tmp_path / "toys")
    for role, why in (("awf-grey", "awf-grey is not ROLE=MODEL"), ("awf-grey=nothing", "has no model nothing")):
        arguments = ["roles", role, "--weights", str(toys), "-o", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit, match="2"):
            write_roles_main()
        assert why in capsys.readouterr().err
    (toys / "omnipose-grey.onnx").unlink()
    with pytest.raises(OptionError, match="is missing"):
        write_roles(tmp_path / "out", toys, {"flows": "omnipose-grey"})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_judges_of_a_fold_have_seen_the_other_folds_images_alone(
    data: Path, folds: tuple[list[str], Path], tmp_path: Path
) -> None:
    recipes, weights = folds
    work = Folds(data, weights, recipes, 0, [], tmp_path / "work")
    work.prepare()
    first = {name: read_judges(tmp_path / "work" / name, DEFAULT_SYSTEM, JUDGED) for name in FOLDS}
    assert set(first["one"]) == {*JUDGED, IMAGE}
    # another label in an image of the first fold changes the judges of the second alone
    (tmp_path / "work" / "cells-one.npz").unlink()
    (tmp_path / "work" / "answers-one-for-two.npz").unlink()
    write_labels(data / "labels" / "0_label.tiff", np.zeros((192, 256), np.uint32))
    work.prepare()
    second = {name: read_judges(tmp_path / "work" / name, DEFAULT_SYSTEM, JUDGED) for name in FOLDS}
    assert second["one"]["awf"].offset == first["one"]["awf"].offset
    assert second["two"]["awf"].offset < first["two"]["awf"].offset


@pytest.mark.slow
def test_one_command_scores_every_image_by_source(
    data: Path, folds: tuple[list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    recipes, weights = folds
    arguments = ["--data", data, "--weights", weights, "--folds", *recipes, "-o", tmp_path / "work"]
    monkeypatch.setattr(sys, "argv", ["strangers", *map(str, arguments)])
    with caplog.at_level(logging.INFO, "training"):
        main()
    table = caplog.messages[-1].splitlines()
    assert [line.split("|")[1:3] for line in table[2:6]] == [
        [" discs/fluorescence ", " 2 "], [" more/fluorescence ", " 2 "],
        [" all, mean over images ", " 4 "], [" all, mean over sources ", " 4 "],
    ]  # fmt: skip
    with (tmp_path / "work" / "scores.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image"] for row in rows] == ["0.png", "2.png", "1.png", "3.png"]
    assert all(0 < float(row["f1"]) < 1 for row in rows)
    assert all(0.7 < float(row["confidence_f1"]) < 1 for row in rows)


def test_means_and_doubts_are_counted() -> None:
    rows = [Row("a", "1", 0.9, 0.8, 0.7, 0.8), Row("a", "2", 0.1, 0.0, 0.1, 0.1), Row("b", "3", 0.2, 0.1, 0.3, 0.6)]
    lines = format_rows(rows).splitlines()
    assert lines[2] == "| a | 2 | 0.500 | 0.400 | 0.400 | 0.450 |"
    assert lines[4] == "| all, mean over images | 3 | 0.400 | 0.300 | 0.367 | 0.500 |"
    assert lines[5] == "| all, mean over sources | 3 | 0.350 | 0.250 | 0.350 | 0.525 |"
    assert lines[-2].startswith("Predicted and true F1: r = 0.80, mean difference 0.17")
    assert lines[-1] == "Below 0.25 are 2 images, of which 1 are called doubtful; of the 1 others 0 are."


def test_folds_need_each_other_and_sources(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="two folds"):
        Folds(tmp_path, tmp_path, ["fold-a"], 8, [], tmp_path)
    with pytest.raises(OptionError, match="awf-grey holds no source out"):
        Folds(tmp_path, tmp_path, ["fold-a", "awf-grey"], 8, [], tmp_path)
