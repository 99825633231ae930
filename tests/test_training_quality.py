"""Fitting the predictor of F1: it learns what decides, choosing by it beats each branch, and the commands agree."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from inference.errors import OptionError
from inference.quality import INPUTS, QUALITY_FILE, read_predictors
from tests.labelled import write_labelled_folder
from training.quality import KINDS, Branches, Record, collect, evaluate, fit, main, read_records, write_records


def draw_records(images: int, seed: int = 0) -> list[Record]:
    """Draw records of branches that fail on different images; how well they do shows in two of the inputs."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(images):
        for kind in KINDS:
            inputs = rng.normal(size=len(INPUTS))
            odds = 0.5 + 1.2 * inputs[1] - 0.8 * inputs[-1] + rng.normal(0, 0.2)
            records.append(Record(f"{index}.png", f"s{index % 3}", "grey", kind, 1 / (1 + np.exp(-odds)), inputs))
    return records


def write_predictors(folder: Path, records: list[Record]) -> None:
    (folder / QUALITY_FILE).write_text(json.dumps({"inputs": INPUTS, **fit(records)}), encoding="utf-8")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *map(str, arguments)])
    main()


def test_what_decides_is_learned_and_pays(tmp_path: Path) -> None:
    write_predictors(tmp_path, draw_records(200))
    values = evaluate(draw_records(100, seed=1), read_predictors(tmp_path))
    assert values["r"] > 0.95
    assert values["error"] < 0.06
    assert max(values["awf"], values["omnipose"]) + 0.05 < values["chosen"] <= values["oracle"]
    assert values["oracle"] - values["chosen"] < 0.01


def test_records_come_back_from_their_table(tmp_path: Path) -> None:
    records = draw_records(3)
    write_records(tmp_path / "table.csv", records)
    for one, two in zip(records, read_records([tmp_path / "table.csv"]), strict=True):
        np.testing.assert_equal(vars(one), vars(two))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for name in ("other.csv", "missing.csv"):
        with pytest.raises(OptionError, match=name):
            read_records([tmp_path / name])


def test_both_branches_are_collected_for_every_image_of_the_sources(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    (tmp_path / "manifest.csv").write_text("image,source,modality\ndark.png,a,x\nlight.png,b,x\n", encoding="utf-8")
    branches = Branches(card.name, card.name, card.path.parent)
    everything = collect(tmp_path, (), 0, branches)
    assert [(record.image, record.kind) for record in everything] == [
        (name, kind) for name in ("dark.png", "light.png") for kind in KINDS
    ]
    perfect, same = everything[:2]
    assert perfect.f1 == same.f1 == 1
    # the branches are one model here
    assert perfect.inputs[-1] == same.inputs[-1] == 1
    assert [record.image for record in collect(tmp_path, ("b",), 0, branches)] == ["light.png"] * 2


def test_the_commands_fit_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card, _ = write_labelled_folder(tmp_path)
    folders = ["--data", tmp_path, "--weights", card.path.parent, "--awf", card.name, "--omnipose", card.name]
    with caplog.at_level(logging.INFO, "training"):
        run(monkeypatch, "collect", *folders, "-o", tmp_path / "table.csv")
        assert len(read_records([tmp_path / "table.csv"])) == 4
        write_records(tmp_path / "drawn.csv", draw_records(50))
        run(monkeypatch, "fit", tmp_path / "drawn.csv", tmp_path / "table.csv", "-o", tmp_path / QUALITY_FILE)
        run(monkeypatch, "report", tmp_path / "drawn.csv", "--weights", tmp_path)
    assert caplog.messages[-1].startswith("all, 50 images: r 0.")
