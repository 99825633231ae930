"""The page: one file that asks for nothing, failures first, no claim that was not looked at, names that stay names."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from mosaicell.evaluation.metrics import Scores
from mosaicell.evaluation.page import MAX_FAILURES, SHOWN_FAILURES, compose_page
from mosaicell.evaluation.records import ImageRecord, Run
from mosaicell.evaluation.views import Thumbnail
from tests.documents import Node, parse, read_table

URI = "data:image/jpeg;base64,AAAA"
GOOD = ImageRecord("good.png", height=500, width=2000, cells=12, branch="awf", confidences={"awf": 0.9},
                   seconds={"network": 1.0, "total": 1.2}, wall_s=2.0, late_s=0.0, slowest_s=2.0, tolerance_s=10.0,
                   ram_mb=900.0, f1=0.75)  # fmt: skip
BAD = ImageRecord("bad.png", failures=("is empty: 0 bytes",))
RUN = Run("run", Path("run"), (GOOD,), has_masks=True)


def compose(*runs: Run, thumbnails: tuple[Thumbnail, ...] = (), checks: tuple[Thumbnail, ...] = ()) -> Node:
    return parse(compose_page(runs, thumbnails, checks))


def headings(root: Node) -> list[str]:
    return [section.children[0].text for section in root.find("main")[0].children if section.name == "section"]


def test_the_page_of_a_full_run_has_every_section_failures_first() -> None:
    root = compose(replace(RUN, images=(BAD, GOOD)), thumbnails=(Thumbnail(0, GOOD, URI),))
    assert headings(root) == [
        "1 failure",
        "F1 by modality",
        "Time and memory",
        "Branches and time by stage",
        "Images, worst first",
        "All images",
    ]
    assert [node.text for node in root.find("h1")] == ["Segmentation report"]
    assert root.find("title")[0].text == "Mosaicell report: run"
    figures = {figure.children[0].text: figure.children[1].text for figure in root.find("div", class_="figure")}
    assert figures["Images"] == "2"
    assert figures["Mean F1"] == "0.750"
    assert figures["Slowest image"] == "20%"


def test_what_was_run_is_said() -> None:
    settings = {"version": "1.2", "system": "cell-segmenter", "device": "cuda:0", "threads": "4"}
    run = replace(RUN, settings=settings, weights={"awf-grey": "abcdef0123456789" * 4}, elapsed_s=12.34)
    header = compose(run).find("header")[0]
    facts = [fact.text for fact in header.find("ul", class_="facts")[0].find("li")]
    assert facts == ["Mosaicell 1.2", "cell-segmenter", "cuda:0", "4 threads", "ran for 12.3 s"]
    assert [one.text for one in header.find("ul", class_="weights")[0].find("li")] == ["awf-grey abcdef012345"]
    assert not compose(RUN).find("header")[0].find("ul")


def test_the_page_asks_for_nothing_and_runs_only_its_own_script() -> None:
    assert "://" not in compose_page([RUN], [Thumbnail(0, GOOD, URI)])
    root = compose(RUN, thumbnails=(Thumbnail(0, GOOD, URI),))
    named = {f"#{node.attributes['id']}" for node in root.walk() if "id" in node.attributes}
    sources = {
        node.attributes[key] for node in root.walk() for key in ("src", "href", "srcset") if key in node.attributes
    }
    assert sources - named == {URI}
    assert not [node for node in root.walk() if node.name in ("link", "iframe", "object", "base", "form")]
    style = "".join(node.text for node in root.find("style"))
    assert style
    assert not re.search(r"url\(|@import|@font-face", style)
    (script,) = root.find("script")
    digest = b64encode(sha256(script.text.encode()).digest()).decode()
    policy = next(node for node in root.find("meta") if "http-equiv" in node.attributes).attributes["content"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not [key for node in root.walk() for key in node.attributes if key.startswith("on")]


def test_no_failures_is_said_and_no_more_than_was_looked_at() -> None:
    for run, title, text in (
        (RUN, "No failures", "run: every image has a mask that can be read."),
        (
            replace(RUN, has_masks=False),
            "No failures",
            "run: none recorded. The folder holds no masks, so none was looked at.",
        ),
        (
            Run("run", Path("run")),
            "Nothing to report",
            "run: the folder holds no masks, no run.json and no timing.csv, so there is nothing to report.",
        ),
    ):
        root = compose(run)
        (section,) = root.find("section", id="failures")
        assert [node.text for node in section.children] == [title, text]
        assert section.attributes.get("class") is None


def test_a_run_without_failures_is_named_beside_one_with_some() -> None:
    section = compose(replace(RUN, name="one", images=(BAD,)), replace(RUN, name="two")).find("section", id="failures")[
        0
    ]
    assert [line.text for line in section.find("li")] == ["bad.pngis empty: 0 bytes"]
    assert [line.text for line in section.find("p")] == ["two: every image has a mask that can be read."]
    assert section.attributes["class"] == "failing"


def test_an_empty_run_shows_nothing_else() -> None:
    root = compose(Run("run", Path("run")))
    assert headings(root) == ["Nothing to report"]
    assert not root.find("dl")
    assert not root.find("footer")[0].children


def test_files_that_cannot_be_used_are_named_before_the_failures() -> None:
    problem = "run.json cannot be read: Expecting value"
    section = compose(replace(RUN, problems=(problem,))).find("section", id="failures")[0]
    assert section.attributes["class"] == "failing"
    assert section.children[0].text == "Files that cannot be used"
    assert [line.text for line in section.find("li")] == [f"run{problem}"]
    both = compose(replace(RUN, images=(BAD,), problems=(problem,))).find("section", id="failures")[0]
    assert both.children[0].text == "1 failure"
    assert [line.find("b")[0].text for line in both.find("li")] == ["run", "bad.png"]


@pytest.mark.parametrize("count", [1, SHOWN_FAILURES, SHOWN_FAILURES + 1, MAX_FAILURES, MAX_FAILURES + 5])
def test_many_failures_are_folded_and_then_left_to_the_table(count: int) -> None:
    root = compose(replace(RUN, images=tuple(replace(BAD, name=f"{index}.png") for index in range(count))))
    section = root.find("section", id="failures")[0]
    assert section.children[0].text == f"{count} failure{'s' * (count > 1)}"
    listed = [line for line in section.find("li") if line.find("b")]
    assert len(listed) == min(count, MAX_FAILURES)
    folded = section.find("details")
    assert bool(folded) == (count > SHOWN_FAILURES)
    assert [fold.find("summary")[0].text for fold in folded] == [f"{count - SHOWN_FAILURES} more"] * len(folded)
    assert ("and 5 more, in the table of all images" in section.text) == (count > MAX_FAILURES)
    assert len(root.find("tr", class_="failed")) == count


def test_runs_are_compared_column_by_column() -> None:
    first = replace(RUN, name="one", images=(replace(GOOD, ram_mb=None),))
    second = replace(RUN, name="two", images=(replace(GOOD, f1=0.5), BAD))
    root = compose(first, second)
    rows = {row[""]: (row["one"], row["two"]) for row in read_table(root.find("table", class_="figures")[0])}
    assert rows["Images"] == ("1", "2")
    assert [text[:5] for text in rows["Mean F1"]] == ["0.750", "0.500"]
    assert rows["Highest RAM"] == ("", "0.90 GBof 30.1 GB, good.png")
    assert root.find("title")[0].text == "Mosaicell report: one, two"
    assert [node.text for node in root.find("header")[0].find("h2")] == ["one", "two"]


def test_a_thumbnail_shows_what_is_known_of_its_image() -> None:
    shown = (
        Thumbnail(0, GOOD, URI),
        Thumbnail(0, BAD, problem="no view: is empty"),
        Thumbnail(0, ImageRecord("c.png"), problem="no view: is cut short"),
        Thumbnail(0, ImageRecord("d.png", cells=0), URI),
    )
    root = compose(replace(RUN, images=(GOOD, BAD)), thumbnails=shown)
    figures = root.find("div", class_="thumbnails")[0].find("figure")
    assert [figure.find("img")[0].attributes for figure in figures if figure.find("img")] == [
        {"src": URI, "alt": "good.png with outlines of the cells found"},
        {"src": URI, "alt": "d.png without cells"},
    ]
    assert [[node.text for node in figure.find("p")] for figure in figures] == [
        ["F1 0.750, 12 cells, confidence 0.90"],
        ["no view", "is empty: 0 bytes"],
        ["no view: is cut short"],
        ["0 cells"],
    ]
    assert ["class" in figure.attributes for figure in figures] == [False, True, False, False]


def test_a_view_opens_large_with_the_true_outlines_beside_those_found() -> None:
    image = replace(GOOD, scores=(Scores(0.5, 10, 12, 9, 0.9), Scores(0.9, 10, 12, 3, 0.9)))
    found, true = (f"data:image/png;base64,{letter * 4}" for letter in "BC")
    shown = (Thumbnail(0, image, URI, found, true), Thumbnail(0, GOOD, URI), Thumbnail(0, BAD, problem="no view: gone"))
    root = compose(replace(RUN, images=(image, BAD)), thumbnails=shown)
    both, alone, none = root.find("div", class_="thumbnails")[0].find("figure")
    assert [view.attributes["src"] for view in both.find("img")] == [found, true]
    assert both.attributes["style"] == f"--picture:url({URI})"
    (large,) = both.find("div", class_="large")
    assert large.text == "True: 10 cells that count"
    assert [line.text for line in both.find("ul", class_="large")[0].find("li")] == [
        "IoU 0.5: F1 0.818, precision 0.750, recall 0.900",
        "IoU 0.9: F1 0.273, precision 0.250, recall 0.300",
    ]
    for figure, section in ((both, "#worst-0"), (alone, "#worst-1")):
        opened, closed = figure.find("a")
        assert opened.attributes["href"] == f"#{figure.attributes['id']}"
        assert closed.attributes["href"] == section
    assert [view.attributes["src"] for view in alone.find("img")] == [URI]
    assert not none.find("a")


def test_truths_of_images_that_a_run_did_not_have_are_counted_beside_its_settings() -> None:
    (fact,) = compose(replace(RUN, other_truths=56)).find("ul", class_="facts")[0].find("li")
    assert fact.text == "56 true masks are of images that it did not have"


@pytest.mark.parametrize(
    ("image", "order"),
    [
        (GOOD, "F1"),
        (replace(GOOD, f1=None), "confidence"),
        (replace(GOOD, f1=None, predicted_f1=0.8), "predicted F1"),
        (replace(GOOD, predicted_f1=0.8), "F1"),
        (ImageRecord("a.png"), "name"),
    ],
)
def test_the_order_of_the_thumbnails_is_said(image: ImageRecord, order: str) -> None:
    run = replace(RUN, images=(image, BAD))
    note = compose(run, thumbnails=(Thumbnail(0, image, URI),)).find("p", class_="note")[0]
    assert note.text.startswith(f"1 of 2: failures, then by {order}.")


def test_images_to_check_stand_before_the_worst_with_both_f1() -> None:
    image = replace(GOOD, predicted_f1=0.8)
    root = compose(
        replace(RUN, images=(image, BAD)), thumbnails=(Thumbnail(0, image, URI),), checks=(Thumbnail(0, image, URI),)
    )
    assert headings(root)[-3:] == ["Images to check first", "Images, worst first", "All images"]
    section = root.find("section", id="checks")[0]
    assert [node.text for node in section.find("p")] == [
        "1 of 2: the lowest predicted F1. Failures are listed above.",
        "F1 0.750, predicted F1 0.800, 12 cells, confidence 0.90",
    ]
    assert [view.attributes["src"] for view in section.find("img")] == [URI]


def test_images_to_check_without_views_are_named_all_the_same() -> None:
    image = replace(GOOD, f1=None, predicted_f1=0.8)
    section = compose(replace(RUN, images=(image,)), checks=(Thumbnail(0, image),)).find("section", id="checks")[0]
    assert [node.text for node in section.find("p")] == [
        "1 of 1: the lowest predicted F1.",
        "predicted F1 0.800, 12 cells, confidence 0.90",
    ]
    assert [name.text for name in section.find("b")] == ["good.png"]


def test_a_doubtful_image_is_marked_among_those_to_check_and_explained() -> None:
    images = tuple(
        replace(GOOD, name=f"{value}.png", predicted_f1=value, doubtful=value < 0.25) for value in (0.2, 0.5)
    )
    root = compose(replace(RUN, images=images), checks=tuple(Thumbnail(0, image) for image in images))
    figures = root.find("section", id="checks")[0].find("figure")
    assert [[node.text for node in figure.find("p", class_="failure")] for figure in figures] == [["doubtful"], []]
    assert [figure.attributes.get("class") for figure in figures] == ["failed", None]
    explained = [text.text.partition(":")[0] for text in root.find("footer")[0].find("p")]
    assert "Doubtful" in explained


def test_views_that_are_in_the_order_of_the_prediction_are_shown_once() -> None:
    image = replace(GOOD, f1=None, predicted_f1=0.8)
    views = (Thumbnail(0, image, URI),)
    root = compose(replace(RUN, images=(image,)), thumbnails=views, checks=views)
    assert headings(root)[-2:] == ["Images to check first", "All images"]
    assert len(root.find("img")) == 1


def test_a_run_without_predictions_says_nothing_of_them() -> None:
    assert "predicted" not in compose(RUN, thumbnails=(Thumbnail(0, GOOD, URI),)).find("body")[0].text.lower()


def test_only_numbers_on_the_page_are_explained() -> None:
    predicted = replace(RUN, images=(replace(GOOD, predicted_f1=0.8),))
    every = [text.text.partition(":")[0] for text in compose(predicted).find("footer")[0].find("p")]
    assert [text.split()[0] for text in every] == [
        "Tolerance",
        "Wall",
        "Program",
        "RAM",
        "F1",
        "Predicted",
        "Confidence",
    ]
    scored = replace(RUN, images=(ImageRecord("a.png", f1=0.5),))
    (only,) = compose(scored).find("footer")[0].find("p")
    assert only.text.startswith("F1: ")


def test_every_table_names_its_columns_and_rows_and_every_section_has_a_title() -> None:
    root = compose(replace(RUN, images=(BAD, GOOD)), replace(RUN, name="two"))
    for table in root.find("table"):
        assert all(head.attributes.get("scope") for head in table.find("th"))
        assert all(row.find("th") or row.find("td", class_="run-name") for row in table.find("tr"))
    for section in root.find("main")[0].find("section"):
        assert section.children[0].attributes["id"] == section.attributes["aria-labelledby"]
    assert all("alt" in picture.attributes for picture in root.find("img"))
    assert all("aria-label" in svg.attributes or "aria-hidden" in svg.attributes for svg in root.find("svg"))
    identities = [node.attributes["id"] for node in root.walk() if "id" in node.attributes]
    assert len(identities) == len(set(identities))
