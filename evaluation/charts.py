"""Where the parts of charts stand: scatter over two logarithmic axes, strip of dots, stacked bar.

`templates/charts.html` draws them as inline SVG. Colours come from the page's style sheet, by the classes `run0`,
`run1`, ... and `stage-NAME`, so that a chart follows the light or dark scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mosaicell.evaluation.records import Run

#: stages of an image's way through the program that have a colour of their own, in their order; "sample" is what was
#: looked at before a slide was segmented band by band
STAGES = ("read", "sample", "network", "decode", "write")
#: colours that the style sheet has for runs; a further run begins again
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

    def labelled_ticks(self) -> list[tuple[float, str]]:
        """Return the position in px and the text of every tick."""
        return [(round(self.place(value), 1), f"{value:,g}") for value in self.ticks()]


@dataclass(frozen=True)
class Mark:
    """A circle, or a polygon where it has corners.

    Attributes
    ----------
    x, y, radius : float
        In px.
    corners : str
        As SVG writes points; empty for a circle.
    is_hollow : bool
    lines : tuple of str
        What the pointer shows.
    """

    x: float
    y: float
    radius: float
    corners: str = ""
    is_hollow: bool = False
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Key:
    """A mark in a legend or a caption, the style class that colours it, and what it stands for."""

    text: str
    style: str
    mark: Mark


@dataclass(frozen=True)
class MarkGroup:
    """The marks of one series and the style class that colours them."""

    style: str
    marks: list[Mark]


@dataclass(frozen=True)
class LimitLine:
    """A limit as it is drawn: corners of the line, and of the tinted area above it where there is one."""

    label: str
    label_y: float
    corners: str
    over: str


@dataclass(frozen=True)
class Scatter:
    """A chart of points over two logarithmic axes; see `plan_scatter`."""

    labels: tuple[str, str]
    description: str
    x_axis: LogAxis
    y_axis: LogAxis
    limits: list[LimitLine]
    groups: list[MarkGroup]
    size_px: tuple[int, int] = CHART_PX


@dataclass(frozen=True)
class Strip:
    """Dots along a line, with a bar at their mean; see `plan_strip`."""

    description: str
    style: str
    ticks: list[float]
    dots: list[tuple[int, float]]
    mean_x: float
    size_px: tuple[int, int] = STRIP_PX


@dataclass(frozen=True)
class Bar:
    """One stage in a stacked bar."""

    style: str
    text: str
    x: float
    width: float


@dataclass(frozen=True)
class Stack:
    """One bar of stages one after the other; see `plan_stack`."""

    description: str
    bars: list[Bar]
    size_px: tuple[int, int] = STACK_PX


def fit_axis(values: Iterable[float], start_px: float, end_px: float) -> LogAxis:
    """Return an axis with room around the values, which must be above 0; it spans a decade at least."""
    known = list(values)
    low, high = min(known) / 1.4, max(known) * 1.4
    spread = max(1.0, math.sqrt(10 / (high / low)))
    return LogAxis(low / spread, high * spread, start_px, end_px)


def plan_scatter(
    series: Sequence[Series], limits: Sequence[Limit], labels: tuple[str, str], description: str, shade: bool = False
) -> Scatter:
    """Place points over two logarithmic axes, with the lines that they should stay below.

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
    Scatter
    """
    width, height = CHART_PX
    left, top, right, bottom = MARGINS_PX
    points = [point for one in series for point in one.points]
    x_axis = fit_axis([point.x for point in points], left, width - right)
    edges = [limit.height(x) for limit in limits for x in (x_axis.low, x_axis.high)]
    y_axis = fit_axis([*(point.y for point in points), *edges], height - bottom, top)
    lines = [_plan_limit(limit, x_axis, y_axis, shade and not index) for index, limit in enumerate(limits)]
    groups = [_plan_series(one, x_axis, y_axis) for one in series]
    return Scatter(labels, description, x_axis, y_axis, lines, groups)


def plan_strip(values: Sequence[float], mean: float, run: int, description: str) -> Strip:
    """Place fractions in [0, 1] as dots along a line, with a bar at their mean."""
    width, height = STRIP_PX
    margin = 5
    span = width - 2 * margin
    # three lanes, so that equal values do not hide each other; the lane follows from the order, not from chance
    places = dict.fromkeys((round(margin + value * span), index % 3) for index, value in enumerate(sorted(values)))
    dots = [(x, height / 2 + 5 * (lane - 1)) for x, lane in places]
    ticks = [margin + fraction * span for fraction in (0, 0.25, 0.5, 0.75, 1)]
    return Strip(description, run_class(run), ticks, dots, round(margin + mean * span, 1))


def plan_stack(seconds: Mapping[str, float], longest_s: float) -> Stack:
    """Place stages in one bar, one after the other; a bar of `longest_s` seconds has the full width."""
    bars, x = [], 0.0
    for stage, value_s in seconds.items():
        length = STACK_PX[0] * value_s / longest_s
        bars.append(Bar(stage_class(stage), f"{stage} {value_s:.3f} s", round(x, 2), round(length, 2)))
        x += length
    return Stack(", ".join(bar.text for bar in bars), bars)


def run_keys(runs: Sequence[Run]) -> list[Key]:
    """Return the mark of every run with its name."""
    return [make_key(run.name, index) for index, run in enumerate(runs)]


def make_key(text: str, run: int, hollow: bool = False) -> Key:
    """Return the mark of a run, for a legend or a caption."""
    return Key(text, run_class(run), _mark(7, 7, 4.5, run, hollow))


def run_class(run: int) -> str:
    """Return the style class that colours a run."""
    return f"run{run % RUN_COLOURS}"


def stage_class(stage: str) -> str:
    """Return the style class that colours a stage; stages without a colour of their own share one."""
    return f"stage-{stage if stage in STAGES else 'rest'}"


def _plan_limit(limit: Limit, x_axis: LogAxis, y_axis: LogAxis, shade: bool) -> LimitLine:
    bends = (x for x in limit.bends if x_axis.low < x < x_axis.high)
    corners = [f"{x_axis.place(x):.1f},{y_axis.place(limit.height(x)):.1f}" for x in (x_axis.low, *bends, x_axis.high)]
    above = [f"{x_axis.end_px:g},{y_axis.end_px:g}", f"{x_axis.start_px:g},{y_axis.end_px:g}"]
    label_y = round(y_axis.place(limit.height(x_axis.low)) - 6, 1)
    return LimitLine(limit.label, label_y, " ".join(corners), " ".join([*corners, *above]) if shade else "")


def _plan_series(series: Series, x_axis: LogAxis, y_axis: LogAxis) -> MarkGroup:
    """Place marks; points that would cover each other become one, so that the size of the page has a bound."""
    many = len(series.points) >= MANY_POINTS
    step = MERGE_PX[many]
    cells: dict[tuple[int, int], list[str]] = {}
    for point in series.points:
        cell = (round(x_axis.place(point.x) / step), round(y_axis.place(point.y) / step))
        cells.setdefault(cell, []).append(point.title)
    marks = []
    for (column, row), titles in cells.items():
        more = (f"and {len(titles) - MAX_NAMES:,} more",) if len(titles) > MAX_NAMES else ()
        radius = RADIUS_PX[many] + min(1.5, math.log10(len(titles)))
        lines = (*titles[:MAX_NAMES], *more)
        marks.append(_mark(column * step, row * step, radius, series.run, series.hollow, lines))
    return MarkGroup(run_class(series.run), marks)


def _mark(x: float, y: float, radius: float, run: int, hollow: bool, lines: tuple[str, ...] = ()) -> Mark:
    """Return a circle, square, triangle or diamond of about the same area, by the number of the run."""
    corners = {
        0: [],
        1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2: [(0, -1.25), (1.15, 0.8), (-1.15, 0.8)],
        3: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }[run % 4]
    points = " ".join(f"{x + radius * across:.1f},{y + radius * down:.1f}" for across, down in corners)
    return Mark(x, y, round(radius, 2), points, hollow, lines)
