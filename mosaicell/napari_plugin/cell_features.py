"""The table of cells as napari keeps it beside labels: a row for each id, of which the first is the background's."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mosaicell.writing.cell_table import Columns


def to_features(columns: Columns) -> Columns:
    """Give a table of cells the form of a labels layer's features.

    Parameters
    ----------
    columns
        Arrays (n,) of the cells 1..n, in this order.

    Returns
    -------
    dict of arrays (n + 1,)
        Row i is that of the id i, and `index` says so too: napari goes by the one or the other. Of the background, row
        0, nothing is known: NaN, or an empty text.
    """
    count = len(columns["label"])
    features = {"index": np.arange(count + 1)}
    for name, values in columns.items():
        nothing = [""] if values.dtype.kind in "OU" else [np.nan]
        features[name] = np.concatenate([nothing, values])
    features.pop("label")
    return features


def read_table(path: Path) -> Columns:
    """Read what `write_cell_table` wrote.

    Returns
    -------
    dict of arrays (n,)
        Integers or floats, NaN where the field is empty; texts where one of them is no number.

    Raises
    ------
    ValueError
        When it is no such table.
    OSError
        When it cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = [*csv.reader(file)] or [[]]
    if "label" not in names or any(len(row) != len(names) for row in rows):
        raise ValueError("it is no table of cells")
    return {name: _read_column([row[place] for row in rows]) for place, name in enumerate(names)}


def _read_column(texts: list[str]) -> np.ndarray:
    for read in (int, lambda text: float(text or "nan")):
        try:
            return np.array([read(text) for text in texts])
        except ValueError:
            continue
    return np.array(texts)
