"""The figures of the documents that a command reproduces: read from tables/*.toml, found where they stand."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks.markdown import Table, plain, read_tables
from benchmarks.printed_figures import NUMBER, Fold

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = Path(__file__).with_name("tables")
#: keys of a row that say where it stands
ROW_KEYS = ("at", "after", "columns")
#: stands for a figure in a sentence
BLANK = "{}"


@dataclass(frozen=True)
class Source:
    """Where figures are in what commands print.

    Attributes
    ----------
    run : tuple of str
        Names of runs, each with the options that follow it.
    where : dict
        What cells of a measured row hold, by the title of their column; `*` stands for anything. Of several patterns
        each is looked for, in this order.
    take : tuple of str
        Columns that hold the figures.
    pick : int or None
        Which figure of each of these cells counts; all where None.
    fold : str
        As in `printed_figures.fold`.
    times : bool
        Whether these are times or memory, of which two machines have different ones.
    """

    run: tuple[str, ...]
    where: Mapping[str, tuple[str, ...]]
    take: tuple[str, ...]
    pick: int | None = None
    fold: Fold = ""
    times: bool = False


@dataclass(frozen=True)
class Place:
    """Figures in a document, and where they come from.

    Attributes
    ----------
    document, row, column : str
        Where they stand; of a sentence the row is the sentence, and there is no column.
    text : str
        What stands there.
    sources : tuple of Source
        In the order of the figures.
    """

    document: str
    row: str
    column: str
    text: str
    sources: tuple[Source, ...]

    def __str__(self) -> str:
        where = f"row {self.row}, column {self.column}" if self.column else f"“{self.row}”"
        return f"{self.document}, {where}"


@dataclass(frozen=True)
class Entry:
    """Rows of a table, or a sentence, that commands reproduce.

    Attributes
    ----------
    name : str
    documents : tuple of str
        Paths from the root of the repository; each holds the table or sentence.
    minutes : float
        What its commands take on two quiet cores.
    rows : tuple of dict
        Each says `at`, patterns for its first cells; `after`, a pattern for the first cell of a row above it, where
        several are called alike; `columns`, the titles of those that count, where not all do; and of a `Source` what
        columns do not say.
    header : tuple of str
        Titles that tell the table from all others of the document.
    columns : dict
        What each column says of a `Source`, by its title.
    source : dict
        What the `Source` of all figures has in common.
    sentence : str
        Instead of header and columns: words with `{}` for each figure, taken from the rows one after the other.
    needs : str
        A package without which its commands do not print these rows.
    quick : bool
    """

    name: str
    documents: tuple[str, ...]
    minutes: float
    rows: tuple[Mapping[str, Any], ...]
    header: tuple[str, ...] = ()
    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    sentence: str = ""
    needs: str = ""
    quick: bool = False

    def find_places(self) -> list[Place]:
        """Find all figures that stand in the documents.

        Raises
        ------
        ValueError
            When a table, row, column or sentence is not there, or not once.
        OSError
            When a document cannot be read.
        """
        return [place for document in self.documents for place in self._find_in(document)]

    def find_table(self, document: str) -> Table:
        """Return the one table of a document that has the header; errors as in `find_places`."""
        tables = [table for table in _read_document(document)[1] if table.has(self.header)]
        return _only(tables, f"{document}: a table with {', '.join(self.header)}")

    def list_runs(self) -> list[str]:
        """Return all runs that the entry needs, each once."""
        specs = [self.source, *self.columns.values(), *self.rows]
        return list(dict.fromkeys(run for spec in specs for run in _strings(spec.get("run", []))))

    def _find_in(self, document: str) -> Iterator[Place]:
        if self.sentence:
            words = self.sentence.split(BLANK)
            pattern = f"({NUMBER.pattern})".join(re.escape(part) for part in words)
            found = list(re.finditer(pattern, _read_document(document)[0]))
            figures = _only(found, f"{document}: {self.sentence}").groups()
            sources = tuple(_make_source(self.source, row) for row in self.rows)
            yield Place(document, self.sentence, "", ", ".join(figures), sources)
            return
        table = self.find_table(document)
        for row in self.rows:
            at = _strings(row["at"])
            cells = _only(_find_rows(table, at, row.get("after")), f"{document}: row {', '.join(at)}")
            for title in _strings(row.get("columns", list(self.columns))):
                name = _only([name for name in table.header if fnmatchcase(name, title)], f"{document}: column {title}")
                text = cells[table.header.index(name)]
                # an empty cell was not measured, or is not worth a figure
                if NUMBER.search(text):
                    label = ", ".join(cells[: len(at)]) + (f", below {row['after']}" if "after" in row else "")
                    yield Place(document, label, name, text, (_make_source(self.source, self.columns[title], row),))


def read_entries(folder: Path = ENTRIES) -> tuple[list[Entry], dict[str, list[str]]]:
    """Read the entries of all files of a folder, and the commands of their runs by the name of the run.

    Raises
    ------
    TypeError
        When an entry has a key that there is not, or lacks one.
    """
    entries: list[Entry] = []
    runs: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        runs |= content.get("runs", {})
        for one in content.get("entry", []):
            strings = {key: _strings(one.get(key, [])) for key in ("documents", "header")}
            values: dict[str, Any] = {**one, **strings, "rows": tuple(one["rows"])}
            entries.append(Entry(**values))
    return entries, runs


def list_uncovered(entries: Sequence[Entry]) -> tuple[int, list[tuple[str, str]]]:
    """Count the tables of figures in README and docs, and name those of which no entry has a row.

    Returns
    -------
    tables : int
    uncovered : list of (str, str)
        Document and titles.

    Raises
    ------
    ValueError, OSError
        As in `Entry.find_places`.
    """
    covered = {
        (document, entry.find_table(document)) for entry in entries for document in entry.documents if entry.header
    }
    documents = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    tables = [(document, table) for document in documents for table in _read_document(document)[1] if table.has_figures]
    uncovered = [
        (document, ", ".join(filter(None, table.header)))
        for document, table in tables
        if (document, table) not in covered
    ]
    return len(tables), uncovered


def _find_rows(table: Table, at: Sequence[str], after: str | None) -> list[tuple[str, ...]]:
    """Return the rows whose first cells fit; with `after` the first below the one of that name."""
    fitting = [number for number, row in enumerate(table.rows) if all(map(fnmatchcase, row, at))]
    if after is not None:
        above = next((number for number, row in enumerate(table.rows) if fnmatchcase(row[0], after)), len(table.rows))
        fitting = [number for number in fitting if number > above][:1]
    return [table.rows[number] for number in fitting]


def _make_source(*specs: Mapping[str, Any]) -> Source:
    """Make a source of what an entry says, then a column, and then a row."""
    where = {title: _strings(patterns) for spec in specs for title, patterns in spec.get("where", {}).items()}
    values: dict[str, Any] = {key: value for spec in specs for key, value in spec.items() if key not in ROW_KEYS}
    return Source(**{**values, "where": where, "run": _strings(values["run"]), "take": _strings(values["take"])})


def _read_document(document: str) -> tuple[str, list[Table]]:
    """Return the text of a document without markup and line breaks, and its tables."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return plain(text), read_tables(text)


def _only(found: Sequence[Any], what: str) -> Any:
    if len(found) != 1:
        raise ValueError(f"{what} is there {len(found)} times, not once")
    return found[0]


def _strings(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
