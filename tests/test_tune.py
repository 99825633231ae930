from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mosaicell.networks.manifest import read_card, read_manifest
from mosaicell.networks.raw import Raw, no_candidates
from mosaicell.postprocess.objects import energy_of_labels
from mosaicell.training.tune import Answer, collect_answers, main, mean_f1, tune, write_decoder
from tests.labelled import write_labelled_folder
from tests.test_branches import DECODER, draw_discs, make_card


def make_answer(foreground: float) -> Answer:
    """Return perfect maps, but for the foreground's probability."""
    truth = draw_discs((200, 200), 12, 50)
    maps = np.stack([(truth > 0) * np.float32(foreground), energy_of_labels(truth)])
    return Answer(Raw(maps, no_candidates()), truth)


def test_tuning_finds_the_threshold_that_lets_cells_through() -> None:
    card = make_card(decoder=DECODER | {"foreground_threshold": 0.6})
    answers = [make_answer(0.55), make_answer(0.9)]
    assert mean_f1(answers, card) == 0.5
    decoder, before, after = tune(card, answers)
    assert (before, after) == (0.5, 1.0)
    assert decoder["foreground_threshold"] < 0.55
    assert mean_f1(answers, replace(card, settings=decoder)) == 1.0


def test_settings_that_are_best_already_stay() -> None:
    card = make_card()
    decoder, before, after = tune(card, [make_answer(0.9)])
    assert decoder == card.settings
    assert before == after == 1.0


def test_answers_are_those_of_one_modality(tmp_path: Path) -> None:
    card, labels = write_labelled_folder(tmp_path)
    (answer,) = collect_answers(card, tmp_path, "fluorescence")
    assert answer.raw.maps.shape == (2, *labels.shape)
    assert np.array_equal(answer.truth, labels)
    assert len(collect_answers(card, tmp_path, None)) == 2
    with pytest.raises(ValueError, match="no image of modality brightfield"):
        collect_answers(card, tmp_path, "brightfield")


def test_a_decoder_is_entered_into_its_card_alone(tmp_path: Path) -> None:
    card, _ = write_labelled_folder(tmp_path)
    cards = read_manifest(tmp_path) | {"other": {"kept": True}}
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    write_decoder("m", {**card.settings, "e1": 0.65}, tmp_path)
    assert read_card("m", tmp_path) == replace(card, settings={**card.settings, "e1": 0.65})
    assert read_manifest(tmp_path)["other"] == {"kept": True}


def test_an_interrupted_write_leaves_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, _ = write_labelled_folder(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def run_out_of_space(path: Path, text: str, **_: object) -> None:
        path.write_bytes(text[:20].encode())
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", run_out_of_space)
    with pytest.raises(OSError, match="no space"):
        write_decoder("m", card.settings, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["other", "--data", "{0}"], "holds no model 'other'"),
        (["m", "--data", "{0}/nowhere"], "nowhere/images is not a folder"),
        (["m", "--data", "{0}", "--modality", "brightfield"], "no image of modality brightfield"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    tmp_path: Path,
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_labelled_folder(tmp_path)
    given = [argument.format(tmp_path) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["tune", *given, "--weights", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        main()
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("python -m training.tune: error: ")
    assert complaint in sentence
