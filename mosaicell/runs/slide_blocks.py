"""Blocks of a slide in files, between the workers that segment them and those that number and paint their cells."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosaicell.answers.cell_filter import are_wanted
from mosaicell.options import Options
from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.blocks import Owned
from mosaicell.postprocess.bounds import Bounds, bounding_boxes
from mosaicell.postprocess.contested import UNWANTED, Crop, Key

#: deflate level of labels, which are mostly runs
LEVEL = 1


@dataclass(frozen=True)
class Contested:
    """What a contested cell is.

    Attributes
    ----------
    area_px
        Its pixels, as found.
    touches
        Whether it touches the border of the slide.
    source
        The branch that it is from.
    """

    area_px: int
    touches: bool
    source: int

    def is_wanted(self, area_px: int, options: Options) -> bool:
        """Say whether it is wanted where it has so many pixels."""
        return bool(are_wanted(np.array([area_px]), np.array([self.touches]), options)[0])


@dataclass(frozen=True)
class Block:
    """The cells that a block owns.

    Attributes
    ----------
    crop
        Where they are.
    areas
        int64 (n,), of the ids from 1: pixels of each, as found.
    touch
        bool (n,): which touch the border of the slide.
    sources, likelihoods
        As in `blocks.Owned`.
    """

    crop: Crop
    areas: np.ndarray
    touch: np.ndarray
    sources: np.ndarray
    likelihoods: np.ndarray

    def describe(self, label: int) -> Contested:
        """Return what a cell is."""
        place = label - 1
        return Contested(int(self.areas[place]), bool(self.touch[place]), int(self.sources[place]))

    def number_cells(self, left: Mapping[Key, int], options: Options, first_id: int) -> np.ndarray:
        """Return the new id by id, uint32 (n + 1,), for `contested.paint`; the first wanted cell gets `first_id`."""
        areas = self._settle(left)
        wanted = are_wanted(areas, self.touch, options)
        ids = np.where(wanted, first_id - 1 + np.cumsum(wanted), np.where(areas > 0, np.int64(UNWANTED), 0))
        return np.concatenate([[0], ids]).astype(np.uint32)

    def _settle(self, left: Mapping[Key, int]) -> np.ndarray:
        areas = self.areas.copy()
        for (number, label), pixels in left.items():
            if number == self.crop.number:
                areas[label - 1] = pixels
        return areas


@dataclass(frozen=True)
class Summary:
    """What whoever puts a slide together has to know of a block.

    Attributes
    ----------
    number, bounds
        As in `Crop`.
    wanted
        (s,): how many of its cells the user wants, by the branch that they are from, if none is contested.
    totals, undecided
        As in `blocks.Owned`.
    """

    number: int
    bounds: Bounds
    wanted: np.ndarray
    totals: np.ndarray
    undecided: int


class BlockFiles:
    """Blocks in a folder that all workers see, a file for each that owns a cell.

    Parameters
    ----------
    folder
        It exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, number: int, owned: Owned, shape_px: tuple[int, int], options: Options, branches: int) -> Summary:
        """Write a block of a slide of this height and width; whole or not at all, again by whoever does it again.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if not owned.sources.size:
            return Summary(number, owned.bounds, np.zeros(branches, np.int64), owned.totals, owned.undecided)
        boxes = bounding_boxes(owned.labels, owned.sources.size + 1)[1:]
        y0, x0 = owned.bounds[:2]
        touch = (boxes[:, :2] + (y0, x0) == 0).any(axis=1) | (boxes[:, 2:] + (y0, x0) == shape_px).any(axis=1)
        crop = Crop(number, owned.bounds, owned.labels)
        block = Block(crop, count_pixels(owned.labels)[1:], touch, owned.sources, owned.likelihoods)
        part = self.folder / os.urandom(8).hex()
        with part.open("wb") as file:
            np.savez(
                file,
                bounds=np.array(owned.bounds),
                packed=np.frombuffer(zlib.compress(owned.labels.tobytes(), LEVEL), np.uint8),
                areas=block.areas,
                touch=touch,
                sources=owned.sources,
                likelihoods=owned.likelihoods,
            )
        part.replace(self._path(number))
        wanted = np.bincount(owned.sources[are_wanted(block.areas, touch, options)], minlength=branches)
        return Summary(number, owned.bounds, wanted, owned.totals, owned.undecided)

    def read(self, number: int) -> Block:
        """Read a block.

        Raises
        ------
        OSError
            If it is not there or cannot be read.
        """
        with np.load(self._path(number), allow_pickle=False) as stored:
            y0, x0, y1, x1 = stored["bounds"].tolist()
            labels = np.frombuffer(zlib.decompress(stored["packed"].tobytes()), np.uint32).reshape(y1 - y0, x1 - x0)
            crop = Crop(number, (y0, x0, y1, x1), labels)
            return Block(crop, stored["areas"], stored["touch"], stored["sources"], stored["likelihoods"])

    def read_cut(self, numbers: Sequence[int], region: Bounds) -> list[Block]:
        """Read blocks, of whose labels only what lies in a region is held."""
        return [self._cut(self.read(number), region) for number in sorted(numbers)]

    def find_table(self, number: int) -> Path:
        """Return where the rows of the table of a block's cells lie."""
        return self.folder / f"{number}.csv"

    def _cut(self, block: Block, region: Bounds) -> Block:
        cut = block.crop.cut(region)
        crop = Crop(cut.number, cut.bounds, cut.labels.copy())
        return Block(crop, block.areas, block.touch, block.sources, block.likelihoods)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.npz"
