"""Training of the classifier: split, shares of the classes, a table of answers, a file that the program runs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from torch import nn

from mosaicell.networks.classifier import ClassifierCard, classify
from mosaicell.networks.manifest import file_sha256
from mosaicell.networks.session import Session
from mosaicell.training import classifier
from mosaicell.training.class_samples import ClassSample, load_class_samples
from mosaicell.training.classifier import (
    CARD,
    NAME,
    NETWORKS,
    Options,
    Probabilities,
    count_answers,
    draw_weights,
    export_classifier,
    format_answers,
    hold_out,
    main,
    train_classifier,
)
from mosaicell.training.image_classes import CLASSES
from mosaicell.training.networks.image_classifier import ImageClassifier
from tests.test_dataset import write_data


def make_samples(sources: list[tuple[str, int, int]], side: int = 40) -> list[ClassSample]:
    """Make (source, class, number) black images; the class of those with colour is by their one cell."""
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    image = np.zeros((side, side, 1), np.uint8)
    return [
        ClassSample(f"{source}{index}.png", source, label, image, *none)
        for source, label, count in sources
        for index in range(count)
    ]


def tiny_network() -> nn.Module:
    torch.manual_seed(0)
    return ImageClassifier(width=0.25)


def test_every_image_is_learned_from_or_held_out() -> None:
    samples = make_samples([("a/x", 0, 13), ("b/x", 1, 5), ("c/x", 3, 6)])
    kept, held = hold_out(samples)
    assert sorted([*kept, *held], key=samples.index) == samples
    assert [sample.source for sample in held] == ["a/x", "a/x", "c/x"]
    kept, held = hold_out(samples, ("b", "c/x"))
    assert {sample.source for sample in kept} == {"a/x"}
    assert len(held) == 11


def test_classes_and_sources_are_drawn_by_the_root_of_their_size() -> None:
    samples = make_samples([("a", 0, 64), ("b", 0, 36), ("c", 3, 16), ("d", 2, 9)])
    weights = draw_weights(samples)
    assert weights.sum() == pytest.approx(1)
    shares = {source: weights[[sample.source == source for sample in samples]].sum() for source in "abcd"}
    assert shares["a"] / shares["b"] == pytest.approx(8 / 6)
    assert (shares["a"] + shares["b"]) / shares["c"] == pytest.approx(10 / 4)
    assert shares["c"] / shares["d"] == pytest.approx(4 / 3)


def test_it_learns_what_differs(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setattr(classifier, "BATCH_SIZE", 8)
    monkeypatch.setattr(classifier, "WARMUP_STEPS", 1)
    # smaller windows than the program's: their size is no matter to the network
    monkeypatch.setattr(classifier, "CARD", replace(CARD, input_px=64))
    stripes = np.zeros((80, 80, 1), np.uint8)
    stripes[:, ::8] = 255
    none = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
    samples = [
        ClassSample("", "", 0, np.full((80, 80, 1), 20, np.uint8), *none),
        ClassSample("", "", 1, stripes, *none),
    ]
    network = tiny_network()
    assert train_classifier(network, samples, [], rng, lambda step: step / 60) == 60
    assert not network.training
    batch, labels = classifier._draw_batch(samples, [], np.array([0.5, 0.5]), rng)
    with torch.no_grad():
        assert (network(batch).argmax(1) == labels).all()
    assert set(labels.tolist()) == {0, 1}


def test_the_same_seed_gives_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "BATCH_SIZE", 2)
    samples = make_samples([("a", 0, 2), ("b", 1, 2)])
    weights = []
    for _ in range(2):
        network = tiny_network()
        train_classifier(network, samples, samples, np.random.default_rng(3), lambda step: step / 2)
        weights.append(torch.cat([parameter.flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_the_exported_file_answers_as_torch(tmp_path: Path, rng: np.random.Generator) -> None:
    network = tiny_network().eval()
    path = export_classifier(network, {"steps": 3}, tmp_path)
    session = Session(path, "cpu", 1, 0)
    windows = rng.random((3, 3, CARD.input_px, CARD.input_px), np.float32)
    (answers,) = session.run(windows)
    assert answers.shape == (3, 4)
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)
    with torch.no_grad():
        (expected,) = Probabilities(network)(torch.from_numpy(windows))
    np.testing.assert_allclose(answers, expected.numpy(), atol=1e-4)
    kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer if np.prod(tensor.dims) >= 256}
    assert kinds == {TensorProto.FLOAT16}
    image = rng.random((3, 300, 700), np.float32)
    assert classify(image, lambda windows: session.run(windows)[0], CARD).sum() == pytest.approx(1)


def test_the_card_says_what_the_program_needs(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"another": {"kept": True}}), encoding="utf-8")
    path = export_classifier(tiny_network(), {"steps": 3}, tmp_path)
    cards = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert cards["another"] == {"kept": True}
    card = cards[NAME]
    assert path == tmp_path / card["file"]
    assert card["sha256"] == file_sha256(path)
    assert card["kind"] == "classifier"
    assert card["architecture"] == "ImageClassifier"
    entries = {key: card[key] for key in ("input_px", "reduction", "most_windows")}
    assert ClassifierCard(**entries, classes=tuple(card["classes"])) == CARD
    assert card["classes"] == list(CLASSES)
    assert card["normalization"] == {"percentiles": [1, 99]}
    assert card["training"] == {"rule": "content", "steps": 3}
    # batch normalisation is folded into the convolutions: a bias is left of its two numbers for each feature
    features = sum(module.num_features for module in tiny_network().modules() if isinstance(module, nn.BatchNorm2d))
    assert card["parameters"] == sum(parameter.numel() for parameter in tiny_network().parameters()) - features


def test_a_file_that_differs_is_refused_and_the_earlier_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{NAME}.onnx").write_bytes(b"earlier")
    monkeypatch.setattr(classifier, "largest_difference", lambda *_: np.nan)
    with pytest.raises(RuntimeError, match="onnxruntime and torch differ by nan"):
        export_classifier(tiny_network(), {}, tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == [f"{NAME}.onnx"]
    assert (tmp_path / f"{NAME}.onnx").read_bytes() == b"earlier"


def test_answers_are_counted_by_class(tmp_path: Path) -> None:
    write_data(tmp_path)
    samples = load_class_samples(tmp_path, tmp_path / "cache", CARD.reduction)

    def grey_or_colour(windows: np.ndarray) -> np.ndarray:
        is_grey = (windows[:, 0] == windows[:, 1]).all((1, 2))
        return np.where(is_grey[:, None], np.eye(4, dtype=np.float32)[1], np.eye(4, dtype=np.float32)[3])

    table = count_answers(tmp_path, samples, grey_or_colour)
    expected = np.zeros((4, 4), np.int64)
    # blood in colour, nuclei without
    expected[3, 3], expected[0, 1] = 1, 1
    np.testing.assert_array_equal(table, expected)
    lines = format_answers(table)
    assert lines[2] == f"| {CLASSES[0]} | 1 | 0.0% | 0 | 1 | 0 | 0 |"
    assert lines[3] == f"| {CLASSES[1]} | 0 | - | 0 | 0 | 0 | 0 |"
    assert lines[-1] == "| all | 2 | 50.0% | 0 | 1 | 0 | 1 |"


@pytest.mark.slow
def test_the_command_leaves_a_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path / "data")
    monkeypatch.setattr(classifier, "BATCH_SIZE", 2)
    monkeypatch.setattr(classifier, "SCENES_PER_KIND", 0)
    monkeypatch.setitem(NETWORKS, "small", tiny_network)
    data, output = str(tmp_path / "data"), str(tmp_path / "out")
    options = ["--steps", "1", "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["classifier", "--data", data, "--val", data, "-o", output, *options])
    main()
    assert {item.name for item in Path(output).iterdir()} == {"manifest.json", f"{NAME}.onnx"}


@pytest.mark.parametrize("options", [["--minutes", "0"], ["--minutes", "nan"], ["--steps", "-1"]])
def test_a_senseless_budget_ends_in_one_sentence(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--data", str(tmp_path), "--val", str(tmp_path), "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["classifier", *folders, *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "minutes must be above 0" in capsys.readouterr().err


def test_nothing_left_to_learn_from_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "manifest.csv").write_text("image,source,modality\nnuclei.png,s,m\nblood.png,s,m\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"no image of .* is left to learn from"):
        classifier.run(tmp_path, tmp_path, tmp_path / "out", tmp_path / "cache", Options(held_out=("s",)))
