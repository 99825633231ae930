"""Export: the ONNX file answers as torch does, holds half-precision weights, and its card is complete."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import nn

from mosaicell.networks.manifest import file_sha256, read_card
from mosaicell.training import export as export_module
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.export import (
    MAX_DIFFERENCE,
    Exported,
    export,
    export_onnx,
    fold_batch_norm,
    largest_difference,
    load_exported,
    main,
    real_tiles,
)
from mosaicell.training.kinds import load_kind
from mosaicell.training.losses import LEARNABLE, LossWeights
from mosaicell.training.onnx_file import MIN_HALF_SIZE
from mosaicell.training.recipe import Recipe, Schedule
from mosaicell.training.sampling import SamplingOptions
from mosaicell.training.state import Training

ANCHORS = np.array([[10, 12], [24, 20], [60, 70]], np.float32)
BASELINE = Recipe(
    name="tiny",
    kind="awf",
    start_from="",
    width=0.125,
    pixel_channels=LEARNABLE,
    anchors=3,
    schedule=Schedule(),
    sampling=SamplingOptions(),
    augment=AugmentOptions(),
    loss=LossWeights(),
)
HEAD_BIASES = ("pixels.bias", "detection.bias", "rays.bias")
FLOWS = replace(
    BASELINE,
    name="flows",
    kind="omnipose",
    start_from="tiny",
    pixel_channels=load_kind("omnipose").channels,
    anchors=0,
)


def of_another_kind(name: str) -> Recipe:
    kind = load_kind(name)
    return replace(BASELINE, name=name, kind=name, pixel_channels=kind.channels, anchors=0, loss=kind.loss())


def on_convnext(recipe: Recipe) -> Recipe:
    return replace(recipe, body="convnext", depths=(1, 1, 2, 1))


STARS, DISTANCES = of_another_kind("stardist"), of_another_kind("hover")
CLASSES, STYLES = of_another_kind("maunet"), of_another_kind("cellpose")
RECIPES = (
    *(BASELINE, FLOWS, STARS, DISTANCES, CLASSES, STYLES),
    *(on_convnext(STARS), on_convnext(DISTANCES)),
    *(replace(CLASSES, body="residual"), replace(STYLES, body="cellpose")),
)


def train_nothing(recipe: Recipe, runs: Path) -> Training:
    """Keep a checkpoint of random weights whose batch statistics are not those of an untrained network."""
    torch.manual_seed(4)
    state = Training(replace(recipe, start_from=""), runs, torch.device("cpu"))
    state.anchors = ANCHORS
    for module in state.average.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    state.step, state.elapsed_s = 321, 5400.0
    state.save()
    return state


def write_images(data: Path, rng: np.random.Generator) -> Path:
    (data / "images").mkdir(parents=True)
    for name, shape in {"a.png": (70, 100, 3), "b.bmp": (64, 40, 3), "c.png": (20, 90, 3)}.items():
        cv2.imwrite(str(data / "images" / name), rng.integers(0, 256, shape, np.uint8))
    return data


@pytest.fixture(scope="module", params=RECIPES, ids=lambda recipe: f"{recipe.kind} {recipe.body}")
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Path]:
    """Export random weights: the model as torch runs it, and its ONNX file."""
    folder = tmp_path_factory.mktemp("export")
    train_nothing(request.param, folder)
    model = load_exported(request.param, folder)
    export_onnx(model, folder / "model.onnx")
    return model, folder / "model.onnx"


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 64, 96), (3, 32, 160), (2, 128, 32)])
def test_onnx_answers_as_torch_for_any_batch_and_size(
    exported: tuple[Exported, Path], batch: int, height: int, width: int, rng: np.random.Generator
) -> None:
    model, path = exported
    images = rng.random((batch, 3, height, width), np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers = session.run(None, {"image": images})
    with torch.no_grad():
        expected = model(torch.from_numpy(images))
    assert len(answers) == len(expected)
    for ours, theirs in zip(answers, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-3)
    outputs = dict(zip(load_kind(model.kind).outputs, answers, strict=True))
    assert outputs["maps"].shape == (batch, len(load_kind(model.kind).channels), height, width)
    if "boxes" in outputs:
        assert outputs["boxes"].shape == (batch, 3 * (height // 8) * (width // 8), 5)
    if "rays" in outputs:
        stride_px = 4 if hasattr(model.network, "encoder") else 2
        assert outputs["rays"].shape == (batch, 32, height // stride_px, width // stride_px)


def test_the_file_has_the_versions_and_types_that_the_program_needs(exported: tuple[Exported, Path]) -> None:
    model, path = exported
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    assert [entry.version for entry in file.opset_import] == [17]
    assert file.ir_version == 10
    assert [value.name for value in file.graph.input] == ["image"]
    assert [value.name for value in file.graph.output] == list(load_kind(model.kind).outputs)
    large = [tensor for tensor in file.graph.initializer if np.prod(tensor.dims) >= MIN_HALF_SIZE]
    assert {tensor.data_type for tensor in large} == {TensorProto.FLOAT16}
    # half of four bytes a weight, and the graph
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert path.stat().st_size < 2 * parameters + 60_000


@pytest.mark.parametrize(("recipe", "kind"), [(BASELINE, "awf"), (FLOWS, "omnipose")], ids=["awf", "omnipose"])
def test_maps_are_the_channels_of_the_decoder_with_probabilities(
    recipe: Recipe, kind: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    average = train_nothing(recipe, tmp_path).average
    image = torch.from_numpy(rng.random((1, 3, 64, 64), np.float32))
    with torch.no_grad():
        _, pixels = average(image)
        maps = load_exported(recipe, tmp_path)(image)[0]
    assert maps.shape[1] == len(load_kind(kind).channels)
    for index, name in enumerate(load_kind(kind).channels):
        expected = pixels[:, recipe.pixel_channels.index(name)]
        expected = expected.sigmoid() if name in ("foreground", "boundary") else expected
        torch.testing.assert_close(maps[:, index], expected, rtol=0.02, atol=0.02)


def test_boxes_are_corners_and_a_confidence(tmp_path: Path, rng: np.random.Generator) -> None:
    average = train_nothing(BASELINE, tmp_path).average
    image = torch.from_numpy(rng.random((1, 3, 64, 64), np.float32))
    with torch.no_grad():
        detection, _ = average(image)
        _, boxes = load_exported(BASELINE, tmp_path)(image)
    assert detection is not None
    objectness = detection.reshape(3, 5, 64)[:, 4].sigmoid()
    torch.testing.assert_close(boxes[0, :, 4], objectness.flatten(), rtol=0, atol=0.02)
    y0, x0, y1, x1 = boxes[0, :, :4].reshape(3, 8, 8, 4).unbind(-1)
    cells = torch.arange(8) * 8 + 4
    assert ((y0 + y1) / 2 - cells[:, None]).abs().max() <= 8
    assert ((x0 + x1) / 2 - cells).abs().max() <= 8
    assert ((y1 - y0) <= 4 * torch.from_numpy(ANCHORS[:, :1, None])).all()
    assert ((y1 > y0) & (x1 > x0)).all()


def test_folding_the_normalisation_changes_no_answer(tmp_path: Path, rng: np.random.Generator) -> None:
    network = train_nothing(BASELINE, tmp_path).average
    image = torch.from_numpy(rng.random((2, 3, 64, 96), np.float32))
    with torch.no_grad():
        before = network(image)
        fold_batch_norm(network)
        after = network(image)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_a_difference_in_any_answer_is_seen(exported: tuple[Exported, Path], rng: np.random.Generator) -> None:
    model, path = exported
    tiles = [rng.random((3, 64, 96), np.float32), rng.random((3, 32, 32), np.float32)]
    assert largest_difference(model, path, tiles) < MAX_DIFFERENCE / 10
    outputs = {name: bias for name, bias in model.network.named_parameters() if name in HEAD_BIASES}
    for name, bias in outputs.items():
        # one anchor is enough: its box and its confidence
        for row in range(min(len(bias), 5)):
            with torch.no_grad():
                bias[row] += 0.5
                different = largest_difference(model, path, tiles[1:])
                bias[row] -= 0.5
            assert different > MAX_DIFFERENCE, (name, row)


def test_tiles_are_corners_of_normalised_images(tmp_path: Path, rng: np.random.Generator) -> None:
    tiles = real_tiles(write_images(tmp_path, rng))
    # the third image is lower than the stride
    assert [tile.shape for tile in tiles] == [(3, 64, 96), (3, 64, 32)]
    assert all(tile.dtype == np.float32 and tile.min() >= 0 and tile.max() <= 1 for tile in tiles)
    assert len(real_tiles(tmp_path, 1)) == 1
    for path in (tmp_path / "images").glob("[ab].*"):
        path.unlink()
    with pytest.raises(ValueError, match="holds no image of 32 px"):
        real_tiles(tmp_path)


@pytest.mark.parametrize(("recipe", "kind"), [(BASELINE, "awf"), (FLOWS, "omnipose")], ids=["awf", "omnipose"])
def test_the_card_is_complete(recipe: Recipe, kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    train_nothing(recipe, tmp_path / "runs")
    weights = tmp_path / "weights"
    path = export(recipe, tmp_path / "runs", write_images(tmp_path / "data", rng), weights)
    card = read_card(recipe.name, weights)
    assert card.path == path == weights / f"{recipe.name}.onnx"
    assert card.sha256 == file_sha256(path)
    assert card.kind == kind
    assert (card.window_px, card.overlap_fraction, card.stride_px) == (640, 0.125, 32)
    assert card.percentiles == (1, 99)
    assert card.diameter_range_px[0] < card.diameter_target_px < card.diameter_range_px[1]
    assert card.settings == load_kind(kind).settings
    entry = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))[recipe.name]
    assert entry["training"]["steps"] == 321
    assert entry["training"]["hours"] == 1.5
    assert entry["training"]["started_from"] == (recipe.start_from or "random weights")
    assert entry["outputs"][: len(load_kind(kind).channels)] == list(load_kind(kind).channels)
    assert {item.name for item in weights.iterdir()} == {"manifest.json", f"{recipe.name}.onnx"}


def test_thresholds_and_other_cards_outlive_an_export(tmp_path: Path, rng: np.random.Generator) -> None:
    train_nothing(BASELINE, tmp_path / "runs")
    data, weights = write_images(tmp_path / "data", rng), tmp_path / "weights"
    export(BASELINE, tmp_path / "runs", data, weights)
    manifest = weights / "manifest.json"
    cards = json.loads(manifest.read_text(encoding="utf-8"))
    cards["tiny"]["decoder"]["score_threshold"] = 0.37
    cards["tiny"]["cell_size"]["diameter_target_px"] = 33.0
    cards["tiny"]["sha256"] = "of an earlier file"
    cards["another"] = {"kept": True}
    manifest.write_text(json.dumps(cards), encoding="utf-8")
    path = export(BASELINE, tmp_path / "runs", data, weights)
    card = read_card("tiny", weights)
    assert card.settings["score_threshold"] == 0.37
    assert card.diameter_target_px == 33
    assert card.sha256 == file_sha256(path)
    after = json.loads(manifest.read_text(encoding="utf-8"))
    assert after["another"] == {"kept": True}
    assert list(after) == ["another", "tiny"]


@pytest.mark.parametrize("difference", [2 * MAX_DIFFERENCE, np.nan])
def test_a_file_that_differs_is_refused_and_the_earlier_one_stays(
    difference: float, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_nothing(BASELINE, tmp_path / "runs")
    data, weights = write_images(tmp_path / "data", rng), tmp_path / "weights"
    weights.mkdir()
    (weights / "tiny.onnx").write_bytes(b"earlier")
    monkeypatch.setattr(export_module, "largest_difference", lambda *_: difference)
    with pytest.raises(RuntimeError, match="tiny: onnxruntime and torch differ by"):
        export(BASELINE, tmp_path / "runs", data, weights)
    assert [item.name for item in weights.iterdir()] == ["tiny.onnx"]
    assert (weights / "tiny.onnx").read_bytes() == b"earlier"


def test_answers_that_are_no_number_differ(exported: tuple[Exported, Path]) -> None:
    model, path = exported
    assert np.isnan(largest_difference(model, path, [np.full((3, 32, 32), np.nan, np.float32)]))


def test_the_command_exports_a_trained_recipe(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_nothing(BASELINE, tmp_path / "runs")
    toml = tmp_path / "tiny.toml"
    toml.write_text(f"[network]\nwidth = 0.125\npixel_channels = {list(LEARNABLE)}\n", encoding="utf-8")
    folders = ["--data", str(write_images(tmp_path / "data", rng)), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["export", str(toml), *folders, "--weights", str(tmp_path / "weights")])
    main()
    assert read_card("tiny", tmp_path / "weights").kind == "awf"


def test_the_command_exports_a_recipe_that_was_changed_for_its_training(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_nothing(BASELINE, tmp_path / "runs")
    toml = tmp_path / "wide.toml"
    toml.write_text(f"[network]\nwidth = 0.25\npixel_channels = {list(LEARNABLE)}\n", encoding="utf-8")
    folders = ["--data", str(write_images(tmp_path / "data", rng)), "--runs", str(tmp_path / "runs")]
    changed = [str(toml), "--name", "tiny", "--set", "network.width=0.125"]
    monkeypatch.setattr(sys, "argv", ["export", *changed, *folders, "--weights", str(tmp_path / "weights")])
    main()
    assert read_card("tiny", tmp_path / "weights").kind == "awf"


@pytest.mark.parametrize(
    ("trained", "data", "complaint"),
    [
        (False, "data", "checkpoint.pt is missing: train 'tiny' first"),
        (True, "nowhere", "nowhere/images is not a folder"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    trained: bool,
    data: str,
    complaint: str,
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if trained:
        train_nothing(BASELINE, tmp_path / "runs")
    write_images(tmp_path / "data", rng)
    toml = tmp_path / "tiny.toml"
    toml.write_text(f"[network]\nwidth = 0.125\npixel_channels = {list(LEARNABLE)}\n", encoding="utf-8")
    folders = ["--data", str(tmp_path / data), "--runs", str(tmp_path / "runs"), "--weights", str(tmp_path / "weights")]
    monkeypatch.setattr(sys, "argv", ["export", str(toml), *folders])
    with pytest.raises(SystemExit, match="2"):
        main()
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("python -m training.export: error: ")
    assert sentence.endswith(complaint)
    assert not (tmp_path / "weights").exists()
