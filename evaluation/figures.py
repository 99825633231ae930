"""The headline figures of a run, and the limits of memory that they are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import StatisticsError, correlation, fmean, median

from mosaicell.evaluation.records import ImageRecord, Run

#: memory that the challenge's machine has for a program
MB_PER_GB = 1000
#: 28g as Docker counts: 28 GiB
RAM_LIMIT_GB = 28 * 2**30 / 1e9
GPU_LIMIT_GB = 10.0
#: two points always lie on a line
MIN_PAIRS = 3


@dataclass(frozen=True)
class Figure:
    """One headline figure in words.

    Attributes
    ----------
    label, value, detail : str
    state : str
        "good" or "bad" where the figure is held against a limit, else empty.
    """

    label: str
    value: str
    detail: str = ""
    state: str = ""


def summarise_run(run: Run) -> list[Figure]:
    """Return the headline figures that can be known of a run; the others are left out."""
    if not run.images:
        return []
    figures = [
        _count_images(run.images),
        _count_failures(run.images),
        _count_cells(run.images),
        _average_f1(run.images),
        _average_predicted_f1(run.images),
        _sum_late_seconds(run.images),
        _slowest(run.images),
        _highest("Highest RAM", [(image.ram_mb, image.name) for image in run.images], RAM_LIMIT_GB),
        _highest("Highest GPU", [(image.gpu_mb, image.name) for image in run.images], GPU_LIMIT_GB),
    ]
    return [figure for figure in figures if figure]


def seconds_text(seconds: float) -> str:
    """Return seconds with about three digits and their unit."""
    digits = 0 if seconds >= 100 else 1 if seconds >= 10 else 2
    return f"{seconds:,.{digits}f} s"


def _count_images(images: Iterable[ImageRecord]) -> Figure:
    records = list(images)
    skipped = sum(record.skipped for record in records)
    return Figure("Images", f"{len(records):,}", f"{skipped:,} skipped, their masks were there" if skipped else "")


def _count_failures(images: Iterable[ImageRecord]) -> Figure:
    failed = sum(bool(record.failures) for record in images)
    return Figure("Failures", f"{failed:,}", "listed below" if failed else "", "bad" if failed else "good")


def _count_cells(images: Iterable[ImageRecord]) -> Figure | None:
    cells = [record.cells for record in images if record.cells is not None]
    empty = cells.count(0)
    none_in = f"none in {empty:,} image{'s' * (empty != 1)}" if empty else ""
    return Figure("Cells", f"{sum(cells):,}", none_in) if cells else None


def _average_f1(images: Iterable[ImageRecord]) -> Figure | None:
    f1 = [record.f1 for record in images if record.f1 is not None]
    if not f1:
        return None
    return Figure("Mean F1", f"{fmean(f1):.3f}", f"at IoU 0.5; median {median(f1):.3f}; {len(f1):,} scored")


def _average_predicted_f1(images: Iterable[ImageRecord]) -> Figure | None:
    known = [(record, record.predicted_f1) for record in images if record.predicted_f1 is not None]
    if not known:
        return None
    # the F1 of an image without a good mask says nothing about the prediction
    pairs = [(f1, record.f1) for record, f1 in known if record.f1 is not None and not record.failures]
    r = correlate(pairs)
    beside = f"; r {r:.2f} with the F1 of {len(pairs):,}" if r is not None else ""
    doubtful = sum(record.doubtful for record, _ in known)
    warned = f", {doubtful:,} of them doubtful" if doubtful else ""
    mean = f"{fmean(f1 for _, f1 in known):.3f}"
    return Figure("Mean predicted F1", mean, f"{len(known):,} predicted{warned}{beside}", "bad" if doubtful else "")


def correlate(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Pearson's r; None for fewer than 3 pairs, or where one side does not vary."""
    if len(pairs) < MIN_PAIRS or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    try:
        return correlation(*zip(*pairs, strict=True))
    except StatisticsError:
        # values so close that the squares of their distances are 0
        return None


def _sum_late_seconds(images: Iterable[ImageRecord]) -> Figure | None:
    late = [record.late_s for record in images if record.late_s is not None]
    if not late:
        return None
    count = sum(seconds > 0 for seconds in late)
    detail = f"{count:,} of {len(late):,} images" if count else f"none of {len(late):,} images"
    return Figure("Beyond tolerance", seconds_text(sum(late)), detail, "bad" if count else "good")


def _slowest(images: Iterable[ImageRecord]) -> Figure | None:
    shares = [(image.tolerance_share, image) for image in images if image.tolerance_share is not None]
    if not shares:
        return None
    share, slowest = max(shares, key=lambda item: item[0])
    allowed_s = slowest.tolerance_s or 0.0
    detail = f"of the tolerance: {seconds_text(share * allowed_s)} of {seconds_text(allowed_s)}, {slowest.name}"
    return Figure("Slowest image", f"{share:.0%}", detail, "bad" if share > 1 else "good")


def _highest(label: str, values_mb: Iterable[tuple[float | None, str]], limit_gb: float) -> Figure | None:
    known = [(value_mb, name) for value_mb, name in values_mb if value_mb is not None]
    if not known:
        return None
    value_mb, name = max(known, key=lambda item: item[0])
    value_gb = value_mb / MB_PER_GB
    state = "bad" if value_gb > limit_gb else "good"
    return Figure(label, f"{value_gb:.2f} GB", f"of {limit_gb:.3g} GB, {name}", state)
