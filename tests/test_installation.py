from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mosaicell.answers.judges import QUALITY_FILE
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import file_sha256, read_manifest
from mosaicell.options import DEFAULT_SYSTEM, VERSION, WEIGHTS_FOLDER
from mosaicell.runs import installation as module
from mosaicell.runs.installation import check_installation, describe_installation
from mosaicell.systems import load_system
from tests.models import write_channel_model
from tests.toys import write_judges


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One model, the only one of the default system."""
    card = read_manifest(WEIGHTS_FOLDER)["awf-grey"]
    path = write_channel_model(tmp_path / card["file"])
    card["sha256"] = file_sha256(path)
    (tmp_path / "manifest.json").write_text(json.dumps({"awf-grey": card}), encoding="utf-8")
    write_judges(tmp_path)
    monkeypatch.setattr(type(load_system(DEFAULT_SYSTEM)), "models", ("awf-grey",))
    return tmp_path


def check(weights: Path, device: str = "cpu") -> list[str]:
    return check_installation(DEFAULT_SYSTEM, weights, device, threads=1, gpu_mem_limit_gb=1.0)


def test_versions_and_weights_are_listed(weights: Path) -> None:
    lines = describe_installation(weights)
    assert lines[0] == f"mosaicell {VERSION}"
    assert f"  numpy {np.__version__}" in lines
    assert lines[-1] == f"  awf-grey {file_sha256(weights / 'awf-grey.onnx')}"


def test_a_model_that_no_system_asks_for_may_be_missing(weights: Path) -> None:
    cards = read_manifest(weights)
    cards["start"] = cards["awf-grey"] | {"file": "start.onnx"}
    (weights / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    listed = describe_installation(weights)
    assert listed[-1].startswith("  awf-grey ")
    write_channel_model(weights / "start.onnx")
    assert describe_installation(weights)[:-1] == listed
    (weights / "manifest.json").write_text(json.dumps(cards | {"none": 7}), encoding="utf-8")
    assert len(describe_installation(weights)) == len(listed) + 1
    (weights / "awf-grey.onnx").unlink()
    with pytest.raises(OptionError, match=r"awf-grey\.onnx are missing"):
        describe_installation(weights)


def test_changed_weights_are_pointed_out(weights: Path) -> None:
    write_channel_model(weights / "awf-grey.onnx", weight=2.0)
    assert describe_installation(weights)[-1].endswith(" NOT AS ITS CARD SAYS")
    with pytest.raises(OptionError, match="SHA-256 differs"):
        check(weights)


def test_every_model_is_run(weights: Path) -> None:
    assert check(weights) == ["awf-grey: works on cpu"]


def test_a_model_that_answers_with_nan_does_not_work(weights: Path) -> None:
    path = write_channel_model(weights / "awf-grey.onnx", weight=float("nan"))
    manifest = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))
    manifest["awf-grey"]["sha256"] = file_sha256(path)
    (weights / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(OptionError, match="NaN"):
        check(weights)


def test_a_model_that_cannot_run_is_one_sentence(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: object, batch: np.ndarray) -> None:
        raise RuntimeError("no kernel image for this card")

    monkeypatch.setattr(module.Session, "run", failing)
    with pytest.raises(OptionError, match="awf-grey cannot run on cpu: no kernel image"):
        check(weights)


def test_auto_does_not_hide_a_gpu_that_fails(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resolve_device", lambda device: "cuda:0")
    with pytest.raises(OptionError, match="cuda:0"):
        check(weights, "auto")


def test_judges_that_are_missing_are_said(weights: Path) -> None:
    (weights / QUALITY_FILE).unlink()
    with pytest.raises(OptionError, match=r"judges .*quality\.json"):
        check(weights)
