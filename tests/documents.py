"""An HTML document as a tree, to ask what is in it rather than how it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from mosaicell.evaluation.markup import load_templates

VOID = ("br", "col", "img", "input", "link", "meta")


@dataclass
class Node:
    """One element: its attributes, the elements in it and the text directly in it and within those."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    pieces: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text, in order."""
        return "".join(piece if isinstance(piece, str) else piece.text for piece in self.pieces)

    @property
    def children(self) -> list[Node]:
        """Elements directly in this one."""
        return [piece for piece in self.pieces if isinstance(piece, Node)]

    def walk(self) -> Iterator[Node]:
        """Yield all elements within, in order."""
        for child in self.children:
            yield child
            yield from child.walk()

    def find(self, name: str, **wanted: str) -> list[Node]:
        """Return the elements of a name within; `class_` must be one of the classes, other attributes equal."""
        kind = wanted.pop("class_", None)
        return [
            node
            for node in self.walk()
            if node.name == name
            and (kind is None or kind in node.attributes.get("class", "").split())
            and all(node.attributes.get(key) == value for key, value in wanted.items())
        ]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {key: value or "" for key, value in attrs})
        self.open[-1].pieces.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].pieces.append(data)


def parse(text: str) -> Node:
    """Parse a document or a part of one; an element that is not closed, or closed out of order, fails the test."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert len(builder.open) == 1, f"<{builder.open[-1].name}> is not closed"
    return builder.root


def expand(template: str, macro: str, *arguments: object) -> Node:
    """Parse what a macro of the report's templates writes."""
    module = load_templates().get_template(template).module
    return parse(getattr(module, macro)(*arguments))


def read_table(table: Node) -> list[dict[str, str]]:
    """Return the body rows of a table by the titles of its columns; cells that span rows count in each of them."""
    titles = [cell.text for cell in table.find("thead")[0].find("tr")[0].children]
    rows = []
    for body in table.find("tbody"):
        above: list[Node] = []
        for row in body.find("tr"):
            cells = row.children
            if len(cells) < len(titles):
                cells = [*above, *cells]
            above = [cell for cell in cells if "rowspan" in cell.attributes]
            rows.append(dict(zip(titles, (cell.text for cell in cells), strict=True)))
    return rows
