from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference.errors import OptionError
from inference.manifest import file_sha256, read_card, read_manifest
from inference.options import WEIGHTS_FOLDER


def test_every_shipped_model_is_there_with_its_card() -> None:
    cards = read_manifest(WEIGHTS_FOLDER)
    assert {"awf-baseline", "awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"} <= set(cards)
    for name in cards:
        card = read_card(name, WEIGHTS_FOLDER)
        assert card.sha256 == file_sha256(card.path)
        assert card.window_px % card.stride_px == 0
    assert {path.name for path in WEIGHTS_FOLDER.glob("*.onnx")} == {entry["file"] for entry in cards.values()}


def test_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.glob("*.onnx")) < 80e6


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match="cannot read"):
        read_manifest(tmp_path)
    cards = read_manifest(WEIGHTS_FOLDER)
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    with pytest.raises(OptionError, match=r"awf-grey\.onnx are missing"):
        read_card("awf-grey", tmp_path)
    with pytest.raises(OptionError, match="holds no model 'other'"):
        read_card("other", tmp_path)
