"""Values of recipes: every one of another type is named in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosaicell.errors import OptionError
from mosaicell.training.kinds import list_kinds, load_kind
from mosaicell.training.recipe import NETWORK_ENTRIES, read_recipe
from mosaicell.training.recipe_values import read_section
from mosaicell.training.sampling import SamplingOptions

#: what no entry may be; JSON's spelling of these is TOML's too
WRONG = ('{ "x" = "y" }', "[true]", "true", "[[1]]", "-1", "nan", "inf", "2020-01-01")


def entries() -> list[str]:
    """Name every entry of a recipe, of all kinds of model."""
    sections: dict[str, Any] = {"network": NETWORK_ENTRIES}
    recipe = read_recipe("awf-baseline")
    for name in ("schedule", "sampling", "augment"):
        sections[name] = vars(getattr(recipe, name))
    for kind in list_kinds():
        sections |= {f"loss {kind}": vars(load_kind(kind).loss()), f"targets {kind}": vars(load_kind(kind).targets())}
    return [f"{section}.{entry}" for section, found in sections.items() for entry in found]


@pytest.mark.parametrize("name", entries())
def test_an_entry_of_another_type_is_named(tmp_path: Path, name: str) -> None:
    section, entry = name.split(".")
    section, _, kind = section.partition(" ")
    path = tmp_path / "own.toml"
    for value in WRONG:
        text = f"[network]\nkind = {json.dumps(kind)}\n" if kind else ""
        path.write_text(f"{text}[{section}]\n{entry} = {value}\n", encoding="utf-8")
        with pytest.raises(OptionError, match=rf"own\.toml \[{section}\]: {entry} is .*; allowed is "):
            read_recipe(str(path))


@pytest.mark.parametrize("section", ["network", "schedule", "sampling", "augment", "loss", "targets"])
@pytest.mark.parametrize("value", ["1", "[]", "'x'"])
def test_what_is_no_section_is_named(tmp_path: Path, section: str, value: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f"{section} = {value}\n", encoding="utf-8")
    with pytest.raises(OptionError, match=rf"own\.toml \[{section}\] is .*; allowed is a section"):
        read_recipe(str(path))
    with pytest.raises(OptionError, match="is not SECTION"):
        read_recipe(str(path), [f"{section}.x = 1"])


@pytest.mark.parametrize("text", ["[schedule]\nbatch_size = 0", "[network]\nwidth = 0"])
def test_nothing_is_not_enough(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(OptionError, match="allowed is more than 0"):
        read_recipe(str(path))


def test_whole_numbers_are_numbers_and_lists_tuples() -> None:
    read = read_section(
        SamplingOptions, {"source_power": 1, "classes": [1, 2], "modality_weights": {"grey": 2}}, "own [sampling]"
    )
    assert read == SamplingOptions(source_power=1, classes=(1, 2), modality_weights={"grey": 2})
