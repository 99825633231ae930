"""Models of a run: loaded when needed, checked then, within the memory of a GPU, and told apart in the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import file_sha256
from mosaicell.options import Options
from mosaicell.runs import models as module
from mosaicell.runs.models import KEPT_MODELS, Models
from mosaicell.training.ensemble import write_ensemble
from tests.toys import write_weights

NAMES = ("awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose-grey")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "weights")


def models_of(weights: Path, names: tuple[str, ...] = NAMES, at_once: int = 2, **changes: object) -> Models:
    options = Options(weights, weights, weights_path=weights, threads=1, **{"device": "cpu", **changes})  # type: ignore[arg-type]
    return Models(options, names, at_once)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Load nothing; return which models are loaded, and their share of the GPU's memory in GB."""
    asked: list[tuple[str, float]] = []

    def spy(path: Path, device: str, threads: int, gpu_mem_limit_gb: float) -> object:
        asked.append((path.stem, gpu_mem_limit_gb))
        return object()

    monkeypatch.setattr(module, "Session", spy)
    return asked


def test_a_model_is_loaded_once(weights: Path, loaded: list[tuple[str, float]]) -> None:
    models = models_of(weights)
    assert not loaded
    assert models.get("omnipose-grey")[1] is models.get("omnipose-grey")[1]
    assert models.get("omnipose-grey")[0].kind == "omnipose"
    assert [name for name, _ in loaded] == ["omnipose-grey"]
    assert models.hashes() == {"omnipose-grey": file_sha256(weights / "omnipose-grey.onnx")}


def test_an_ensemble_shares_the_session_of_its_first_model(weights: Path, loaded: list[tuple[str, float]]) -> None:
    write_ensemble("both", ["awf-grey", "awf-fluorescence"], [1.0], weights)
    models = models_of(weights, (*NAMES, "both"))
    assert models.get("both")[1] is models.get("awf-grey")[1]
    assert models.get("both")[0].name == "both"
    models.keep_only(["both"])
    models.get("awf-grey")
    assert [name for name, _ in loaded] == ["awf-grey"]
    assert set(models.hashes()) == {"both", "awf-grey"}


def test_a_model_is_checked_when_it_is_loaded(weights: Path, loaded: list[tuple[str, float]]) -> None:
    (weights / "omnipose-grey.onnx").write_bytes(b"other")
    models = models_of(weights)
    models.get("awf-grey")
    with pytest.raises(OptionError, match="SHA-256 differs"):
        models.get("omnipose-grey")
    assert set(models.hashes()) == {"awf-grey"}


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:3], NAMES])
@pytest.mark.parametrize("at_once", [1, 2])
def test_all_sessions_together_keep_to_the_gpu_memory_limit(
    weights: Path,
    names: tuple[str, ...],
    at_once: int,
    loaded: list[tuple[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "resolve_device", lambda device: device)
    models = models_of(weights, names, at_once, device="cuda:0", gpu_mem_limit_gb=6.0)
    for name in names:
        models.get(name)
    assert [name for name, _ in loaded] == list(names)
    assert sum(share_gb for _, share_gb in loaded) == pytest.approx(6.0)


@pytest.mark.parametrize(("kept", "at_once", "share_gb"), [(2, 1, 3.0), (1, 3, 2.0)])
def test_of_more_models_than_a_gpu_keeps_the_one_unused_longest_goes(
    weights: Path,
    kept: int,
    at_once: int,
    share_gb: float,
    loaded: list[tuple[str, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(NAMES) <= KEPT_MODELS
    monkeypatch.setattr(module, "KEPT_MODELS", kept)
    monkeypatch.setattr(module, "resolve_device", lambda device: device)
    models = models_of(weights, at_once=at_once, device="cuda:0", gpu_mem_limit_gb=6.0)
    for name in ("omnipose-grey", "awf-grey", "omnipose-grey", "awf-fluorescence", "awf-grey"):
        models.get(name)
    again = ["awf-grey"] if max(kept, at_once) == 2 else []
    assert loaded == [(name, share_gb) for name in ("omnipose-grey", "awf-grey", "awf-fluorescence", *again)]
    assert set(models.hashes()) == {"omnipose-grey", "awf-grey", "awf-fluorescence"}


def test_a_cpu_keeps_all(weights: Path, loaded: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MODELS", 1)
    models = models_of(weights, at_once=1)
    for name in (*NAMES, *NAMES):
        models.get(name)
    assert [name for name, _ in loaded] == list(NAMES)


def test_what_is_let_go_is_loaded_again(weights: Path, loaded: list[tuple[str, float]]) -> None:
    models = models_of(weights)
    models.get("awf-grey")
    models.get("omnipose-grey")
    models.keep_only(["awf-fluorescence", "omnipose-grey"])
    models.get("omnipose-grey")
    models.get("awf-grey")
    assert [name for name, _ in loaded] == ["awf-grey", "omnipose-grey", "awf-grey"]


@pytest.mark.parametrize(("count", "at_once", "most"), [(0, 2, 2), (1, 2, 3), (2, 2, 4), (4, 2, 4), (0, 9, 4)])
def test_the_networks_of_the_next_image_are_those_loaded_and_all_that_it_may_need(
    weights: Path, count: int, at_once: int, most: int, loaded: list[tuple[str, float]]
) -> None:
    models = models_of(weights, at_once=at_once)
    for name in NAMES[:count]:
        models.get(name)
    assert models.most_networks == most
