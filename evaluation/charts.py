"""Charts as inline SVG: scatter over two logarithmic axes, strip of dots, stacked bar.

Colours come from the page's style sheet, by the classes `run0`, `run1`, ... and `stage-NAME`, so that a chart follows
the light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mosaicell.evaluation.markup import Markup, element, escape, join_markup

#: stages of an image's way through the program that have a colour of their own, in their order; "sample" is what was
#: looked at before a slide was segmented band by band
STAGES = ("read", "sample", "network", "decode", "write")
#: colours and shapes that the style sheet and `_marker` have for runs; a further run begins again
RUN_COLOURS = 6
CHART_PX = (440, 290)
#: left, top, right, bottom
MARGINS_PX = (42, 12, 12, 40)
STRIP_PX = (220, 22)
STACK_PX = (300, 16)
#: points closer than this become one, with all their names, and the radius of a point; the second from MANY_POINTS on
MERGE_PX = (1.0, 4.0)
RADIUS_PX = (3.5, 1.5)
MANY_POINTS = 2000
#: names that the hover text of merged points spells out
MAX_NAMES = 4


@dataclass(frozen=True)
class Point:
    """A value to draw; both coordinates above 0."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Series:
    """Points of one run; hollow marks tell a second quantity from the first."""

    run: int
    points: Sequence[Point]
    hollow: bool = False


@dataclass(frozen=True)
class Limit:
    """A line that values should stay below: its height at an x, and the x where it bends."""

    label: str
    height: Callable[[float], float]
    bends: tuple[float, ...] = ()


@dataclass(frozen=True)
class LogAxis:
    """A logarithmic axis from `low` to `high` in data, drawn from `start_px` to `end_px`."""

    low: float
    high: float
    start_px: float
    end_px: float

    def place(self, value: float) -> float:
        """Return the position of a value above 0 in px."""
        fraction = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start_px + fraction * (self.end_px - self.start_px)

    def ticks(self) -> list[float]:
        """Return round values within the axis: powers of ten, and 2 and 5 times those on a short axis."""
        steps = (1, 2, 5) if self.high / self.low < 150 else (1,)
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (step * 10.0**exponent for exponent in exponents for step in steps)
        return [value for value in values if self.low <= value <= self.high]


def fit_axis(values: Iterable[float], start_px: float, end_px: float) -> LogAxis:
    """Return an axis with room around the values, which must be above 0; it spans a decade at least."""
    known = list(values)
    low, high = min(known) / 1.4, max(known) * 1.4
    spread = max(1.0, math.sqrt(10 / (high / low)))
    return LogAxis(low / spread, high * spread, start_px, end_px)


def draw_scatter(
    series: Sequence[Series], limits: Sequence[Limit], labels: tuple[str, str], description: str, shade: bool = False
) -> Markup:
    """Draw points over two logarithmic axes, with the lines that they should stay below.

    Parameters
    ----------
    series : sequence of Series
        At least one point in all.
    limits : sequence of Limit
    labels : tuple of str
        What the x and y axes show, with unit.
    description : str
        What the chart says, for those who cannot see it.
    shade : bool
        Tint the area above the first limit.

    Returns
    -------
    Markup
        An svg element as wide as its place.
    """
    width, height = CHART_PX
    left, top, right, bottom = MARGINS_PX
    points = [point for one in series for point in one.points]
    x_axis = fit_axis([point.x for point in points], left, width - right)
    edges = [limit.height(x) for limit in limits for x in (x_axis.low, x_axis.high)]
    y_axis = fit_axis([*(point.y for point in points), *edges], height - bottom, top)
    return element(
        "svg",
        _draw_grid(x_axis, y_axis, labels),
        *(_draw_limit(limit, x_axis, y_axis, shade and not index) for index, limit in enumerate(limits)),
        *(_draw_series(one, x_axis, y_axis) for one in series),
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=description,
        class_="chart",
    )


def draw_strip(values: Sequence[float], mean: float, run: int, description: str) -> Markup:
    """Draw fractions in [0, 1] as dots along a line, with a bar at their mean."""
    width, height = STRIP_PX
    margin = 5
    span = width - 2 * margin
    # three lanes, so that equal values do not hide each other; the lane follows from the order, not from chance
    places = dict.fromkeys((round(margin + value * span), index % 3) for index, value in enumerate(sorted(values)))
    dots = [element("circle", cx=x, cy=height / 2 + 5 * (lane - 1), r=2.5) for x, lane in places]
    ticks = [margin + fraction * span for fraction in (0, 0.25, 0.5, 0.75, 1)]
    return element(
        "svg",
        *(element("line", x1=x, x2=x, y1=1, y2=height - 1, class_="grid") for x in ticks),
        element("g", *dots, class_="dots"),
        element("rect", x=round(margin + mean * span, 1) - 1, y=0, width=2, height=height, class_="mean"),
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=description,
        class_=f"strip {run_class(run)}",
    )


