"""HTML from templates: what is not markup already is made visible and escaped, so a file name never becomes markup."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")


@cache
def load_templates() -> Environment:
    """Return the environment of the report's templates.

    Returns
    -------
    Environment
        Every value that is no `Markup` passes `show` and is escaped then; a name that was not given is an error.

    Notes
    -----
    Filters that escape by themselves, as `xmlattr` and `join`, and `~` beside markup do not call `show`: the templates
    have none of them.
    """
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=show,
    )


def show(value: object) -> str:
    """Return a value as text that can be seen: markup as it is, a float with up to six digits, see `make_visible`."""
    if isinstance(value, Markup):
        return value
    return make_visible(f"{value:g}" if isinstance(value, float) else str(value))


def make_visible(text: str) -> str:
    """Return a text with a Python escape for every character that does not print.

    Notes
    -----
    In the name of a file a line end would be lost, a mark for right-to-left text would turn the rest around, and a
    byte that is no UTF-8 could not be written.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
