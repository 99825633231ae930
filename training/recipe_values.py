"""Values of a recipe, checked against the types of the dataclass that gets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mosaicell.errors import OptionError

T = TypeVar("T")
#: what a recipe may say, by the type of the field
WHOLE, NUMBER, TEXT = "a whole number of 0 or more", "a number of 0 or more", "a text"
SINGLE = {int: WHOLE, float: NUMBER, str: TEXT}


def read_section(section: type[T], values: Any, name: str) -> T:
    """Make the options of a section of a recipe.

    Parameters
    ----------
    section
        A dataclass of numbers, texts, tuples of them and numbers by text.
    values
        As TOML has them.
    name
        Of the recipe and its section, as a complaint is to begin.

    Raises
    ------
    OptionError
        For an entry that the section does not have, or one of another type.
    """
    hints = get_type_hints(section)
    known = [field.name for field in fields(section)]  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise OptionError(f"{name} is {values!r}; allowed is a section of entries")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise OptionError(f"{name}: unknown {section.__name__} entries {unknown}; known: {sorted(known)}")
    check_values(values, hints, name)
    return section(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def check_values(values: Mapping[str, Any], hints: Mapping[str, Any], name: str) -> None:
    """Check the type of every entry; `name` as in `read_section`.

    Raises
    ------
    OptionError
        With the first entry that is of another type.
    """
    for key, value in values.items():
        allowed = _find_fault(value, hints[key])
        if allowed:
            raise OptionError(f"{name}: {key} is {value!r}; allowed is {allowed}")


def _find_fault(value: Any, hint: Any) -> str:
    """Return what is allowed where a value is something else, otherwise nothing."""
    if hint in SINGLE:
        return "" if _is_of(value, hint) else SINGLE[hint]
    inner = get_args(hint)
    if get_origin(hint) is dict:
        is_fine = isinstance(value, dict) and all(_is_of(one, inner[1]) for one in value.values())
        return "" if is_fine else f"a section with {SINGLE[inner[1]]} for each name"
    items: list[Any] = value if isinstance(value, list) else [None]
    if inner[-1] is Ellipsis:
        is_fine = all(_is_of(one, inner[0]) for one in items)
        return "" if is_fine else f"a list, of each {SINGLE[inner[0]]}"
    is_fine = len(items) == len(inner) and all(map(_is_of, items, inner)) and 0 < items[0] <= items[-1]
    return "" if is_fine else "a pair of rising numbers above 0"


def _is_of(value: Any, hint: type) -> bool:
    if hint is str:
        return isinstance(value, str)
    # TOML knows NaN and infinity, and bool is a kind of int in Python
    is_number = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf
