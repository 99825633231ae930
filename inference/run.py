"""A run: find the images, segment one after the other, write masks; one bad image never stops the others."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from inference.branches import Prediction, segment
from inference.errors import ImageError, OptionError
from inference.images import SUFFIXES, Image, mask_name, read_image, write_labels, write_whole
from inference.manifest import Card, check_weights, read_card
from inference.modality import analyse_modality
from inference.normalize import normalize
from inference.options import VERSION, Options
from inference.overlay import overlay_name, write_overlay
from inference.pixels import ArrayPixels
from inference.session import Session, available_threads, resolve_device
from inference.slide import segment_as_slide
from inference.systems import SYSTEM_MODELS, SYSTEMS, Choice

log = logging.getLogger(__name__)

#: images of more pixels are segmented as slides: band by band, in bounded memory
SLIDE_FROM_PX = 16_000_000


class Models:
    """Loaded models of a run, each loaded when an image first needs it."""

    def __init__(self, options: Options) -> None:
        self.device = resolve_device(options.device)
        self.threads = options.threads or available_threads()
        cv2.setNumThreads(self.threads)
        self._asked_batch_size = options.batch_size
        self._may_fall_back = options.device == "auto"
        self._weights_path = options.weights_path
        self._gpu_mem_limit_gb = options.gpu_mem_limit_gb
        self._loaded: dict[str, tuple[Card, Session]] = {}

    def get(self, name: str) -> tuple[Card, Session]:
        """Return a model's card and session."""
        if name not in self._loaded:
            card = read_card(name, self._weights_path)
            self._loaded[name] = card, self._load(card)
        return self._loaded[name]

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

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the weights that were used, by model name."""
        return {name: card.sha256 for name, (card, _) in self._loaded.items()}


def find_images(path: Path) -> list[Path]:
    """List the image files of a folder by name, or the one file.

    Sub-folders and other files are named in the log and left out, hidden files left out in silence.

    Raises
    ------
    OptionError
        When the path does not exist or a single file has no image suffix.
    """
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            raise OptionError(f"{path} is no image file; allowed are {', '.join(SUFFIXES)}")
        return [path]
    if not path.is_dir():
        raise OptionError(f"the input {path} does not exist")
    images = []
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise OptionError(f"the input {path} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            log.warning("%s: a folder, left out; only the files of the input folder itself are segmented", entry.name)
        elif entry.suffix.lower() not in SUFFIXES:
            log.warning("%s: no image suffix (%s), left out", entry.name, ", ".join(SUFFIXES))
        else:
            images.append(entry)
    if not images:
        log.warning("%s holds no image", path)
    return images


def split_collisions(images: list[Path]) -> tuple[list[Path], dict[Path, Path]]:
    """Separate images whose mask would have the name of an earlier one's: (images to do, refused -> earlier one)."""
    owners: dict[str, Path] = {}
    refused = {}
    for path in images:
        name = mask_name(path)
        if name in owners:
            refused[path] = owners[name]
        else:
            owners[name] = path
    return list(owners.values()), refused


def run(options: Options) -> int:
    """Segment all images of the input; return how many failed.

    Raises
    ------
    OptionError
        When nothing can start: no input, no writable output, output into the input folder, no such device, weights
        missing or changed.
    """
    started_s = time.perf_counter()
    images, refused = split_collisions(find_images(options.input_path))
    _prepare_output(options)
    check_weights(SYSTEM_MODELS[options.system], options.weights_path)
    records = []
    for path, owner in refused.items():
        reason = f"its mask would have the name of {owner.name}'s, {mask_name(path)}; rename one of the two"
        records.append(_failure(path, reason))
    models = Models(options)
    log.info("%d images, %s, %d threads", len(images), models.device, models.threads)
    on_terminal = sys.stderr.isatty()
    with logging_redirect_tqdm(), tqdm(images, disable=not on_terminal, unit="image") as progress:
        for path in progress:
            records.append(_segment_file(path, options, models))
    failed = sum("error" in record for record in records)
    elapsed_s = time.perf_counter() - started_s
    skipped = sum("skipped" in record for record in records)
    done = len(records) - failed - skipped
    log.info("%d images done, %d skipped, %d failed, %.1f s", done, skipped, failed, elapsed_s)
    if options.report:
        try:
            _write_report(options, models, records, elapsed_s)
        except OSError as error:
            log.error("run.json could not be written: %s", error)
            failed += 1
    return failed


