"""The work on one slide that several processes share: each of its steps, done where files and memory suffice for it.

A slide is planned once, its rows of blocks are segmented by whoever is free, what two blocks own both is counted part
by part, and then part by part is numbered and written. Steps that are done again give the same files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.band_plan import BandPlan
from mosaicell.answers.slide import Division
from mosaicell.errors import ImageError
from mosaicell.machine.limits import Limits
from mosaicell.options import Options
from mosaicell.pictures.channel_choice import choose_channels
from mosaicell.pictures.selection import Selection
from mosaicell.postprocess.blocks import Owned
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.contested import UNWANTED, Key, Meetings, find_meetings, paint
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.images import OpenImage, open_pixels
from mosaicell.reading.pixels import REDUCTIONS, PartPixels
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.slide_blocks import BlockFiles, Contested, Summary
from mosaicell.runs.slide_division import Rows
from mosaicell.systems import Choice
from mosaicell.writing.cell_table import measure_cells, place_cells, write_rows
from mosaicell.writing.ome_zarr_parts import LabelParts

#: side of what is numbered and written at once: 0.27 GB of labels, and as much of blocks that lie in it
SIDE_PX = 8192


@dataclass(frozen=True)
class SlidePlan:
    """What is decided once about a slide.

    Attributes
    ----------
    bands
        How it is segmented.
    selection
        The picture that was chosen, as a user would ask for it.
    shape_px, source_dtype, pixel_um
        Of the image.
    described
        What run.json says of picture and answer.
    seconds
        That the plan took.
    """

    bands: BandPlan
    selection: Selection
    shape_px: tuple[int, int]
    source_dtype: str
    pixel_um: tuple[float, float] | None
    described: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Numbering:
    """What is settled about the cells of a part of a slide.

    Attributes
    ----------
    first_ids
        Of the blocks that reach into it, by number.
    left
        What is left of contested cells of these.
    """

    first_ids: dict[int, int]
    left: dict[Key, int]


class SlideWork:
    """The steps of the work on one slide.

    Parameters
    ----------
    options
        Of the run.
    segmentation
        What segments.
    path, opener
        The image, and what opens it.
    """

    def __init__(self, options: Options, segmentation: Segmentation, path: Path, opener: Opener) -> None:
        self._options, self._segmentation, self._path, self._opener = options, segmentation, path, opener

    def plan(self) -> tuple[SlidePlan, list[str]]:
        """Decide how the slide is segmented; return also what was decided for the user about pictures.

        Raises
        ------
        ImageError
            If the file cannot be read, or more than one picture of it is asked for.
        """
        started_s = time.perf_counter()
        segmentation, options = self._segmentation, self._options
        with self._open(options.selection) as (image, limits):
            pictures = image.pictures
            channels, _ = choose_channels(
                pictures, lambda pixels, glance: segmentation.attempt(pixels, limits, glance=glance)
            )
            page = pictures.first_page()
            if len(pictures.pages) > 1 or not (isinstance(page.z, int) or page.z in REDUCTIONS):
                raise ImageError(
                    "is split over the workers, which segment one time and one plane: say which with --t N and --z N, "
                    "or --z max or mean"
                )
            modality, choice, bands = segmentation.plan(pictures.open(channels, page), limits, tta=options.tta)
            selection = Selection(
                channels=tuple(str(channel + 1) for channel in channels),
                z=page.z + 1 if isinstance(page.z, int) else page.z,
                time=page.time + 1,
                scene=pictures.scene + 1,
            )
            confidences = {name: round(value, 4) for name, value in choice.confidences.items()}
            described = {**pictures.describe(), "modality": modality, "confidences": confidences}
            return SlidePlan(
                bands,
                selection,
                pictures.stack.shape_px,
                image.source_dtype,
                image.resolution.pixel_um if image.resolution else None,
                described,
                time.perf_counter() - started_s,
            ), pictures.decisions.sentences()

    def segment(
        self, plan: SlidePlan, division: Division, rows: Rows, files: BlockFiles
    ) -> tuple[list[Summary], list[str]]:
        """Segment rows of blocks and write what each owns; return also what was decided about the pixels.

        Raises
        ------
        ImageError, OSError
            If the file cannot be read, or blocks cannot be written.
        """
        cores = [core for row in rows.blocks for core in row]
        numbers = dict(zip(cores, (number for row in rows.numbers for number in row), strict=True))
        found: list[Summary] = []

        def take(core: Bounds, owned: Owned) -> None:
            branches = len(plan.bands.names)
            found.append(files.write(numbers[core], owned, plan.shape_px, self._options, branches))

        with self._open(plan.selection) as (image, limits):
            self._segmentation.segment_rows(image.pixels, plan.bands, division, rows.blocks, limits, take)
            return found, list(image.notes)

    def meet(self, files: BlockFiles, numbers: Sequence[int], region: Bounds) -> tuple[Meetings, dict[Key, Contested]]:
        """Count the pixels of a region that cells of several blocks want, and say what these cells are."""
        blocks = files.read_cut(numbers, region)
        meetings = find_meetings([block.crop for block in blocks], region)
        by_number = {block.crop.number: block for block in blocks}
        keys = {key for meeting in meetings for key in meeting}
        return meetings, {(number, label): by_number[number].describe(label) for number, label in keys}

    def write(self, files: BlockFiles, numbering: Numbering, labels: LabelParts, region: Bounds) -> None:
        """Write a part of the label image, with the ids that its cells are to have."""
        blocks = files.read_cut(list(numbering.first_ids), region)
        tables = [
            block.number_cells(numbering.left, self._options, numbering.first_ids[block.crop.number])
            for block in blocks
        ]
        labels.write(region, paint([block.crop for block in blocks], tables, region))

    def measure(self, plan: SlidePlan, files: BlockFiles, numbering: Numbering, number: int | None) -> list[str]:
        """Measure the cells of a block, write their rows of the table, and return the names of its columns.

        Parameters
        ----------
        plan
            Of the slide.
        files
            Its blocks.
        numbering
            Of the block, and of those that may have pixels of its cells where some are contested.
        number
            The block; None measures nothing.
        """
        labels, bounds = np.zeros((1, 1), np.uint32), (0, 0, 1, 1)
        first_id, sources, likelihoods = 1, np.zeros(0, np.uint8), np.zeros(0, np.float32)
        if number is not None:
            own = files.read(number)
            bounds, first_id = own.crop.bounds, numbering.first_ids[number]
            blocks = files.read_cut(list(numbering.first_ids), bounds)
            tables = [block.number_cells(numbering.left, self._options, 1) for block in blocks]
            for block, table in zip(blocks, tables, strict=True):
                if block.crop.number != number:
                    table[table > 0] = UNWANTED
                else:
                    wanted = ((table > 0) & (table != UNWANTED))[1:]
                    sources, likelihoods = block.sources[wanted], block.likelihoods[wanted]
            labels = paint([block.crop for block in blocks], tables, bounds)
        names = plan.bands.names
        choice = Choice(labels, names[0], dict.fromkeys(names, 0), {}, None, {}, plan.bands.scale, sources, likelihoods)
        with self._open(plan.selection) as (image, _):
            pictures = image.pictures
            pictures.take(pictures.candidates[0])
            channels = (
                (names, PartPixels(pixels, bounds)) for names, pixels in pictures.open_all(pictures.first_page())
            )
            columns = measure_cells(choice, channels, plan.pixel_um)
        if number is not None:
            part = files.folder / os.urandom(8).hex()
            write_rows(part, place_cells(columns, bounds[:2], plan.shape_px, first_id))
            part.replace(files.find_table(number))
        return list(columns)

    def reduce(self, labels: LabelParts) -> None:
        """Write the levels of the pyramid that parts have no whole chunks of."""
        labels.reduce()

    @contextmanager
    def _open(self, selection: Selection) -> Iterator[tuple[OpenImage, Limits]]:
        segmentation = self._segmentation
        limits = replace(segmentation.measure_limits(), part_px=SIDE_PX**2)
        with open_pixels(self._path, limits, segmentation.threads, self._opener, selection) as image:
            yield image, limits
