"""Fine-tuning in one command: what is trained, what is kept, and the folder of weights that it leaves."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import check_file, read_manifest, read_models
from mosaicell.options import SYSTEM_NAMES, WEIGHTS_FOLDER
from mosaicell.segmenter import Segmenter
from mosaicell.systems import load_system
from mosaicell.training import finetune as module
from mosaicell.training.finetune import SHARES, Wishes, choose_system, finetune, main, make_recipe
from mosaicell.training.own_images import OwnImage
from mosaicell.training.pairs import Pair, find_pairs
from mosaicell.training.roles import write_roles
from mosaicell.training.synthesis import draw_scene
from mosaicell.training.weights_folder import write_mixed

#: a training of two steps
TINY = (
    "augment.crop_px=64",
    "schedule.batch_size=2",
    "schedule.steps=2",
    "sampling.synthetic_fraction=0",
    "sampling.empty_fraction=0",
)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Three drawn images of fluorescent nuclei in cellpose's layout."""
    (tmp_path / "in").mkdir()
    for seed in range(3):
        pixels, labels = draw_scene("fluorescence_nuclei", (128, 128), np.random.default_rng(seed), diameter_px=20)
        cv2.imwrite(str(tmp_path / "in" / f"{seed}.png"), pixels[..., ::-1])
        cv2.imwrite(str(tmp_path / "in" / f"{seed}_masks.png"), labels.astype(np.uint16))
    return find_pairs(tmp_path / "in")


