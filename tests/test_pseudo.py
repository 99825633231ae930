"""Self-training: images are labelled by the branch that is likely better, and poor ones are left out."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.images import read_labels
from inference.quality import INPUTS, QUALITY_FILE, Predictor
from tests.labelled import write_labelled_folder
from training.dataset import load_samples
from training.folder import list_images
from training.pseudo import label_images, main
from training.quality import KINDS, Branches


def constant(f1: float) -> Predictor:
    """Return what predicts the same F1 for everything."""
    nothing = np.zeros(len(INPUTS))
    return Predictor(nothing, nothing + 1, nothing, float(np.log(f1 / (1 - f1))))


def write_predictors(folder: Path, offset: float) -> None:
    zeros, ones = [0.0] * len(INPUTS), [1.0] * len(INPUTS)
    entry = {"mean": zeros, "scale": ones, "slopes": zeros, "offset": offset}
    table = {"inputs": INPUTS} | dict.fromkeys(KINDS, entry)
    (folder / QUALITY_FILE).write_text(json.dumps(table), encoding="utf-8")


def test_the_folder_can_be_trained_on(tmp_path: Path) -> None:
    card, truth = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    predictors = {"awf": constant(0.9), "omnipose": constant(0.2)}
    kept = label_images(list_images(tmp_path), branches, predictors, 0.7, tmp_path / "new")
    samples = load_samples(tmp_path / "new", tmp_path / "cache")
    assert kept == len(samples) == 2
    dark = read_labels(tmp_path / "new" / "labels" / "dark_label.tiff")
    assert ((dark > 0) == (truth > 0)).mean() > 0.99


def test_the_likely_better_branch_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    answers = branches.segment

    def with_an_empty_awf(pixels: np.ndarray) -> dict[str, object]:
        both = answers(pixels)
        prediction, inputs = both["awf"]
        return both | {"awf": (replace(prediction, labels=np.zeros_like(prediction.labels)), inputs)}

    monkeypatch.setattr(branches, "segment", with_an_empty_awf)
    for awf, kept in ((0.8, 2), (0.95, 0)):
        predictors = {"awf": constant(awf), "omnipose": constant(0.9)}
        folder = tmp_path / f"{awf}"
        assert label_images(list_images(tmp_path), branches, predictors, 0.7, folder) == kept


@pytest.mark.parametrize(("offset", "kept"), [(3.0, 2), (-3.0, 0)])
def test_the_command_keeps_what_is_likely_good(
    offset: float, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, _ = write_labelled_folder(tmp_path)
    write_predictors(card.path.parent, offset)
    folders = ["--weights", card.path.parent, "--predictors", card.path.parent, "--data", tmp_path]
    models = ["--awf", card.name, "--omnipose", card.name]
    monkeypatch.setattr(sys, "argv", ["pseudo", *map(str, folders), *models, "-o", str(tmp_path / "new")])
    main()
    for name in ("images", "labels"):
        assert len(list((tmp_path / "new" / name).iterdir())) == kept
