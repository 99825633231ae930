"""Outlines of cells as ImageJ's regions of interest: a zip archive that its ROI Manager opens.

A region of one piece without holes is a traced one, as ImageJ's wand makes it: its points are corners of pixels, and it
holds the very pixels of the cell. Any other is a composite. ImageJ's RoiEncoder defines the form.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterable

import numpy as np

from mosaicell.postprocess.outlines import Polygon, trace_outlines
from mosaicell.writing.parts import write_whole

VERSION = 227
#: numbers of kinds of regions; a composite counts as a rectangle that lists its pieces
RECTANGLE, TRACED = 1, 8
#: from here on a traced region cannot say where it is, or how many points it has
MOST_PX, MOST_POINTS = 32767, 65535
#: a composite lists points after these: go there, draw to there, back to the first
MOVE, LINE, CLOSE = 0.0, 1.0, 4.0
#: ImageJ's header: kind, box, points, what composites take, and the plane; big-endian
HEADER = struct.Struct(">4shBx4hH16xhi14xhii")
#: deflate level of the archive
LEVEL = 1
#: entries of an archive have no time of their own, so that it is the same again for the same cells
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_rois(path: str | os.PathLike[str], pages: Iterable[np.ndarray], count: int = 1) -> None:
    """Write the outlines of the cells of label images (y, x) as a zip archive, whole or not at all.

    Parameters
    ----------
    path
        File to write or replace.
    pages
        Label images; the regions of the second are on the second plane of a stack, and so on.
    count
        How many there are. With several, regions are called after the page and the id of their cell, else after the id.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with write_whole(path) as part, zipfile.ZipFile(part, "w") as archive:
        for page, labels in enumerate(pages, 1):
            before, place = (f"{page}-", page) if count > 1 else ("", 0)
            digits = len(str(int(labels.max(initial=0))))
            for cell, polygons in trace_outlines(labels):
                entry = zipfile.ZipInfo(f"{before}{cell:0{digits}d}.roi", EPOCH)
                archive.writestr(entry, encode_roi(polygons, place), zipfile.ZIP_DEFLATED, LEVEL)


def encode_roi(polygons: list[Polygon], plane: int = 0) -> bytes:
    """Return ImageJ's form of a region.

    Parameters
    ----------
    polygons
        As `trace_outlines` gives them.
    plane
        Of a stack, from 1; 0 for all.
    """
    outer = polygons[0][0]
    is_plain = len(polygons) == 1 and len(polygons[0]) == 1
    points = np.concatenate([ring for polygon in polygons for ring in polygon])
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    if is_plain and len(outer) <= MOST_POINTS and max(right, bottom) <= MOST_PX:
        header = _pack_header(TRACED, (top, left, bottom, right), len(outer), 0, plane)
        return header + (outer - (left, top)).T.astype(">i2").tobytes()
    pieces = np.concatenate([_list_pieces(ring) for polygon in polygons for ring in polygon])
    return _pack_header(RECTANGLE, (top, left, bottom, right), 0, pieces.size, plane) + pieces.astype(">f4").tobytes()


def _pack_header(kind: int, box: tuple[int, int, int, int], points: int, listed: int, plane: int) -> bytes:
    # ImageJ reads what is below -5000 as beyond 32767
    sides = [(side + 0x8000) % 0x10000 - 0x8000 for side in box]
    return HEADER.pack(b"Iout", VERSION, kind, *sides, points, 0, listed, 0, plane, 0)


def _list_pieces(ring: np.ndarray) -> np.ndarray:
    """Return a ring as a composite lists it."""
    steps = np.full((len(ring), 3), LINE)
    steps[0, 0], steps[:, 1:] = MOVE, ring
    return np.append(steps.ravel(), CLOSE)
