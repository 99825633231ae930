"""Charts of what a run cost: time against the tolerance and memory against the limits, by the size of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mosaicell.evaluation.charts import Key, Limit, Point, Scatter, Series, make_key, plan_scatter, run_keys
from mosaicell.evaluation.figures import GPU_LIMIT_GB, MB_PER_GB, RAM_LIMIT_GB, seconds_text
from mosaicell.evaluation.records import Run
from mosaicell.evaluation.tolerance import MEGAPIXEL, TOLERANCE_S, tolerance_s


@dataclass(frozen=True)
class CostCharts:
    """Charts with their captions, none where nothing is known, and the marks in them that are explained."""

    legend: list[Key]
    charts: list[tuple[str, Scatter]]


def chart_costs(runs: Sequence[Run]) -> CostCharts:
    """Return the charts of time and memory with their legend."""
    charts = []
    title, times = gather_times(runs)
    if times:
        limit = Limit("tolerance", lambda megapixels: TOLERANCE_S * max(1.0, megapixels), bends=(1.0,))
        chart = plan_scatter(
            times, [limit], ("Image size, megapixels", "Seconds"), _describe_chart(title, times), shade=True
        )
        charts.append((f"{title} against the tolerance", chart))
    memory = gather_memory(runs)
    if memory:
        limits = [Limit(f"RAM limit {RAM_LIMIT_GB:.3g} GB", lambda _: RAM_LIMIT_GB)]
        if any(series.hollow for series in memory):
            limits.append(Limit(f"GPU limit {GPU_LIMIT_GB:g} GB", lambda _: GPU_LIMIT_GB))
        chart = plan_scatter(memory, limits, ("Image size, megapixels", "GB"), _describe_chart("Memory", memory))
        charts.append(("Highest memory against the limits", chart))
    legend = run_keys(runs) if len(runs) > 1 else []
    if any(series.hollow for series in memory):
        legend += [make_key("filled: RAM", 0), make_key("hollow: GPU", 0, hollow=True)]
    return CostCharts(legend, charts)


def _describe_chart(title: str, series: Sequence[Series]) -> str:
    heights = [point.y for one in series for point in one.points]
    return f"{title} of {len(heights)} images by image size: {min(heights):.3g} to {max(heights):.3g}"


def gather_times(runs: Sequence[Run]) -> tuple[str, list[Series]]:
    """Return what a chart of times shows and its points: wall times where any are known, else times in the program."""
    measured = any(image.wall_s for run in runs for image in run.images)
    series = []
    for index, run in enumerate(runs):
        points = []
        for image in run.images:
            seconds = image.wall_s if measured else image.seconds.get("total")
            if image.pixels and seconds:
                text = f"{image.name}: {seconds_text(seconds)} of {seconds_text(tolerance_s(image.pixels))}"
                points.append(Point(image.pixels / MEGAPIXEL, seconds, text))
        series.append(Series(index, points))
    title = "Wall time" if measured else "Time in the program (without its start)"
    return title, [one for one in series if one.points]


def gather_memory(runs: Sequence[Run]) -> list[Series]:
    """Return the points of a chart of memory in GB: filled for RAM, hollow for the GPU."""
    series = []
    for index, run in enumerate(runs):
        for hollow, attribute, kind in ((False, "ram_mb", "RAM"), (True, "gpu_mb", "GPU memory")):
            points = []
            for image in run.images:
                used_mb = getattr(image, attribute)
                if image.pixels and used_mb:
                    used_gb = used_mb / MB_PER_GB
                    points.append(Point(image.pixels / MEGAPIXEL, used_gb, f"{image.name}: {used_gb:.2f} GB of {kind}"))
            series.append(Series(index, points, hollow))
    return [one for one in series if one.points]
