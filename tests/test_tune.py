from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from postprocess.objects import energy_of_labels
from tests.labelled import write_labelled_folder
from tests.test_branches import DECODER, draw_discs, make_card
from training.tune import Answer, collect_answers, mean_f1, tune


def make_answer(foreground: float) -> Answer:
    """Return perfect maps, but for the foreground's probability."""
    truth = draw_discs((200, 200), 12, 50)
    maps = np.stack([(truth > 0) * np.float32(foreground), energy_of_labels(truth)])
    return Answer(maps, np.empty((0, 5), np.float32), truth)


def test_tuning_finds_the_threshold_that_lets_cells_through() -> None:
    card = make_card(decoder=DECODER | {"foreground_threshold": 0.6})
    answers = [make_answer(0.55), make_answer(0.9)]
    assert mean_f1(answers, card) == 0.5
    decoder, before, after = tune(card, answers)
    assert (before, after) == (0.5, 1.0)
    assert decoder["foreground_threshold"] < 0.55
    assert mean_f1(answers, replace(card, decoder=decoder)) == 1.0


def test_settings_that_are_best_already_stay() -> None:
    card = make_card()
    decoder, before, after = tune(card, [make_answer(0.9)])
    assert decoder == card.decoder
    assert before == after == 1.0


def test_answers_are_those_of_one_modality(tmp_path: Path) -> None:
    card, labels = write_labelled_folder(tmp_path)
    (answer,) = collect_answers(card, tmp_path, "fluorescence")
    assert answer.maps.shape == (2, *labels.shape)
    assert np.array_equal(answer.truth, labels)
    assert len(collect_answers(card, tmp_path, None)) == 2
    with pytest.raises(ValueError, match="no image of modality brightfield"):
        collect_answers(card, tmp_path, "brightfield")
