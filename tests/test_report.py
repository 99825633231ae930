"""The report command: what it reads and refuses, and the page as a browser shows it, without any network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mosaicell.evaluation.records import ImageRecord, Run
from mosaicell.evaluation.report import MAX_CHECKS, main, name_runs, rank_checks, rank_images
from mosaicell.evaluation.scored_masks import score_folder
from mosaicell.evaluation.timed_image import TimedImage, write_csv
from mosaicell.evaluation.timing import main as time_images
from mosaicell.writing.masks import write_labels
from tests.browser import PROGRAM, Page, open_browser
from tests.documents import Node, parse, read_table
from tests.test_branches import draw_discs

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = "<img src=x onerror=alert(1)>'\"&.png"
SHAPE = (120, 160)


def write_run(folder: Path, kept: dict[str, int], seconds: float) -> None:
    """Write a run over the images of `inputs`: each mask with the first so many cells, and what it cost."""
    folder.mkdir()
    labels = draw_discs(SHAPE, 8, 40)
    entries: list[dict[str, Any]] = []
    timed = []
    for order, (name, cells) in enumerate(kept.items()):
        entry: dict[str, Any] = {"image": name}
        if cells < 0:
            entry["error"] = "is empty: 0 bytes"
        else:
            write_labels(folder / f"{name.split('.')[0]}_label.tiff", np.where(labels <= cells, labels, 0))
            entry |= {"height": SHAPE[0], "width": SHAPE[1], "modality": "grey", "cells": cells}
            entry |= {"branch": "awf-grey", "confidences": {"awf-grey": 0.9 - order / 10}}
            entry["seconds"] = {"network": 0.2, "total": 0.3}
        entries.append(entry)
        failure = "no mask was written" if cells < 0 else ""
        shape = None if cells < 0 else SHAPE
        timed.append(TimedImage(name, (seconds + order,), shape, 10**9, None, int(cells < 0), "valid", failure))
    report = {"version": "1.2", "device": "cpu", "threads": 2, "elapsed_s": 1.5, "images": entries}
    (folder / "run.json").write_text(json.dumps(report))
    write_csv(folder / "timing.csv", timed)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Write images, labels, a manifest and two runs; the images are 12 cells, one empty, one of a hostile name."""
    labels = draw_discs(SHAPE, 8, 40)
    names = ["a.png", "b.png", "empty.png", HOSTILE]
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / "images" / name), ((labels > 0) * 180).astype(np.uint8))
        if name != "empty.png":
            write_labels(tmp_path / "labels" / f"{name.split('.')[0]}_label.tiff", labels)
    (tmp_path / "images" / "empty.png").write_bytes(b"")
    (tmp_path / "manifest.csv").write_text("label,modality\na_label.tiff,dic\nb_label.tiff,phase-contrast\n")
    write_run(tmp_path / "first", {"a.png": 12, "b.png": 6, "empty.png": -1, HOSTILE: 12}, 2.0)
    write_run(tmp_path / "second", {"a.png": 3, "b.png": 12, "empty.png": -1, HOSTILE: 12}, 9.5)
    return tmp_path


def write_page(folder: Path, *arguments: object) -> Path:
    path = folder / "page.html"
    assert main([*map(str, arguments), "-o", str(path)]) == 0
    return path


def full_arguments(folder: Path, *runs: str) -> list[object]:
    return [*(folder / run for run in runs), "--images", folder / "images", "--labels", folder / "labels",
            "--manifest", folder / "manifest.csv"]  # fmt: skip


def read_page(path: Path) -> Node:
    return parse(path.read_text(encoding="utf-8"))


def table_of(root: Node, section: str) -> list[dict[str, str]]:
    return read_table(root.find("section", id=section)[0].find("table")[0])