def _prepare_output(options: Options) -> None:
    folder = options.output_path
    source = options.input_path.parent if options.input_path.is_file() else options.input_path
    if folder.resolve() == source.resolve():
        raise OptionError(f"{folder} is the folder of the input; masks there could replace files of yours")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"the output folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OptionError(f"the output folder {folder} cannot be written")


def _segment_file(path: Path, options: Options, models: Models) -> dict[str, Any]:
    """Segment one file and return its entry of run.json; a failure is logged and returned, not raised."""
    if options.skip_existing and _is_done(path, options):
        log.info("%s: skipped, %s exists", path.name, mask_name(path))
        return {"image": path.name, "skipped": True}
    try:
        return _segment_and_write(path, options, models)
    except OptionError:
        raise
    except MemoryError as error:
        return _failure(path, f"out of memory ({error})")
    except (ImageError, OSError) as error:
        return _failure(path, str(error))
    except Exception as error:
        log.debug("%s: failed unexpectedly", path.name, exc_info=True)
        return _failure(path, f"failed unexpectedly ({type(error).__name__}: {error})")


def _is_done(path: Path, options: Options) -> bool:
    names = [mask_name(path)] + ([overlay_name(path)] if options.overlay else [])
    wanted = [options.output_path / name for name in names]
    return all(result.is_file() and result.stat().st_size > 0 for result in wanted)


def _failure(path: Path, reason: str) -> dict[str, Any]:
    log.error("%s: %s", path.name, reason)
    return {"image": path.name, "error": reason}


def _segment_and_write(path: Path, options: Options, models: Models) -> dict[str, Any]:
    started_s = time.perf_counter()
    image = read_image(path)
    for note in image.notes:
        log.info("%s: %s", path.name, note)
    read_s = time.perf_counter()
    modality, choice = _apply_system(image, options, models)
    chosen_s = time.perf_counter()
    # the mask comes last: an image that fails has none
    if options.overlay:
        write_overlay(options.output_path / overlay_name(path), image.pixels, choice.labels)
    write_labels(options.output_path / mask_name(path), choice.labels)
    ended_s = time.perf_counter()
    seconds = {"read": read_s - started_s, **choice.seconds, "write": ended_s - chosen_s, "total": ended_s - started_s}
    cells = int(choice.labels.max(initial=0))
    log.info("%s: %s, %s, %d cells, %.2f s", path.name, modality, choice.branch, cells, seconds["total"])
    log.debug("%s: confidences %s, scale %.2f", path.name, choice.confidences, choice.scale)
    return {
        "image": path.name,
        "height": choice.labels.shape[0],
        "width": choice.labels.shape[1],
        "dtype": image.source_dtype,
        "modality": modality,
        "branch": choice.branch,
        "confidences": {name: round(value, 4) for name, value in choice.confidences.items()},
        "scale": round(choice.scale, 4),
        "cells": cells,
        "notes": list(image.notes),
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
    }


def _apply_system(image: Image, options: Options, models: Models) -> tuple[str, Choice]:
    """Return the image's modality and the system's answer."""
    if image.pixels.shape[0] * image.pixels.shape[1] > SLIDE_FROM_PX:
        pixels = ArrayPixels(image.pixels)
        return segment_as_slide(
            pixels,
            options.system,
            models.get,
            models.batch_size,
            models.threads,
            skip_empty=not options.all_tiles,
        )
    modality = analyse_modality(image.pixels)
    normalized: dict[tuple[float, float], np.ndarray] = {}

    def segment_with(name: str, scale: float | None) -> Prediction:
        card, session = models.get(name)
        if card.percentiles not in normalized:
            normalized[card.percentiles] = normalize(image.pixels, card.percentiles)
        return segment(normalized[card.percentiles], card, session.run, models.batch_size, scale)

    return modality, SYSTEMS[options.system](modality, segment_with)


def _write_report(options: Options, models: Models, records: list[dict[str, Any]], elapsed_s: float) -> None:
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
    report = {
        "version": VERSION,
        "python": platform.python_version(),
        "device": models.device,
        "threads": models.threads,
        "options": settings,
        "weights_sha256": models.hashes(),
        "elapsed_s": round(elapsed_s, 3),
        "images": records,
    }
    with write_whole(options.output_path / "run.json") as part:
        part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
