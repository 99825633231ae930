from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mosaicell.training.validate import main, validate
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
