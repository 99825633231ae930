"""A label image as OME-Zarr that several processes write part by part, none of which holds it whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.postprocess.bounds import Bounds
from mosaicell.writing.ome_zarr import (
    CHUNK_PX,
    LABELS,
    NAME,
    count_levels,
    cut_chunks,
    describe_array,
    describe_labels,
    find_chunk,
    pack_chunk,
    unpack_chunk,
    write_group,
)


@dataclass(frozen=True)
class LabelParts:
    """The group `labels/mosaicell` of a folder, as `ome_zarr.write_ome_zarr` would write it.

    Attributes
    ----------
    folder
        Of the OME-Zarr.
    shape_px
        Height and width of the label image.
    version
        One of `options.NGFF_VERSIONS`.
    side_px
        Of a part, `CHUNK_PX` times a power of 2: no two parts share a chunk, also not of the levels that parts write.
    spare
        A folder of the same file system, for chunks that are being written.

    Notes
    -----
    A chunk is there whole or not at all, and written again, to the same bytes, by whoever does its part again.
    """

    folder: Path
    shape_px: tuple[int, int]
    version: str
    side_px: int
    spare: Path

    def describe(self, pixel_um: tuple[float, float] | None, further: dict[str, Any]) -> None:
        """Write all but the chunks: groups and arrays, with further attributes of the group of the labels."""
        write_group(self.folder, {}, self.version)
        (self.folder / LABELS).mkdir()
        write_group(self.folder / LABELS, {"labels": [NAME]}, self.version)
        steps = [2**level for level in range(count_levels(self.shape_px))]
        for level in range(len(steps)):
            height, width = self._shape(level)
            describe_array(self._array(level), {"y": height, "x": width}, self.version)
        write_group(self.folder / LABELS / NAME, describe_labels((), steps, pixel_um), self.version, further)

    def list_parts(self) -> list[Bounds]:
        """Divide the label image into parts."""
        (height, width), side = self.shape_px, self.side_px
        return [
            (y, x, min(y + side, height), min(x + side, width))
            for y in range(0, height, side)
            for x in range(0, width, side)
        ]

    def write(self, bounds: Bounds, labels: np.ndarray) -> None:
        """Write the labels (y, x) of a part, and the levels of the pyramid of which it has whole chunks."""
        for level in range(min(self._shared_levels, count_levels(self.shape_px))):
            step = 2**level
            first_row, first_column = (at // step // CHUNK_PX for at in bounds[:2])
            for row, column, chunk in cut_chunks(labels[::step, ::step]):
                self._write_chunk(level, (first_row + row, first_column + column), chunk)

    def reduce(self) -> None:
        """Write the other levels, once all parts are written."""
        for level in range(self._shared_levels, count_levels(self.shape_px)):
            rows, columns = (-(-side // CHUNK_PX) for side in self._shape(level))
            for row in range(rows):
                for column in range(columns):
                    self._write_chunk(level, (row, column), self._reduce_chunk(level, row, column))

    @property
    def _shared_levels(self) -> int:
        """How many levels parts have whole chunks of."""
        return (self.side_px // CHUNK_PX).bit_length()

    def _shape(self, level: int) -> tuple[int, int]:
        height, width = (-(-side // 2**level) for side in self.shape_px)
        return height, width

    def _array(self, level: int) -> Path:
        return self.folder / LABELS / NAME / str(level)

    def _reduce_chunk(self, level: int, row: int, column: int) -> np.ndarray:
        """Return a chunk of a level from the four of the level before that it shows."""
        half = CHUNK_PX // 2
        chunk = np.zeros((CHUNK_PX, CHUNK_PX), np.uint32)
        for down in (0, 1):
            for right in (0, 1):
                place = (2 * row + down, 2 * column + right)
                path = find_chunk(self._array(level - 1), place, self.version)
                if path.exists():
                    quarter = unpack_chunk(path.read_bytes(), self.version)[::2, ::2]
                    chunk[down * half : (down + 1) * half, right * half : (right + 1) * half] = quarter
        return chunk

    def _write_chunk(self, level: int, place: tuple[int, int], chunk: np.ndarray) -> None:
        if not chunk.any():
            return
        path = find_chunk(self._array(level), place, self.version)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = self.spare / os.urandom(8).hex()
        written.write_bytes(pack_chunk(chunk, self.version))
        written.replace(path)
