"""Self-training: images are labelled by the better cells of both branches, and poor ones are left out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mosaicell.reading.images import read_labels
from mosaicell.training.dataset import load_samples
from mosaicell.training.folder import list_images
from mosaicell.training.pseudo import label_images, main
from mosaicell.training.quality import KINDS, Branches
from tests.labelled import write_labelled_folder
from tests.toys import judge_with, write_judges


@pytest.mark.parametrize(("offset", "count"), [(2.0, 2), (0.0, 0)])
def test_images_that_are_likely_good_can_be_trained_on(offset: float, count: int, tmp_path: Path) -> None:
    card, truth = write_labelled_folder(tmp_path)
    branches = Branches(card.name, card.name, card.path.parent)
    judges = dict.fromkeys(KINDS, judge_with({}, offset))
    assert label_images(list_images(tmp_path), branches, judges, 0.7, tmp_path / "new") == count
    if count:
        samples = load_samples(tmp_path / "new", tmp_path / "cache")
        assert len(samples) == count
        dark = read_labels(tmp_path / "new" / "labels" / "dark_label.tiff")
        assert ((dark > 0) == (truth > 0)).mean() > 0.99


def test_the_command_labels_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = write_labelled_folder(tmp_path)
    write_judges(card.path.parent)
    folders = ["--weights", card.path.parent, "--judges", card.path.parent, "--data", tmp_path]
    models = ["--awf", card.name, "--omnipose", card.name]
    monkeypatch.setattr(sys, "argv", ["pseudo", *map(str, folders), *models, "-o", str(tmp_path / "new")])
    main()
    for name in ("images", "labels"):
        assert len(list((tmp_path / "new" / name).iterdir())) == 2
