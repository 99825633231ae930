"""What the runs on one image took and gave, and the tables of many: the challenge's CSV and a summary to read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mosaicell.evaluation.tolerance import seconds_over, tolerance_s
from mosaicell.reading.images import write_whole

#: the first three are those of the challenge's own table
COLUMNS = (
    "Img Name",
    "Real Running Time",
    "Rank Running Time",
    "Slowest Running Time",
    "Height",
    "Width",
    "Pixels",
    "Tolerance",
    "Peak RAM MB",
    "Peak GPU MB",
    "Exit Code",
    "Mask",
    "Failure",
)
SUMMARY_COLUMNS = (
    "image",
    "pixels",
    "tolerance s",
    "seconds",
    "slowest",
    "over",
    "RAM MB",
    "GPU MB",
    "mask",
    "failure",
)
VALID = "valid"
MB = 1e6


@dataclass(frozen=True)
class TimedImage:
    """All runs on one image.

    Attributes
    ----------
    name : str
        File name.
    seconds : tuple of float
        Wall time of every run.
    shape : (int, int) or None
        Height and width in pixels; None when the image cannot be read.
    peak_ram_bytes, peak_gpu_bytes : int or None
        Highest of all runs; None when not known.
    exit_code : int
        Of the first run that failed, else 0.
    mask : str
        "valid", "missing" or what is wrong with it, of the first run whose mask was not valid.
    failure : str
        Why a run counts as failed, empty when none does.
    note : str
        What could not be checked.
    """

    name: str
    seconds: tuple[float, ...]
    shape: tuple[int, int] | None
    peak_ram_bytes: int | None
    peak_gpu_bytes: int | None
    exit_code: int
    mask: str
    failure: str
    note: str = ""

    @property
    def pixels(self) -> int | None:
        """Height times width."""
        return None if self.shape is None else self.shape[0] * self.shape[1]

    @property
    def median_s(self) -> float:
        """Median wall time of the runs."""
        return median(self.seconds)

    @property
    def slowest_s(self) -> float:
        """Longest wall time of the runs."""
        return max(self.seconds)

    @property
    def tolerance_s(self) -> float:
        """Seconds that are free."""
        return tolerance_s(self.pixels)

    @property
    def over_s(self) -> float:
        """Seconds of the median beyond the tolerance."""
        return seconds_over(self.median_s, self.pixels)


def write_csv(path: Path, images: Sequence[TimedImage]) -> None:
    """Write a row of `COLUMNS` for each image: times in s, memory in MB (10^6 bytes), empty where not known."""
    # a file name may hold bytes that are no UTF-8
    with write_whole(path) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for image in images:
            height, width = image.shape or ("", "")
            times = (f"{seconds:.4f}" for seconds in (image.median_s, image.over_s, image.slowest_s))
            pixels = "" if image.pixels is None else image.pixels
            memory = (_megabytes(image.peak_ram_bytes, ".1f"), _megabytes(image.peak_gpu_bytes, ".1f"))
            result = (image.exit_code, image.mask, image.failure)
            writer.writerow((image.name, *times, height, width, pixels, f"{image.tolerance_s:.4f}", *memory, *result))


def read_names(path: Path) -> list[str]:
    """Return the names of the images in a table of `write_csv`.

    Raises
    ------
    ValueError
        If the file is no such table.
    OSError
        If it cannot be read.
    """
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        try:
            rows = list(csv.reader(file))
        except csv.Error as error:
            raise ValueError(f"{path} is not a table of running times: {error}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(f"{path} is not a table of running times: its first line is another")
    return [row[0] for row in rows[1:] if row]


def summarise(title: str, images: Sequence[TimedImage]) -> str:
    """Return a Markdown page: a table with a row for each image, and totals.

    Parameters
    ----------
    title : str
        What was timed and under which limits.
    images : sequence of TimedImage
        In the order of the rows.
    """
    rows = [SUMMARY_COLUMNS, ("---", *["---:"] * 7, "---", "---"), *map(_summary_row, images)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    notes = [f"- {_escape(image.name)}: {_escape(image.note)}" for image in images if image.note]
    lines = ["# Running times", "", _escape(title), "", *table, "", *_totals(images), *notes]
    # names that are no UTF-8 can be neither printed nor read
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _summary_row(image: TimedImage) -> tuple[str, ...]:
    pixels = "" if image.pixels is None else f"{image.pixels:,}"
    times = (f"{image.tolerance_s:.1f}", *(f"{time:.2f}" for time in (image.median_s, image.slowest_s, image.over_s)))
    memory = (_megabytes(image.peak_ram_bytes, ",.0f"), _megabytes(image.peak_gpu_bytes, ",.0f"))
    return (_escape(image.name), pixels, *times, *memory, _escape(image.mask), _escape(image.failure))


def _totals(images: Sequence[TimedImage]) -> list[str]:
    late = [image for image in images if image.over_s]
    lines = [
        f"- images: {len(images)}",
        f"- failures: {sum(bool(image.failure) for image in images)}",
        f"- out-of-tolerance seconds: {sum(image.over_s for image in late):.2f} in {len(late)} images",
    ]
    if not images:
        return lines
    worst = max(images, key=lambda image: image.median_s / image.tolerance_s)
    share = f"{worst.median_s:.2f} s, {worst.median_s / worst.tolerance_s:.0%} of {worst.tolerance_s:.1f} s"
    lines.append(f"- slowest relative to its tolerance: {_escape(worst.name)}, {share}")
    lines.append(_highest("RAM", images, lambda image: image.peak_ram_bytes))
    lines.append(_highest("GPU memory", images, lambda image: image.peak_gpu_bytes))
    return lines


def _highest(what: str, images: Sequence[TimedImage], peak: Callable[[TimedImage], int | None]) -> str:
    known = {image.name: amount for image in images if (amount := peak(image)) is not None}
    if not known:
        return f"- highest {what}: not measured"
    name = max(known, key=lambda name: known[name])
    return f"- highest {what}: {_escape(name)}, {_megabytes(known[name], ',.0f')} MB"


def _megabytes(amount: int | None, form: str) -> str:
    return "" if amount is None else format(amount / MB, form)


def _escape(text: str) -> str:
    """Keep a text within its cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
