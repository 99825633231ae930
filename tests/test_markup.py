"""Markup: text stays text whatever it holds, nothing is escaped twice, every character can be written and seen."""

from __future__ import annotations

import pytest

from mosaicell.evaluation.markup import Markup, element, escape, join_markup, make_visible
from tests.documents import parse

HOSTILE = [
    "<script>alert(1)</script>.png",
    "</td></table><img src=x onerror=alert(1)>",
    "\"quoted\" 'twice'",
    '" onmouseover="alert(1)',
    "a&amp;b &lt;c&gt;",
    "<!-- comment -->",
    "]]>",
    "line\nend\ttab\rreturn\0zero",
    "\u202egnp.exe",
    "caf\udce9 not utf-8",
    "Zellen übermäßig 細胞 🔬.tif",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_stays_text_in_content_and_attributes(text: str) -> None:
    root = parse(element("p", text, title=text))
    assert [node.name for node in root.walk()] == ["p"]
    assert root.text == make_visible(text)
    assert root.children[0].attributes == {"title": make_visible(text)}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_every_character_is_visible_and_can_be_written(text: str) -> None:
    visible = make_visible(text)
    assert visible.isprintable()
    assert visible.encode("utf-8").decode("utf-8") == visible
    assert make_visible(visible) == visible


def test_what_prints_is_not_changed() -> None:
    text = "Zellen übermäßig 細胞 🔬 100% \\n.tif"
    assert make_visible(text) == text


def test_what_does_not_print_keeps_its_code() -> None:
    assert make_visible("a\nb\u202ec\udce9") == "a\\nb\\u202ec\\udce9"


def test_markup_is_escaped_once() -> None:
    inner = element("b", "1 < 2")
    assert inner == "<b>1 &lt; 2</b>"
    assert element("p", inner, " & ", 3) == "<p><b>1 &lt; 2</b> &amp; 3</p>"
    assert isinstance(join_markup(inner, "<"), Markup)
    assert join_markup(join_markup("<"), None) == "&lt;"


def test_a_piece_of_markup_becomes_text_again_when_it_is_changed() -> None:
    assert join_markup(Markup("<b>").upper()) == "&lt;B&gt;"


def test_attributes_are_named_left_out_and_shortened() -> None:
    written = element("td", class_="n", aria_label="x", hidden=True, title=None, lang=False, data_s=0.1 + 0.2)
    assert written == '<td class="n" aria-label="x" hidden data-s="0.3"></td>'


def test_elements_without_content_have_no_end_and_refuse_content() -> None:
    assert element("img", alt="") == '<img alt="">'
    with pytest.raises(ValueError, match="<img> has no content"):
        element("img", "text")


def test_escaped_text_is_safe_within_either_quote() -> None:
    assert not set("<>\"'") & set(escape("<a href='x\">"))
