"""The table of all images of a report: a row for each image and run, which a narrow screen shows as a card.

`templates/image_table.html` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mosaicell.evaluation.figures import MB_PER_GB
from mosaicell.evaluation.records import ImageRecord, Run

#: a cell shows about this much of a text at once; the pointer shows all
CELL_CHARACTERS = 28
#: longer remarks are cut
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


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the number to sort by where that is another; empty where nothing is known."""

    text: str
    numeric: bool = False
    sort_key: str = ""

    @property
    def is_long(self) -> bool:
        """Whether a screen may cut the text short, so that the pointer has to show it in full."""
        return len(self.text) > CELL_CHARACTERS


@dataclass(frozen=True)
class ImageRow:
    """One image of one run; its state is "failed", "doubtful" or empty."""

    name: Cell
    run: int
    state: str
    cells: list[Cell]


@dataclass(frozen=True)
class ImageTable:
    """All images, and the columns beside those of their names and runs."""

    columns: list[Column]
    rows: list[ImageRow]


def tabulate_images(runs: Sequence[Run]) -> ImageTable:
    """Return the table of all images, one row for each image and run, without columns that would be empty."""
    entries = sorted(
        ((image, index) for index, run in enumerate(runs) for image in run.images),
        key=lambda entry: (entry[0].key, entry[1], entry[0].name),
    )
    columns = _known_columns(runs)
    rows = [
        ImageRow(Cell(image.name), index, _state(image), [_image_cell(column, image) for column in columns])
        for image, index in entries
    ]
    return ImageTable(columns, rows)


def _known_columns(runs: Sequence[Run]) -> list[Column]:
    images = [image for run in runs for image in run.images]
    return [column for column in _image_columns() if any(map(column.text, images))]


def _image_columns() -> list[Column]:
    """Return all columns, first those that a reader compares."""
    return [
        Column("F1", lambda image: _text(image.f1, 3)),
        Column("Predicted F1", lambda image: _text(image.predicted_f1, 3)),
        Column("Cells", lambda image: "" if image.cells is None else f"{image.cells:,}", lambda image: image.cells),
        Column("Program, s", lambda image: _text(image.seconds.get("total"), 2)),
        Column("Wall, s", lambda image: _text(image.wall_s, 2)),
        Column("Of tolerance", _tolerance_used, lambda image: image.tolerance_share),
        Column("RAM, GB", lambda image: _text(image.ram_mb, 2, MB_PER_GB)),
        Column("GPU, GB", lambda image: _text(image.gpu_mb, 2, MB_PER_GB)),
        Column("Size", _size, lambda image: image.pixels),
        Column("Scale", lambda image: _text(image.scale, 2)),
        Column("Confidence", lambda image: _text(image.confidence, 2)),
        Column("Modality", lambda image: image.listed_modality or image.modality, numeric=False),
        Column("Branch", _branches, numeric=False),
        Column("Other branches", _other_branches, numeric=False),
        Column("Remarks", _remarks, numeric=False),
    ]


def _state(image: ImageRecord) -> str:
    return "failed" if image.failures else "doubtful" if image.doubtful else ""


def _image_cell(column: Column, image: ImageRecord) -> Cell:
    text = column.text(image)
    key = column.sort_key(image) if column.sort_key and text else None
    return Cell(text, column.numeric, f"{key:g}" if isinstance(key, float) else "" if key is None else str(key))


def _size(image: ImageRecord) -> str:
    return f"{image.width} x {image.height}" if image.pixels else ""


def _branches(image: ImageRecord) -> str:
    """Return the branch, or all with their cells, most first, where several gave some."""
    given = {name: count for name, count in image.cells_by_branch.items() if count}
    if len(given) < 2:
        return image.branch
    return ", ".join(f"{name} {given[name]:,}" for name in sorted(given, key=lambda name: (-given[name], name)))


def _other_branches(image: ImageRecord) -> str:
    """Return the branches that ran and gave no cell, with their confidences."""
    return ", ".join(
        f"{name} {value:.2f}"
        for name, value in image.confidences.items()
        if name != image.branch and not image.cells_by_branch.get(name)
    )


def _tolerance_used(image: ImageRecord) -> str:
    return "" if image.tolerance_share is None else f"{image.tolerance_share:.0%}"


def _remarks(image: ImageRecord) -> str:
    states = {"skipped, its mask was there": image.skipped, "doubtful": image.doubtful}
    remarks = [*image.failures, *(text for text, holds in states.items() if holds), *image.notes]
    text = "; ".join(remarks)
    return text if len(text) <= MAX_REMARK else f"{text[: MAX_REMARK - 1]}…"


def _text(value: float | None, digits: int, divisor: float = 1) -> str:
    return "" if value is None else f"{value / divisor:.{digits}f}"
