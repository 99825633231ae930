"""The tables of a report: F1 by modality, branches with their time by stage, and all images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from evaluation.charts import draw_key, draw_stack, draw_strip, stage_class
from evaluation.figures import MB_PER_GB
from evaluation.markup import Content, Markup, element, join_markup
from evaluation.records import ImageRecord, Run

STAGES = ("read", "network", "decode", "write")
#: what the total has beyond the stages: normalisation, modality, choice of the scale
REST = "rest"
#: a cell shows about this much of a text on a screen; printed, it shows all
CELL_CHARACTERS = 28
#: longer remarks are cut in the table of images
MAX_REMARK = 240


@dataclass(frozen=True)
class Column:
    """One column of the table of images.

    Attributes
    ----------
    title : str
    text : callable
        What a record shows; empty where nothing is known.
    sort_key : callable, optional
        Number to sort by where the text is not that number.
    numeric : bool
        Right-aligned, and sorted by number.
    """

    title: str
    text: Callable[[ImageRecord], str]
    sort_key: Callable[[ImageRecord], float | None] | None = None
    numeric: bool = True


def tabulate_f1(runs: Sequence[Run]) -> Markup | None:
    """Return F1 by modality, every image a dot; None without scores."""
    by_run = [_f1_by_modality(run.images) for run in runs]
    names = sorted({name for groups in by_run for name in groups} - {""})
    if not names:
        return None
    bodies = []
    for name in names if len(names) == 1 else ["", *names]:
        found = [(index, groups[name]) for index, groups in enumerate(by_run) if name in groups]
        heading = element("th", name or "all", scope="rowgroup", rowspan=str(len(found)))
        rows = (
            element("tr", None if row else heading, _run_cell(runs, index), *_f1_cells(name or "all", index, f1))
            for row, (index, f1) in enumerate(found)
        )
        bodies.append(element("tbody", *rows, class_=None if name else "all"))
    axis = element("span", *(element("span", mark) for mark in ("0", "0.5", "1")), class_="strip-axis")
    numbers = (_head(title, numeric=True) for title in ("Mean", "Median", "Images"))
    head = element("tr", _head("Modality"), _run_head(runs), *numbers, _head(join_markup("F1 of every image", axis)))
    return _scrolling("F1 by modality", element("table", element("thead", head), *bodies))


def tabulate_branches(runs: Sequence[Run]) -> Markup | None:
    """Return the branches taken, their mean confidence and mean time by stage; None when run.json said nothing."""
    found = [(branch, index, records) for index, run in enumerate(runs) for branch, records in _by_branch(run.images)]
    groups = sorted(found, key=lambda group: group[:2])
    if not groups:
        return None
    stages = [average_stages(records) for *_, records in groups]
    longest_s = max(sum(seconds.values()) for seconds in stages)
    rows = []
    for (branch, index, records), seconds in zip(groups, stages, strict=True):
        confidences = [record.confidence for record in records if record.confidence is not None]
        total_s = sum(seconds.values())
        numbers = (
            f"{len(records):,}",
            f"{fmean(confidences):.3f}" if confidences else "",
            f"{total_s:.2f}" if total_s else "",
        )
        bar = element("td", draw_stack(seconds, longest_s) if total_s else None, class_="plot")
        rows.append(
            element("tr", element("th", branch, scope="row"), _run_cell(runs, index), *map(_number, numbers), bar)
        )
    used = dict.fromkeys(stage for seconds in stages for stage in seconds)
    keys = (element("li", element("span", class_=f"swatch {stage_class(stage)}"), stage) for stage in used)
    titles = (_head(title, numeric=True) for title in ("Images", "Confidence", "Seconds"))
    head = element("tr", _head("Branch"), _run_head(runs), *titles, _head("Seconds by stage, mean of the images"))
    table = element("table", element("thead", head), element("tbody", *rows))
    return join_markup(element("ul", *keys, class_="legend") if used else None, _scrolling("Branches", table))


def average_stages(records: Iterable[ImageRecord]) -> dict[str, float]:
    """Return the mean seconds of each stage, with what the total has beyond them as "rest"; empty if unknown."""
    known = [record.seconds for record in records if record.seconds]
    if not known:
        return {}
    names = {name for seconds in known for name in seconds} - {"total"}
    ordered = sorted(names, key=lambda name: (STAGES.index(name) if name in STAGES else len(STAGES), name))
    means = {name: fmean(seconds.get(name, 0.0) for seconds in known) for name in ordered}
    rest_s = fmean(seconds.get("total", 0.0) for seconds in known) - sum(means.values())
    return means | ({REST: rest_s} if rest_s > 0 else {})


def tabulate_images(runs: Sequence[Run]) -> Markup:
    """Return the table of all images, one row for each image and run, without columns that would be empty."""
    entries = sorted(
        ((image, index) for index, run in enumerate(runs) for image in run.images),
        key=lambda entry: (entry[0].key, entry[1], entry[0].name),
    )
    columns = [column for column in _image_columns() if any(column.text(image) for image, _ in entries)]
    head = element("tr", _head("Image"), _run_head(runs), *(_head(column.title, column.numeric) for column in columns))
    rows = []
    for image, index in entries:
        cells = (_image_cell(column, image) for column in columns)
        name = element("th", image.name, scope="row", title=_long(image.name))
        rows.append(element("tr", name, _run_cell(runs, index), *cells, class_=_state(image)))
    table = element("table", element("thead", head), element("tbody", *rows), class_="sortable")
    return _scrolling("All images", table)


def _image_columns() -> list[Column]:
    return [
        Column("Size", _size, lambda image: image.pixels),
        Column("Modality", lambda image: image.listed_modality or image.modality, numeric=False),
        Column("F1", lambda image: _text(image.f1, 3)),
        Column("Predicted F1", lambda image: _text(image.predicted_f1, 3)),
        Column("Branch", _branches, numeric=False),
        Column("Confidence", lambda image: _text(image.confidence, 2)),
        Column("Other branches", _other_branches, numeric=False),
        Column("Scale", lambda image: _text(image.scale, 2)),
        Column("Cells", lambda image: "" if image.cells is None else f"{image.cells:,}", lambda image: image.cells),
        Column("Program, s", lambda image: _text(image.seconds.get("total"), 2)),
        Column("Wall, s", lambda image: _text(image.wall_s, 2)),
        Column("Of tolerance", _tolerance_used, lambda image: image.tolerance_share),
        Column("RAM, GB", lambda image: _text(image.ram_mb, 2, MB_PER_GB)),
        Column("GPU, GB", lambda image: _text(image.gpu_mb, 2, MB_PER_GB)),
        Column("Remarks", _remarks, numeric=False),
    ]


def _state(image: ImageRecord) -> str | None:
    return "failed" if image.failures else "doubtful" if image.doubtful else None


def _image_cell(column: Column, image: ImageRecord) -> Markup:
    text = column.text(image)
    key = column.sort_key(image) if column.sort_key and text else None
    return element(
        "td",
        text,
        class_="n" if column.numeric else None,
        title=_long(text),
        data_s=f"{key:g}" if isinstance(key, float) else None if key is None else str(key),
    )


def _long(text: str) -> str | None:
    """Return a text that its cell may cut short on a screen, to be shown in full under the pointer."""
    return text if len(text) > CELL_CHARACTERS else None


def _size(image: ImageRecord) -> str:
    return f"{image.width} x {image.height}" if image.pixels else ""


def _branches(image: ImageRecord) -> str:
    """Return the branch, or all with their cells, most first, where several gave some."""
    given = {name: count for name, count in image.cells_by_branch.items() if count}
    if len(given) < 2:
        return image.branch
    return ", ".join(f"{name} {given[name]:,}" for name in sorted(given, key=lambda name: (-given[name], name)))


def _other_branches(image: ImageRecord) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in image.confidences.items() if name != image.branch)


def _tolerance_used(image: ImageRecord) -> str:
    return "" if image.tolerance_share is None else f"{image.tolerance_share:.0%}"


def _remarks(image: ImageRecord) -> str:
    states = {"skipped, its mask was there": image.skipped, "doubtful": image.doubtful}
    remarks = [*image.failures, *(text for text, holds in states.items() if holds), *image.notes]
    text = "; ".join(remarks)
    return text if len(text) <= MAX_REMARK else f"{text[: MAX_REMARK - 1]}…"


def _text(value: float | None, digits: int, divisor: float = 1) -> str:
    return "" if value is None else f"{value / divisor:.{digits}f}"


def _f1_by_modality(images: Iterable[ImageRecord]) -> Mapping[str, list[float]]:
    """Return the F1 of all images under "", and of each modality under its name."""
    groups: dict[str, list[float]] = {}
    for image in images:
        if image.f1 is not None:
            for name in ("", image.listed_modality or image.modality or "not known"):
                groups.setdefault(name, []).append(image.f1)
    return groups


def _by_branch(images: Iterable[ImageRecord]) -> list[tuple[str, list[ImageRecord]]]:
    groups: dict[str, list[ImageRecord]] = {}
    for image in images:
        if image.branch:
            groups.setdefault(image.branch, []).append(image)
    return list(groups.items())


def _f1_cells(name: str, index: int, f1: Sequence[float]) -> list[Markup]:
    mean = fmean(f1)
    description = f"F1 of {len(f1)} images ({name}), mean {mean:.3f}"
    numbers = (f"{mean:.3f}", f"{median(f1):.3f}", f"{len(f1):,}")
    return [*map(_number, numbers), element("td", draw_strip(f1, mean, index, description), class_="plot")]


def _run_head(runs: Sequence[Run]) -> Markup | None:
    return _head("Run") if len(runs) > 1 else None


def _run_cell(runs: Sequence[Run], index: int) -> Markup | None:
    """Return a cell with the mark and name of a run; None where there is only one."""
    return element("td", draw_key(index), runs[index].name, class_="run-name") if len(runs) > 1 else None


def _head(title: Content, numeric: bool = False) -> Markup:
    return element("th", title, scope="col", class_="n" if numeric else None)


def _number(text: str) -> Markup:
    return element("td", text, class_="n")


def _scrolling(label: str, table: Markup) -> Markup:
    """Let a wide table scroll by itself, also with the keyboard."""
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")