def test_the_scores_are_those_of_the_score_command(inputs: Path) -> None:
    root = read_page(write_page(inputs, *full_arguments(inputs, "first")))
    expected = {
        image.name.removesuffix("_label.tiff"): f"{image.scores[0].f1:.3f}"
        for image in score_folder(inputs / "labels", inputs / "first", (0.5,), {})
    }
    assert len(set(expected.values())) > 1
    shown = {row["Image"].split(".")[0]: row["F1"] for row in table_of(root, "images") if row["F1"]}
    assert shown == expected
    assert [row["Modality"] for row in table_of(root, "f1")] == ["all", "dic", "phase-contrast", "unlisted"]


def test_the_modality_is_that_of_the_program_without_a_manifest(inputs: Path) -> None:
    root = read_page(write_page(inputs, inputs / "first", "--labels", inputs / "labels"))
    assert [row["Modality"] for row in table_of(root, "f1")] == ["grey"]


def test_a_run_on_part_of_the_labels_shows_nothing_of_the_rest(inputs: Path) -> None:
    write_labels(inputs / "labels" / "extra_label.tiff", np.ones((9, 9), np.uint8))
    root = read_page(write_page(inputs, inputs / "first", "--labels", inputs / "labels"))
    assert "extra" not in {row["Image"] for row in table_of(root, "images")}
    assert root.find("section", id="failures")[0].children[0].text == "1 failure"
    assert "1 true masks are of images that it did not have" in root.find("header")[0].text


def test_a_truth_beside_masks_alone_counts_as_a_failure_with_f1_0(inputs: Path) -> None:
    write_labels(inputs / "labels" / "extra_label.tiff", np.ones((9, 9), np.uint8))
    for name in ("run.json", "timing.csv"):
        (inputs / "first" / name).unlink()
    root = read_page(write_page(inputs, inputs / "first", "--labels", inputs / "labels"))
    row = next(row for row in table_of(root, "images") if row["Image"] == "extra")
    assert row["F1"] == "0.000"
    assert row["Remarks"] == "no mask: extra_label.tiff"
    assert root.find("section", id="failures")[0].children[0].text == "1 failure"


def test_accuracy_is_shown_from_iou_05_to_09_with_precision_and_recall(inputs: Path) -> None:
    root = read_page(write_page(inputs, inputs / "first", "--labels", inputs / "labels"))
    rows = table_of(root, "accuracy")
    assert [row["IoU"] for row in rows] == ["0.5", "0.6", "0.7", "0.8", "0.9"]
    scored = [image.scores[0] for image in score_folder(inputs / "labels", inputs / "first", (0.5,), {})]
    for title, name in (("F1", "f1"), ("Precision", "precision"), ("Recall", "recall")):
        assert rows[0][title] == f"{np.mean([getattr(score, name) for score in scored]):.3f}"


def test_a_container_that_could_not_start_shows_its_reason(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = inputs / "docker"
    docker.write_text("""#!/bin/sh
case "$*" in *inspect*) exit 0 ;; esac
echo 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].' >&2
echo "See 'docker run --help'." >&2
exit 125
""")
    docker.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(docker))
    assert time_images(["-i", str(inputs / "images"), "-o", str(inputs / "timed"), "--image", "team"]) == 1
    root = read_page(write_page(inputs, inputs / "timed"))
    lines = {line.find("b")[0].text: line.text for line in root.find("section", id="failures")[0].find("li")}
    assert 'exit code 125 (docker: Error response from daemon: could not select device driver ""' in lines["a.png"]
    assert "See 'docker" not in lines["a.png"]


def test_views_are_drawn_worst_first_up_to_the_limit(inputs: Path) -> None:
    arguments = full_arguments(inputs, "first", "second")
    for limit in (1, 3, 60):
        root = read_page(write_page(inputs, *arguments, "--thumbnails", limit))
        figures = root.find("div", class_="thumbnails")[0].children
        names = [figure.find("b")[0].text for figure in figures]
        assert names == ["empty.png", "empty.png", "a.png", "a.png", "b.png", "b.png", HOSTILE, HOSTILE][:limit]
        assert [bool(figure.find("img")) for figure in figures] == [name != "empty.png" for name in names]


