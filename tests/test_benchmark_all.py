"""The reproduction of the documents' figures: where they stand, what was measured, and what differs."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks import all as module
from benchmarks import shared_runs
from benchmarks.all import main
from benchmarks.entries import ROOT, Entry, Place, Source, list_uncovered, read_entries
from benchmarks.findings import compare, read_output
from benchmarks.markdown import format_table, plain, read_tables
from benchmarks.printed_figures import Figure, fold, read_figures
from benchmarks.shared_runs import SharedRuns, expand_run, needs_data
from tests.printed_tables import PRINTERS

ENTRIES, RUNS = read_entries()
BY_NAME = {entry.name: entry for entry in ENTRIES}
DOCUMENT = """
| model | images | F1 | time |
|---|---:|---:|---:|
| **one** | 66 | **0.812** | 2.0 s |
| two | 66 | | 4.0 s |

It takes 1.5 GB, and `one` finds 1,204 cells.
"""
PRINTED = """| name | n | mean F1 | seconds |
| --- | ---: | ---: | ---: |
| one | 66 | {f1} | {seconds} |
| two | 66 | 0.700 | 4.1 |
"""


def figures(text: str) -> list[Decimal]:
    return [figure.value for figure in read_figures(text)]


def place(text: str, **changes: object) -> Place:
    values: dict[str, object] = {"run": ("a",), "where": {"name": ("one",)}, "take": ("mean F1",), **changes}
    return Place("docs/x.md", "one", "F1", text, (Source(**values),))  # type: ignore[arg-type]


def judge(text: str, printed: str, **changes: object) -> tuple[str, str]:
    finding = compare(place(text, **changes), lambda _: read_output(printed))
    return finding.verdict, finding.measured


# ---------------------------------------------------------------- Markdown and figures


def test_tables_are_read_without_markup() -> None:
    text = """words | here
| no | table |

| a | [b](c.md) | `a` |
|---|:--:|---:|
| **x** | 1 \\| 2 | |
| short |

