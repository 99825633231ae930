"""The tables of a report: F1 by modality, accuracy by IoU, and branches with their time by stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median

from mosaicell.evaluation.charts import STAGES, draw_key, draw_stack, draw_strip, stage_class
from mosaicell.evaluation.markup import Content, Markup, element, join_markup
from mosaicell.evaluation.metrics import Scores
from mosaicell.evaluation.records import ImageRecord, Run

#: what the total has beyond the stages: normalisation, modality, choice of the scale
REST = "rest"


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
            element("tr", None if row else heading, run_cell(runs, index), *_f1_cells(name or "all", index, f1))
            for row, (index, f1) in enumerate(found)
        )
        bodies.append(element("tbody", *rows, class_=None if name else "all"))
    axis = element("span", *(element("span", mark) for mark in ("0", "0.5", "1")), class_="strip-axis")
    numbers = (head(title, numeric=True) for title in ("Mean", "Median", "Images"))
    top = element("tr", head("Modality"), run_head(runs), *numbers, head(join_markup("F1 of every image", axis)))
    return scrolling("F1 by modality", element("table", element("thead", top), *bodies))


def tabulate_accuracy(runs: Sequence[Run]) -> Markup | None:
    """Return mean precision, recall and F1 by the IoU from which cells match; None without scores."""
    by_run = [_scores_by_iou(run.images) for run in runs]
    thresholds = sorted({threshold for groups in by_run for threshold in groups})
    if not thresholds:
        return None
    bodies = []
    for threshold in thresholds:
        found = [(index, groups[threshold]) for index, groups in enumerate(by_run) if threshold in groups]
        heading = element("th", f"{threshold:g}", scope="rowgroup", rowspan=str(len(found)))
        rows = (
            element("tr", None if row else heading, run_cell(runs, index), *map(_number, _mean_ratios(scores)))
            for row, (index, scores) in enumerate(found)
        )
        bodies.append(element("tbody", *rows))
    numbers = (head(title, numeric=True) for title in ("F1", "Precision", "Recall", "Images"))
    top = element("tr", head("IoU"), run_head(runs), *numbers)
    return scrolling("Accuracy by IoU", element("table", element("thead", top), *bodies))


def _scores_by_iou(images: Iterable[ImageRecord]) -> dict[float, list[Scores]]:
    groups: dict[float, list[Scores]] = {}
    for image in images:
        for score in image.scores:
            groups.setdefault(score.threshold, []).append(score)
    return groups


def _mean_ratios(scores: Sequence[Scores]) -> tuple[str, ...]:
    means = (fmean(getattr(score, name) for score in scores) for name in ("f1", "precision", "recall"))
    return (*(f"{mean:.3f}" for mean in means), f"{len(scores):,}")


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
            element("tr", element("th", branch, scope="row"), run_cell(runs, index), *map(_number, numbers), bar)
        )
    used = dict.fromkeys(stage for seconds in stages for stage in seconds)
    keys = (element("li", element("span", class_=f"swatch {stage_class(stage)}"), stage) for stage in used)
    titles = (head(title, numeric=True) for title in ("Images", "Confidence", "Seconds"))
    top = element("tr", head("Branch"), run_head(runs), *titles, head("Seconds by stage, mean of the images"))
    table = element("table", element("thead", top), element("tbody", *rows))
    return join_markup(element("ul", *keys, class_="legend") if used else None, scrolling("Branches", table))


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


def run_head(runs: Sequence[Run]) -> Markup | None:
    """Return the head of a column of runs; None where there is only one."""
    return head("Run") if len(runs) > 1 else None


def run_cell(runs: Sequence[Run], index: int) -> Markup | None:
    """Return a cell with the mark and name of a run; None where there is only one."""
    return element("td", draw_key(index), runs[index].name, class_="run-name") if len(runs) > 1 else None


def head(title: Content, numeric: bool = False) -> Markup:
    """Return the head of a column."""
    return element("th", title, scope="col", class_="n" if numeric else None)


def _number(text: str) -> Markup:
    return element("td", text, class_="n")


def scrolling(label: str, table: Markup) -> Markup:
    """Let a wide table scroll by itself, also with the keyboard."""
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")
