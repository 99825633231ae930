from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mosaicell.answers.scale_rules import FIT
from mosaicell.command_options import build_parser
from mosaicell.decoders import list_kinds, load_decoder
from mosaicell.errors import OptionError
from mosaicell.networks.manifest import (
    CLASSIFIER,
    PART,
    Card,
    ImageClassifier,
    file_sha256,
    read_card,
    read_manifest,
    read_models,
)
from mosaicell.options import DEFAULT_SYSTEM, OPEN_WEIGHTS, WEIGHTS_FOLDER, find_weights
from mosaicell.systems import load_system
from mosaicell.training.recipe import read_recipe
from tests.toys import write_weights


def test_every_shipped_model_is_there_with_its_card() -> None:
    cards = read_manifest(WEIGHTS_FOLDER)
    assert {"awf-baseline", "awf-grey", "awf-fluorescence", "awf-brightfield", "omnipose"} <= set(cards)
    for card in read_models(cards, WEIGHTS_FOLDER).values():
        assert card.sha256 == file_sha256(card.path)
        assert not isinstance(card, Card) or card.window_px % card.stride_px == 0
    assert {path.name for path in WEIGHTS_FOLDER.glob("*.onnx")} == {entry["file"] for entry in cards.values()}


def test_weights_of_open_terms_are_those_of_the_default_system_and_say_so() -> None:
    folder = find_weights(OPEN_WEIGHTS)
    cards = read_manifest(folder)
    assert set(cards) == set(load_system(DEFAULT_SYSTEM).models)
    for card in read_models(cards, folder).values():
        assert card.sha256 == file_sha256(card.path)
    assert {path.name for path in folder.glob("*.onnx")} == {entry["file"] for entry in cards.values()}
    assert all("weights/open/README.md" in entry["data"] for entry in cards.values())
    # of its sources none is left out of the training, and no other one is named
    text = (folder / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([\w-]+) \|.*\| (CC0|CC BY 4\.0|MIT|BSD) \| \d+ \|$", text, re.MULTILINE)
    assert len(table) == 13
    for recipe in ("awf-open", "awf-open-long"):
        assert not {source for source, _ in table} & set(read_recipe(recipe).sampling.held_out)


def test_weights_are_a_folder_or_the_open_ones() -> None:
    assert find_weights("open") == WEIGHTS_FOLDER / "open"
    assert find_weights("./open") == Path("open")
    assert find_weights(Path("open")) == Path("open")
    for text in ("open", "./open"):
        given = build_parser().parse_args(["-i", "in", "-o", "out", "--weights", text])
        assert given.weights == find_weights(text)


def test_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.rglob("*.onnx")) < 160e6


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(OptionError, match="cannot read"):
        read_manifest(tmp_path)
    cards = read_manifest(WEIGHTS_FOLDER)
    (tmp_path / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")
    with pytest.raises(OptionError, match=r"awf-grey\.onnx are missing"):
        read_card("awf-grey", tmp_path)
    with pytest.raises(OptionError, match="holds no model 'other'"):
        read_card("other", tmp_path)


def leaves(card: dict[str, Any], before: str = "") -> list[str]:
    """Name the entries of a card that hold a value, with those around them."""
    names = []
    for key, value in card.items():
        names.append(before + key)
        names += leaves(value, f"{before}{key}.") if isinstance(value, dict) else []
    return names


def change(folder: Path, model: str, entry: str, *values: object) -> None:
    """Give an entry of the toy system's cards another value, or take it out; all others are as at first."""
    cards = json.loads((folder / "original.json").read_text(encoding="utf-8"))
    *around, key = entry.split(".")
    place = cards[model]
    for name in around:
        place = place[name]
    del place[key]
    for value in values:
        place[key] = value
    (folder / "manifest.json").write_text(json.dumps(cards), encoding="utf-8")


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    folder = write_weights(tmp_path / "weights")
    (folder / "original.json").write_bytes((folder / "manifest.json").read_bytes())
    return folder


@pytest.mark.parametrize("model", ["awf-grey", "omnipose-grey"])
def test_every_entry_that_is_missing_or_of_another_type_is_named(toys: Path, model: str) -> None:
    card = json.loads((toys / "manifest.json").read_text(encoding="utf-8"))[model]
    # the toy system gives both kinds of decoder all settings
    unused = {"decoder.boundary_threshold", "decoder.flow_threshold"} if model == "awf-grey" else {
        "decoder." + name for name in ("score_threshold", "box_iou_threshold", "contained_fraction", "e1", "e2",
        "min_marker_px", "min_unmarked_px", "max_hole_fraction", "max_energy_error")
    }  # fmt: skip
    names = set(leaves(card))
    assert len(names - unused) > 15
    for entry in sorted(names):
        change(toys, model, entry)
        if entry in unused:
            assert read_card(model, toys).name == model
            continue
        with pytest.raises(OptionError, match=rf"the card of the model '{model}' has no entry {entry}"):
            read_card(model, toys)
        values: tuple[object, ...] = (True, [1.0], {}, "x", None, float("nan"), 10**400)
        for value in values:
            may_be_null = entry.split(".")[-1] in load_decoder("awf").nullable
            is_fine = (value == "x" and entry == "sha256") or (value is None and may_be_null)
            change(toys, model, entry, value)
            if is_fine:
                assert read_card(model, toys).name == model
                continue
            with pytest.raises(OptionError, match=rf"{model}|the weights .* are missing"):
                read_card(model, toys)


@pytest.mark.parametrize(
    ("entry", "value", "allowed"),
    [
        ("kind", "other", " or ".join([*list_kinds(), CLASSIFIER, PART])),
        ("outputs", ["foreground"], "['foreground', 'energy', 'boxes']"),
        ("cell_size.scale_rule", "guess", "full size or boxes or fit or size model"),
        ("tiling.stride_px", 0, "a whole number of 1 or more"),
        ("tiling.window_px", 32.5, "a whole number of 1 or more"),
        ("tiling.window_px", 100, "a multiple of 32"),
        ("tiling.overlap_fraction", 1, "a number from 0 to 0.9"),
        ("normalization.percentiles", [99, 1], "a pair of rising numbers from 0 to 100"),
        ("cell_size.diameter_range_px", [1, 2, 3], "a pair of rising numbers from 0 to inf"),
        ("cell_size.diameter_target_px", 0, "a number of 1 or more"),
        ("decoder.e1", "0.8", "a number"),
        ("decoder.max_energy_error", "0.8", "a number or null"),
    ],
)
def test_values_that_cannot_be_are_refused(toys: Path, entry: str, value: object, allowed: str) -> None:
    change(toys, "awf-grey", entry, value)
    with pytest.raises(OptionError) as refusal:
        read_card("awf-grey", toys)
    assert str(refusal.value) == f"the card of the model 'awf-grey' has {value!r} as {entry}; allowed is {allowed}"


def test_only_kinds_whose_maps_tell_how_well_cells_fit_choose_the_scale_by_that(toys: Path) -> None:
    change(toys, "awf-grey", "cell_size.scale_rule", FIT)
    assert read_card("awf-grey", toys).scale_rule == FIT
    change(toys, "omnipose-grey", "cell_size.scale_rule", FIT)
    with pytest.raises(OptionError, match="allowed is full size or boxes or size model"):
        read_card("omnipose-grey", toys)


@pytest.mark.parametrize("text", ["[]", "1", "[" * 100_000, '{"awf-grey": 1}'])
def test_what_holds_no_cards_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match=r"cannot read the model cards|has no entry"):
        read_card("awf-grey", tmp_path)


