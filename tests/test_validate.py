from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction
from mosaicell.networks.manifest import Card
from mosaicell.networks.raw import RunModel
from mosaicell.training import validate as validate_module
from mosaicell.training.folder import list_images, read_pair
from mosaicell.training.validate import SCALES, main, read_changes, validate
from tests.labelled import write_labelled_folder


def test_scores_come_by_modality(tmp_path: Path) -> None:
    """Bright cells are found, dark ones on light are not: the model takes brightness for cells."""
    card, _ = write_labelled_folder(tmp_path)
    scores = validate(card, tmp_path, thresholds=(0.5, 0.9))
    assert scores == {"all": ((0.5, 0.5), 2), "fluorescence": ((1.0, 1.0), 1), "grey": ((0.0, 0.0), 1)}


def test_scores_come_by_source(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    names = {path.name: "disc" if path.stem == "light" else "lamp" for path in (tmp_path / "images").iterdir()}
    rows = ["image,source,modality", *(f"{name},{source},any" for name, source in names.items())]
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    scores = validate(card, tmp_path, by_source=True)
    assert scores == {"all": ((0.5,), 2), "disc/any": ((0.0,), 1), "lamp/any": ((1.0,), 1)}


def test_images_are_seen_at_the_scale_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = write_labelled_folder(tmp_path)
    card = replace(card, diameter_range_px=(1.0, 1000.0), diameter_target_px=30.0)
    truths = [read_pair(tmp_path, path)[1] for path in list_images(tmp_path)]
    seen: list[float | None] = []

    def note(image: np.ndarray, card: Card, run_model: RunModel, batch_size: int, scale: float | None) -> Prediction:
        seen.append(scale)
        return Prediction(np.zeros(image.shape[1:], np.uint32), 0.0)

    monkeypatch.setattr(validate_module, "segment", note)
    for scale in SCALES:
        validate(card, tmp_path, scale=scale)
    true = [30 / float(np.sqrt(4 / np.pi * np.median(np.bincount(truth.ravel())[1:]))) for truth in truths]
    assert seen == [None, None, 1.0, 1.0, *map(pytest.approx, true)]


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="holds no image"):
        validate(card, tmp_path)


def test_the_command_refuses_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_labelled_folder(tmp_path)
    (tmp_path / "labels" / "light_label.tiff").unlink()
    monkeypatch.setattr(sys, "argv", ["validate", "m", "--data", str(tmp_path), "--weights", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        main()
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("python -m training.validate: error: ")
    assert sentence.endswith("light_label.tiff, the labels of light.png, is missing")


def test_entries_of_the_card_change_for_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card, _ = write_labelled_folder(tmp_path)
    cards: list[Card] = []

    def note(card: Card, *_: object, **__: object) -> dict[str, tuple[tuple[float, ...], int]]:
        cards.append(card)
        return {}

    monkeypatch.setattr(validate_module, "validate", note)
    command = ["validate", "m", "--data", str(tmp_path), "--weights", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*command, "--set", "decoder.e1=0.65", "--set", "tiling.window_px=1024"])
    main()
    assert cards == [replace(card, settings={**card.settings, "e1": 0.65}, window_px=1024)]
    for wrong, why in {
        "decoder.e7=1": "has no entry decoder.e7",
        "decoder.e1=many": "allowed is",
        "decoder.e1": "--set takes ENTRY=VALUE, not 'decoder.e1'",
    }.items():
        monkeypatch.setattr(sys, "argv", [*command, "--set", wrong])
        with pytest.raises(SystemExit, match="2"):
            main()
        assert why in capsys.readouterr().err


def test_changes_are_read_as_json_or_text() -> None:
    found = read_changes(["a.b=null", "c=[1, 2]", "d=fit", "e=x=y"])
    assert found == {"a.b": None, "c": [1, 2], "d": "fit", "e": "x=y"}
