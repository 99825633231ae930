"""Tables in Markdown, as documents show and benchmarks print them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

DELIMITER = re.compile(r"\|(\s*:?-+:?\s*\|)+")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
#: a column of this title is right-aligned as those of figures are, and holds none
NO_FIGURES = "exit code"


@dataclass(frozen=True)
class Table:
    """A table without markup.

    Attributes
    ----------
    header : tuple of str
        Titles; the second of the same name has " 2" at its end, and so on.
    rows : tuple of tuple of str
        As many cells each as the header has.
    has_figures : bool
        Whether a column is right-aligned, as those of figures are.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_figures: bool = True

    def has(self, titles: Sequence[str]) -> bool:
        """Tell whether there is a column for each of these titles, in which `*` stands for anything."""
        return all(any(fnmatchcase(name, title) for name in self.header) for title in titles)


def plain(text: str) -> str:
    """Return text without emphasis, code marks and the targets of links, its white space collapsed."""
    return " ".join(re.sub(r"\*\*|`", "", LINK.sub(r"\1", text)).split())


def read_tables(text: str) -> list[Table]:
    """Return all tables of a text, in order; a row of another length than the header is left out."""
    lines = [line.strip() for line in text.splitlines()]
    tables = []
    for number, line in enumerate(lines[:-1]):
        if not (line.startswith("|") and DELIMITER.fullmatch(lines[number + 1])):
            continue
        titles = _split(line)
        header = tuple(_tell_apart(titles))
        ends = next((end for end in range(number + 2, len(lines)) if not lines[end].startswith("|")), len(lines))
        rows = (_split(row) for row in lines[number + 2 : ends])
        right = (mark.endswith(":") for mark in _split(lines[number + 1]))
        has_figures = any(end and title != NO_FIGURES for end, title in zip(right, titles, strict=False))
        tables.append(Table(header, tuple(row for row in rows if len(row) == len(header)), has_figures))
    return tables


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns but the first hold figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _tell_apart(titles: Sequence[str]) -> Iterator[str]:
    for number, title in enumerate(titles):
        before = titles[:number].count(title)
        yield f"{title} {before + 1}" if title and before else title


def _split(line: str) -> tuple[str, ...]:
    return tuple(plain(cell) for cell in re.split(r"(?<!\\)\|", line.removeprefix("|").removesuffix("|")))
