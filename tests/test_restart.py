"""Restarting from an exported model: the same answers before and after normalisation is put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from mosaicell.errors import OptionError
from mosaicell.training.export import Exported, export_onnx, fold_batch_norm
from mosaicell.training.kinds import load_kind
from mosaicell.training.networks.awf import AWF
from mosaicell.training.networks.star import StarNetwork
from mosaicell.training.recipe import Recipe, read_recipe
from mosaicell.training.restart import Substitute, load_exported_weights, normalised_pairs, unfold_batch_norm, widen

WIDTH = 0.125
ANCHORS = torch.tensor([[10.0, 12.0], [20.0, 20.0], [40.0, 38.0]])
FLOWS = load_kind("omnipose").channels
CELLS = load_kind("awf").channels


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(f"[network]\nwidth = {WIDTH}\n", encoding="utf-8")
    return read_recipe(str(path))


def make_network(recipe: Recipe) -> nn.Module:
    """Return a network whose normalisations have seen images."""
    torch.manual_seed(4)
    network = recipe.build_network()
    for _ in range(5):
        network(torch.rand(2, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def exported(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = make_network(recipe)
    fold_batch_norm(network)
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    export_onnx(Exported(network, recipe, ANCHORS, "awf").eval(), path)
    return path


def draw_images(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    return [torch.rand(2, 3, 64, 96, generator=generator) for _ in range(count)]


def test_the_restarted_network_answers_as_the_exported_one(recipe: Recipe, exported: Path) -> None:
    original, restarted = make_network(recipe), recipe.build_network().eval()
    anchors = load_exported_weights(restarted, exported, CELLS, recipe.pixel_channels)
    assert anchors is not None
    np.testing.assert_allclose(anchors, ANCHORS)
    images = draw_images()
    with torch.no_grad():
        for step in ("folded", "unfolded"):
            if step == "unfolded":
                unfold_batch_norm(restarted, images)
            for ours, theirs in zip(restarted(images[0]), original(images[0]), strict=True):
                # the file holds fp16
                assert float((ours - theirs).abs().max()) < 0.02 * float(theirs.abs().max()), step


def test_in_train_mode_the_statistics_are_those_of_the_images(recipe: Recipe, exported: Path) -> None:
    network = recipe.build_network()
    load_exported_weights(network, exported, CELLS, recipe.pixel_channels)
    (images,) = draw_images(1)
    unfold_batch_norm(network, [images])
    with torch.no_grad():
        still = network.eval()(images)[1]
        trained = network.train()(images)[1]
    torch.testing.assert_close(trained, still, atol=1e-3, rtol=1e-3)
    assert all(norm.weight.std() > 0 for _, norm in normalised_pairs(network))


def test_channels_that_the_file_lacks_stay_as_they_are(recipe: Recipe, exported: Path) -> None:
    network = AWF(len(FLOWS), 0, WIDTH)
    before = network.pixels.weight.detach().clone()
    load_exported_weights(network, exported, CELLS, FLOWS)
    assert not torch.equal(network.pixels.weight[0], before[0])
    assert torch.equal(network.pixels.weight[1:], before[1:])


CONVNEXT = "body = 'convnext'\ndepths = [1, 1, 2, 1]"


@pytest.mark.parametrize(
    ("kind", "body"), [("stardist", CONVNEXT), ("hover", CONVNEXT), ("maunet", "body = 'residual'")]
)
def test_another_body_comes_back_whole(kind: str, body: str, tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(f"[network]\nkind = '{kind}'\nwidth = {WIDTH}\n{body}\n", encoding="utf-8")
    recipe = read_recipe(str(file))
    original, restarted = make_network(recipe), recipe.build_network().eval()
    with torch.no_grad():
        for name, parameter in original.named_parameters():
            if parameter.ndim == 1 or name.endswith(".scale"):
                # equal ones are stored once, under one name
                parameter.uniform_(0.2, 0.5)
    to_export = make_network(recipe)
    to_export.load_state_dict(original.state_dict())
    fold_batch_norm(to_export)
    export_onnx(Exported(to_export, recipe, ANCHORS, kind).eval(), tmp_path / "tiny.onnx")
    channels = recipe.pixel_channels
    assert load_exported_weights(restarted, tmp_path / "tiny.onnx", channels, channels) is None
    images = draw_images()
    unfold_batch_norm(restarted, images)
    with torch.no_grad():
        ours, theirs = restarted(images[0]), original(images[0])
    for our, their in zip(ours, theirs, strict=True) if kind == "stardist" else [(ours, theirs)]:
        assert float((our - their).abs().max()) < 0.02 * float(their.abs().max())


def test_what_does_not_fit_is_refused(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(OptionError, match=r"tiny\.onnx holds another network"):
        load_exported_weights(AWF(2, 15, 0.25), exported, CELLS, CELLS)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(OptionError, match=r"broken\.onnx is not an ONNX file"):
        load_exported_weights(AWF(2, 15, WIDTH), tmp_path / "broken.onnx", (), ())


def test_a_file_that_lacks_weights_of_the_body_is_refused(recipe: Recipe, exported: Path, tmp_path: Path) -> None:
    model = onnx.load(exported)
    kept = [tensor for tensor in model.graph.initializer if not tensor.name.startswith("network.decode0.left")]
    assert len(kept) < len(model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, tmp_path / "part.onnx")
    with pytest.raises(OptionError, match=r"part\.onnx holds another network: it lacks decode0\.left\.0\.weight"):
        load_exported_weights(recipe.build_network(), tmp_path / "part.onnx", CELLS, recipe.pixel_channels)


def test_a_new_channel_starts_from_the_outputs_of_its_substitute(exported: Path) -> None:
    plain, network = AWF(2, 15, WIDTH).eval(), StarNetwork(2, 32, width=WIDTH).eval()
    load_exported_weights(plain, exported, CELLS, CELLS)
    wanted = ("foreground", "object_probability")
    rays = network.rays.weight.detach().clone()
    anchors = load_exported_weights(
        network, exported, CELLS, wanted, {"object_probability": Substitute("energy", 2.5, -4.0)}
    )
    assert anchors is not None
    assert torch.equal(network.rays.weight, rays)
    (images,) = draw_images(1)
    with torch.no_grad():
        expected, pixels = plain(images)[1], network(images)[0]
    torch.testing.assert_close(pixels[:, 0], expected[:, 0])
    torch.testing.assert_close(pixels[:, 1], 2.5 * expected[:, 1] - 4.0)


@pytest.mark.parametrize("width", [2 * WIDTH, 3 * WIDTH])
def test_a_widened_network_answers_the_same_and_its_copies_learn_apart(recipe: Recipe, width: float) -> None:
    narrow, wide = make_network(recipe), replace(recipe, width=width).build_network().eval()
    widen(narrow, wide)
    (images,) = draw_images(1)
    answers = [network(images) for network in (narrow, wide)]
    for their, our in zip(*answers, strict=True):
        torch.testing.assert_close(our, their, atol=1e-5, rtol=1e-4)
    torch.stack([answer.square().sum() for answer in answers[1]]).sum().backward()
    layers = [convolution for convolution, _ in normalised_pairs(wide)]
    assert torch.equal(layers[0].weight[0], layers[0].weight[1])
    gradients = [layer.weight.grad for layer in layers]
    assert all(g is not None and not torch.allclose(g[0], g[1], rtol=1e-3) for g in gradients)


def test_a_width_that_is_no_multiple_is_refused(recipe: Recipe) -> None:
    wide, wider = (replace(recipe, width=factor * WIDTH).build_network() for factor in (2, 3))
    with pytest.raises(OptionError, match=r"stem\.0\.weight \(16, 3, 7, 7\) cannot be widened to \(24, 3, 7, 7\)"):
        widen(wide, wider)
