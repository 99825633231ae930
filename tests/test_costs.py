"""Charts of cost: which times and memories are drawn, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaicell.evaluation.costs import chart_costs, gather_memory, gather_times
from mosaicell.evaluation.figures import RAM_LIMIT_GB
from mosaicell.evaluation.records import ImageRecord, Run
from tests.documents import Node, expand

MEASURED = ImageRecord("a.png", height=1000, width=2000, seconds={"total": 1.0}, wall_s=3.0, ram_mb=500, gpu_mb=1500)
UNMEASURED = ImageRecord("b.png", height=1000, width=500, seconds={"total": 2.0})
FAILED = ImageRecord("c.png", wall_s=1.0, ram_mb=100)


def make_run(*images: ImageRecord, name: str = "run") -> Run:
    return Run(name, Path(name), images)


def show_costs(*runs: Run) -> Node:
    return expand("charts.html", "show_costs", chart_costs(runs))


def test_wall_times_are_drawn_where_any_run_has_them() -> None:
    title, series = gather_times([make_run(UNMEASURED), make_run(MEASURED, UNMEASURED, FAILED)])
    assert title == "Wall time"
    assert [one.run for one in series] == [1]
    assert [(point.x, point.y) for point in series[0].points] == [(2.0, 3.0)]
    assert series[0].points[0].title == "a.png: 3.00 s of 20.0 s"


def test_without_wall_times_those_in_the_program_are_drawn_and_named_so() -> None:
    title, series = gather_times([make_run(UNMEASURED, ImageRecord("d.png", height=10, width=10))])
    assert title.startswith("Time in the program")
    assert [(point.x, point.y) for one in series for point in one.points] == [(0.5, 2.0)]


def test_memory_is_in_gigabytes_and_that_of_the_gpu_is_hollow() -> None:
    series = gather_memory([make_run(MEASURED, UNMEASURED, FAILED)])
    assert [(one.hollow, [(point.x, point.y) for point in one.points]) for one in series] == [
        (False, [(2.0, 0.5)]),
        (True, [(2.0, 1.5)]),
    ]


def test_nothing_known_gives_no_chart() -> None:
    run = make_run(FAILED, ImageRecord("d.png", height=10, width=10, wall_s=0.0, ram_mb=0.0))
    assert chart_costs([run]).charts == []


@pytest.mark.parametrize(
    ("images", "limits", "keys"),
    [
        (
            (MEASURED,),
            ["tolerance", f"RAM limit {RAM_LIMIT_GB:.1f} GB", "GPU limit 10 GB"],
            ["filled: RAM", "hollow: GPU"],
        ),
        ((UNMEASURED,), ["tolerance"], []),
    ],
)
def test_only_limits_of_what_is_drawn_are_drawn(
    images: tuple[ImageRecord, ...], limits: list[str], keys: list[str]
) -> None:
    charts = show_costs(make_run(*images))
    assert [label.text for label in charts.find("text", class_="limit-label")] == limits
    assert [key.text for key in charts.find("li")] == keys


def test_several_runs_have_a_legend() -> None:
    charts = show_costs(make_run(UNMEASURED, name="one"), make_run(UNMEASURED, name="<two>"))
    assert [key.text for key in charts.find("li")] == ["one", "<two>"]
    assert charts.find("svg", class_="chart")[0].attributes["aria-label"] == (
        "Time in the program (without its start) of 2 images by image size: 2 to 2"
    )
