"""Markup: text stays text whatever it holds, nothing is escaped twice, every character can be written and seen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from mosaicell.evaluation.markup import TEMPLATES, load_templates, make_visible
from mosaicell.evaluation.records import Run
from mosaicell.evaluation.views import Thumbnail
from tests.documents import Node, parse
from tests.test_page import BAD, GOOD, URI, compose

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


def write(template: str, **values: object) -> str:
    return load_templates().from_string(template).render(**values)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_stays_text_in_content_and_attributes(text: str) -> None:
    root = parse(write('<p title="{{ text }}">{{ text }}</p>', text=text))
    assert [node.name for node in root.walk()] == ["p"]
    assert root.text == make_visible(text)
    assert root.children[0].attributes == {"title": make_visible(text)}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_text_is_visible_on_its_way_through_macros_blocks_and_loops(text: str) -> None:
    template = """
{% macro cell(value) %}<td>{{ value }}{{ caller() }}</td>{% endmacro %}
{% set held %}<i>{{ text }}</i>{% endset %}
{% for one in [text] %}{% call cell(one) %}{{ held }}{% endcall %}{% endfor %}"""
    assert parse(write(template, text=text)).find("td")[0].text == make_visible(text) * 2


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
    assert write("{{ inner }} & {{ text }}", inner=Markup("<b>1 &lt; 2</b>"), text="<") == "<b>1 &lt; 2</b> & &lt;"


def test_floats_are_shortened() -> None:
    assert write("{{ value }} {{ whole }}", value=0.1 + 0.2, whole=3) == "0.3 3"


def test_a_name_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        write("{{ missing }}")


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_templates_leave_escaping_to_their_environment(path: Path) -> None:
    """Filters that escape by themselves leave characters that do not print, and `safe` lets markup pass."""
    filters = set(re.findall(r"\|\s*(\w+)", path.read_text()))
    assert not filters & {"e", "escape", "forceescape", "join", "safe", "tojson", "urlize", "xmlattr"}
    assert "autoescape" not in path.read_text()


def fill(word: str) -> Node:
    """Compose a page of two runs with a word wherever a text comes from outside."""
    image = replace(GOOD, name=word, modality=word, listed_modality=word, branch=word, confidences={word: 0.5},
                    predicted_f1=0.5, cells_by_branch={word: 2, "other": 1}, notes=(word,),
                    seconds={word: 1.0, "total": 1.2})  # fmt: skip
    failed = replace(BAD, name=f"{word}.png", failures=(word,))
    run = Run(word, Path("run"), (failed, image), dict.fromkeys(("version", "system", "device", "threads"), word),
              {word: word}, problems=(word,), has_masks=True)  # fmt: skip
    thumbnails = (Thumbnail(0, image, URI), Thumbnail(1, failed, problem=word))
    checks = (Thumbnail(0, image, problem=word),)
    return compose(run, replace(run, name=f"{word}2"), thumbnails=thumbnails, checks=checks)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "</title></style></script><img src=x onerror=alert(1)>",
        "\"'><svg onload=x>",
        "a\n\0b\u202e",
    ],
    ids=ascii,
)
def test_hostile_text_anywhere_adds_no_element(text: str) -> None:
    assert [node.name for node in fill(text).walk()] == [node.name for node in fill("plain").walk()]


def test_what_does_not_print_is_visible_wherever_it_stands() -> None:
    root = fill("q\n\0\u202e\udce9")
    shown = [value for node in root.walk() for value in node.attributes.values()]
    # lines of the templates, and of the hover text of a chart, end; the name's own line end is none
    shown += [line for node in root.walk() if node.name not in ("script", "style")
              for piece in node.pieces if isinstance(piece, str) for line in piece.split("\n")]  # fmt: skip
    assert all(text.isprintable() for text in shown)
    assert len([text for text in shown if "q\\n\\x00\\u202e\\udce9" in text]) > 40


def test_the_markup_of_a_name_is_not_that_of_a_template() -> None:
    assert "{{ 7 * 7 }}" in fill("{{ 7 * 7 }}").find("title")[0].text
