"""The work on one image of a run: it is read, segmented, and its results are written; a failure is told, not raised."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.answer import Answer
from mosaicell.answers.cell_filter import filter_cells
from mosaicell.contrast.stains import SEEN_WITHOUT_BROWN
from mosaicell.errors import ImageError
from mosaicell.networks.augmentation import VIEWS
from mosaicell.options import Options
from mosaicell.pictures.channel_choice import choose_channels
from mosaicell.pictures.pictures import Page, Pictures
from mosaicell.reading.enclosure import Opener
from mosaicell.reading.images import open_pixels
from mosaicell.reading.pixel_size import Resolution
from mosaicell.reading.pixels import read_all
from mosaicell.runs.inputs import Source
from mosaicell.runs.origin import Origin
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.shared_work import do_or_fail
from mosaicell.systems import Choice
from mosaicell.writing.masks import write_labels
from mosaicell.writing.outputs import Results
from mosaicell.writing.overlay import write_overlay

log = logging.getLogger(__name__)


class ImageWork:
    """What is done with each image of a run.

    Parameters
    ----------
    options
        Of the run.
    segmentation
        What segments.
    """

    def __init__(self, options: Options, segmentation: Segmentation) -> None:
        self._options, self._segmentation = options, segmentation

    def do(self, source: Source, results: Results, origin: Origin, opener: Opener) -> dict[str, Any]:
        """Segment one file and return its entry of run.json; a failure is logged and returned, not raised.

        Raises
        ------
        OptionError
            When no image can be segmented: a model is not the file that its card describes, or cannot be loaded.
        """
        return do_or_fail(source, results, lambda: self._segment_and_write(source, results, origin, opener))

    def _segment_and_write(self, source: Source, results: Results, origin: Origin, opener: Opener) -> dict[str, Any]:
        options, segmentation = self._options, self._segmentation
        started_s = time.perf_counter()
        limits = segmentation.measure_limits()
        with open_pixels(source.path, limits, segmentation.threads, opener, options.selection) as image:
            pictures = image.pictures
            read_s = time.perf_counter()
            channels, tried = choose_channels(
                pictures, lambda pixels, glance: segmentation.attempt(pixels, limits, glance=glance)
            )
            tried_s = time.perf_counter()
            for said in pictures.decisions.sentences():
                log.warning("%s: %s", source.name, said)
            if options.tta or pictures.pages != [pictures.first_page()]:
                tried = None
            answer, left_out, counterstain = Answer(), 0, False
            for page in pictures.pages:
                pixels = pictures.open(channels, page)
                modality, choice = tried or segmentation.answer(pixels, limits, tta=options.tta)
                choice = filter_cells(choice, options, pixels, modality)
                answer.add(page, modality, choice)
                left_out += choice.left_out
                counterstain |= choice.counterstain
                if options.overlay and len(answer.pages) == 1:
                    answer.picture = read_all(pixels)
                if options.table or options.geojson:
                    answer.tables.append(_measure(choice, pictures, page, image.resolution))
            notes = [*image.notes, *_note_blood(left_out)]
            if counterstain:
                notes.append(SEEN_WITHOUT_BROWN)
            for note in notes:
                log.info("%s: %s", source.name, note)
            chosen_s = time.perf_counter()
        origin = origin.with_digest(source.path, opener)
        _write_results(results, answer, origin, image.resolution, options)
        for outdated in results.remove_outdated(origin, options.extras):
            log.info("%s: %s of an earlier run is removed, as its mask is another one now", source.name, outdated)
        ended_s = time.perf_counter()
        seconds = {
            "read": read_s - started_s,
            **answer.seconds,
            "write": ended_s - chosen_s,
            "total": ended_s - started_s,
        }
        if len(pictures.candidates) > 1:
            seconds["channels"] = tried_s - read_s
        views = len(VIEWS) if options.tta else 1
        _log_answer(source.name, answer, seconds["total"], views)
        height, width = pictures.stack.shape_px
        return {
            "image": source.name,
            "mask": str(source.place / results.mask.name),
            "height": height,
            "width": width,
            "dtype": image.source_dtype,
            **pictures.describe(),
            **answer.describe(),
            "views": views,
            "notes": notes,
            "settings": origin.settings,
            "digest": origin.digest,
            "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        }


def _measure(choice: Choice, pictures: Pictures, page: Page, resolution: Resolution | None) -> dict[str, np.ndarray]:
    """Measure the cells of a page in all channels of its image."""
    # not at the start of each run
    from mosaicell.writing.cell_table import measure_cells

    return measure_cells(choice, pictures.open_all(page), resolution.pixel_um if resolution else None)


def _note_blood(left_out: int) -> list[str]:
    """Say what `--blood` left out."""
    if not left_out:
        return []
    return [f"{left_out} red cells of blood and specks are left out; --blood all keeps them"]


def _log_answer(name: str, answer: Answer, total_s: float, views: int) -> None:
    log.info("%s: %s, %s, %d cells, %.2f s", name, answer.modality, answer.branch, answer.cells, total_s)
    if answer.doubtful:
        log.warning("%s: doubtful, most of it may be wrong: the predicted F1 is %.2f", name, answer.predicted_f1)
    log.debug("%s: cells by branch %s, predicted F1 %s", name, answer.cells_by_branch, answer.predicted_f1)
    log.debug("%s: confidences %s, scale %.2f, views %d", name, answer.confidences, answer.scale, views)


def _write_results(
    results: Results, answer: Answer, origin: Origin, resolution: Resolution | None, options: Options
) -> None:
    """Write what was asked for; the mask comes last: an image that fails has none."""
    try:
        if answer.picture is not None:
            write_overlay(results.extras["overlay"], answer.picture, answer.first_labels)
        _write_cells(results.extras, answer, origin, resolution, options)
        write_labels(
            results.mask,
            answer.labels,
            description=origin.describe(),
            resolution=resolution,
            wide=options.mask_dtype == "uint32",
            ome_planes=answer.count_planes() if options.mask_format == "ome-tiff" else None,
        )
    except OSError as error:
        folder = results.mask.parent
        reason = error.strerror or error if folder.is_dir() else f"the folder {folder} is gone"
        raise ImageError(f"its mask cannot be written: {reason}") from error


def _write_cells(
    paths: dict[str, Path], answer: Answer, origin: Origin, resolution: Resolution | None, options: Options
) -> None:
    """Write what was asked for beside overlay and mask; what writes it is loaded then."""
    if options.table:
        from mosaicell.writing.cell_table import write_cell_table

        write_cell_table(paths["table"], answer.tables)
    pages = [answer.labels] if isinstance(answer.labels, np.ndarray) else answer.labels
    if options.geojson:
        from mosaicell.writing.geojson import write_geojson

        write_geojson(paths["geojson"], pages, answer.tables, answer.pages, f"{origin.digest} {origin.settings}")
    if options.rois:
        from mosaicell.writing.rois import write_rois

        write_rois(paths["rois"], pages, len(answer.pages))
    if options.ome_zarr:
        from mosaicell.writing.ome_zarr import write_ome_zarr

        pixel_um = resolution.pixel_um if resolution else None
        write_ome_zarr(paths["ome_zarr"], pages, answer.count_planes(), pixel_um, options.ome_zarr_version)
