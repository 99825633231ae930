"""The reader: masks of the program as labels, with the table of their cells where one lies beside them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.errors import ImageError
from mosaicell.napari_plugin.cell_features import read_table, to_features
from mosaicell.options import EXTRAS
from mosaicell.reading.forms import open_form
from mosaicell.reading.tiff import open_series, tables_quota, tiff_errors
from mosaicell.writing.cell_table import Columns
from mosaicell.writing.masks import LABEL_SUFFIX

TABLE_SUFFIX = EXTRAS["table"]
#: axes of a series of masks: pages of which nothing is known, times, planes, rows and columns
MASK_AXES = frozenset("IQTZYX")
#: data, settings and kind of a layer
LayerData = tuple[np.ndarray, dict[str, Any], str]


def get_reader(path: str | os.PathLike[str] | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return what reads a mask, or the table beside it; None for whatever is neither.

    Parameters
    ----------
    path
        `NAME_label.tiff` or `NAME_cells.csv`. A list, which is to become one layer, is neither.
    """
    if isinstance(path, list):
        return None
    return read_mask if _is_mask(_find_mask(Path(path))) else None


def read_mask(path: str | os.PathLike[str]) -> list[LayerData]:
    """Read a mask as a layer of labels.

    Parameters
    ----------
    path
        The mask, or the table beside it.

    Returns
    -------
    list of one layer
        uint32 (y, x), of several pages (page, y, x) or as OME says, in pixels, as napari opens the image. Its features
        are the table; without them where there is none, and with a warning where it is not that of the mask.

    Raises
    ------
    ImageError
        When the file is damaged.
    """
    mask = _find_mask(Path(path))
    with open_form(mask) as (file, _), tiff_errors():
        with tables_quota(file):
            _, found = open_series(file)
        labels = found[0].asarray(maxworkers=1).astype(np.uint32)
    name = mask.name.removesuffix(LABEL_SUFFIX)
    settings: dict[str, Any] = {"name": f"{name} cells"}
    table = mask.with_name(name + TABLE_SUFFIX)
    if table.is_file():
        settings["features"] = _read_features(table, labels)
    return [(labels, settings, "labels")]


def _find_mask(path: Path) -> Path:
    if path.name.endswith(TABLE_SUFFIX):
        return path.with_name(path.name.removesuffix(TABLE_SUFFIX) + LABEL_SUFFIX)
    return path


def _is_mask(path: Path) -> bool:
    """Say whether the name and the tables of a file are those of a mask, without a look at its pixels."""
    if not path.name.endswith(LABEL_SUFFIX) or not path.is_file():
        return False
    try:
        with open_form(path) as (file, form):
            if form != "TIFF":
                return False
            with tiff_errors(), tables_quota(file):
                _, found = open_series(file)
    except ImageError:
        return False
    return len(found) == 1 and found[0].dtype.kind == "u" and set(found[0].axes) <= MASK_AXES


def _read_features(table: Path, labels: np.ndarray) -> Columns:
    """Read a table; say why, and return an empty one, where its rows are not the cells of the mask."""
    try:
        columns = read_table(table)
    except (OSError, ValueError) as error:
        warnings.warn(f"{table.name} cannot be read: {error}", stacklevel=2)
        return {}
    if labels.ndim > 2:
        warnings.warn(f"{table.name} is left out: ids begin anew on each page of its mask", stacklevel=2)
        return {}
    if not np.array_equal(columns["label"], np.arange(1, labels.max() + 1)):
        warnings.warn(f"{table.name} is left out: its rows are not the cells of the mask", stacklevel=2)
        return {}
    return to_features(columns)
