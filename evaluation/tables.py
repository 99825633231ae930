"""The tables of a report: F1 by modality, accuracy by IoU, and branches with their time by stage.

`templates/tables.html` writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mosaicell.evaluation.charts import STAGES, Stack, Strip, plan_stack, plan_strip, stage_class
from mosaicell.evaluation.metrics import Scores
from mosaicell.evaluation.records import ImageRecord, Run

#: what the total has beyond the stages: normalisation, modality, choice of the scale
REST = "rest"


@dataclass(frozen=True)
class GroupRow:
    """What one run has of a group: numbers as text, and the values behind them where they are drawn."""

    run: int
    numbers: tuple[str, ...]
    strip: Strip | None = None


@dataclass(frozen=True)
class Group:
    """Rows under one heading, one for each run that has some of it."""

    heading: str
    rows: list[GroupRow]
    is_total: bool = False


@dataclass(frozen=True)
class BranchRow:
    """One branch in one run: numbers as text, and its time by stage where that is known."""

    branch: str
    run: int
    numbers: tuple[str, ...]
    stack: Stack | None


@dataclass(frozen=True)
class BranchTable:
    """The branches taken, none where run.json said nothing, and the stages drawn with their style classes."""

    rows: list[BranchRow]
    stages: list[tuple[str, str]]


def tabulate_f1(runs: Sequence[Run]) -> list[Group]:
    """Return F1 by modality, every image a dot; nothing without scores."""
    by_run = [_f1_by_modality(run.images) for run in runs]
    names = sorted({name for groups in by_run for name in groups} - {""})
    return [
        Group(
            name or "all",
            [_f1_row(name or "all", run, groups[name]) for run, groups in enumerate(by_run) if name in groups],
            is_total=not name,
        )
        for name in (["", *names] if len(names) > 1 else names)
    ]


def tabulate_accuracy(runs: Sequence[Run]) -> list[Group]:
    """Return mean precision, recall and F1 by the IoU from which cells match; nothing without scores."""
    by_run = [_scores_by_iou(run.images) for run in runs]
    return [
        Group(
            f"{threshold:g}",
            [
                GroupRow(run, _mean_ratios(groups[threshold]))
                for run, groups in enumerate(by_run)
                if threshold in groups
            ],
        )
        for threshold in sorted({threshold for groups in by_run for threshold in groups})
    ]


def _scores_by_iou(images: Iterable[ImageRecord]) -> dict[float, list[Scores]]:
    groups: dict[float, list[Scores]] = {}
    for image in images:
        for score in image.scores:
            groups.setdefault(score.threshold, []).append(score)
    return groups


def _mean_ratios(scores: Sequence[Scores]) -> tuple[str, ...]:
    means = (fmean(getattr(score, name) for score in scores) for name in ("f1", "precision", "recall"))
    return (*(f"{mean:.3f}" for mean in means), f"{len(scores):,}")


def tabulate_branches(runs: Sequence[Run]) -> BranchTable:
    """Return the branches taken, their mean confidence and mean time by stage."""
    found = [(branch, index, records) for index, run in enumerate(runs) for branch, records in _by_branch(run.images)]
    groups = sorted(found, key=lambda group: group[:2])
    stages = [average_stages(records) for *_, records in groups]
    longest_s = max((sum(seconds.values()) for seconds in stages), default=0.0)
    rows = []
    for (branch, index, records), seconds in zip(groups, stages, strict=True):
        confidences = [record.confidence for record in records if record.confidence is not None]
        total_s = sum(seconds.values())
        numbers = (
            f"{len(records):,}",
            f"{fmean(confidences):.3f}" if confidences else "",
            f"{total_s:.2f}" if total_s else "",
        )
        rows.append(BranchRow(branch, index, numbers, plan_stack(seconds, longest_s) if total_s else None))
    used = dict.fromkeys(stage for seconds in stages for stage in seconds)
    return BranchTable(rows, [(stage, stage_class(stage)) for stage in used])


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


def _f1_row(name: str, run: int, f1: Sequence[float]) -> GroupRow:
    mean = fmean(f1)
    description = f"F1 of {len(f1)} images ({name}), mean {mean:.3f}"
    return GroupRow(run, (f"{mean:.3f}", f"{median(f1):.3f}", f"{len(f1):,}"), plan_strip(f1, mean, run, description))
