"""Kinds of model in training: what each learns, loses and exports fits together and with its decoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mosaicell.errors import OptionError
from mosaicell.training.kinds import default_kind, list_kinds, load_kind
from mosaicell.training.recipe import Recipe, read_recipe
from mosaicell.training.sampling import join_crops
from mosaicell.training.targets import PIXEL_CHANNELS

ANCHORS = torch.tensor([[10.0, 12.0], [20.0, 20.0], [40.0, 38.0]])
#: those that answer what they learn; the networks of cellmask have tests of their own
MAP_KINDS = ("awf", "cellpose", "hover", "maunet", "omnipose", "stardist")
KINDS = tuple(sorted((*MAP_KINDS, "cellmask")))

#: every kind, and those that have another body with it
NETWORKS = (
    *MAP_KINDS,
    "cellpose awf",
    "cellpose awf-green-blue",
    "cellpose awf-merged",
    "hover convnext",
    "maunet residual",
    "stardist convnext",
)


def make_recipe(network: str, folder: Path) -> Recipe:
    kind, _, body = network.partition(" ")
    path = folder / f"{kind}.toml"
    text = f"[network]\nkind = '{kind}'\nwidth = 0.125\n"
    if body:
        text += f"body = '{body}'\n"
    if body == "convnext":
        text += "depths = [1, 1, 1, 1]\n"
    path.write_text(text, encoding="utf-8")
    return read_recipe(str(path))


def draw_targets(recipe: Recipe) -> dict[str, torch.Tensor]:
    """Return the targets of three crops: cells, the same mirrored, and none."""
    labels = np.zeros((64, 64), np.uint16)
    labels[5:30, 8:28] = 1
    labels[12:50, 30:55] = 2
    labels[44:60, 4:20] = 3
    crops = [recipe.make_targets(crop) for crop in (labels, labels[:, ::-1], np.zeros_like(labels))]
    return {name: join_crops([crop[name] for crop in crops]) for name in crops[0]}


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def test_all_kinds_are_listed() -> None:
    assert tuple(list_kinds()) == KINDS
    assert (default_kind(3), default_kind(0)) == ("awf", "omnipose")


@pytest.mark.parametrize("name", KINDS)
def test_channels_are_learnable_and_known(name: str) -> None:
    kind = load_kind(name)
    assert set(kind.channels) <= set(kind.learnable)
    assert kind.learnable[0] in kind.channels
    if name != "maunet":
        # all others share the makers of their targets, and so can start from each other
        assert [channel for channel in PIXEL_CHANNELS if channel in kind.learnable] == list(kind.learnable)
    assert set(kind.substitutes) <= set(kind.channels)
    assert set(kind.grids) | set(kind.loose) <= set(kind.settings)
    assert set(kind.grids["foreground_threshold"]) > {0.4, 0.5}


def test_kinds_and_bodies_are_all_tried() -> None:
    others = [f"{kind} {body}" for kind in MAP_KINDS for body in load_kind(kind).bodies[1:]]
    assert (*MAP_KINDS, *others) == NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_training_lowers_every_loss_of_a_batch(name: str, tmp_path: Path) -> None:
    recipe = make_recipe(name, tmp_path)
    kind = recipe.load_kind()
    torch.manual_seed(5)
    network = kind.build_network(recipe)
    images, targets = torch.rand(3, 3, 64, 64), draw_targets(recipe)
    images[:, 0] = targets["pixels"][:, 0]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        terms = kind.losses(network(images), targets, recipe, ANCHORS)
        optimizer.zero_grad()
        total(terms).backward()
        optimizer.step()
        losses.append({term: value.item() for term, value in terms.items()})
    for term, value in losses[0].items():
        assert losses[-1][term] < 0.8 * value, term


@pytest.mark.parametrize("name", MAP_KINDS)
def test_a_crop_is_as_hard_as_it_is_alone(name: str, tmp_path: Path) -> None:
    recipe, kind = make_recipe(name, tmp_path), load_kind(name)
    torch.manual_seed(5)
    network = kind.build_network(recipe).eval()
    images, targets = torch.rand(3, 3, 64, 64), draw_targets(recipe)
    maps = {key: value for key, value in targets.items() if key != "boxes"}
    with torch.no_grad():
        together = kind.crop_losses(network(images), maps, recipe)
        for index in range(3):
            mine = {key: value[[index]] for key, value in maps.items()}
            alone = kind.crop_losses(network(images[[index]]), mine, recipe)
            torch.testing.assert_close(together[[index]], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exported_head_gives_the_outputs_with_probabilities(name: str, tmp_path: Path) -> None:
    recipe = make_recipe(name, tmp_path)
    kind = recipe.load_kind()
    network = kind.build_network(recipe).eval()
    assert kind.missing(recipe) == []
    head = kind.make_head(network, recipe, ANCHORS)
    with torch.no_grad():
        outputs = head(network(torch.rand(2, 3, 64, 96)))
    assert len(outputs) == len(kind.outputs)
    assert outputs[0].shape == (2, len(kind.channels), 64, 96)
    for index, channel in enumerate(kind.channels):
        if name.startswith("maunet"):
            # logits, of which the decoder takes the softmax, and a distance
            continue
        if channel in ("foreground", "boundary", "object_probability"):
            assert 0 <= outputs[0][:, index].min() <= outputs[0][:, index].max() <= 1


@pytest.mark.parametrize(("name", "stride_px"), [("stardist", 2), ("stardist convnext", 4)])
def test_rays_are_exported_in_px(name: str, stride_px: int, tmp_path: Path) -> None:
    recipe, kind = make_recipe(name, tmp_path), load_kind("stardist")
    network = kind.build_network(recipe).eval()
    head = kind.make_head(network, recipe, ANCHORS)
    with torch.no_grad():
        rays = head(network(torch.zeros(1, 3, 64, 96)))[1]
    assert rays.shape == (1, 32, 64 // stride_px, 96 // stride_px)
    # softplus of almost nothing, in units of 16 px
    torch.testing.assert_close(rays, torch.full_like(rays, 16 * np.log(2)), rtol=0.2, atol=0)


def test_a_network_answers_only_as_what_it_learned(tmp_path: Path) -> None:
    recipes = {name: make_recipe(name, tmp_path) for name in KINDS}
    for name, recipe in recipes.items():
        fitting = [other for other in KINDS if not load_kind(other).missing(recipe)]
        assert fitting == [name]
    assert load_kind("awf").missing(recipes["omnipose"]) == ["energy", "boxes"]


@pytest.mark.parametrize(("name", "stride_px"), [("stardist", 2), ("stardist convnext", 4)])
def test_rays_belong_to_the_pixels_of_their_grid(name: str, stride_px: int, tmp_path: Path) -> None:
    recipe = make_recipe(name, tmp_path)
    labels = np.zeros((64, 64), np.uint16)
    labels[10:21, 20:41] = 1
    targets = recipe.make_targets(labels)
    rays = targets["rays"]
    assert rays.shape == (32, 64 // stride_px, 64 // stride_px)
    # from (12, 24): right, down, left, up
    from_there = rays[[0, 8, 16, 24], 12 // stride_px, 24 // stride_px]
    np.testing.assert_allclose(from_there, [16.5, 8.5, 4.5, 2.5], atol=0.01)
    inside = targets["pixels"][0, ::stride_px, ::stride_px] > 0
    np.testing.assert_array_equal(rays.min(0) > 0, inside)


@pytest.mark.parametrize("left_out", [("proxy",), ("distance",), ("proxy", "distance")])
def test_a_maunet_answers_the_same_everywhere_for_what_it_did_not_learn(
    left_out: tuple[str, ...], tmp_path: Path
) -> None:
    kind, path = load_kind("maunet"), tmp_path / "plain.toml"
    learned = [name for name in kind.channels if name not in left_out]
    path.write_text(f"[network]\nkind = 'maunet'\nwidth = 0.125\npixel_channels = {learned}\n", encoding="utf-8")
    recipe = read_recipe(str(path))
    torch.manual_seed(5)
    network = recipe.build_network().eval()
    images, targets = torch.rand(3, 3, 64, 64), draw_targets(recipe)
    assert kind.missing(recipe) == []
    assert ("distance" in kind.losses(network(images), targets, recipe, ANCHORS)) is ("distance" not in left_out)
    with torch.no_grad():
        answer = network(images)
        (maps,) = kind.make_head(network, recipe, ANCHORS)(network(images))
    torch.testing.assert_close(maps[:, [kind.channels.index(name) for name in learned]], answer)
    if "proxy" in left_out:
        assert maps[:, :4].softmax(1)[:, 3].max() < 1e-9
    if "distance" in left_out:
        assert not maps[:, 4].any()


def test_a_maunet_learns_all_classes_that_have_pixels(tmp_path: Path) -> None:
    path = tmp_path / "plain.toml"
    path.write_text("[network]\nkind = 'maunet'\npixel_channels = ['interior', 'distance']\n", encoding="utf-8")
    with pytest.raises(OptionError, match="there are no cells"):
        read_recipe(str(path)).build_network()


def make_twins(folder: Path, body: str, more: str = "") -> Recipe:
    path = folder / "twins.toml"
    text = f"[network]\nkind = 'maunet'\nbody = '{body}'\nwidth = 0.125\n{more}\n[loss]\nconsistency = 1.5\n"
    path.write_text(text, encoding="utf-8")
    return read_recipe(str(path))


@pytest.mark.parametrize("body", load_kind("maunet").bodies)
def test_twins_learn_together_and_one_of_them_is_exported(body: str, tmp_path: Path) -> None:
    recipe, kind = make_twins(tmp_path, body), load_kind("maunet")
    torch.manual_seed(5)
    network, images, targets = (
        recipe.build_network(),
        torch.rand(3, 3, 64, 64),
        draw_targets(make_twins(tmp_path, body)),
    )
    plain = read_recipe(str(tmp_path / "twins.toml"), ["loss.consistency = 0"]).build_network()
    answers = network(images)
    assert len(answers) == 2
    assert not torch.equal(*answers)
    losses = kind.losses(answers, targets, recipe, ANCHORS)
    assert set(losses) == {"dice", "focal", "distance", "consistency"}
    total(losses).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert kind.crop_losses(answers, targets, recipe).shape == (3,)
    network.eval()
    with torch.no_grad():
        alone = network(images)
        (maps,) = kind.make_head(network, recipe, ANCHORS)(network(images))
    torch.testing.assert_close(maps, alone)
    # what is exported has the parameters of one network, by their names
    assert {n: p.shape for n, p in network.named_parameters()} == {n: p.shape for n, p in plain.named_parameters()}


def test_twins_start_from_different_weights(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="different, random weights"):
        make_twins(tmp_path, "awf", "start_from = 'awf-grey'").build_network()
