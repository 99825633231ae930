"""Recipes: every shipped one can be trained, and a misspelt entry is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mosaicell.errors import OptionError
from mosaicell.training.recipe import RECIPE_FOLDER, Recipe, Schedule, read_recipe, with_hours
from mosaicell.training.sampling import SamplingOptions
from mosaicell.training.synthesis import SCENES

MODALITIES = {"grey", "fluorescence", "brightfield"}
SHIPPED = sorted(path.stem for path in RECIPE_FOLDER.glob("*.toml"))


def write_recipe(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def parents(recipe: Recipe) -> list[Recipe]:
    return [read_recipe(recipe.start_from)] if recipe.start_from else []


def test_the_published_models_have_their_recipes() -> None:
    assert {"awf-baseline", "awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_can_be_trained(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert recipe.schedule.hours > 0
    assert 0 < recipe.schedule.learning_rate < 0.1
    assert set(recipe.sampling.modality_weights) <= MODALITIES
    assert set(recipe.sampling.synthetic_scenes) <= set(SCENES)
    state = recipe.build_network().state_dict()
    if recipe.body in ("upernet", "awf-masks"):
        assert {"masks.classify.bias", "masks.pixels.bias"} & set(state)
        return
    assert len(state["pixels.bias"]) == len(recipe.pixel_channels)
    assert any(name.startswith(("detection", "proposals")) for name in state) == (recipe.anchors > 0)


def test_every_low_level_class_has_a_model() -> None:
    recipes = [read_recipe(name) for name in SHIPPED]
    by_class = {recipe.sampling.classes: recipe for recipe in recipes if recipe.sampling.classes}
    assert {classes: recipe.kind for classes, recipe in by_class.items()} == {
        (0,): "stardist",
        (1,): "hover",
        (2,): "stardist",
        (3,): "stardist",
    }
    for recipe in by_class.values():
        assert recipe.start_from == recipe.kind


@pytest.mark.parametrize("name", SHIPPED)
def test_a_fine_tune_fits_what_it_starts_from(name: str) -> None:
    recipe = read_recipe(name)
    for parent in parents(recipe):
        assert parent.start_from != name
        assert parent.describe_body() == recipe.describe_body()
        # others cluster their own
        assert recipe.kind == "cellmask" or recipe.anchors in (0, parent.anchors)
        # heads that the parent lacks start from random weights
        kind = recipe.load_kind()
        substitute = kind.substitutes.get(recipe.pixel_channels[0])
        known = {recipe.pixel_channels[0], substitute.channel if substitute else ""}
        assert known & set(parent.pixel_channels)


@pytest.mark.parametrize(
    ("kind", "body", "depths", "message"),
    [
        ("awf", "convnext", "[1, 1, 1, 1]", "the kind 'awf' has no body 'convnext'; known: awf"),
        ("hover", "resnet", "[]", "the kind 'hover' has no body 'resnet'; known: awf, convnext"),
        ("hover", "awf", "[1, 1, 1, 1]", "allowed are four from 1, for the body 'convnext'"),
        ("stardist", "convnext", "[2, 2, 6]", "allowed are four from 1"),
        ("stardist", "convnext", "[2, 2, 6, 0]", "allowed are four from 1"),
    ],
)
def test_bodies_that_a_kind_cannot_have_are_refused(
    kind: str, body: str, depths: str, message: str, tmp_path: Path
) -> None:
    text = f"[network]\nkind = '{kind}'\nbody = '{body}'\ndepths = {depths}\n"
    with pytest.raises(OptionError, match=message):
        read_recipe(write_recipe(tmp_path, text))


def test_a_body_is_named_with_its_size() -> None:
    assert read_recipe("awf-grey").describe_body() == "AWF body, width 0.5"
    assert read_recipe("hover-convnext").describe_body() == "ConvNeXt-UNet body, width 0.375, depths 2-2-6-2"


def test_an_empty_recipe_has_the_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, ""))
    assert recipe.name == "own"
    assert recipe.start_from == ""
    assert recipe.pixel_channels == ("foreground", "energy")
    assert (recipe.kind, recipe.width, recipe.anchors) == ("awf", 1.0, 3)
    assert recipe.schedule == Schedule()


def test_every_section_arrives(tmp_path: Path) -> None:
    text = """