def score_by_weights(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """Let every weights but those of the repository score higher by so much."""
    answer = OwnImage.answer

    def changed(image: OwnImage, segmenter: Segmenter) -> module.Answer:
        found = answer(image, segmenter)
        is_new = segmenter._options.weights_path != WEIGHTS_FOLDER
        fit = 0.45 + gain * is_new
        return module.Answer((0.5 + gain * is_new, 0.4 + gain * is_new), fit, found.models)

    monkeypatch.setattr(OwnImage, "answer", changed)


def models_of_all_systems() -> set[str]:
    return {model for name in SYSTEM_NAMES for model in load_system(name).models}


#: what is no single network that segments
NOT_TO_BE_TUNED = {"image-classifier", "maunet", "maunet-pair", *load_system("mde-cellmask").models}


@pytest.mark.slow
def test_a_better_model_is_kept_in_a_folder_that_the_program_takes(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    score_by_weights(monkeypatch, 0.2)
    monkeypatch.setattr(module, "LOG_EVERY_S", 1e-9)
    with caplog.at_level(logging.INFO, "training"):
        outcome = finetune(pairs, tmp_path / "mine", Wishes(settings=TINY))
    assert (outcome.model, outcome.share) == ("awf-fluorescence", min(SHARES))
    assert outcome.images == ["0.png", "1.png", "2.png"]
    assert (outcome.held_out, outcome.before) == (["1.png"], [(0.5, 0.4)] * 3)
    np.testing.assert_allclose(outcome.after, [(0.7, 0.6)] * 3)
    assert sum(record.getMessage().startswith("step ") for record in caplog.records) == 2

    old, new = read_manifest(WEIGHTS_FOLDER), read_manifest(tmp_path / "mine")
    assert [name for name in old if old[name] != new[name]] == ["awf-fluorescence"]
    before, after = old["awf-fluorescence"], new["awf-fluorescence"]
    assert {key for key in before if before[key] != after[key]} == {"sha256", "training"}
    made = after["training"]["fine_tuned"]
    assert (made["started_from"], made["steps"], made["share"]) == ("awf-fluorescence", 2, min(SHARES))
    for card in read_models(models_of_all_systems(), tmp_path / "mine").values():
        assert not card.path.is_symlink()
        check_file(card)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    labels = Segmenter(weights=tmp_path / "mine", device="cpu", threads=1).segment(pairs[0].read()[0][..., 0]).labels
    assert labels.any()


@pytest.mark.slow
def test_the_old_model_is_kept_where_the_new_one_is_not_better(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    score_by_weights(monkeypatch, 0.001)
    arguments = [
        "--images",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "mine"),
        "--model",
        "omnipose",
        "--device",
        "cpu",
    ]
    settings = [part for line in TINY for part in ("--set", line)]
    monkeypatch.setattr(sys, "argv", ["finetune", *arguments, *settings])
    with caplog.at_level(logging.INFO, "training"):
        main()
    said = [record.getMessage() for record in caplog.records]
    assert said[-1].startswith("no share of the new weights is better")
    table = said[-4:-1]
    assert [re.sub(" +", " ", line) for line in table] == [
        "0.png 0.500 0.500 0.400 0.400 (learned from)",
        "1.png 0.500 0.500 0.400 0.400",
        "2.png 0.500 0.500 0.400 0.400 (learned from)",
    ]
    for path in filter(Path.is_file, WEIGHTS_FOLDER.iterdir()):
        assert (tmp_path / "mine" / path.name).read_bytes() == path.read_bytes(), path.name


def test_models_that_share_a_file_stay_as_they_are_when_one_is_tuned(tmp_path: Path) -> None:
    write_roles(tmp_path / "shared", WEIGHTS_FOLDER, {"awf-grey": "awf-baseline", "awf-fluorescence": "awf-baseline"})
    new = WEIGHTS_FOLDER / "awf-fluorescence.onnx"
    write_mixed(tmp_path / "mixed", tmp_path / "shared", "awf-grey", new, 1.0, {"trained_channels": []})
    models = read_models(("awf-grey", "awf-fluorescence"), tmp_path / "mixed")
    for card in models.values():
        check_file(card)
    assert models["awf-fluorescence"].sha256 == read_manifest(WEIGHTS_FOLDER)["awf-baseline"]["sha256"]
    assert models["awf-grey"].sha256 != models["awf-fluorescence"].sha256


def test_an_ensemble_is_led_by_the_tuned_model(tmp_path: Path) -> None:
    new = WEIGHTS_FOLDER / "maunet-star.onnx"
    write_mixed(tmp_path / "mixed", WEIGHTS_FOLDER, "maunet-awf", new, 1.0, {"trained_channels": []})
    before, after = read_manifest(WEIGHTS_FOLDER), read_manifest(tmp_path / "mixed")
    models = read_models(("maunet", "maunet-pair", "maunet-awf", "maunet-star"), tmp_path / "mixed")
    for name, card in models.items():
        check_file(card)
        assert (card.sha256 == before[name]["sha256"]) == (name == "maunet-star")
    assert after["maunet-pair"]["ensemble"] == before["maunet-pair"]["ensemble"]


@pytest.mark.parametrize(
    ("asked", "tuned"), [("", "maunet-awf"), ("maunet-awf", "maunet-awf"), ("maunet-star", "maunet-star")]
)
def test_members_of_an_ensemble_look_at_its_images(asked: str, tuned: str) -> None:
    images: Any = ["first", "second", "third"]
    answers = [module.Answer((0.5, 0.4), 0.45, ("maunet-pair",))] * 3
    assert module._keep_asked(asked, WEIGHTS_FOLDER, images, answers) == (tuned, images, answers)


def test_the_recipe_is_the_models_own_for_few_images() -> None:
    recipe = make_recipe("awf-brightfield", ("schedule.learning_rate=1e-4",), 600)
    assert (recipe.name, recipe.start_from, recipe.width) == ("awf-brightfield", "awf-brightfield", 0.5)
    assert (recipe.schedule.hours, recipe.schedule.steps, recipe.schedule.learning_rate) == (600 / 3600, 0, 1e-4)
    assert not recipe.sampling.held_out
    assert not recipe.sampling.modality_weights
    # scenes of the model's modality stay, as it would forget them
    assert "brightfield_tissue" in recipe.sampling.synthetic_scenes
    assert 0 < recipe.sampling.synthetic_fraction < 0.5
    assert make_recipe("stardist-3", ("schedule.steps=5",), 600).schedule.steps == 5
    assert not make_recipe("stardist-3", (), 600).sampling.classes


@pytest.mark.parametrize("model", sorted(models_of_all_systems() - NOT_TO_BE_TUNED))
def test_every_model_that_segments_has_a_recipe_and_a_system(model: str) -> None:
    assert make_recipe(model, (), 60).start_from == model
    assert model in load_system(choose_system(Wishes(model=model))).models


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        (Wishes(model="awf-baseline"), "'awf-baseline' is not asked by any system; asked by: none"),
        (Wishes(model="hover", system="cell-segmenter"), "not asked by cell-segmenter; asked by: sribdmed"),
        (Wishes(model="image-classifier"), "is a classifier and segments nothing"),
        (Wishes(model="cellmask-faster"), "'cellmask-faster' is a detector with parts of its own"),
        (Wishes(model="cellmask-crops"), "is a part and segments nothing"),
        (Wishes(model="maunet"), "'maunet' is a mean of several models: fine-tune one of them"),
        (Wishes(model="maunet-pair"), "'maunet-pair' is a mean of several models: fine-tune one of them"),
        (Wishes(model="nothing"), "holds no model 'nothing'"),
    ],
)
def test_a_model_that_nothing_asks_for_is_refused(wishes: Wishes, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        choose_system(wishes)


def test_images_are_scored_where_onnxruntime_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaicell.networks.session.available_providers", lambda: ["CPUExecutionProvider"])
    segmenter = module._open(WEIGHTS_FOLDER, "cell-segmenter", torch.device("cuda"))
    assert segmenter.device == "cpu"


def test_images_that_the_model_does_not_look_at_do_not_count(pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="0 labelled images; at least 3"):
        finetune(pairs, tmp_path / "mine", Wishes(model="awf-brightfield", settings=TINY))
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "2 labelled images; at least 3 are needed"),
        (("--minutes", "0"), "--minutes 0.0 is no time"),
        (("-o", "in"), "in is there already"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    arguments: tuple[str, ...],
    complaint: str,
    pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs[0].labels.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["finetune", "--images", "in", "-o", "mine", "--device", "cpu", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"python -m training.finetune: error: {complaint}" in capsys.readouterr().err.splitlines()[-1]
