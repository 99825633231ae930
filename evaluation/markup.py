"""HTML and SVG by small functions: what is not markup already is escaped, so a file name never becomes markup."""

from __future__ import annotations

import html

#: HTML elements without content, written without an end tag
VOID_ELEMENTS = frozenset({"br", "col", "img", "input", "link", "meta"})

Content = object
Attribute = str | float | bool | None


class Markup(str):
    """Text that is HTML already; made by `element` and `join_markup`, or from text written in this program."""

    __slots__ = ()


def element(name: str, *content: Content, **attributes: Attribute) -> Markup:
    """Write one element.

    Parameters
    ----------
    name : str
        Name of the element.
    *content
        Markup is taken as it is; anything else becomes escaped text; None is left out.
    **attributes
        An underscore at the end is dropped (`class_`), others become hyphens (`aria_label`). True writes the name
        alone; None and False leave the attribute out.

    Returns
    -------
    Markup

    Raises
    ------
    ValueError
        An element that never has content is given some.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID_ELEMENTS:
        if content:
            raise ValueError(f"<{name}> has no content, got {content!r}")
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join_markup(*content)}</{name}>")


def join_markup(*content: Content) -> Markup:
    """Join pieces as `element` does, without an element around them."""
    return Markup(
        "".join(piece if isinstance(piece, Markup) else escape(piece) for piece in content if piece is not None)
    )


def escape(value: object) -> str:
    """Return a value as visible text in which nothing is markup, within quotes and outside."""
    return html.escape(make_visible(str(value)))


def make_visible(text: str) -> str:
    """Return a text with a Python escape for every character that does not print.

    Notes
    -----
    In the name of a file a line end would be lost, a mark for right-to-left text would turn the rest around, and a
    byte that is no UTF-8 could not be written.
    """
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{escape(f"{value:g}" if isinstance(value, float) else value)}"'
