"""Reproduce the tables of README and docs, and say what differs: python -m benchmarks.all --data DATA."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.entries import Entry, list_uncovered, read_entries
from benchmarks.findings import Finding, compare, read_output
from benchmarks.markdown import Table, format_table
from benchmarks.shared_runs import SharedRuns, needs_data

#: exit codes; 2 is that of arguments that cannot be used
SAME, DIFFERENT, STOPPED = 0, 1, 130


@dataclass(frozen=True)
class Result:
    """What an entry came to.

    Attributes
    ----------
    name : str
    seconds : float
        Of the commands that were run for it; those that an earlier entry had run take none.
    findings : list of Finding
    skipped, failed : str
        Why there are none.
    """

    name: str
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    skipped: str = ""
    failed: str = ""

    @property
    def remark(self) -> str:
        """Why there are no findings, in a few words."""
        return f"failed: {self.failed}" if self.failed else f"skipped: {self.skipped}" if self.skipped else ""

    def count(self, verdict: str) -> int:
        """Return how many places have this verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)


def find_hindrance(entry: Entry, runs: Mapping[str, Sequence[str]], data: Path | None) -> str:
    """Say why an entry cannot be reproduced here; nothing where it can."""
    if data is None and any(needs_data(run, runs) for run in entry.list_runs()):
        return "needs --data"
    return f"needs the package {entry.needs}" if entry.needs and find_spec(entry.needs) is None else ""


def reproduce(entry: Entry, shared: SharedRuns) -> Result:
    """Run what an entry needs, and compare; a command that fails and a document that has changed fail the entry."""
    started_s = time.monotonic()
    tables: dict[str, list[Table]] = {}
    try:
        places = entry.find_places()
        for run in entry.list_runs():
            outcome = shared.run(run)
            if outcome.problem:
                return Result(entry.name, time.monotonic() - started_s, failed=outcome.problem)
            tables[run] = read_output(outcome.printed)
    except (OSError, ValueError) as error:
        return Result(entry.name, time.monotonic() - started_s, failed=str(error))
    findings = [compare(place, tables.__getitem__) for place in places]
    return Result(entry.name, time.monotonic() - started_s, findings)


def describe(result: Result) -> str:
    """Return the tables and sentences of an entry as measured, and a line for each difference."""
    lines = [f"## {result.name}", ""]
    for document in dict.fromkeys(finding.place.document for finding in result.findings):
        found = [finding for finding in result.findings if finding.place.document == document]
        columns = list(dict.fromkeys(finding.place.column for finding in found))
        if columns == [""]:
            lines += [f"{document}, measured: {finding.measured} in “{finding.place.row}”" for finding in found]
        else:
            cells = {(finding.place.row, finding.place.column): finding.measured for finding in found}
            rows = [
                (row, *(cells.get((row, name), "") for name in columns))
                for row in dict.fromkeys(row for row, _ in cells)
            ]
            lines.append(format_table((f"{document}, measured", *columns), rows))
        lines.append("")
    different = [f"- {finding}" for finding in result.findings if finding.verdict != "same"]
    return "\n".join([*lines, *(different or [result.remark or "Nothing differs."]), ""])


def summarise(results: Sequence[Result]) -> str:
    """Return a table with a row for each entry."""
    rows = []
    for result in results:
        counts = (str(result.count(verdict)) for verdict in ("same", "different", "off"))
        rows.append((result.name, f"{result.seconds:.0f}", *counts, result.remark))
    return format_table(("entry", "seconds", "same", "different", "times off", "remark"), rows)


def list_entries(chosen: Sequence[Entry], entries: Sequence[Entry], runs: Mapping[str, Sequence[str]]) -> str:
    """Return a table of the chosen entries, and what of the documents is left out by all."""
    rows = []
    for entry in chosen:
        needs = ["DATA"] if any(needs_data(run, runs) for run in entry.list_runs()) else []
        needs += [entry.needs] if entry.needs else []
        what = entry.sentence or ", ".join(entry.header)
        quick = "yes" if entry.quick else ""
        rows.append((entry.name, f"{entry.minutes:g}", ", ".join(needs), quick, ", ".join(entry.documents), what))
    tables, uncovered = list_uncovered(entries)
    left = "\n".join(f"- {document}: {titles}" for document, titles in uncovered)
    table = format_table(("entry", "minutes", "needs", "quick", "document", "table"), rows)
    return (
        f"{table}\n\n{tables - len(uncovered)} of {tables} tables of figures are reproduced, in whole or in part. Not "
        f"reproduced, as they are of trainings, of models or scripts that were not kept, or no benchmark's:\n\n{left}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Reproduce the entries that are asked for.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0 when nothing differs but times and memory; 1 when figures differ or an entry failed; 130 when it was stopped.

    Raises
    ------
    SystemExit
        With 2 when the arguments cannot be used.
    """
    entries, runs = read_entries()
    parser = _make_parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.only or ()) - {entry.name for entry in entries})
    if unknown:
        parser.error(f"there is no entry {', '.join(unknown)}; --list names all")
    # the shortest first, so that most is there when it is stopped
    chosen = [
        entry
        for entry in sorted(entries, key=lambda entry: entry.minutes)
        if (entry.quick or not options.quick) and (options.only is None or entry.name in options.only)
    ]
    if not chosen:
        parser.error("none of these entries is quick; leave --quick out")
    if options.data and not (options.data / "manifest.csv").is_file():
        parser.error(f"{options.data} has no manifest.csv")
    try:
        if options.list:
            print(list_entries(chosen, entries, runs))
            return SAME
        folder = _make_folder(options.output)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"logs and masks: {folder}", file=sys.stderr)
    shared = SharedRuns(runs, folder, options.data)
    results: list[Result] = []
    stopped = False
    try:
        for entry in chosen:
            skipped = find_hindrance(entry, runs, options.data)
            results.append(Result(entry.name, skipped=skipped) if skipped else reproduce(entry, shared))
            print(describe(results[-1]), flush=True)
    except KeyboardInterrupt:
        stopped = True
    print(summarise(results))
    different = any(result.failed or result.count("different") for result in results)
    return STOPPED if stopped else DIFFERENT if different else SAME


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.all", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, metavar="DATA", help="folder with manifest.csv, val/images, val/labels and train")
    add("--quick", action="store_true", help="only entries of a few minutes")
    add("--only", nargs="+", metavar="NAME", help="only these entries")
    add("--list", action="store_true", help="list the entries, what they need, and what is not reproduced")
    add("-o", "--output", type=Path, metavar="FOLDER", help="new folder for logs and masks (default: a temporary one)")
    return parser


def _make_folder(folder: Path | None) -> Path:
    """Return a new folder, as a command could take masks of earlier ones for its own."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="benchmarks-all-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a new folder")
    return folder.resolve()


if __name__ == "__main__":
    sys.exit(main())
