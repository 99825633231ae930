"""A run: find the images, segment one after the other, write masks; one bad image never stops the others."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from mosaicell.answers.answer import Answer
from mosaicell.answers.case import ImageCase
from mosaicell.answers.quality import QUALITY_FILE, read_judges
from mosaicell.errors import ImageError, OptionError
from mosaicell.machine.capacity import available_bytes
from mosaicell.machine.limits import NETWORKS, Limits
from mosaicell.machine.stop import before_end
from mosaicell.networks.augmentation import VIEWS
from mosaicell.networks.manifest import Card, check_weights, file_sha256, read_card
from mosaicell.networks.session import Session, available_threads, resolve_device
from mosaicell.options import VERSION, Options
from mosaicell.pictures.channel_choice import choose_channels
from mosaicell.reading.enclosure import Opener, enclose_input
from mosaicell.reading.images import open_pixels, write_labels
from mosaicell.reading.pixel_size import Resolution
from mosaicell.reading.pixels import ArrayPixels, Pixels, read_all
from mosaicell.runs.inputs import Found, Refusals, Search, Source, check_names, find_images
from mosaicell.runs.journal import Journal
from mosaicell.runs.layout import find_image_folders
from mosaicell.runs.origin import Origin
from mosaicell.runs.settings import digest_settings
from mosaicell.runs.shared_work import SharedWork, fail
from mosaicell.runs.shares import take_part
from mosaicell.systems import GLANCES, SYSTEM_MODELS, Choice, make_rule
from mosaicell.writing.outputs import Results, make_places, prepare_output
from mosaicell.writing.overlay import write_overlay

log = logging.getLogger(__name__)


class Models:
    """Models of a run, each loaded when an image first needs it, and the judges of their cells."""

    def __init__(self, options: Options) -> None:
        self.device = resolve_device(options.device)
        self.threads = options.threads or available_threads()
        cv2.setNumThreads(self.threads)
        self._asked_batch_size = options.batch_size
        self._may_fall_back = options.device == "auto"
        self._weights_path = options.weights_path
        # each session has an arena of its own, and an image of every modality may come
        self._model_count = len(SYSTEM_MODELS[options.system])
        self._gpu_mem_limit_gb = options.gpu_mem_limit_gb / self._model_count
        self.judges = read_judges(options.weights_path) if options.choose_by == "cells" else None
        self._loaded: dict[str, tuple[Card, Session]] = {}
        self._used: dict[str, str] = {}

    def get(self, name: str) -> tuple[Card, Session]:
        """Return a model's card and session."""
        if name not in self._loaded:
            card = read_card(name, self._weights_path)
            self._loaded[name] = card, self._load(card)
        return self._loaded[name]

    def keep_only(self, names: Collection[str]) -> None:
        """Let go of the memory of all other models; one that is needed again is loaded again."""
        self._used |= {other: card.sha256 for other, (card, _) in self._loaded.items()}
        self._loaded = {name: self._loaded[name] for name in names}

    def _load(self, card: Card) -> Session:
        try:
            return Session(card.path, self.device, self.threads, self._gpu_mem_limit_gb)
        except OptionError as error:
            if not self._may_fall_back or self.device == "cpu":
                raise
            log.warning("%s; going on with the CPU", error)
            self.device = "cpu"
            return Session(card.path, self.device, self.threads, self._gpu_mem_limit_gb)

    @property
    def batch_size(self) -> int:
        """Tiles per network call."""
        return self._asked_batch_size or (1 if self.device == "cpu" else 4)

    @property
    def most_networks(self) -> int:
        """How many networks may be loaded once the next image is segmented: a new modality brings one."""
        return min(max(NETWORKS, len(self._loaded) + 1), self._model_count)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights that were used, by model name, and of the judges."""
        used = self._used | {name: card.sha256 for name, (card, _) in self._loaded.items()}
        return used | ({QUALITY_FILE: file_sha256(self._weights_path / QUALITY_FILE)} if self.judges else {})


def run(options: Options) -> int:
    """Segment all images of the input; return how many failed, or 1 where files are there and none is an image.

    Raises
    ------
    OptionError
        When nothing can start: no input, no writable output, output into the input folder, no such part or device,
        weights missing or changed.
    """
    if not options.recursive:
        first, *further = [folder for path in options.inputs for folder in find_image_folders(path)]
        options = replace(options, input_path=first, further_inputs=tuple(further))
    with ExitStack() as stack:
        openers = {
            path: stack.enter_context(enclose_input(path, follow_links=options.follow_links)) for path in options.inputs
        }
        return _run(options, openers)


def _run(options: Options, openers: Mapping[Path, Opener]) -> int:
    started_s = time.perf_counter()
    taken, refused, found, names = _list_images(options)
    models = Models(options)
    journal = Journal(options.output_path) if options.report else None
    records: list[dict[str, Any]] = []

    def segment(source: Source, results: Results, origin: Origin) -> dict[str, Any]:
        return _segment_file(source, results, origin, options, models, openers[source.root])

    def keep(record: dict[str, Any]) -> None:
        records.append(record)
        if journal is not None:
            journal.add(record)

    def write_report(*, complete: bool) -> None:
        if journal is not None:
            header = _describe_run(options, models, time.perf_counter() - started_s, complete=complete)
            journal.write_report(header, names, wait=complete)

    settings = digest_settings(options, SYSTEM_MODELS[options.system])
    work = SharedWork(options, openers, settings, journal.known if journal is not None else {}, segment)
    with before_end(lambda: write_report(complete=False)):
        for source in taken:
            if source in refused:
                keep(fail(source, refused[source]))
        images = [source for source in taken if source not in refused]
        log.info("%d images, %s, %d threads", len(images), models.device, models.threads)
        with _show_progress(images) as shown:
            for record in work.segment_all(shown):
                keep(record)
        failed = _sum_up(records, time.perf_counter() - started_s)
        if not names and found.left_out:
            log.error("nothing is segmented: the input holds %d files or folders but no image", found.left_out)
            failed += 1
        try:
            write_report(complete=True)
        except OSError as error:
            log.error("run.json could not be written: %s", error.strerror or error)
            failed += 1
    return failed


def _list_images(options: Options) -> tuple[list[Source], Refusals, Found, set[str]]:
    """Find the images, and make ready the folders of their results.

    Returns
    -------
    taken
        The files of this part, by name.
    refused
        Which of all are refused, and why.
    found
        What is in the inputs.
    names
        Of all images, those of other parts among them.
    """
    search = Search(options.follow_links, options.recursive, options.include, options.output_path)
    found = find_images(options.inputs, search)
    prepare_output(options.output_path, *options.inputs)
    named, refused_names = check_names(found.images, options.output_path, options.names)
    check_weights(SYSTEM_MODELS[options.system], options.weights_path)
    refused = {**found.refused, **refused_names}
    listed = sorted([*named, *refused], key=lambda source: source.name)
    taken = take_part(listed, options.part, os.environ)
    make_places(options.output_path, [source.place for source in taken if source not in refused])
    return taken, refused, found, {source.name for source in listed}


def _sum_up(records: list[dict[str, Any]], elapsed_s: float) -> int:
    """Say in the last line what became of the images; return how many failed."""
    failed = sum("error" in record for record in records)
    skipped = sum("skipped" in record for record in records)
    done = [record for record in records if "error" not in record and "skipped" not in record]
    doubtful = sum(record["doubtful"] for record in done)
    log.info(
        "%d images done (%d doubtful), %d skipped, %d failed, %.1f s", len(done), doubtful, skipped, failed, elapsed_s
    )
    return failed


@contextmanager
def _show_progress(images: list[Source]) -> Iterator[Iterable[Source]]:
    """Show how many images are done, on a terminal; elsewhere the import alone would be a tenth of a small run."""
    if not sys.stderr.isatty():
        yield images
        return
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm(), tqdm(images, unit="image") as progress:
        yield progress


def _segment_file(
    source: Source, results: Results, origin: Origin, options: Options, models: Models, opener: Opener
) -> dict[str, Any]:
    """Segment one file and return its entry of run.json; a failure is logged and returned, not raised."""
    try:
        return _segment_and_write(source, results, origin, options, models, opener)
    except OptionError:
        raise
    except MemoryError as error:
        record = fail(source, f"out of memory ({error})")
    except (ImageError, OSError) as error:
        record = fail(source, str(error))
    except Exception as error:
        log.debug("%s: failed unexpectedly", source.name, exc_info=True)
        record = fail(source, f"failed unexpectedly ({type(error).__name__}: {error})")
    try:
        if results.remove_failed():
            log.warning("%s: %s of an earlier run is removed", source.name, results.mask.name)
    except OSError as error:
        log.error("%s: %s of an earlier run cannot be removed: %s", source.name, results.mask.name, error.strerror)
    return record


def _segment_and_write(
    source: Source, results: Results, origin: Origin, options: Options, models: Models, opener: Opener
) -> dict[str, Any]:
    started_s = time.perf_counter()
    most_px = round(options.max_megapixels * 1e6)
    limits = Limits(most_px, available_bytes(), models.batch_size, models.most_networks, options.tta)
    with open_pixels(source.path, limits, models.threads, opener, options.selection) as image:
        pictures = image.pictures
        read_s = time.perf_counter()
        channels, tried = choose_channels(
            pictures, partial(_try_picture, options=options, models=models, limits=limits)
        )
        tried_s = time.perf_counter()
        for said in pictures.decisions.sentences():
            log.warning("%s: %s", source.name, said)
        if options.tta or pictures.pages != [pictures.first_page()]:
            tried = None
        answer = Answer()
        for page in pictures.pages:
            pixels = pictures.open(channels, page)
            answer.add(page, *(tried or _apply_system(pixels, options, models, limits)))
            if options.overlay and len(answer.pages) == 1:
                answer.picture = read_all(pixels)
        for note in image.notes:
            log.info("%s: %s", source.name, note)
        chosen_s = time.perf_counter()
    origin = origin.with_digest(source.path, opener)
    _write_results(results, answer, origin, image.resolution, options)
    ended_s = time.perf_counter()
    seconds = {"read": read_s - started_s, **answer.seconds, "write": ended_s - chosen_s, "total": ended_s - started_s}
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
        "notes": list(image.notes),
        "settings": origin.settings,
        "digest": origin.digest,
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
    }


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
            write_overlay(results.overlay, answer.picture, answer.first_labels)
        write_labels(
            results.mask,
            answer.labels,
            description=origin.describe(),
            resolution=resolution,
            wide=options.mask_dtype == "uint32",
        )
    except OSError as error:
        folder = results.mask.parent
        reason = error.strerror or error if folder.is_dir() else f"the folder {folder} is gone"
        raise ImageError(f"its mask cannot be written: {reason}") from error


def _apply_system(pixels: Pixels, options: Options, models: Models, limits: Limits) -> tuple[str, Choice]:
    """Return a picture's modality and the system's answer."""
    case = _make_case(pixels, options, models, limits)
    return case.modality, make_rule(options.system, models.judges, tta=options.tta)(case.modality, case)


def _try_picture(pixels: Pixels, glance: bool, options: Options, models: Models, limits: Limits) -> tuple[str, Choice]:
    """Return a picture's modality and what the system answers, at a glance or without test-time augmentation."""
    case = _make_case(pixels, options, models, limits)
    if glance:
        return case.modality, GLANCES[options.system](case.modality, case, models.judges)
    return case.modality, make_rule(options.system, models.judges, tta=False)(case.modality, case)


def _make_case(pixels: Pixels, options: Options, models: Models, limits: Limits) -> ImageCase:
    held_bytes = pixels.array.nbytes if isinstance(pixels, ArrayPixels) else 0
    return ImageCase(
        pixels,
        models.get,
        models.batch_size,
        limits.slide_workers(pixels.shape_px, held_bytes, models.threads),
        skip_empty=not options.all_tiles,
        keep_only=models.keep_only,
    )


def _describe_run(options: Options, models: Models, elapsed_s: float, *, complete: bool) -> dict[str, Any]:
    """Return what run.json says beside the images."""
    return {
        "version": VERSION,
        "python": platform.python_version(),
        "device": models.device,
        "threads": models.threads,
        "options": json.loads(json.dumps(asdict(options), default=str)),
        "weights_sha256": models.hashes(),
        "elapsed_s": round(elapsed_s, 3),
        "complete": complete,
    }