def draw_stack(seconds: Mapping[str, float], longest_s: float) -> Markup:
    """Draw one bar of stages one after the other; a bar of `longest_s` seconds has the full width."""
    width, height = STACK_PX
    bars, x = [], 0.0
    for stage, value_s in seconds.items():
        length = width * value_s / longest_s
        text = element("title", f"{stage} {value_s:.3f} s")
        place = {"x": round(x, 2), "y": 0.0, "width": round(length, 2), "height": float(height)}
        bars.append(element("rect", text, **place, class_=stage_class(stage)))
        x += length
    description = ", ".join(f"{stage} {value_s:.3f} s" for stage, value_s in seconds.items())
    return element(
        "svg", *bars, viewBox=f"0 0 {width} {height}", role="img", aria_label=description, class_="stack",
        preserveAspectRatio="none",
    )  # fmt: skip


def draw_key(run: int, hollow: bool = False) -> Markup:
    """Draw the mark of a run, for a legend or a caption."""
    return element(
        "svg",
        _marker(7, 7, 4.5, run, hollow),
        viewBox="0 0 14 14",
        aria_hidden="true",
        class_=f"key {run_class(run)}",
    )


def run_class(run: int) -> str:
    """Return the style class that colours a run."""
    return f"run{run % RUN_COLOURS}"


def stage_class(stage: str) -> str:
    """Return the style class that colours a stage; stages without a colour of their own share one."""
    return f"stage-{stage if stage in STAGES else 'rest'}"


def _draw_grid(x_axis: LogAxis, y_axis: LogAxis, labels: tuple[str, str]) -> Markup:
    left, right, top, bottom = x_axis.start_px, x_axis.end_px, y_axis.end_px, y_axis.start_px
    pieces = []
    for value in x_axis.ticks():
        x = round(x_axis.place(value), 1)
        pieces.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        pieces.append(element("text", f"{value:,g}", x=x, y=bottom + 15, text_anchor="middle"))
    for value in y_axis.ticks():
        y = round(y_axis.place(value), 1)
        pieces.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        pieces.append(element("text", f"{value:,g}", x=left - 6, y=y + 4, text_anchor="end"))
    pieces.append(element("text", labels[0], x=(left + right) / 2, y=bottom + 33, text_anchor="middle", class_="axis"))
    turned = f"rotate(-90 11 {(top + bottom) / 2:g})"
    pieces.append(
        element("text", labels[1], x=11, y=(top + bottom) / 2, text_anchor="middle", transform=turned, class_="axis")
    )
    return element("g", *pieces)


def _draw_limit(limit: Limit, x_axis: LogAxis, y_axis: LogAxis, shade: bool) -> Markup:
    bends = (x for x in limit.bends if x_axis.low < x < x_axis.high)
    corners = [f"{x_axis.place(x):.1f},{y_axis.place(limit.height(x)):.1f}" for x in (x_axis.low, *bends, x_axis.high)]
    above = [f"{x_axis.end_px:g},{y_axis.end_px:g}", f"{x_axis.start_px:g},{y_axis.end_px:g}"]
    return join_markup(
        element("polygon", points=" ".join([*corners, *above]), class_="over") if shade else None,
        element("polyline", points=" ".join(corners), class_="limit"),
        element(
            "text",
            limit.label,
            x=x_axis.start_px + 6,
            y=round(y_axis.place(limit.height(x_axis.low)) - 6, 1),
            class_="limit-label",
        ),
    )


def _draw_series(series: Series, x_axis: LogAxis, y_axis: LogAxis) -> Markup:
    """Draw marks; points that would cover each other become one, so that the size of the page has a bound."""
    many = len(series.points) >= MANY_POINTS
    step = MERGE_PX[many]
    cells: dict[tuple[int, int], list[str]] = {}
    for point in series.points:
        cell = (round(x_axis.place(point.x) / step), round(y_axis.place(point.y) / step))
        cells.setdefault(cell, []).append(point.title)
    marks = []
    for (column, row), titles in cells.items():
        more = [f"and {len(titles) - MAX_NAMES:,} more"] if len(titles) > MAX_NAMES else []
        title = element("title", Markup("\n".join(escape(line) for line in [*titles[:MAX_NAMES], *more])))
        radius = RADIUS_PX[many] + min(1.5, math.log10(len(titles)))
        marks.append(_marker(column * step, row * step, radius, series.run, series.hollow, title))
    return element("g", *marks, class_=f"marks {run_class(series.run)}")


def _marker(x: float, y: float, radius: float, run: int, hollow: bool, title: Markup | None = None) -> Markup:
    """Draw a circle, square, triangle or diamond of about the same area, by the number of the run."""
    class_ = "hollow" if hollow else None
    if run % 4 == 0:
        return element("circle", title, cx=x, cy=y, r=round(radius, 2), class_=class_)
    corners = {
        1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2: [(0, -1.25), (1.15, 0.8), (-1.15, 0.8)],
        3: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }[run % 4]
    points = " ".join(f"{x + radius * across:.1f},{y + radius * down:.1f}" for across, down in corners)
    return element("polygon", title, points=points, class_=class_)