| y |
|---|
"""
    one, two = read_tables(text)
    assert one.header == ("a", "b", "a 2")
    assert one.rows == (("x", "1 \\| 2", ""),)
    assert (one.has_figures, two.has_figures, two.header, two.rows) == (True, False, ("y",), ())
    assert one.has(["a", "*2"])
    assert not one.has(["a", "2"])


def test_a_printed_table_is_read_back() -> None:
    (table,) = read_tables(format_table(("what", "F1"), [("one", "0.8"), ("two", "")]))
    assert (table.header, table.rows) == (("what", "F1"), (("one", "0.8"), ("two", "")))


def test_a_column_of_exit_codes_holds_no_figures() -> None:
    (table,) = read_tables("| what | exit code |\n|---|---:|\n| a | 1 |\n")
    assert not table.has_figures


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("F1 0.9990, mean IoU 1", ["0.9990", "1"]),
        ("50,573 / 50,359, 0.995", ["50573", "50359", "0.995"]),
        ("0.925, 0.940", ["0.925", "0.940"]),
        ("1.64 GB, -0.3 and +2 (1.93%)", ["1.64", "-0.3", "2", "1.93"]),
        ("awf-1, v2, 4e-4, 640x480, 3.1.3", []),
        ("", []),
    ],
)
def test_figures_are_found_in_text(text: str, values: list[str]) -> None:
    assert figures(text) == [Decimal(value) for value in values]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("0.812", "0.812", True),
        ("0.812", "0.811", False),
        ("0.29", "0.28", False),
        # another digit: whatever may be rounded to it
        ("0.812", "0.8124", True),
        ("0.812", "0.8115", True),
        ("0.812", "0.8126", False),
        ("66", "65", False),
    ],
)
def test_figures_are_equal_to_their_last_digit(one: str, other: str, equal: bool) -> None:
    first, second = (read_figures(text)[0] for text in (one, other))
    assert (first.equals(second), second.equals(first)) == (equal, equal)


def test_ratios_have_no_direction() -> None:
    two, three, nothing = (read_figures(text)[0] for text in ("2.0", "3", "0.0"))
    assert two.ratio(three) == three.ratio(two) == Decimal("1.5")
    assert nothing.ratio(nothing) == 1
    assert nothing.ratio(two) == Decimal("Infinity")


@pytest.mark.parametrize(
    ("documented", "how", "values"),
    [
        ("0.7 to 0.9", "mean", ["0.7", "0.9"]),
        ("0.7 to 0.9 s", "", ["0.7", "0.9"]),
        ("0.8", "mean", ["0.8"]),
        ("2.4", "sum", ["2.4"]),
        ("0.7, 0.9, 0.8", "mean", ["0.7", "0.9", "0.8"]),
        ("3 to 6 nuclei", "", ["0.7", "0.9", "0.8"]),
    ],
)
def test_several_figures_take_the_form_of_the_document(documented: str, how: str, values: list[str]) -> None:
    folded = fold(read_figures("0.7, 0.9, 0.8"), documented, how)  # type: ignore[arg-type]
    assert [figure.value for figure in folded] == [Decimal(value) for value in values]
    assert {figure.step for figure in folded} == {Decimal("0.1")}


# ---------------------------------------------------------------- documents as they are now


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_entry_finds_its_figures(entry: Entry) -> None:
    places = entry.find_places()
    rows = {(found.document, found.row) for found in places}
    assert len(rows) == len(entry.documents) * (1 if entry.sentence else len(entry.rows))
    assert {found.column for found in places} >= {title for title in entry.columns if "*" not in title}
    for found in places:
        assert read_figures(found.text), found
        for source in found.sources:
            assert source.run
            assert source.take
            assert {run.partition(" ")[0] for run in source.run} <= RUNS.keys()


def test_entries_have_different_names_and_some_are_quick() -> None:
    assert len(BY_NAME) == len(ENTRIES)
    # what the quick ones share is counted each time
    assert 0 < sum(entry.minutes for entry in ENTRIES if entry.quick) < 30


def words(command: str) -> set[str]:
    """Return the words of a command without its interpreter and names that are to be filled in."""
    every = re.sub(r"['\"]", " ", command).split()
    return {word for word in every if not re.fullmatch(r"[A-Z_]+(/\S*)?|\S*python", word)}


def shown_commands(document: str) -> list[set[str]]:
    """Return the commands of a document: indented lines, parts and comments of them, and what stands in code marks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(.+)", text, re.M)
    parts = [part for line in lines for part in re.split(r"&&|; ", line.partition("    #")[0])]
    comments = [part for line in lines for part in re.findall(r"python -m [\w.]+", line.partition("    #")[2])]
    found = [words(part) for part in parts + comments + re.findall(r"`([^`]+)`", text)]
    # the name of a program alone is no command
    return [command for command in found if len(command) > 1]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_commands_stand_in_the_document(entry: Entry) -> None:
    """Each is one of the document, or of those that it refers to, perhaps with more options."""
    for document in entry.documents:
        shown = [command for path in (document, "README.md", "docs/training.md") for command in shown_commands(path)]
        for command in (command for run in entry.list_runs() for command in expand_run(run, RUNS)):
            assert any(wanted <= words(command) for wanted in shown), command


