"""The table of cells: a row of a CSV file for each, with its shape and its values in every channel of the file."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from mosaicell.postprocess.shapes import Shapes, measure_shapes
from mosaicell.postprocess.values import Values, measure_values
from mosaicell.reading.pixels import Pixels
from mosaicell.systems import Choice
from mosaicell.writing.parts import write_whole

#: columns of one page by name, each with an entry for each cell
Columns = dict[str, np.ndarray]
#: columns that are places along y or x
PLACES = ("centroid_y_px", "centroid_x_px", "bbox_y0_px", "bbox_x0_px", "bbox_y1_px", "bbox_x1_px")
#: rows that are written at once
CHUNK_ROWS = 4096
#: significant digits of what is measured
DIGITS = 8


def measure_cells(
    choice: Choice, channels: Iterable[tuple[Sequence[str], Pixels]], pixel_um: tuple[float, float] | None
) -> Columns:
    """Measure the cells of a picture.

    Parameters
    ----------
    choice
        Its answer, with ids 1..n.
    channels
        Of its file, one after the other, each with a name for each of its samples; it is let go before the next.
    pixel_um
        Height and width of a pixel, where they are known.

    Returns
    -------
    dict of arrays (n,)
        In the order of the columns of the file.
    """
    shapes = measure_shapes(choice.labels)
    columns = _describe_shapes(shapes, choice, pixel_um)
    names: set[str] = set()
    for channel_names, pixels in channels:
        values = measure_values(choice.labels, pixels.read, len(shapes.areas))
        for sample in range(values.means.shape[0]):
            columns |= _describe_values(values, sample, _make_unique(channel_names[sample], names))
        if not len(shapes.areas):
            # no pixel was looked at, but the columns stand in every table
            for name in channel_names:
                columns |= _describe_values(Values(*np.zeros((4, 1, 0))), 0, _make_unique(name, names))
    return columns


def place_cells(columns: Columns, corner: tuple[int, int], shape_px: tuple[int, int], first_id: int) -> Columns:
    """Say of cells that were measured in a part of an image what is so in all of it.

    Parameters
    ----------
    columns
        From `measure_cells` of the part.
    corner
        Where the part begins.
    shape_px
        Height and width of the image.
    first_id
        Of the first cell.
    """
    along = {"y": corner[0], "x": corner[1]}
    placed = {name: columns[name] + along[name.split("_")[1][0]] for name in PLACES}
    low, high = (np.stack([placed[f"bbox_{axis}{end}_px"] for axis in "yx"], axis=1) for end in (0, 1))
    touch = (low == 0).any(axis=1) | (high == shape_px).any(axis=1)
    return columns | placed | {"label": columns["label"] + first_id - 1, "touches_border": touch.astype(np.uint8)}


def _describe_shapes(shapes: Shapes, choice: Choice, pixel_um: tuple[float, float] | None) -> Columns:
    number = len(shapes.areas)
    branches = np.array(list(choice.cells) or [choice.branch])
    own = list(choice.cells).index(choice.branch) if choice.branch in choice.cells else 0
    sources = np.full(number, own) if choice.sources is None else choice.sources
    unknown = np.full(number, np.nan)
    return {
        "label": np.arange(1, number + 1),
        "area_px": shapes.areas,
        "area_um2": unknown if pixel_um is None else shapes.areas * (pixel_um[0] * pixel_um[1]),
        "centroid_y_px": shapes.centroids[:, 0],
        "centroid_x_px": shapes.centroids[:, 1],
        "bbox_y0_px": shapes.boxes[:, 0],
        "bbox_x0_px": shapes.boxes[:, 1],
        "bbox_y1_px": shapes.boxes[:, 2],
        "bbox_x1_px": shapes.boxes[:, 3],
        "equivalent_diameter_px": shapes.diameters,
        "eccentricity": shapes.eccentricities,
        "solidity": shapes.solidities,
        "touches_border": shapes.touch_border(choice.labels.shape).astype(np.uint8),
        "branch": branches[sources],
        "likelihood": unknown if choice.likelihoods is None else choice.likelihoods.astype(np.float64),
    }


def _describe_values(values: Values, sample: int, name: str) -> Columns:
    return {
        f"mean_{name}": values.means[sample],
        f"min_{name}": values.lowest[sample],
        f"max_{name}": values.highest[sample],
        f"std_{name}": values.deviations[sample],
    }


def _make_unique(name: str, taken: set[str]) -> str:
    """Return a name that no other channel has: the same, or with a number behind."""
    unique = name if name not in taken else next(f"{name}_{n}" for n in count(2) if f"{name}_{n}" not in taken)
    taken.add(unique)
    return unique


def write_cell_table(path: str | os.PathLike[str], pages: Sequence[Columns]) -> None:
    """Write the cells of a picture, or of several pages, as CSV in UTF-8, whole or not at all.

    Parameters
    ----------
    path
        File to write or replace.
    pages
        From `measure_cells`. With more than one the first column is the page of the mask, from 1. What is not known is
        left empty.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(["page"] if len(pages) > 1 else []), *pages[0]])
        for page, columns in enumerate(pages, 1):
            if len(pages) > 1:
                columns = {"page": np.full(len(columns["label"]), page), **columns}
            for rows in _spell(columns):
                writer.writerows(rows)


def join_cell_tables(path: str | os.PathLike[str], names: Sequence[str], parts: Iterable[Path]) -> None:
    """Write the cells of one page as `write_cell_table` does, from files that `write_rows` wrote of parts of it.

    Parameters
    ----------
    path
        File to write or replace.
    names
        Of the columns.
    parts
        In the order of their cells.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    """
    with write_whole(path) as written, written.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(names)
        for part in parts:
            with part.open(encoding="utf-8", newline="") as rows:
                shutil.copyfileobj(rows, file)


def write_rows(path: Path, columns: Columns) -> None:
    """Write the rows of part of a table into a file, without the names of the columns.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        for rows in _spell(columns):
            csv.writer(file, lineterminator="\n").writerows(rows)


def _spell(columns: Columns) -> Iterator[Iterable[tuple[str, ...]]]:
    """Give the rows of a table as texts, some at a time."""
    for first in range(0, len(columns["label"]), CHUNK_ROWS):
        yield zip(*(_spell_column(column[first : first + CHUNK_ROWS]) for column in columns.values()), strict=True)


def _spell_column(values: np.ndarray) -> list[str]:
    if values.dtype.kind != "f":
        return list(map(str, values.tolist()))
    return [f"{value:.{DIGITS}g}" if value == value else "" for value in values.tolist()]