def write_classifier(folder: Path, **changes: object) -> None:
    """Add the card of a classifier, with some entries given another value."""
    card: dict[str, Any] = {
        "file": "omnipose-grey.onnx",
        "sha256": "0",
        "kind": CLASSIFIER,
        "classes": ["round", "long"],
        "input_px": 224,
        "reduction": 2,
        "most_windows": 16,
        "normalization": {"percentiles": [1.0, 99.0]},
    }
    card |= changes
    cards = json.loads((folder / "original.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps(cards | {"look": card}), encoding="utf-8")


def test_classifiers_have_cards_of_their_own(toys: Path) -> None:
    write_classifier(toys)
    cards = read_models(["omnipose-grey", "look"], toys)
    assert isinstance(cards["omnipose-grey"], Card)
    assert isinstance(cards["look"], ImageClassifier)
    assert cards["look"].card.classes == ("round", "long")
    assert cards["look"].card.window_px == 448
    assert [card.least_input_px for card in cards.values()] == [64, 224]
    with pytest.raises(OptionError, match="the model 'look' is a classifier and segments nothing"):
        read_card("look", toys)


@pytest.mark.parametrize(
    ("entry", "value", "allowed"),
    [
        ("classes", ["round"], "a list of two or more texts"),
        ("classes", ["round", 1], "a list of two or more texts"),
        ("classes", "round", "a list of two or more texts"),
        ("input_px", 0, "a whole number of 1 or more"),
        ("reduction", 0.5, "a whole number of 1 or more"),
        ("most_windows", None, "a whole number of 1 or more"),
    ],
)
def test_values_that_no_classifier_can_have_are_refused(toys: Path, entry: str, value: object, allowed: str) -> None:
    write_classifier(toys, **{entry: value})
    with pytest.raises(OptionError, match=f"{entry}; allowed is {allowed}"):
        read_models(["look"], toys)