def test_an_image_stands_where_its_worst_run_puts_it() -> None:
    first = (
        ImageRecord("a.png", f1=0.9),
        ImageRecord("b", f1=0.5),
        ImageRecord("c", confidences={"x": 0.1}, branch="x"),
    )
    second = (ImageRecord("a", f1=0.3), ImageRecord("b", f1=0.8), ImageRecord("d", failures=("no",)), ImageRecord("e"))
    ranked = rank_images([Run("one", Path(), first), Run("two", Path(), second)])
    assert [(image.name, run) for run, image in ranked] == [
        ("d", 1), ("a.png", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("e", 1),
    ]  # fmt: skip


def test_without_truth_the_lowest_predicted_f1_comes_before_the_lowest_confidence() -> None:
    images = (
        ImageRecord("a", predicted_f1=0.9, confidences={"x": 0.1}, branch="x"),
        ImageRecord("b", confidences={"x": 0.2}, branch="x"),
        ImageRecord("c", predicted_f1=0.3, confidences={"x": 0.9}, branch="x"),
        ImageRecord("d", predicted_f1=0.0, f1=0.99),
        ImageRecord("e", predicted_f1=0.5, failures=("no",)),
    )
    assert "".join(image.name for _, image in rank_images([Run("run", Path(), images)])) == "edcab"


def test_images_to_check_are_those_with_a_prediction_and_no_failure_their_runs_together() -> None:
    first = (
        ImageRecord("a.png", predicted_f1=0.9),
        ImageRecord("b", predicted_f1=0.5, f1=1.0),
        ImageRecord("c", f1=0.0),
        ImageRecord("d", predicted_f1=0.1, failures=("no",)),
    )
    second = (ImageRecord("a", predicted_f1=0.0), ImageRecord("b"))
    ranked = rank_checks([Run("one", Path(), first), Run("two", Path(), second)])
    assert [(image.name, run) for run, image in ranked] == [("a.png", 0), ("a", 1), ("b", 0)]


def add_predictions(folder: Path, predicted: dict[str, float]) -> None:
    report = json.loads((folder / "run.json").read_text())
    for entry in report["images"]:
        entry["predicted_f1"] = predicted.get(entry["image"])
    (folder / "run.json").write_text(json.dumps(report))


def test_images_to_check_are_shown_with_views_or_without_and_up_to_the_limit(inputs: Path) -> None:
    add_predictions(inputs / "first", {"a.png": 0.9, "b.png": 0.7, HOSTILE: 0.2})
    (inputs / "images" / "b.png").unlink()
    truth = ["--labels", inputs / "labels"]
    for arguments, names, views in (
        ([], [HOSTILE, "b.png", "a.png"], [False] * 3),
        (truth, [HOSTILE, "b.png", "a.png"], [False] * 3),
        ([*truth, "--images", inputs / "images"], [HOSTILE, "b.png", "a.png"], [True, False, True]),
        ([*truth, "--images", inputs / "images", "--thumbnails", 2], [HOSTILE, "b.png"], [True, False]),
    ):
        section = read_page(write_page(inputs, inputs / "first", *arguments)).find("section", id="checks")[0]
        figures = section.find("figure")
        assert [figure.find("b")[0].text for figure in figures] == names
        assert [bool(figure.find("img")) for figure in figures] == views
    assert "no view: the image is not in the folder" in section.text
    root = read_page(write_page(inputs, inputs / "first", "--images", inputs / "images"))
    assert not root.find("section", id="checks")
    shown = root.find("section", id="thumbnails")[0]
    assert shown.children[0].text == "Images to check first"
    assert [figure.find("b")[0].text for figure in shown.find("figure")] == ["empty.png", HOSTILE, "a.png"]


def test_no_more_images_to_check_than_ten_are_shown(tmp_path: Path) -> None:
    entries = [{"image": f"{index:02}.png", "predicted_f1": 1 - index / 20} for index in range(15)]
    (tmp_path / "run.json").write_text(json.dumps({"images": entries}))
    section = read_page(write_page(tmp_path, tmp_path)).find("section", id="checks")[0]
    names = [f"{index:02}.png" for index in range(14, 4, -1)]
    assert len(names) == MAX_CHECKS
    assert [figure.find("b")[0].text for figure in section.find("figure")] == names


def test_the_prediction_stands_beside_the_truth_with_their_correlation(inputs: Path) -> None:
    add_predictions(inputs / "first", {"a.png": 0.95, "b.png": 0.3, HOSTILE: 0.95})
    root = read_page(write_page(inputs, inputs / "first", "--labels", inputs / "labels"))
    rows = {row["Image"]: (row["F1"], row["Predicted F1"]) for row in table_of(root, "images")}
    assert rows["a.png"] == ("1.000", "0.950")
    assert rows["empty.png"] == ("", "")
    assert float(rows["b.png"][0]) < 1
    assert "3 predicted; r 1.00 with the F1 of 3" in root.find("dl")[0].text


def test_runs_are_named_by_their_folders_or_by_their_paths(tmp_path: Path) -> None:
    for name in ("x/masks", "y/masks", "other"):
        (tmp_path / name).mkdir(parents=True)
    folders = [tmp_path / "x" / "masks", tmp_path / "other"]
    assert name_runs(folders) == ["masks", "other"]
    assert name_runs([*folders, tmp_path / "y" / "masks"]) == [str(folders[0]), "other", str(tmp_path / "y" / "masks")]


def test_names_in_a_report_reach_no_file_outside_the_folders(inputs: Path) -> None:
    (inputs / "first" / "run.json").write_text(json.dumps({"images": [{"image": "../images/a.png"}]}))
    (inputs / "first" / "timing.csv").unlink()
    (inputs / "other").mkdir()
    shutil.copy(inputs / "images" / "b.png", inputs / "other")
    root = read_page(write_page(inputs, inputs / "first", "--images", inputs / "other"))
    figures = root.find("div", class_="thumbnails")[0].children
    assert [figure.find("b")[0].text for figure in figures] == ["b"]


@pytest.mark.slow
def test_a_page_of_ten_thousand_images_stays_small(tmp_path: Path) -> None:
    entries: list[dict[str, Any]] = [
        {"image": f"plate_{index:05d}_0123456789abcdef.tif", "height": 1000, "width": 1000 + index, "cells": index,
         "modality": "grey", "branch": "awf-grey", "confidences": {"awf-grey": 0.9, "omnipose": 0.8}, "scale": 1.0,
         "seconds": {"network": 0.5, "total": 0.3 + index / 100}}
        for index in range(9_000)
    ]  # fmt: skip
    entries += [
        {"image": f"failed_{index}.tif", "error": "is cut short: the TIFF has no end"} for index in range(1_000)
    ]
    (tmp_path / "run.json").write_text(json.dumps({"images": entries}))
    path = write_page(tmp_path, tmp_path)
    assert path.stat().st_size < 6_000_000
    assert len(table_of(read_page(path), "images")) == 10_000


def test_the_page_does_not_depend_on_when_it_is_made(inputs: Path) -> None:
    arguments = full_arguments(inputs, "first", "second")
    first = write_page(inputs, *arguments).read_bytes()
    assert write_page(inputs, *arguments).read_bytes() == first


def test_what_was_read_is_printed(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (inputs / "bad\udce9").mkdir()
    path = write_page(inputs, inputs / "first", inputs / "bad\udce9")
    assert capsys.readouterr().out.splitlines() == [
        "first: 4 images, 1 failed",
        "bad\\udce9: 0 images, 0 failed",
        str(path),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["{first}", "{first}"], "first is given twice"),
        (["{first}", "{first}/../first"], "is given twice"),
        (["{first}", "-o", "nowhere/a.html"], "nowhere is not a folder"),
        (["{first}", "-o", "{second}"], "is a folder; -o names the HTML file to write"),
        (["{first}", "--images", "nowhere"], "nowhere is not a folder"),
        (["{first}", "--labels", "nowhere"], "nowhere is not a folder"),
        (["{first}", "--labels", "{images}"], "has no file *_label.tiff"),
        (["{first}", "--manifest", "{manifest}"], "--manifest needs --labels"),
        (["{first}", "--labels", "{labels}", "--manifest", "nowhere.csv"], "the manifest cannot be used"),
        (["{first}", "--thumbnails", "4"], "--thumbnails needs --images"),
        (["{first}", "--images", "{images}", "--thumbnails", "0"], "'0' is not a whole number of 1 or more"),
        (["{first}", "--images", "{images}", "--thumbnails", "many"], "'many' is not a whole number of 1 or more"),
        ([], "the following arguments are required: RUN_DIR"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    inputs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {name: inputs / name for name in ("first", "second", "images", "labels")}
    places["manifest"] = inputs / "manifest.csv"
    with pytest.raises(SystemExit, match="2"):
        main([argument.format(**places) for argument in arguments])
    assert message in capsys.readouterr().err


def test_the_module_runs_as_a_command_without_the_networks(inputs: Path) -> None:
    code = (
        "import runpy, sys; sys.argv[0] = 'report'\n"
        "try: runpy.run_module('evaluation.report', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert not {'torch', 'onnxruntime', 'matplotlib'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(inputs / "first"), "-o", str(inputs / "a.html")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert (inputs / "a.html").stat().st_size > 10_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Start one browser for all tests that need it."""
    if PROGRAM is None:
        pytest.skip("needs chromium on the PATH")
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


def column(browser: Page, index: int) -> list[str]:
    rows = "[...document.querySelectorAll('.sortable tbody tr:not([hidden])')]"
    values: list[str] = browser.evaluate(f"{rows}.map((row) => row.cells[{index}].textContent)")
    return values


@pytest.mark.slow
def test_the_browser_shows_the_page_asks_for_nothing_and_does_not_complain(inputs: Path, browser: Page) -> None:
    add_predictions(inputs / "first", {"a.png": 0.9})
    path = write_page(inputs, *full_arguments(inputs, "first", "second"))
    browser.open(path)
    assert browser.requests == [path.as_uri()]
    assert browser.complaints == []
    # of six views and one to check, each with outlines of the cells found and of the true ones
    assert browser.evaluate("[...document.images].map((view) => view.complete && view.naturalWidth)") == [480] * 14
    assert browser.evaluate("document.querySelectorAll('.thumbnails figure.failed').length") == 2
    assert browser.evaluate("document.querySelectorAll('#failures li').length") == 2
    # three times of each run, and one amount of memory that all images of a run share
    marks = (
        "[...document.querySelectorAll('#costs .chart')].map((chart) => chart.querySelectorAll('.marks > *').length)"
    )
    assert browser.evaluate(marks) == [6, 2]
    assert HOSTILE in column(browser, 0)


@pytest.mark.slow
def test_the_table_sorts_by_any_column_both_ways_with_unknown_values_last(inputs: Path, browser: Page) -> None:
    browser.open(write_page(inputs, *full_arguments(inputs, "first")))
    titles = browser.evaluate("[...document.querySelectorAll('.sortable thead th')].map((cell) => cell.textContent)")
    f1 = titles.index("F1")
    unsorted = column(browser, 0)
    known = sorted(value for value in column(browser, f1) if value)
    for state, expected in (("ascending", [*known, ""]), ("descending", [*known[::-1], ""])):
        browser.evaluate(f"document.querySelectorAll('.sortable thead button')[{f1}].click()")
        assert column(browser, f1) == expected
        states = browser.evaluate("[...document.querySelectorAll('.sortable th')].map((cell) => cell.ariaSort)")
        assert [value for value in states if value] == [state]
    browser.evaluate("document.querySelectorAll('.sortable thead button')[0].click()")
    assert sorted(column(browser, 0)) == sorted(unsorted)
    assert column(browser, 0).index("a.png") < column(browser, 0).index("b.png")


@pytest.mark.slow
def test_the_table_can_be_filtered(inputs: Path, browser: Page) -> None:
    browser.open(write_page(inputs, inputs / "first"))

    def search(text: str) -> list[str]:
        change = f"field.value = {json.dumps(text)}; field.dispatchEvent(new Event('input'))"
        browser.evaluate(f"{{ const field = document.querySelector('.filter input'); {change} }}")
        return column(browser, 0)

    assert search("B.PNG") == ["b.png"]
    assert browser.evaluate("document.querySelector('.filter output').textContent") == "1 of 4"
    assert len(search("")) == 4
    everything = column(browser, 0)
    bad = browser.evaluate(
        "[...document.querySelectorAll('.sortable :is(.failed, .doubtful)')].map((row) => row.cells[0].textContent)"
    )
    assert 0 < len(bad) < 4
    browser.evaluate("document.querySelector('.filter [type=checkbox]').click()")
    assert column(browser, 0) == bad
    assert browser.evaluate("document.querySelector('.filter output').textContent") == f"{len(bad)} of 4"
    browser.evaluate("document.querySelector('.filter [type=checkbox]').click()")
    assert column(browser, 0) == everything


@pytest.mark.slow
def test_without_its_script_the_page_has_the_same_rows_and_no_dead_controls(inputs: Path, browser: Page) -> None:
    path = write_page(inputs, *full_arguments(inputs, "first"))
    browser.open(path)
    rows = column(browser, 0)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(path)
        # the page's own script is off; expressions from outside still run
        assert column(browser, 0) == rows
        assert browser.evaluate("document.querySelectorAll('button, input').length") == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [360, 1280])
def test_the_page_fits_any_screen_and_its_text_stands_out_in_both_schemes(
    inputs: Path, browser: Page, width_px: int, scheme: str
) -> None:
    browser.emulate(width_px, 800, scheme)
    try:
        browser.open(write_page(inputs, *full_arguments(inputs, "first", "second")))
        assert browser.evaluate("document.documentElement.scrollWidth") == width_px
        assert min(browser.evaluate(CONTRASTS)) >= 4.5
    finally:
        browser.emulate(1280, 800)


@pytest.mark.slow
@pytest.mark.parametrize("width_px", [360, 800, 1160, 1280, 1920])
def test_no_column_of_the_images_is_beyond_the_edge(inputs: Path, browser: Page, width_px: int) -> None:
    add_predictions(inputs / "first", {"a.png": 0.9})
    browser.emulate(width_px, 800)
    try:
        browser.open(write_page(inputs, *full_arguments(inputs, "first", "second")))
        box = "document.querySelector('#images .scroll')"
        assert browser.evaluate(f"{box}.scrollWidth - {box}.clientWidth") == 0
        cells = "[...document.querySelectorAll('.sortable td')].filter((cell) => cell.textContent)"
        assert browser.evaluate(f"Math.max(...{cells}.map((cell) => cell.getBoundingClientRect().right))") <= width_px
        assert browser.evaluate(f"Math.min(...{cells}.map((cell) => cell.offsetWidth))") > 20
    finally:
        browser.emulate(1280, 800)


@pytest.mark.slow
def test_a_view_fills_the_window_when_it_is_opened_and_goes_when_it_is_closed(inputs: Path, browser: Page) -> None:
    path = write_page(inputs, *full_arguments(inputs, "first"))
    browser.emulate(1280, 800)
    browser.open(path)
    sizes = (
        "(() => { const figure = document.querySelector('#thumbnails figure:has(.panel + .panel)');"
        " return [...figure.querySelectorAll('img')].map((view) => view.offsetWidth) })()"
    )
    small, hidden = browser.evaluate(sizes)
    assert hidden == 0 < small < 400
    browser.evaluate("document.querySelector('#thumbnails figure:has(.panel + .panel) .panel').click()")
    assert min(browser.evaluate(sizes)) > 600
    browser.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
    assert browser.evaluate(sizes) == [small, hidden]


#: contrast, as WCAG defines it, of every element with text of its own against the background behind it
CONTRASTS = """
(() => {
  const parse = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = parse(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parse(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  const shown = [...document.body.querySelectorAll("*:not(script, svg, svg *)")].filter(hasText);
  return shown.map((node) => {
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
})()
"""
