"""Averages of exported models: the mean of what each layer answers, with a card that says of what."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from mosaicell.errors import OptionError
from mosaicell.networks.manifest import check_file, read_card, read_manifest
from mosaicell.networks.session import Session
from mosaicell.training.export import Exported, export_onnx, fold_batch_norm, write_card
from mosaicell.training.recipe import Recipe, read_recipe
from mosaicell.training.soup import average_models, main, write_soup

ANCHORS = torch.tensor([[10.0, 12.0], [20.0, 20.0], [40.0, 38.0]])


def make_recipe(folder: Path, width: float = 0.125) -> Recipe:
    path = folder / "tiny.toml"
    path.write_text(f"[network]\nwidth = {width}\n", encoding="utf-8")
    return read_recipe(str(path))


def write_model(path: Path, seed: int, *, width: float = 0.125, anchors: torch.Tensor = ANCHORS) -> Path:
    """Export a network with its card."""
    recipe = make_recipe(path.parent, width)
    torch.manual_seed(seed)
    network = recipe.build_network().eval()
    fold_batch_norm(network)
    model = Exported(network, recipe, anchors, "awf").eval()
    export_onnx(model, path)
    write_card(recipe, model, path, path.parent, steps=seed, hours=0.5)
    return path


def read_weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor).astype(float) for tensor in model.graph.initializer}


def test_every_weight_is_the_mean_and_the_rest_stays(tmp_path: Path) -> None:
    paths = [write_model(tmp_path / f"{name}.onnx", seed) for seed, name in enumerate("ab")]
    first, second = (read_weights(onnx.load(path)) for path in paths)
    mixed = read_weights(average_models(paths, [3.0, 1.0]))
    different = [name for name in first if not np.array_equal(first[name], second[name])]
    assert len(different) > 20
    for name, values in mixed.items():
        np.testing.assert_allclose(values, 0.75 * first[name] + 0.25 * second[name], rtol=2e-3, atol=1e-6)


def test_the_mean_of_a_model_with_itself_answers_as_the_model(tmp_path: Path) -> None:
    path = write_model(tmp_path / "a.onnx", 0)
    mean = write_soup([path, path], [0.3, 0.7], tmp_path / "out", "mean")
    tile = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    for one, other in zip(*(Session(p, "cpu", 1, 0).run(tile) for p in (path, mean)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_names_of_what_is_no_weight_do_not_count(tmp_path: Path) -> None:
    path = write_model(tmp_path / "a.onnx", 0)
    model = onnx.load(path)
    constants = [tensor for tensor in model.graph.initializer if not tensor.name.startswith("network.")]
    assert constants
    for tensor in constants:
        for node in model.graph.node:
            node.input[:] = [name.replace(tensor.name, "renumbered") for name in node.input]
        tensor.name = "renumbered"
    onnx.save(model, tmp_path / "b.onnx")
    average_models([path, tmp_path / "b.onnx"], [1.0, 1.0])


def test_the_card_says_of_what_it_is_the_mean_and_keeps_its_thresholds(tmp_path: Path) -> None:
    paths = [write_model(tmp_path / f"{name}.onnx", seed) for seed, name in enumerate("ab")]
    cards = read_manifest(tmp_path)
    cards["b"]["decoder"]["e1"] = 0.5
    cards["a"]["decoder"]["e1"] = 0.6
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    write_soup(paths, [3, 1], tmp_path / "out", "mean")
    check_file(read_card("mean", tmp_path / "out"))
    card = read_manifest(tmp_path / "out")["mean"]
    assert card["decoder"]["e1"] == 0.6
    assert [part["share"] for part in card["training"]["average_of"]] == [0.75, 0.25]
    assert [part["steps"] for part in card["training"]["average_of"]] == [0, 1]
    # a model of that name has thresholds already
    write_soup(paths, [1, 1], tmp_path, "b")
    assert read_manifest(tmp_path)["b"]["decoder"]["e1"] == 0.5
    for name in ("a", "b"):
        check_file(read_card(name, tmp_path))


def test_what_cannot_be_averaged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_model(tmp_path / "a.onnx", 0)
    wide = write_model(tmp_path / "wide.onnx", 0, width=0.25)
    other = write_model(tmp_path / "other.onnx", 0, anchors=ANCHORS + 1)
    text = tmp_path / "text.onnx"
    text.write_text("no model", encoding="utf-8")
    for paths, shares, complaint in (
        ([first, wide], [1, 1], "another network"),
        ([first, other], [1, 1], "other anchors"),
        ([first, text], [1, 1], "no ONNX|not an ONNX"),
        ([first, first], [1], "as many shares"),
        ([first, first], [1, 0], "above 0"),
    ):
        with pytest.raises(OptionError, match=complaint):
            average_models(paths, shares)
    strange = tmp_path / "strange.onnx"
    strange.write_bytes(first.read_bytes())
    with pytest.raises(OptionError, match="no card of strange"):
        write_soup([strange, first], [1, 1], tmp_path / "out", "mean")
    cards = read_manifest(tmp_path)
    for model, entry, complaint in (
        ("a", "training", "'a' has no entry training.trained_channels"),
        ("mean", "cell_size", "'mean' has no entry cell_size"),
    ):
        lacking = {name: dict(cards["a"]) for name in ("a", "mean")}
        del lacking[model][entry]
        (tmp_path / "manifest.json").write_text(json.dumps(lacking), encoding="utf-8")
        with pytest.raises(OptionError, match=complaint):
            write_soup([first], [1], tmp_path, "mean")
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["soup", str(first), "--name", "same", "-o", str(tmp_path / "out")])
    main()
    check_file(read_card("same", tmp_path / "out"))
