"""Tables: the numbers of every image and group, columns only where something is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.charts import STACK_PX
from evaluation.records import ImageRecord, Run
from evaluation.tables import MAX_REMARK, average_stages, tabulate_branches, tabulate_f1, tabulate_images
from tests.documents import Node, parse, read_table

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


def make_run(*images: ImageRecord, name: str = "run") -> Run:
    return Run(name, Path(name), images)


def scored(name: str, f1: float, modality: str = "", listed: str = "") -> ImageRecord:
    return ImageRecord(name, f1=f1, modality=modality, listed_modality=listed)


def table(markup: str | None) -> Node:
    assert markup is not None
    return parse(markup).find("table")[0]


def test_an_image_has_all_that_is_known_of_it() -> None:
    assert read_table(table(tabulate_images([make_run(FULL)]))) == [
        {
            "Image": "b.png",
            "Size": "2000 x 500",
            "Modality": "phase-contrast",
            "F1": "0.876",
            "Predicted F1": "0.912",
            "Branch": "omnipose 1,200, awf-grey 34",
            "Confidence": "0.92",
            "Other branches": "awf-grey 0.71",
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
    assert read_table(table(tabulate_images([bare]))) == [
        {"Image": "a.png", "Cells": ""},
        {"Image": "b.png", "Cells": "0"},
    ]


def test_the_predicted_f1_has_a_column_where_an_image_has_one() -> None:
    images = (ImageRecord("a", predicted_f1=0.0), ImageRecord("b"))
    assert read_table(table(tabulate_images([make_run(*images)]))) == [
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
    assert read_table(table(tabulate_images([run]))) == [{"Image": "a", "Branch": shown}]


def test_what_is_not_the_number_to_sort_by_carries_it() -> None:
    root = table(tabulate_images([make_run(FULL)]))
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
    assert read_table(table(tabulate_images(runs))) == [
        {"Image": "a", "Run": "one"},
        {"Image": "b-2.png", "Run": "one"},
        {"Image": "b.png", "Run": "one"},
        {"Image": "b", "Run": "two"},
    ]


def test_failures_are_marked_and_told_and_long_remarks_cut() -> None:
    failed = ImageRecord("a", failures=("no mask", "x" * 1000))
    doubtful = ImageRecord("c", doubtful=True, notes=("note",))
    root = table(tabulate_images([make_run(failed, ImageRecord("b", skipped=True), doubtful)]))
    rows = root.find("tbody")[0].find("tr")
    assert [row.attributes.get("class") for row in rows] == ["failed", None, "doubtful"]
    remark, skipped, warned = (row["Remarks"] for row in read_table(root))
    assert warned == "doubtful; note"
    assert remark.startswith("no mask; xxx")
    assert len(remark) == MAX_REMARK
    assert skipped == "skipped, its mask was there"


def test_a_name_that_may_be_cut_short_is_there_in_full() -> None:
    long = "n" * 100
    cells = table(tabulate_images([make_run(ImageRecord(long), ImageRecord("short"))])).find("th", scope="row")
    assert [(cell.text, cell.attributes.get("title")) for cell in cells] == [(long, long), ("short", None)]


def test_f1_is_averaged_over_images_by_modality_of_the_list_or_the_program() -> None:
    images = (scored("a", 0.2, "grey", "dic"), scored("b", 1.0, "grey"), scored("c", 0.5, "grey", "dic"))
    rows = read_table(table(tabulate_f1([make_run(*images, ImageRecord("d", modality="grey"))])))
    numbers = [(row["Modality"], row["Mean"], row["Median"], row["Images"]) for row in rows]
    assert numbers == [
        ("all", "0.567", "0.500", "3"),
        ("dic", "0.350", "0.350", "2"),
        ("grey", "1.000", "1.000", "1"),
    ]


def test_f1_of_several_runs_stands_side_by_side() -> None:
    first = make_run(scored("a", 0.2, "dic"), scored("b", 0.4, "grey"), name="one")
    second = make_run(scored("a", 0.6, "dic"), name="two")
    rows = read_table(table(tabulate_f1([first, make_run(ImageRecord("a"), name="none"), second])))
    assert [(row["Modality"], row["Run"], row["Mean"]) for row in rows] == [
        ("all", "one", "0.300"),
        ("all", "two", "0.600"),
        ("dic", "one", "0.200"),
        ("dic", "two", "0.600"),
        ("grey", "one", "0.400"),
    ]


def test_f1_of_one_modality_is_not_repeated_for_all() -> None:
    for modality, shown in (("dic", "dic"), ("", "not known")):
        rows = read_table(table(tabulate_f1([make_run(scored("a", 0.2, modality), scored("b", 0.4, modality))])))
        assert [(row["Modality"], row["Mean"], row["Images"]) for row in rows] == [(shown, "0.300", "2")]


def test_without_scores_or_branches_there_is_no_table() -> None:
    assert tabulate_f1([make_run(ImageRecord("a"))]) is None
    assert tabulate_branches([make_run(ImageRecord("a"))]) is None


def test_branches_are_counted_with_mean_confidence_and_time() -> None:
    images = [
        ImageRecord(
            str(index), branch=branch, confidences={branch: confidence}, seconds={"network": total, "total": total}
        )
        for index, (branch, confidence, total) in enumerate(
            (("awf", 0.5, 1.0), ("omnipose", 0.9, 4.0), ("awf", 0.7, 3.0))
        )
    ]
    root = table(tabulate_branches([make_run(*images)]))
    rows = read_table(root)
    assert [tuple(row.values())[:4] for row in rows] == [
        ("awf", "2", "0.600", "2.00"),
        ("omnipose", "1", "0.900", "4.00"),
    ]
    widths = [float(bar.attributes["width"]) for bar in root.find("rect")]
    assert widths == [STACK_PX[0] / 2, STACK_PX[0]]


def test_branches_of_which_no_time_is_known_have_no_bar() -> None:
    rows = read_table(table(tabulate_branches([make_run(ImageRecord("a", branch="awf"))])))
    assert [tuple(row.values()) for row in rows] == [("awf", "1", "", "", "")]


def test_stages_are_averaged_in_the_order_of_the_work_with_the_rest_of_the_total() -> None:
    records = [
        ImageRecord("a", seconds={"write": 0.1, "network": 1.0, "read": 0.2, "extra": 0.1, "total": 2.0}),
        ImageRecord("b", seconds={"network": 2.0, "total": 2.0}),
        ImageRecord("c"),
    ]
    stages = average_stages(records)
    assert list(stages) == ["read", "network", "write", "extra", "rest"]
    assert sum(stages.values()) == pytest.approx(2.0)
    assert stages["network"] == pytest.approx(1.5)
    assert average_stages([ImageRecord("c")]) == {}
    assert list(average_stages([ImageRecord("d", seconds={"read": 1.0})])) == ["read"]