[network]
width = 0.25
anchors = 0
pixel_channels = ["foreground", "boundary", "flow_y", "flow_x"]
start_from = "awf-baseline"
[schedule]
seed = 9
[sampling]
modality_weights = { grey = 2.0 }
synthetic_scenes = ["dic_yeast"]
[augment]
diameter_px = [12.0, 50.0]
[loss]
flow = 3.0
"""
    recipe = read_recipe(write_recipe(tmp_path, text))
    assert (recipe.kind, recipe.width, recipe.anchors, recipe.start_from) == ("omnipose", 0.25, 0, "awf-baseline")
    assert recipe.pixel_channels == ("foreground", "boundary", "flow_y", "flow_x")
    assert recipe.schedule == replace(Schedule(), seed=9)
    assert recipe.sampling.modality_weights == {"grey": 2.0}
    assert recipe.sampling.synthetic_scenes == ("dic_yeast",)
    assert recipe.augment.diameter_px == (12.0, 50.0)
    assert recipe.loss.flow == 3.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht = 2", r"unknown entries \['widht'\]"),
        ("[shedule]\nhours = 1", r"unknown entries \['shedule'\]"),
        ("[network]\nwidth = 1\nwidht = 2", r"unknown entries \['widht'\]"),
        ("[network]\nname = 'x'", r"unknown entries \['name'\]"),
        ("[schedule]\nhour = 1", r"unknown Schedule entries \['hour'\]; known: .*'hours'"),
        ("[sampling]\npower = 1", "unknown SamplingOptions entries"),
        ("[augment]\nblur = 1", "unknown AugmentOptions entries"),
        ("[loss]\nflows = 1", "unknown LossWeights entries"),
        ("[network]\npixel_channels = ['flow']", "pixel_channels .* allowed are"),
        ("[network]\npixel_channels = ['energy', 'foreground']", "in order"),
        ("[network]\npixel_channels = ['energy', 'energy']", "in order"),
        ("[network]\npixel_channels = ['energy']", "the foreground among them"),
        ("[network]\nkind = 'maskrcnn'", "no kind 'maskrcnn' .* known: awf, .*omnipose"),
        ("[network]\nkind = 'omnipose'\nanchors = 3", "3 anchors; the kind 'omnipose' has 0"),
        ("[schedule]\noptimizer = 'adam'", "no optimizer 'adam' is known; there are adamw, sgd"),
        ("[network", "Expected"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_recipe(write_recipe(tmp_path, text))


@pytest.mark.parametrize("name", ["awf-basline", "missing.toml"])
def test_an_unknown_recipe_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=f"no recipe '{name}'.*awf-baseline, .*omnipose"):
        read_recipe(name)


def test_hours_replace_only_the_budget() -> None:
    recipe = read_recipe("awf-baseline")
    assert with_hours(recipe, None) is recipe
    longer = with_hours(replace(recipe, schedule=replace(recipe.schedule, steps=9)), 7.5)
    assert (longer.schedule.hours, longer.schedule.steps) == (7.5, 0)
    assert replace(longer, schedule=recipe.schedule) == recipe


def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"own\.toml is not a TOML file"):
        read_recipe(write_recipe(tmp_path, "[network\n"))


def test_settings_change_a_recipe_under_another_name(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, "[network]\nwidth = 0.5\n[sampling]\nsource_power = 0.3")
    settings = ["sampling.synthetic_fraction = 0.75", 'sampling.held_out=["a", "b"]', "network.width = 0.25"]
    recipe = read_recipe(path, settings, "changed")
    assert (recipe.name, recipe.width) == ("changed", 0.25)
    assert recipe.sampling == SamplingOptions(source_power=0.3, synthetic_fraction=0.75, held_out=("a", "b"))


@pytest.mark.parametrize("setting", ["width = 0.5", "sampling.power", "sampling.power = 1", "a.b = 1\nc.d = 2"])
def test_a_setting_that_is_none_is_refused(setting: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"unknown|is not SECTION"):
        read_recipe(write_recipe(tmp_path, ""), [setting])
