"""The table of images: all that is known of every one, columns only where something is."""

from __future__ import annotations

import re

import pytest

from mosaicell.evaluation.charts import run_keys
from mosaicell.evaluation.image_table import MAX_REMARK, tabulate_images
from mosaicell.evaluation.records import ImageRecord, Run
from tests.documents import Node, expand, read_table
from tests.test_tables import make_run

FULL = ImageRecord(
    "b.png",
    height=500,
    width=2000,
    cells=1234,
    modality="grey",
    listed_modality="phase-contrast",
    branch="omnipose",
    confidences={"awf-grey": 0.71, "omnipose": 0.92},
    cells_by_branch={"awf-grey": 34, "omnipose": 1200},
    predicted_f1=0.9123,
    scale=0.5,
    notes=("the alpha channel is dropped",),
    seconds={"read": 0.1, "network": 1.0, "total": 1.25},
    wall_s=2.0,
    slowest_s=2.5,
    tolerance_s=10.0,
    ram_mb=1500.0,
    gpu_mb=900.0,
    f1=0.8765,
)


def table(*runs: Run) -> Node:
    return expand("image_table.html", "image_table", tabulate_images(runs), run_keys(runs)).find("table")[0]


def test_an_image_has_all_that_is_known_of_it() -> None:
    assert read_table(table(make_run(FULL))) == [
        {
            "Image": "b.png",
            "Size": "2000 x 500",
            "Modality": "phase-contrast",
            "F1": "0.876",
            "Predicted F1": "0.912",
            "Branch": "omnipose 1,200, awf-grey 34",
            "Confidence": "0.92",
            "Scale": "0.50",
            "Cells": "1,234",
            "Program, s": "1.25",
            "Wall, s": "2.00",
            "Of tolerance": "25%",
            "RAM, GB": "1.50",
            "GPU, GB": "0.90",
            "Remarks": "the alpha channel is dropped",
        }
    ]


def test_columns_of_which_nothing_is_known_are_left_out() -> None:
    bare = make_run(ImageRecord("a.png"), ImageRecord("b.png", cells=0))
    assert read_table(table(bare)) == [
        {"Image": "a.png", "Cells": ""},
        {"Image": "b.png", "Cells": "0"},
    ]


def test_the_predicted_f1_has_a_column_where_an_image_has_one() -> None:
    images = (ImageRecord("a", predicted_f1=0.0), ImageRecord("b"))
    assert read_table(table(make_run(*images))) == [
        {"Image": "a", "Predicted F1": "0.000"},
        {"Image": "b", "Predicted F1": ""},
    ]


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ({}, "x"),
        ({"x": 5}, "x"),
        ({"x": 5, "y": 0}, "x"),
        ({"y": 2, "x": 5}, "x 5, y 2"),
        ({"y": 5, "x": 5}, "x 5, y 5"),
    ],
)
def test_the_branches_that_share_a_mask_are_named_with_their_cells(cells: dict[str, int], shown: str) -> None:
    run = make_run(ImageRecord("a", branch="x", cells_by_branch=cells))
    assert read_table(table(run)) == [{"Image": "a", "Branch": shown}]


def test_a_branch_that_gave_cells_is_no_other_branch() -> None:
    given = {"x": 5, "y": 2, "z": 0}
    confidences = {"x": 0.9, "y": 0.8, "z": 0.7, "w": 0.6}
    run = make_run(ImageRecord("a", branch="x", confidences=confidences, cells_by_branch=given))
    (row,) = read_table(table(run))
    assert (row["Branch"], row["Other branches"]) == ("x 5, y 2", "z 0.70, w 0.60")


def test_every_cell_of_a_card_is_labelled_with_its_column() -> None:
    for runs in ([make_run(FULL)], [make_run(FULL, name="one"), make_run(FULL, name="two")]):
        titles = [cell.text for cell in table(*runs).find("th", scope="col")]
        style = expand("image_table.html", "card_labels", tabulate_images(runs), run_keys(runs)).text
        labelled = re.findall(r'td:nth-child\((\d+)\):before\{content:"([^"]+)"\}', style)
        assert labelled == [(str(at), title) for at, title in enumerate(titles[1:], start=2)]


def test_what_is_not_the_number_to_sort_by_carries_it() -> None:
    root = table(make_run(FULL))
    titles = [cell.text for cell in root.find("th", scope="col")]
    cells = dict(zip(titles, root.find("tbody")[0].find("tr")[0].children, strict=True))
    keys = {title: cell.attributes["data-s"] for title, cell in cells.items() if "data-s" in cell.attributes}
    assert keys == {"Size": "1000000", "Cells": "1234", "Of tolerance": "0.25"}
    numeric = {cell.text for cell in root.find("th", class_="n")}
    assert numeric >= {"Size", "Cells", "F1", "Predicted F1", "Confidence", "Wall, s"}
    assert not numeric & {"Image", "Branch", "Remarks"}


def test_images_stand_by_name_with_their_runs_together() -> None:
    runs = [
        make_run(ImageRecord("b.png"), ImageRecord("a"), ImageRecord("b-2.png"), name="one"),
        make_run(ImageRecord("b"), name="two"),
    ]
    assert read_table(table(*runs)) == [
        {"Image": "a", "Run": "one"},
        {"Image": "b-2.png", "Run": "one"},
        {"Image": "b.png", "Run": "one"},
        {"Image": "b", "Run": "two"},
    ]


def test_failures_are_marked_and_told_and_long_remarks_cut() -> None:
    failed = ImageRecord("a", failures=("no mask", "x" * 1000))
    doubtful = ImageRecord("c", doubtful=True, notes=("note",))
    root = table(make_run(failed, ImageRecord("b", skipped=True), doubtful))
    rows = root.find("tbody")[0].find("tr")
    assert [row.attributes.get("class") for row in rows] == ["failed", None, "doubtful"]
    remark, skipped, warned = (row["Remarks"] for row in read_table(root))
    assert warned == "doubtful; note"
    assert remark.startswith("no mask; xxx")
    assert len(remark) == MAX_REMARK
    assert skipped == "skipped, its mask was there"


def test_a_name_that_may_be_cut_short_is_there_in_full() -> None:
    long = "n" * 100
    cells = table(make_run(ImageRecord(long), ImageRecord("short"))).find("th", scope="row")
    assert [(cell.text, cell.attributes.get("title")) for cell in cells] == [(long, long), ("short", None)]
