"""Tables: the numbers of every group, columns only where something is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaicell.evaluation.charts import STACK_PX, run_keys
from mosaicell.evaluation.metrics import Scores
from mosaicell.evaluation.records import ImageRecord, Run
from mosaicell.evaluation.tables import average_stages, tabulate_accuracy, tabulate_branches, tabulate_f1
from tests.documents import Node, expand, read_table


def make_run(*images: ImageRecord, name: str = "run") -> Run:
    return Run(name, Path(name), images)


def scored(name: str, f1: float, modality: str = "", listed: str = "") -> ImageRecord:
    return ImageRecord(name, f1=f1, modality=modality, listed_modality=listed)


def f1_table(*runs: Run) -> Node:
    return expand("tables.html", "f1_table", tabulate_f1(runs), run_keys(runs)).find("table")[0]


def accuracy_table(*runs: Run) -> Node:
    return expand("tables.html", "accuracy_table", tabulate_accuracy(runs), run_keys(runs)).find("table")[0]


def branch_table(*runs: Run) -> Node:
    return expand("tables.html", "branch_table", tabulate_branches(runs), run_keys(runs)).find("table")[0]


def test_f1_is_averaged_over_images_by_modality_of_the_list_or_the_program() -> None:
    images = (scored("a", 0.2, "grey", "dic"), scored("b", 1.0, "grey"), scored("c", 0.5, "grey", "dic"))
    rows = read_table(f1_table(make_run(*images, ImageRecord("d", modality="grey"))))
    numbers = [(row["Modality"], row["Mean"], row["Median"], row["Images"]) for row in rows]
    assert numbers == [
        ("all", "0.567", "0.500", "3"),
        ("dic", "0.350", "0.350", "2"),
        ("grey", "1.000", "1.000", "1"),
    ]


def test_f1_of_several_runs_stands_side_by_side() -> None:
    first = make_run(scored("a", 0.2, "dic"), scored("b", 0.4, "grey"), name="one")
    second = make_run(scored("a", 0.6, "dic"), name="two")
    rows = read_table(f1_table(first, make_run(ImageRecord("a"), name="none"), second))
    assert [(row["Modality"], row["Run"], row["Mean"]) for row in rows] == [
        ("all", "one", "0.300"),
        ("all", "two", "0.600"),
        ("dic", "one", "0.200"),
        ("dic", "two", "0.600"),
        ("grey", "one", "0.400"),
    ]


def test_f1_of_one_modality_is_not_repeated_for_all() -> None:
    for modality, shown in (("dic", "dic"), ("", "not known")):
        rows = read_table(f1_table(make_run(scored("a", 0.2, modality), scored("b", 0.4, modality))))
        assert [(row["Modality"], row["Mean"], row["Images"]) for row in rows] == [(shown, "0.300", "2")]


def test_accuracy_by_iou_is_the_mean_over_images_as_the_score_command_has_it() -> None:
    one = ImageRecord("a", scores=(Scores(0.5, 4, 2, 2, 0.9), Scores(0.9, 4, 2, 1, 0.9)))
    two = ImageRecord("b", scores=(Scores(0.5, 2, 4, 1, 0.9), Scores(0.9, 2, 4, 0, 0.9)))
    rows = read_table(accuracy_table(make_run(one, two, ImageRecord("c"))))
    assert rows == [
        {"IoU": "0.5", "F1": "0.500", "Precision": "0.625", "Recall": "0.500", "Images": "2"},
        {"IoU": "0.9", "F1": "0.167", "Precision": "0.250", "Recall": "0.125", "Images": "2"},
    ]
    both = read_table(accuracy_table(make_run(one, name="one"), make_run(two, name="two")))
    assert [(row["IoU"], row["Run"], row["F1"]) for row in both][:2] == [
        ("0.5", "one", "0.667"),
        ("0.5", "two", "0.333"),
    ]


def test_without_scores_or_branches_there_are_no_rows() -> None:
    assert tabulate_accuracy([make_run(ImageRecord("a"))]) == []
    assert tabulate_f1([make_run(ImageRecord("a"))]) == []
    assert tabulate_branches([make_run(ImageRecord("a"))]).rows == []


def test_branches_are_counted_with_mean_confidence_and_time() -> None:
    images = [
        ImageRecord(
            str(index), branch=branch, confidences={branch: confidence}, seconds={"network": total, "total": total}
        )
        for index, (branch, confidence, total) in enumerate(
            (("awf", 0.5, 1.0), ("omnipose", 0.9, 4.0), ("awf", 0.7, 3.0))
        )
    ]
    root = branch_table(make_run(*images))
    rows = read_table(root)
    assert [tuple(row.values())[:4] for row in rows] == [
        ("awf", "2", "0.600", "2.00"),
        ("omnipose", "1", "0.900", "4.00"),
    ]
    widths = [float(bar.attributes["width"]) for bar in root.find("rect")]
    assert widths == [STACK_PX[0] / 2, STACK_PX[0]]


def test_branches_of_which_no_time_is_known_have_no_bar() -> None:
    rows = read_table(branch_table(make_run(ImageRecord("a", branch="awf"))))
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