def test_a_document_that_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    entry = make_entry(path)
    for text, reason in (
        (DOCUMENT.replace("F1 |", "recall |"), "a table with model, F1 is there 0 times"),
        (DOCUMENT.replace("**one**", "three"), "row one is there 0 times"),
        (DOCUMENT + DOCUMENT, "a table with model, F1 is there 2 times"),
        (DOCUMENT.replace("| time |", "| hours |"), "column time is there 0 times"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(reason)):
            entry.find_places()
    sentence = Entry(
        "s", (str(path),), 1, ({"run": "a", "take": "x"},), sentence="It takes {} GB, and one finds {} cells"
    )
    path.write_text(DOCUMENT)
    (found,) = sentence.find_places()
    assert found.text == "1.5, 1,204"
    path.write_text(DOCUMENT.replace("takes 1.5", "needs 1.5"))
    with pytest.raises(ValueError, match="is there 0 times"):
        sentence.find_places()


def test_rows_of_one_name_are_told_apart_by_the_row_above(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text("| a | b |\n|---|---:|\n| x | 1 |\n| same | 2 |\n| y | 3 |\n| same | 4 |\n")
    rows = tuple({"at": "same", "after": above, "run": "a", "take": "b"} for above in ("x", "y"))
    entry = Entry("e", (str(path),), 1, rows, ("a", "b"), {"b": {}})
    assert [found.text for found in entry.find_places()] == ["2", "4"]


def test_tables_that_no_entry_covers_are_listed() -> None:
    count, uncovered = list_uncovered(ENTRIES)
    assert 0 < len(uncovered) < count
    assert list_uncovered([]) == (count, list_uncovered([])[1])
    assert len(list_uncovered([])[1]) == count
    documents = {document for entry in ENTRIES for document in entry.documents}
    assert {"README.md", "docs/systems.md", "docs/robustness.md", "docs/performance.md"} <= documents


# ---------------------------------------------------------------- what commands print


@pytest.mark.parametrize("name", PRINTERS)
def test_entries_take_what_their_commands_print(
    name: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        printed = "\n".join([PRINTERS[name](), capsys.readouterr().out, *caplog.messages])
    for found in BY_NAME[name].find_places():
        measured = compare(found, lambda _: read_output(printed)).measured
        assert len(read_figures(measured)) == len(read_figures(found.text)), found


def test_lines_of_the_judges_count_as_a_table() -> None:
    (table,) = read_output("loading\nstardist 0.789 hover 0.781 oracle 0.8 r 0.8215 images 66\n")
    assert table.header == ("answer", "F1")
    assert ("oracle", "0.8000") in table.rows


# ---------------------------------------------------------------- comparison


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("0.812", {}, ("same", "0.812")),
        ("0.811", {}, ("different", "0.812")),
        ("0.81", {}, ("same", "0.812")),
        ("0.812, 66", {"take": ("mean F1", "n")}, ("same", "0.812, 66")),
        ("0.812, 65", {"take": ("mean F1", "n")}, ("different", "0.812, 66")),
        ("132", {"where": {"name": ("*",)}, "take": ("n",), "fold": "sum"}, ("same", "132")),
        ("0.756", {"where": {"name": ("*",)}, "fold": "mean"}, ("same", "0.7560")),
        ("0.700 to 0.812", {"where": {"name": ("*",)}}, ("same", "0.700 to 0.812")),
        ("0.700, 0.812", {"where": {"name": ("two", "one")}}, ("same", "0.700, 0.812")),
        ("0.812, 0.812", {"run": ("a", "b")}, ("same", "0.812, 0.812")),
        # neither more figures nor fewer
        ("0.812", {"where": {"name": ("*",)}}, ("different", "0.812, 0.700")),
        ("0.812, 0.700", {}, ("different", "0.812")),
        # no such row, no such column, one of two rows
        ("0.812", {"where": {"name": ("three",)}}, ("different", "")),
        ("0.812", {"take": ("median",)}, ("different", "")),
        ("0.812, 0.700", {"where": {"name": ("one", "three")}}, ("different", "")),
        # times
        ("2.9 s", {"take": ("seconds",), "times": True}, ("same", "2.0")),
        ("1.4 s", {"take": ("seconds",), "times": True}, ("same", "2.0")),
        ("3.1 s", {"take": ("seconds",), "times": True}, ("off", "2.0")),
        ("1.3 s", {"take": ("seconds",), "times": True}, ("off", "2.0")),
    ],
)
def test_a_place_is_compared(text: str, changes: dict[str, object], expected: tuple[str, str]) -> None:
    assert judge(text, PRINTED.format(f1="0.812", seconds="2.0"), **changes) == expected


def test_one_figure_of_a_cell_is_picked() -> None:
    printed = PRINTED.format(f1="12 (0.93%)", seconds="1")
    assert judge("12", printed, pick=0) == ("same", "12")
    assert judge("12", printed)[0] == "different"


def test_a_difference_is_one_sentence() -> None:
    tables = read_output(PRINTED.format(f1="0.809", seconds="2.0"))
    different = compare(place("0.812"), lambda _: tables)
    assert str(different) == "docs/x.md, row one, column F1: 0.812 stands there, 0.809 measured"
    off = compare(place("4.0 s", take=("seconds",), times=True), lambda _: tables)
    assert str(off) == "docs/x.md, row one, column F1: 4.0 s stands there, 2.0 measured (2.0 times)"
    missing = compare(place("0.812", take=("recall",)), lambda _: tables)
    assert str(missing).endswith("0.812 stands there, nothing measured")


# ---------------------------------------------------------------- the command


def make_entry(document: Path, name: str = "table", run: str = "one", **changes: object) -> Entry:
    """Return an entry on `DOCUMENT` with its figures."""
    values: dict[str, object] = {
        "rows": tuple({"at": at, "where": {"name": at}} for at in ("one", "two")),
        "header": ("model", "F1"),
        "columns": {"images": {"take": "n"}, "F1": {"take": "mean F1"}, "time": {"take": "seconds", "times": True}},
        "source": {"run": run},
        **changes,
    }
    return Entry(name, (str(document),), 1, **values)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the command with entries and scripts of its own."""
    (tmp_path / "doc.md").write_text(DOCUMENT)
    monkeypatch.setattr(shared_runs, "AGAIN_S", 0.0)

    def start(scripts: dict[str, str], entries: Sequence[Entry], *arguments: str) -> int:
        runs = {}
        for name, script in scripts.items():
            (tmp_path / f"{name}.py").write_text(script)
            runs[name] = [f"python {tmp_path / name}.py OPTIONS"]
        monkeypatch.setattr(module, "read_entries", lambda: (list(entries), runs))
        output = [] if "-o" in arguments else ["-o", str(tmp_path / "out")]
        return main([*arguments, *output])

    return start


def script(f1: str = "0.812", seconds: str = "2.0", *, code: int = 0) -> str:
    return f"import sys\nprint('''{PRINTED.format(f1=f1, seconds=seconds)}''')\nsys.exit({code})"


def last_rows(text: str) -> dict[str, tuple[str, ...]]:
    """Return the rows of the last table, without seconds, by their first cell."""
    return {row[0]: row[2:] for row in read_tables(text)[-1].rows}


def test_nothing_differs(bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench({"one": script()}, [make_entry(tmp_path / "doc.md")]) == 0
    text = capsys.readouterr().out
    assert "Nothing differs." in text
    measured = read_tables(text)[0]
    assert measured.header[1:] == ("images", "F1", "time")
    # what the document leaves empty is not compared
    assert measured.rows == (("one", "66", "0.812", "2.0"), ("two", "66", "", "4.1"))
    assert last_rows(text) == {"table": ("5", "0", "0", "")}
    assert PRINTED.splitlines()[0] in next((tmp_path / "out" / "logs").glob("01-*.out")).read_text()


@pytest.mark.parametrize(
    ("printed", "code", "counts"),
    [
        (script("0.809"), 1, ("4", "1", "0", "")),
        # times are flagged, and no difference
        (script(seconds="9.0"), 0, ("4", "0", "1", "")),
        # a target that is missed is none either
        (script(code=1), 0, ("5", "0", "0", "")),
        ("print('nothing')", 1, ("0", "5", "0", "")),
        (
            "print('| name | n | mean F1 | seconds |\\n|---|---|---|---|\\n| one | 66 | 0.812 | 2 |')",
            1,
            ("3", "2", "0", ""),
        ),
    ],
)
def test_the_exit_code_says_what_differs(
    bench: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    printed: str,
    code: int,
    counts: tuple[str, ...],
) -> None:
    assert bench({"one": printed}, [make_entry(tmp_path / "doc.md")]) == code
    text = capsys.readouterr().out
    assert last_rows(text) == {"table": counts}
    assert len(re.findall(r"^- .* stands there, .* measured", text, re.M)) == int(counts[1]) + int(counts[2])


def test_a_failing_command_fails_its_entry_alone(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "doc.md"
    entries = [make_entry(document, "a", "bad"), make_entry(document, "b", "one"), make_entry(tmp_path / "no.md", "c")]
    assert bench({"one": script(), "bad": script(code=3)}, entries) == 1
    rows = last_rows(capsys.readouterr().out)
    assert rows["a"][:3] == ("0", "0", "0")
    assert rows["a"][3].startswith("failed: exit code 3: python ")
    assert rows["b"] == ("5", "0", "0", "")
    assert rows["c"][3].startswith("failed: ")


def test_a_shared_run_is_done_once(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "note.txt"
    counting = f"import sys\nprint(sys.argv[1:], file=open({str(note)!r}, 'a'))\n{script()}"
    document = tmp_path / "doc.md"
    entries = [make_entry(document, name, run) for name, run in (("a", "one"), ("b", "one"), ("c", "one --tta"))]
    assert bench({"one": counting}, entries) == 0
    assert note.read_text() == "[]\n['--tta']\n"
    assert set(last_rows(capsys.readouterr().out)) == {"a", "b", "c"}


def test_what_is_missing_skips_an_entry(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "doc.md"
    entries = [make_entry(document, "a", "one DATA/val"), make_entry(document, "b", needs="no_such_package")]
    assert bench({"one": script("0.1")}, entries) == 0
    rows = last_rows(capsys.readouterr().out)
    assert rows["a"][3] == "skipped: needs --data"
    assert rows["b"][3] == "skipped: needs the package no_such_package"


def test_an_interrupt_ends_one_command_and_a_second_one_all(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = "import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)"
    document = tmp_path / "doc.md"
    entries = [make_entry(document, "a", "bad"), make_entry(document, "b", "one")]
    assert bench({"one": script(), "bad": stopping}, entries) == 1
    rows = last_rows(capsys.readouterr().out)
    assert rows["a"][3].startswith("failed: interrupted: ")
    assert rows["b"] == ("5", "0", "0", "")

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shared_runs.time, "sleep", interrupt)
    assert bench({"one": script(), "bad": stopping}, entries[::-1], "-o", str(tmp_path / "again")) == 130
    assert set(last_rows(capsys.readouterr().out)) == {"b"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--only", "table", "tabel"], "there is no entry tabel; --list names all"),
        (["--quick"], "none of these entries is quick; leave --quick out"),
        (["--data", "nowhere"], "nowhere has no manifest.csv"),
        (["-o", "{full}"], "is not empty; name a new folder"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    given = [argument.replace("{full}", str(tmp_path)) for argument in arguments]
    with pytest.raises(SystemExit) as ended:
        bench({"one": "raise SystemExit('it was run')"}, [make_entry(tmp_path / "doc.md")], *given)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_entries_are_chosen_by_name_and_by_quickness(
    bench: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "doc.md"
    entries = [make_entry(document, "a"), make_entry(document, "b", quick=True), make_entry(document, "c", quick=True)]
    assert bench({"one": script()}, entries, "--quick", "--only", "a", "b") == 0
    assert set(last_rows(capsys.readouterr().out)) == {"b"}


def test_the_list_names_entries_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    rows = {row[0]: row[1:] for row in read_tables(text)[0].rows}
    assert rows.keys() == BY_NAME.keys()
    assert rows["results"][1:4] == ("DATA", "yes", "README.md")
    assert rows["decoders-cellpose"][1] == "cellpose"
    count, uncovered = list_uncovered(ENTRIES)
    assert f"{count - len(uncovered)} of {count} tables of figures are reproduced" in text
    assert text.count("\n- docs/") == len(uncovered)


def test_commands_get_this_interpreter_and_folders(tmp_path: Path) -> None:
    shown = 'python -c "import sys; print(sys.argv[1:])" DATA/val MASKS IMAGES "python predict.py OPTIONS"'
    data, folder = tmp_path / "with space", tmp_path / "out"
    folder.mkdir()
    outcome = SharedRuns({"all": [shown]}, folder, data).run("all --tta")
    expected = [f"{data}/val", f"{folder}/all-tta/MASKS", f"{folder}/IMAGES", f"{sys.executable} predict.py --tta"]
    assert plain(outcome.printed) == str(expected)
    assert outcome.problem == ""
    assert needs_data("all", {"all": [shown]})
    assert not needs_data("all", {"all": ["python -m benchmarks.slide"]})


def test_a_run_ends_with_its_first_problem(tmp_path: Path) -> None:
    runs = {"a": ['python -c "raise SystemExit(2)"', "python -c \"open('made', 'w')\""], "b": ["/no/such/program"]}
    runs["c"] = ['python -c "1 / 0"']
    shared = SharedRuns(runs, tmp_path, None)
    assert shared.run("a").problem.startswith("exit code 2: python -c")
    assert len(shared.done) == 1
    assert shared.run("c").problem.startswith("exit code 1: python -c")
    assert shared.run("b").problem == "cannot be started (No such file or directory): /no/such/program"


def test_figures_are_shown_as_they_were_printed() -> None:
    assert [str(figure) for figure in read_figures("50,573 0.810 12")] == ["50,573", "0.810", "12"]
    assert str(Figure(Decimal("0.7560"), Decimal("0.001"))) == "0.7560"
