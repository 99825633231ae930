"""Charts: every value stands where its axis says, dense charts stay small, runs can be told apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from mosaicell.evaluation.charts import (
    CHART_PX,
    MARGINS_PX,
    STACK_PX,
    STAGES,
    STRIP_PX,
    Limit,
    LogAxis,
    Point,
    Series,
    fit_axis,
    make_key,
    plan_scatter,
    plan_stack,
    plan_strip,
)
from mosaicell.evaluation.page import STYLE
from tests.documents import Node, expand

LABELS = ("Size", "Seconds")
MARKS = ("circle", "polygon")


def marks(svg: Node) -> list[Node]:
    return [mark for group in svg.find("g", class_="marks") for mark in group.children if mark.name in MARKS]


def draw(points: list[tuple[float, float]], *limits: Limit, shade: bool = False) -> Node:
    series = Series(0, [Point(x, y, f"{x:g},{y:g}") for x, y in points])
    return draw_scatter([series], limits, shade)


def draw_scatter(series: list[Series], limits: Sequence[Limit] = (), shade: bool = False) -> Node:
    return expand("charts.html", "draw_scatter", plan_scatter(series, limits, LABELS, "said", shade)).children[0]


def draw_strip(values: list[float], mean: float, run: int) -> Node:
    return expand("charts.html", "draw_strip", plan_strip(values, mean, run, "said")).children[0]


def draw_stack(seconds: dict[str, float], longest_s: float) -> Node:
    return expand("charts.html", "draw_stack", plan_stack(seconds, longest_s)).children[0]


def place(mark: Node) -> tuple[float, float]:
    return float(mark.attributes["cx"]), float(mark.attributes["cy"])


def test_equal_ratios_are_equal_distances_from_end_to_end() -> None:
    axis = LogAxis(0.5, 50, 40, 240)
    assert axis.place(0.5) == 40
    assert axis.place(50) == pytest.approx(240)
    assert axis.place(5) == pytest.approx(140)


@pytest.mark.parametrize("values", [[3.0], [0.001, 1e6], [9.7, 10.3], [1e-9], [0.4, 2.2, 80]])
def test_an_axis_holds_its_values_with_room_and_has_round_ticks_within(values: list[float]) -> None:
    axis = fit_axis(values, 0, 100)
    assert axis.low < min(values)
    assert max(values) < axis.high
    assert axis.high / axis.low >= 10 * (1 - 1e-9)
    ticks = axis.ticks()
    assert ticks
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert {f"{tick:e}"[0] for tick in ticks} <= {"1", "2", "5"}


def test_points_stand_in_the_frame_in_the_order_of_their_values() -> None:
    svg = draw([(0.1, 1), (1, 10), (10, 100)])
    places = [place(mark) for mark in marks(svg)]
    left, top, right, bottom = MARGINS_PX
    assert all(left < x < CHART_PX[0] - right and top < y < CHART_PX[1] - bottom for x, y in places)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    # equal ratios, so the middle is in the middle, to the pixel
    assert places[1] == pytest.approx(np.mean([places[0], places[2]], axis=0), abs=1)


def test_a_point_stands_on_the_side_of_the_limit_where_its_value_is() -> None:
    limit = Limit("tolerance", lambda x: 10 * max(1.0, x), bends=(1.0,))
    svg = draw([(0.2, 9), (0.2, 11), (4, 36), (4, 44), (1, 10)], limit, shade=True)
    line = svg.find("polyline", class_="limit")[0].attributes["points"].split()
    corners = np.array([[float(number) for number in corner.split(",")] for corner in line])
    assert len(corners) == 3, "the line bends once"
    below, above, below_late, above_late, on = (place(mark) for mark in marks(svg))
    for x, y in (below, below_late):
        assert y > np.interp(x, corners[:, 0], corners[:, 1])
    for x, y in (above, above_late):
        assert y < np.interp(x, corners[:, 0], corners[:, 1])
    assert on == pytest.approx(corners[1], abs=1)
    shade = svg.find("polygon", class_="over")[0].attributes["points"].split()
    assert shade[:3] == line
    assert {float(corner.split(",")[1]) for corner in shade[3:]} == {MARGINS_PX[1]}


def test_a_bend_outside_the_chart_is_left_out() -> None:
    svg = draw([(20, 3), (30, 4)], Limit("limit", lambda x: 10 * x, bends=(1.0,)))
    assert len(svg.find("polyline")[0].attributes["points"].split()) == 2


def test_points_on_one_pixel_become_one_that_names_them() -> None:
    svg = draw([(1, 1), (10, 10), *[(1.0001 + step / 1e6, 1) for step in range(7)]])
    assert len(marks(svg)) == 2
    lines = marks(svg)[0].find("title")[0].text.splitlines()
    assert lines[0] == "1,1"
    assert lines[-1] == "and 4 more"
    assert float(marks(svg)[0].attributes["r"]) > float(marks(svg)[1].attributes["r"])


def test_a_chart_of_ten_thousand_points_has_a_bounded_size(rng: np.random.Generator) -> None:
    points = [(float(x), float(y)) for x, y in 10 ** rng.uniform(-1, 2, (10_000, 2))]
    svg = draw(points)
    merged = sum(len(mark.find("title")[0].text.splitlines()) > 1 for mark in marks(svg))
    assert len(marks(svg)) < CHART_PX[0] * CHART_PX[1] / 16
    assert merged > 100


def test_runs_have_shapes_and_colours_of_their_own_and_a_second_quantity_is_hollow() -> None:
    kinds = set()
    for run in range(4):
        key = expand("charts.html", "draw_key", make_key("run", run)).children[0]
        assert f"run{run}" in key.attributes["class"].split()
        kinds.add((key.children[0].name, key.children[0].attributes.get("points", "")))
    assert len(kinds) == 4
    svg = draw_scatter([Series(0, [Point(1, 1, "a")], hollow=True)])
    assert marks(svg)[0].attributes["class"] == "hollow"
    assert "class" not in marks(draw([(1, 1)]))[0].attributes


def test_a_chart_says_what_it_shows() -> None:
    svg = draw([(1, 2)])
    assert svg.attributes["role"] == "img"
    assert svg.attributes["aria-label"] == "said"
    assert {node.text for node in svg.find("text", class_="axis")} == set(LABELS)


def test_a_strip_places_its_dots_by_value_and_its_bar_at_the_mean() -> None:
    strip = draw_strip([0.0, 0.5, 1.0], 0.5, 1)
    dots = [float(dot.attributes["cx"]) for dot in strip.find("circle")]
    bar = strip.find("rect", class_="mean")[0].attributes
    assert dots[0] + dots[2] == 2 * dots[1] == STRIP_PX[0]
    assert float(bar["x"]) + float(bar["width"]) / 2 == dots[1]
    assert "run1" in strip.attributes["class"].split()


def test_a_strip_does_not_depend_on_the_order_and_stays_small(rng: np.random.Generator) -> None:
    values = rng.uniform(0, 1, 10_000)
    drawn = draw_strip(values.tolist(), 0.5, 0)
    assert drawn == draw_strip(rng.permutation(values).tolist(), 0.5, 0)
    assert len(drawn.find("circle")) <= 3 * STRIP_PX[0]
    equal = draw_strip([0.4] * 3, 0.4, 0).find("circle")
    assert len({(dot.attributes["cx"], dot.attributes["cy"]) for dot in equal}) == 3


def test_every_stage_has_a_colour_of_its_own() -> None:
    bars = draw_stack(dict.fromkeys((*STAGES, "other"), 1.0), 6.0).find("rect")
    fills = [re.search(rf"\.{bar.attributes['class']} {{ fill: var\(([a-z-]+)\)", STYLE.read_text()) for bar in bars]
    names = [found[1] for found in fills if found]
    assert names == ["--read", "--sample", "--network", "--decode", "--write", "--rest"]
    for scheme in STYLE.read_text().split("@media (prefers-color-scheme: dark)"):
        colours = [re.findall(rf"{name}: (#[0-9a-f]+)", scheme)[0] for name in names]
        assert len(set(colours)) == len(names)


def test_the_parts_of_a_stack_follow_each_other_and_fill_their_share() -> None:
    seconds = {"read": 0.5, "network": 1.0, "other": 0.5}
    stack = draw_stack(seconds, 4.0)
    bars = [(float(bar.attributes["x"]), float(bar.attributes["width"])) for bar in stack.find("rect")]
    assert [width for _, width in bars] == [STACK_PX[0] / 8, STACK_PX[0] / 4, STACK_PX[0] / 8]
    assert [x for x, _ in bars] == [0, bars[0][1], bars[0][1] + bars[1][1]]
    classes = [bar.attributes["class"] for bar in stack.find("rect")]
    assert classes == ["stage-read", "stage-network", "stage-rest"]
    assert stack.attributes["aria-label"] == "read 0.500 s, network 1.000 s, other 0.500 s"
