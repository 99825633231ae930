"""What a document says beside what was measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import product
from typing import Literal

from benchmarks.entries import Place, Source
from benchmarks.markdown import Table, read_tables
from benchmarks.printed_figures import MOST_RATIO, RANGE, Figure, fold, is_range, read_figures

#: a line of `training.validate`, and one of `training.quality report`
VALIDATED = re.compile(r"(\S+) on (\d+) images \((.+)\): mean F1 (.+)")
REPORTED = re.compile(r"(?:[\w-]+ -?\d[\d.]* ?){4,}")

Verdict = Literal["same", "different", "off"]


@dataclass(frozen=True)
class Finding:
    """A place of a document beside what was measured.

    Attributes
    ----------
    place : Place
    measured : str
        In the form of the document; empty where a row was not measured.
    verdict : str
        "off" where times or memory differ by more than `MOST_RATIO`.
    ratio : Decimal
        The largest of times and memory; 1 for others.
    """

    place: Place
    measured: str
    verdict: Verdict
    ratio: Decimal = Decimal(1)

    def __str__(self) -> str:
        ratio = f" ({self.ratio:.1f} times)" if self.verdict == "off" else ""
        return f"{self.place}: {self.place.text} stands there, {self.measured or 'nothing'} measured{ratio}"


def read_output(printed: str) -> list[Table]:
    """Return the tables that a command printed; lines of `training.validate` and `training.quality` count as tables."""
    tables = read_tables(printed)
    for model, count, group, means in VALIDATED.findall(printed):
        f1 = means.split(", ")
        header = ("model", "images", "group", *(f"F1 {number}" for number in range(1, len(f1) + 1)))
        tables.append(Table(header, ((model, count, group, *f1),)))
    for line in printed.splitlines():
        if REPORTED.fullmatch(line):
            words = line.split()
            # printed with four digits, but without the zeros at their end
            pairs = zip(words[::2], words[1::2], strict=True)
            tables.append(Table(("answer", "F1"), tuple((name, f"{float(value):.4f}") for name, value in pairs)))
    return tables


def compare(place: Place, tables_of: Callable[[str], Sequence[Table]]) -> Finding:
    """Compare the figures at a place with those measured.

    Parameters
    ----------
    place : Place
    tables_of : callable
        Maps the name of a run to the tables that it printed.
    """
    measured: list[Figure] = []
    for source in place.sources:
        found = [figure for run in source.run for figure in _select(tables_of(run), source)]
        if not found:
            return Finding(place, "", "different")
        measured += found
    wanted = read_figures(place.text)
    measured = fold(measured, place.text, place.sources[0].fold)
    if len(measured) != len(wanted):
        return Finding(place, ", ".join(map(str, measured)), "different")
    text = (RANGE if is_range(place.text) else ", ").join(map(str, measured))
    if place.sources[0].times:
        ratio = max(one.ratio(other) for one, other in zip(measured, wanted, strict=True))
        return Finding(place, text, "off" if ratio > MOST_RATIO else "same", ratio)
    same = all(one.equals(other) for one, other in zip(measured, wanted, strict=True))
    return Finding(place, text, "same" if same else "different")


def _select(tables: Sequence[Table], source: Source) -> list[Figure]:
    """Return the figures of a source, in the order of its patterns; none where one of them finds no row."""
    figures: list[Figure] = []
    for patterns in product(*source.where.values()):
        wanted = dict(zip(source.where, patterns, strict=True))
        rows = [
            dict(zip(table.header, row, strict=True))
            for table in tables
            if table.has([*wanted, *source.take])
            for row in table.rows
        ]
        found = [
            figure
            for row in rows
            if all(fnmatchcase(row[title], pattern) for title, pattern in wanted.items())
            for title in source.take
            for figure in _pick(row[title], source)
        ]
        if not found:
            return []
        figures += found
    return figures


def _pick(cell: str, source: Source) -> list[Figure]:
    found = read_figures(cell)
    return found if source.pick is None else found[source.pick : source.pick + 1]
