"""Outlines of cells as GeoJSON, in the form in which QuPath reads objects; geopandas and shapely read it too."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from mosaicell.postprocess.outlines import Polygon, trace_outlines
from mosaicell.writing.parts import write_whole

#: ids are made within this one, so that they are the same again for the same cell of the same run
NAMESPACE = uuid.UUID("5f0c2d3e-6f0b-5d9c-9a35-3f6a0c8c9b1e")
#: columns of the table that are no measurements, or that the outline says
NO_MEASUREMENTS = frozenset(
    {"label", "centroid_y_px", "centroid_x_px", "bbox_y0_px", "bbox_x0_px", "bbox_y1_px", "bbox_x1_px", "branch"}
)
#: significant digits of measurements
DIGITS = 8


def write_geojson(
    path: str | os.PathLike[str],
    pages: Iterable[np.ndarray],
    tables: Iterable[Mapping[str, np.ndarray]],
    planes: Iterable[Mapping[str, Any]],
    origin: str,
) -> None:
    """Write the cells of a picture, or of several pages, as a FeatureCollection, whole or not at all.

    Parameters
    ----------
    path
        File to write or replace.
    pages
        Label images (y, x), 1..n without gaps.
    tables
        Of the cells of each, as `cell_table.measure_cells` gives them: the numbers that are known become QuPath's
        measurements.
    planes
        For each, "t" and "z" as run.json has them. Where there are several pages each outline says on which plane it
        lies.
    origin
        What the pages are of: the ids of cells are made from it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    places = list(planes)
    with write_whole(path) as part, part.open("w", encoding="ascii") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        before = "\n"
        for number, (labels, table, place) in enumerate(zip(pages, tables, places, strict=True), 1):
            plane = _spell_plane(place) if len(places) > 1 else ""
            for feature in _describe_cells(labels, table, plane, f"{origin} {number}"):
                file.write(before + feature)
                before = ",\n"
        file.write("\n]}\n")


def _spell_plane(place: Mapping[str, Any]) -> str:
    """Say where a page lies, from 0, as a further member of a geometry; QuPath's channel -1 stands for all."""
    z = place["z"]
    plane = {"c": -1, "z": z - 1 if isinstance(z, int) else 0, "t": place["t"] - 1}
    return f', "plane": {json.dumps(plane)}'


def _describe_cells(labels: np.ndarray, table: Mapping[str, np.ndarray], plane: str, origin: str) -> Iterator[str]:
    """Give the feature of each cell as text."""
    names = [name for name in table if name not in NO_MEASUREMENTS]
    columns = [table[name].astype(np.float64) for name in names]
    for cell, polygons in trace_outlines(labels):
        values = [float(column[cell - 1]) for column in columns]
        measured = {name: _round(value) for name, value in zip(names, values, strict=True) if math.isfinite(value)}
        properties = {"objectType": "detection", "name": str(cell), "measurements": measured}
        yield (
            f'{{"type": "Feature", "id": "{uuid.uuid5(NAMESPACE, f"{origin} {cell}")}", '
            f'"geometry": {{{_spell_polygons(polygons)}{plane}}}, "properties": {json.dumps(properties)}}}'
        )


def _round(value: float) -> float | int:
    return int(value) if value.is_integer() else float(f"{value:.{DIGITS}g}")


def _spell_polygons(polygons: list[Polygon]) -> str:
    """Return the members of a geometry as text; formatting points is most of the work, which json takes longer for."""
    spelt = [f"[{', '.join(map(_spell_ring, polygon))}]" for polygon in polygons]
    if len(spelt) == 1:
        return f'"type": "Polygon", "coordinates": {spelt[0]}'
    return f'"type": "MultiPolygon", "coordinates": [{", ".join(spelt)}]'


def _spell_ring(ring: np.ndarray) -> str:
    """Spell a ring, which ends where it began."""
    points = ring.ravel().tolist()
    return "[" + "[%d,%d]," * len(ring) % tuple(points) + f"[{points[0]},{points[1]}]]"
