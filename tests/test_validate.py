from __future__ import annotations

from pathlib import Path

import pytest

from tests.labelled import write_labelled_folder
from training.validate import validate


def test_scores_come_by_modality(tmp_path: Path) -> None:
    """Bright cells are found, dark ones on light are not: the model takes brightness for cells."""
    card, _ = write_labelled_folder(tmp_path)
    assert validate(card, tmp_path) == {"all": (0.5, 2), "fluorescence": (1.0, 1), "grey": (0.0, 1)}


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="holds no image"):
        validate(card, tmp_path)
