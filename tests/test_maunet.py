"""MAUNet as a system: which networks see an image of which size, and whole images and slides of drawn discs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mosaicell.answers.branches import Prediction
from mosaicell.answers.judges import Judges
from mosaicell.answers.merging import Sizes
from mosaicell.answers.slide import Slide
from mosaicell.contrast.modality import MODALITIES
from mosaicell.decoders import load_decoder
from mosaicell.networks.manifest import file_sha256, read_models
from mosaicell.options import Options
from mosaicell.runs.installation import check_installation
from mosaicell.runs.run import run
from mosaicell.systems.maunet import ENSEMBLE, LARGE_PX, PAIR, PUBLISHED_WAY, SINGLE, SINGLE_GREY, SYSTEM
from mosaicell.training.ensemble import write_ensemble
from mosaicell.training.kinds import load_kind
from mosaicell.writing.masks import read_labels
from tests.models import write_logit_model
from tests.toys import write_discs, write_judges

SMALL, LARGE = (4999, 5000), (5000, 5000)


class Answers:
    """An image of which every model finds one cell at scale 0.6, blurred by 7 px."""

    def __init__(
        self, shape_px: tuple[int, int], way: str = PUBLISHED_WAY, modality: str = "grey", *, whole: bool = True
    ) -> None:
        self.shape_px, self.way, self.modality, self._whole = shape_px, way, modality, whole
        self.asked: list[tuple[str, float | None, bool]] = []
        self.applied: list[tuple[Any, ...]] = []

    def holds(self, scale: float) -> bool:
        """Say whether the whole image is seen."""
        return self._whole

    def segment(self, name: str, scale: float | None, *, tta: bool = False) -> Prediction:
        """Answer for one model."""
        self.asked.append((name, scale, tta))
        labels = np.ones((2, 2), np.uint32)
        measured = {"blur_px": 7}
        return Prediction(labels, 0.8, 0.5, scale or 0.6, {"network": 1.0}, map_labels=labels, measured=measured)

    def segment_bands(
        self, names: Sequence[str], scale: float, sizes: Sequence[Sizes], judges: Judges | None, *, tta: bool = False
    ) -> Slide:
        """Answer for all of the image."""
        self.applied.append((list(names), scale, sizes[0].measured, tta))
        return Slide(np.full((9, 9), 5, np.uint32), [5], None, {"network": 7.0})


def test_the_limit_is_the_published_one() -> None:
    assert np.prod(SMALL) < LARGE_PX == np.prod(LARGE)


def name_models(shape_px: tuple[int, int], way: str, modality: str) -> tuple[str, str]:
    """Name what answers alone, and what answers for an image."""
    if way == PUBLISHED_WAY:
        return SINGLE, ENSEMBLE if shape_px == SMALL else SINGLE
    if modality == "grey":
        return SINGLE_GREY, SINGLE_GREY
    return SINGLE, PAIR if shape_px == SMALL and way == SYSTEM.ways[0] else SINGLE


@pytest.mark.parametrize("shape_px", [SMALL, LARGE])
@pytest.mark.parametrize("way", SYSTEM.ways)
@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("tta", [False, True])
def test_way_modality_and_size_tell_which_networks_answer(
    shape_px: tuple[int, int], way: str, modality: str, tta: bool
) -> None:
    case: Any = Answers(shape_px, way, modality)
    choice = SYSTEM.answer(case, None, tta=tta)
    single, name = name_models(shape_px, way, modality)
    both = [] if name == single else [(name, 0.6, False)]
    again = [(name, 0.6, True)] if tta else []
    assert case.asked == [(single, None, False), *both, *again]
    assert (choice.branch, choice.cells, choice.scale) == (name, {name: 1}, 0.6)


@pytest.mark.parametrize("shape_px", [SMALL, LARGE])
@pytest.mark.parametrize("modality", MODALITIES)
def test_what_answers_is_judged_at_the_scale_that_it_finds(
    shape_px: tuple[int, int], modality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, float | None]] = []

    def keep(names: Any, case: Any, judges: Any, *, first: Prediction | None = None, **_: Any) -> None:
        asked.append((names, first.scale if first else None))

    monkeypatch.setattr("mosaicell.systems.maunet.keep_better_cells", keep)
    case: Any = Answers(shape_px, SYSTEM.ways[0], modality)
    judges: Any = {"maunet": None}
    SYSTEM.answer(case, judges, tta=False)
    assert asked == [((name_models(shape_px, SYSTEM.ways[0], modality)[1],), None)]
    assert case.asked == []


@pytest.mark.parametrize(("shape_px", "name"), [(SMALL, ENSEMBLE), (LARGE, SINGLE)])
def test_bands_are_decoded_with_what_was_measured_on_the_mosaic(shape_px: tuple[int, int], name: str) -> None:
    case: Any = Answers(shape_px, whole=False)
    choice = SYSTEM.answer(case, None, tta=False)
    assert case.asked == [(SINGLE, None, False)]
    assert case.applied == [([name], 0.6, {"blur_px": 7}, False)]
    assert choice.cells == {name: 5}


@pytest.mark.parametrize(("modality", "name"), [("grey", SINGLE_GREY), ("fluorescence", SINGLE)])
def test_a_glance_asks_one_network_once(modality: str, name: str) -> None:
    case: Any = Answers(SMALL, SYSTEM.ways[0], modality)
    assert SYSTEM.glance(case, None).branch == name
    assert case.asked == [(name, None, False)]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Networks that take brightness for the interior and for the distance; the second one is blind."""
    folder = tmp_path / "weights"
    folder.mkdir()
    kind = load_kind("maunet")
    cards = {}
    for name, slope in ((SINGLE, 40.0), (SINGLE_GREY, 40.0), ("maunet-star", 0.0)):
        path = write_logit_model(folder / f"{name}.onnx", slope)
        cards[name] = {
            "file": path.name,
            "sha256": file_sha256(path),
            "kind": "maunet",
            "outputs": list(load_decoder("maunet").outputs),
            "tiling": {"window_px": 512, "overlap_fraction": 0.125, "stride_px": 32},
            "normalization": {"percentiles": [1.0, 99.0]},
            "cell_size": {"scale_rule": "full size", "diameter_range_px": [22.0, 50.0], "diameter_target_px": 35.0},
            "decoder": dict(kind.settings) | {"marker_threshold": 0.3, "peak_threshold": 0.2},
        }
    (folder / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    write_ensemble(ENSEMBLE, [SINGLE, "maunet-star"], [1.0, 1.25, 1.5], folder)
    write_ensemble(PAIR, [SINGLE, "maunet-star"], [1.0], folder)
    write_judges(folder, system="maunet", kinds=SYSTEM.judged)
    return folder


@pytest.mark.parametrize("large_px", [10**9, 1], ids=["both", "one"])
@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
@pytest.mark.parametrize("tta", [False, True])
def test_discs_are_cells(
    tta: bool, slide_from_px: int, large_px: int, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaicell.systems.maunet.LARGE_PX", large_px)
    monkeypatch.setattr("mosaicell.networks.views.SLIDE_FROM_PX", slide_from_px)
    write_discs(tmp_path / "discs.png", 4)
    options = Options(tmp_path / "discs.png", tmp_path / "out", "maunet", weights, "cpu", 1, tta=tta, report=True)
    options = replace(options, choose_by=PUBLISHED_WAY)
    assert run(options) == 0
    labels = read_labels(tmp_path / "out" / "discs_label.tiff")
    assert labels.max() == 4
    assert np.bincount(labels.ravel())[1:] == pytest.approx(np.pi * 15.5**2, rel=0.1)
    report = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    name = SINGLE if large_px == 1 else ENSEMBLE
    assert report["images"][0]["cells_by_branch"] == {name: 4}
    assert set(report["weights_sha256"]) == ({SINGLE} if large_px == 1 else {SINGLE, "maunet-star", ENSEMBLE})


@pytest.mark.parametrize("way", SYSTEM.ways)
def test_an_image_without_cells_has_an_empty_mask(way: str, weights: Path, tmp_path: Path) -> None:
    write_discs(tmp_path / "none.png", 0)
    assert run(Options(tmp_path / "none.png", tmp_path / "out", "maunet", weights, "cpu", 1, choose_by=way)) == 0
    assert not read_labels(tmp_path / "out" / "none_label.tiff").any()


@pytest.mark.parametrize("large_px", [10**9, 1], ids=["both", "one"])
@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
def test_a_judge_says_what_the_answer_is_worth(
    slide_from_px: int, large_px: int, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaicell.systems.maunet.LARGE_PX", large_px)
    monkeypatch.setattr("mosaicell.networks.views.SLIDE_FROM_PX", slide_from_px)
    write_discs(tmp_path / "discs.png", 4)
    assert run(Options(tmp_path / "discs.png", tmp_path / "out", "maunet", weights, "cpu", 1, report=True)) == 0
    report = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    (found,) = report["images"]
    _, name = name_models(LARGE if large_px == 1 else SMALL, SYSTEM.ways[0], found["modality"])
    assert found["cells_by_branch"] == {name: 4}
    networks = {PAIR, "maunet-star"} if name == PAIR else {name}
    assert set(report["weights_sha256"]) == {*networks, "quality.json"}
    assert found["predicted_f1"] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-3)


def test_all_networks_are_checked(weights: Path) -> None:
    assert set(read_models(SYSTEM.models, weights)) == set(SYSTEM.models)
    assert len(check_installation("maunet", weights, "cpu", 1, 1.0)) == len(SYSTEM.models)
