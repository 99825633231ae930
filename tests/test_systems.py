"""Systems: found by name, with what the program asks of each; a new one is one file and one name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import mosaicell.systems as module
from mosaicell.answers.judges import QUALITY_FILE
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import read_manifest, read_models
from mosaicell.options import DEFAULT_SYSTEM, SYSTEM_NAMES, WEIGHTS_FOLDER, Options
from mosaicell.runs.run import run
from mosaicell.systems import JUDGED_WAY, Choice, choose_way, list_systems, load_system
from mosaicell.writing.masks import read_labels
from predict import build_parser
from tests.toys import entry_of, judge_with, write_discs, write_weights

#: a system of three branches, two of one kind, or of one: a file in the folder of systems
TOY = """
from mosaicell.systems import JUDGED_WAY
from mosaicell.systems._answers import glance_at, keep_better_cells, take_one


class Toy:
    models = {models!r}
    models_at_once = {at_once}
    ways = (JUDGED_WAY, "brightness")
    judged = {judged!r}

    def answer(self, case, judges, *, tta):
        names = self.branches(case)
        if judges:
            return keep_better_cells(names, case, judges, tta=tta)
        return take_one(names[-1], {{name: case.segment(name, 1.0) for name in names}}, case, 0.0, tta=tta)

    def branches(self, case):
        return self.models

    def glance(self, case, judges):
        return glance_at(self.branches(case), case, judges)


SYSTEM = Toy()
"""


def test_the_command_line_offers_every_system() -> None:
    # a system without weights can only be imported
    models = set(read_manifest(WEIGHTS_FOLDER))
    assert sorted(SYSTEM_NAMES) == [name for name in list_systems() if set(load_system(name).models) <= models]
    assert DEFAULT_SYSTEM in SYSTEM_NAMES
    (action,) = (one for one in build_parser()._actions if "--system" in one.option_strings)
    assert action.choices == SYSTEM_NAMES


@pytest.mark.parametrize("name", SYSTEM_NAMES)
def test_the_models_of_every_system_have_cards(name: str) -> None:
    system = load_system(name)
    kinds = [card.kind for card in read_models(system.models, WEIGHTS_FOLDER).values()]
    assert set(system.judged) <= set(kinds)
    assert 1 <= system.models_at_once <= len(system.models)
    assert len(set(system.ways)) == len(system.ways) > 0
    assert (JUDGED_WAY in system.ways) is bool(system.judged)


def test_a_way_is_one_of_the_system_s() -> None:
    ways = load_system(DEFAULT_SYSTEM).ways
    assert choose_way(DEFAULT_SYSTEM, "") == ways[0]
    for way in ways:
        assert choose_way(DEFAULT_SYSTEM, way) == way
    with pytest.raises(OptionError, match=f"{DEFAULT_SYSTEM} does not choose by 'style'; it chooses by {ways[0]} or "):
        choose_way(DEFAULT_SYSTEM, "style")


@pytest.mark.parametrize(
    ("predicted_f1", "doubtful"), [(None, False), (0.0, True), (module.DOUBTFUL_F1, False), (0.19, True)]
)
def test_an_answer_of_which_little_is_expected_is_doubtful(predicted_f1: float | None, doubtful: bool) -> None:
    labels = np.zeros((2, 2), np.uint32)
    assert Choice(labels, "m", {"m": 0}, {"m": 1.0}, predicted_f1, {}, 1.0).doubtful is doubtful


def add_system(folder: Path, monkeypatch: pytest.MonkeyPatch, models: tuple[str, ...], judged: tuple[str, ...]) -> None:
    """Write a system into a folder in which systems are found too, and judges for it beside those of the others."""
    text = TOY.format(models=models, at_once=len(models), judged=judged)
    (folder / "toy_system.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "mosaicell.systems.toy_system", raising=False)
    path = folder / "weights" / QUALITY_FILE
    table = json.loads(path.read_text(encoding="utf-8"))
    names = judged if len(judged) == 1 else (*judged, "awf-2")
    table["toy-system"] = dict.fromkeys(names, entry_of(judge_with({}, 2.0, features=("size",))))
    path.write_text(json.dumps(table), encoding="utf-8")


@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
@pytest.mark.parametrize("way", ["", "brightness"])
@pytest.mark.parametrize(
    ("models", "judged"),
    [
        (("omnipose-grey",), ("omnipose",)),
        (("awf-grey",), ("awf",)),
    ],
    ids=["flows", "boxes"],
)
def test_a_system_of_one_branch_is_one_file_and_one_name(
    models: tuple[str, ...],
    judged: tuple[str, ...],
    way: str,
    slide_from_px: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mosaicell.networks.views.SLIDE_FROM_PX", slide_from_px)
    weights = write_weights(tmp_path / "weights")
    add_system(tmp_path, monkeypatch, models, judged)
    assert "toy-system" in list_systems()
    write_discs(tmp_path / "discs.png", 4)
    options = Options(tmp_path / "discs.png", tmp_path / "out", "toy-system", weights, "cpu", 1)
    assert run(Options(**{**vars(options), "choose_by": way, "report": True})) == 0
    assert read_labels(tmp_path / "out" / "discs_label.tiff").max() == 4
    report = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert report["images"][0]["cells_by_branch"] == {models[-1]: 4}
    assert (report["images"][0]["predicted_f1"] is None) is (way == "brightness")
    assert set(report["weights_sha256"]) == {*models, *([] if way else [QUALITY_FILE])}


@pytest.mark.parametrize("slide_from_px", [10**6, 1000], ids=["whole", "slide"])
def test_a_system_of_three_branches_merges_the_cells_of_all(
    slide_from_px: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaicell.networks.views.SLIDE_FROM_PX", slide_from_px)
    weights = write_weights(tmp_path / "weights")
    models = ("awf-grey", "omnipose-grey", "awf-brightfield")
    add_system(tmp_path, monkeypatch, models, ("awf", "omnipose"))
    monkeypatch.setattr(load_system("toy-system"), "judged", ("awf", "omnipose", "awf"))
    write_discs(tmp_path / "discs.png", 4)
    assert run(Options(tmp_path / "discs.png", tmp_path / "out", "toy-system", weights, "cpu", 1, report=True)) == 0
    assert read_labels(tmp_path / "out" / "discs_label.tiff").max() == 4
    (image,) = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["images"]
    assert set(image["cells_by_branch"]) == set(models)
    assert sum(image["cells_by_branch"].values()) == 4
    assert image["predicted_f1"] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-4)
    assert ("sample" in image["seconds"]) is (slide_from_px == 1000)


def test_without_judges_of_a_system_only_its_other_ways_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_weights(tmp_path / "weights")
    add_system(tmp_path, monkeypatch, ("omnipose-grey",), ("omnipose",))
    path = weights / QUALITY_FILE
    table = json.loads(path.read_text(encoding="utf-8"))
    del table["toy-system"]
    path.write_text(json.dumps(table), encoding="utf-8")
    write_discs(tmp_path / "discs.png", 1)
    options = Options(tmp_path / "discs.png", tmp_path / "out", "toy-system", weights, "cpu", 1)
    with pytest.raises(OptionError, match="has no judges for toy-system"):
        run(options)
    assert run(Options(**{**vars(options), "choose_by": "brightness"})) == 0
