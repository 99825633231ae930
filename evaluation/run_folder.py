"""What one run left in its folder: masks, run.json, timing.csv, brought together by image.

Any of the three may be missing, partial or damaged. What is not known stays None or empty, so that a report never
shows a zero that nobody measured.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosaicell.evaluation.pairing import pair_names
from mosaicell.evaluation.records import ImageRecord, Run
from mosaicell.evaluation.scored_masks import ScoredImage, list_masks
from mosaicell.writing.masks import LABEL_SUFFIX, find_mask, read_labels
from mosaicell.writing.parts import FOLDER_SUFFIX

NAME_COLUMN = "Img Name"
#: whole numbers from here on are damage: their products would leave the range of floating point
MAX_WHOLE = 1 << 53
#: columns of timing.csv that hold numbers: the attribute of `ImageRecord` that takes each
TIMING_NUMBERS = {
    "Real Running Time": "wall_s",
    "Rank Running Time": "late_s",
    "Slowest Running Time": "slowest_s",
    "Tolerance": "tolerance_s",
    "Peak RAM MB": "ram_mb",
    "Peak GPU MB": "gpu_mb",
    "Height": "height",
    "Width": "width",
}


def read_run(folder: Path, name: str) -> Run:
    """Read a run folder.

    Parameters
    ----------
    folder : Path
        Holds any of `NAME_label.tiff`, run.json and timing.csv. All masks are read, so that an unreadable one is found.
    name : str
        What to call the run.

    Returns
    -------
    Run
        Damaged files are named in `problems`, images without a good mask have `failures`.
    """
    problems: list[str] = []
    report = _read_report(folder / "run.json", problems)
    records: dict[str, ImageRecord] = {}
    for entry in _list(report.get("images")):
        if isinstance(entry, dict) and _text(entry.get("image")):
            record = _record(entry)
            records[record.name] = record
    for line_number, row in _read_timing(folder / "timing.csv", problems):
        image = row[NAME_COLUMN]
        records[image] = _add_timing(records.get(image, ImageRecord(image)), row, line_number, problems)
    lists_images = bool(records)
    named = [_find_mask(record, folder) for record in records.values()]
    masks = {name: folder / name for name in list_masks(folder) if not name.startswith(".")}
    masks |= {record.mask: folder / record.mask for record in named if record.mask}
    images = _mark_several(_add_masks(named, dict(sorted(masks.items()))))
    settings = {key: _text(report.get(key)) for key in ("version", "device", "threads")}
    settings["system"] = _text(_dict(report.get("options")).get("system"))
    return Run(
        name,
        folder,
        tuple(sorted(images, key=lambda record: record.name)),
        {key: value for key, value in settings.items() if value},
        {model: _text(value) for model, value in _dict(report.get("weights_sha256")).items() if _text(value)},
        _number(report.get("elapsed_s")),
        tuple(problems),
        bool(masks),
        lists_images,
    )


def add_scores(run: Run, scores: Iterable[ScoredImage], given: Container[str] | None = None) -> Run:
    """Return the run with the scores of every image that has a truth.

    Parameters
    ----------
    run : Run
    scores : iterable of ScoredImage
        As from `evaluation.score.score_folder`, the first at the IoU of `f1`.
    given : container of str, optional
        Names of the masks that images were given for, where a run does not say which images it had.

    Returns
    -------
    Run

    Notes
    -----
    A truth of an image that the run did not have is counted and left out. Where masks are all that is known, nothing
    tells such an image from one that failed: the truth adds it, with F1 0.
    """
    images = list(run.images)
    scores = list(scores)
    owners = {record.mask_name: index for index, record in _owners_last(images)}
    pairs = pair_names((scored.name for scored in scores), owners)
    problems = list(run.problems)
    other_truths = 0
    for scored in scores:
        mask = pairs.get(scored.name, scored.name)
        if mask not in owners and (run.lists_images or (given is not None and scored.name not in given)):
            other_truths += 1
            continue
        if not scored.scores:
            problems.append(f"the truth {scored.name}: {scored.problem}")
            continue
        if mask not in owners:
            owners[mask] = len(images)
            images.append(ImageRecord(mask.removesuffix(LABEL_SUFFIX)))
        record = images[owners[mask]]
        failures = record.failures
        if scored.problem and not failures:
            # the sentence of a missing mask names the folder, which is no business of whoever reads the report
            has_mask = (run.folder / mask).is_file()
            failures = (scored.problem if has_mask else f"no mask: {scored.name}",)
        images[owners[mask]] = replace(
            record, f1=scored.scores[0].f1, scores=scored.scores, listed_modality=scored.modality, failures=failures
        )
    ordered = tuple(sorted(images, key=lambda record: record.name))
    return replace(run, images=ordered, problems=tuple(problems), other_truths=other_truths)


def _read_report(path: Path, problems: list[str]) -> dict[str, object]:
    if not path.exists():
        return {}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"run.json cannot be read: {error}")
        return {}
    if not isinstance(report, dict):
        problems.append(f"run.json cannot be used: it holds a {type(report).__name__}, not an object")
        return {}
    return report


def _read_timing(path: Path, problems: list[str]) -> list[tuple[int, dict[str, str]]]:
    """Return the lines of timing.csv that name an image, with their numbers."""
    if not path.exists():
        return []
    try:
        # names of files may hold bytes that are no UTF-8
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, {key: value or "" for key, value in row.items() if key}) for row in reader]
            if NAME_COLUMN not in (reader.fieldnames or ()):
                raise ValueError(f"it has no column {NAME_COLUMN}")
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"timing.csv cannot be read: {error}")
        return []
    return [(number, row) for number, row in rows if row[NAME_COLUMN]]


def _record(entry: Mapping[str, object]) -> ImageRecord:
    """Make a record from an entry of run.json."""
    error = _text(entry.get("error"))
    return ImageRecord(
        name=_text(entry.get("image")),
        mask=_text(entry.get("mask")),
        failures=(error,) if error else (),
        skipped=entry.get("skipped") is True,
        height=_whole(entry.get("height")),
        width=_whole(entry.get("width")),
        cells=_whole(entry.get("cells")),
        modality=_text(entry.get("modality")),
        branch=_text(entry.get("branch")),
        confidences=_numbers(entry.get("confidences")),
        cells_by_branch=_counts(entry.get("cells_by_branch")),
        predicted_f1=_fraction(entry.get("predicted_f1")),
        doubtful=entry.get("doubtful") is True,
        scale=_number(entry.get("scale")),
        notes=tuple(_text(note) for note in _list(entry.get("notes"))),
        seconds=_numbers(entry.get("seconds")),
    )


def _add_timing(record: ImageRecord, row: Mapping[str, str], line_number: int, problems: list[str]) -> ImageRecord:
    values: dict[str, float | int | None] = {}
    for column, attribute in TIMING_NUMBERS.items():
        text = row.get(column, "").strip()
        if text and _number(text) is None:
            problems.append(f"timing.csv, line {line_number}: {column} is {text!r}, which is no number of 0 or more")
        elif text and attribute not in ("height", "width"):
            values[attribute] = _number(text)
        elif text and getattr(record, attribute) is None:
            values[attribute] = _whole(text)
    failure, mask, exit_code = (row.get(column, "").strip() for column in ("Failure", "Mask", "Exit Code"))
    if not failure and mask not in ("", "valid"):
        failure = "no mask was written" if mask == "missing" else f"the mask is not valid: {mask}"
    if not failure and exit_code not in ("", "0"):
        failure = f"the program ended with exit code {exit_code}"
    failures = record.failures if not failure or failure in record.failures else (*record.failures, failure)
    return replace(record, failures=failures, **values)  # type: ignore[arg-type]


def _find_mask(record: ImageRecord, folder: Path) -> ImageRecord:
    """Return a record with the mask that run.json names, or that stands under the image's full name."""
    if not record.mask:
        try:
            found = find_mask(folder, record.name)
        except ValueError:
            return record
        return record if found.name == record.mask_name else replace(record, mask=found.name)
    inside = Path(record.mask)
    is_inside = not inside.is_absolute() and ".." not in inside.parts
    # no error for names of any length
    is_file = inside.name.endswith(LABEL_SUFFIX) and os.path.isfile(folder / inside)  # noqa: PTH113
    is_slide = inside.name.endswith(FOLDER_SUFFIX) and os.path.isdir(folder / inside)  # noqa: PTH112
    return record if is_inside and (is_file or is_slide) else replace(record, mask="")


def _mark_several(records: list[ImageRecord]) -> list[ImageRecord]:
    """Mark the images that share their name up to the first dot with others of the run."""
    counts = Counter(record.key for record in records)
    return [replace(record, is_one_of_several=True) if counts[record.key] > 1 else record for record in records]


def _add_masks(records: list[ImageRecord], masks: Mapping[str, Path]) -> list[ImageRecord]:
    """Look into every mask; name the images whose mask is missing, unreadable or of another size."""
    owners = {record.mask_name: index for index, record in _owners_last(records)}
    for name, path in masks.items():
        index = owners.setdefault(name, len(records))
        if index == len(records):
            records.append(ImageRecord(name.removesuffix(LABEL_SUFFIX)))
        # the mask of a failed image is an older one's, or the failure says what is wrong with it; that of a slide which
        # several processes did together is OME-Zarr, too large to be looked through
        if not name.endswith(FOLDER_SUFFIX) and not records[index].failures:
            records[index] = _inspect_mask(records[index], path)
    return [
        replace(record, failures=(f"no mask: {record.mask_name or 'the name allows none'}",), cells=None)
        if masks and not record.failures and record.mask_name not in masks
        else record
        for record in records
    ]


def _inspect_mask(record: ImageRecord, path: Path) -> ImageRecord:
    try:
        labels = read_labels(path)
    except (OSError, ValueError) as error:
        return replace(record, failures=(f"the mask {error}",), cells=None)
    height, width = labels.shape
    if record.pixels and (record.height, record.width) != (height, width):
        failure = f"the mask is {height} x {width} pixels, the image {record.height} x {record.width}"
        return replace(record, failures=(failure,), cells=None)
    return replace(record, height=height, width=width, cells=count_cells(labels))


def count_cells(labels: NDArray[np.uint32]) -> int:
    """Count the ids of a label image (y, x) other than 0."""
    highest = int(labels.max(initial=0))
    if highest > labels.size:
        return int(np.count_nonzero(np.unique(labels)))
    # a flag for each id, row by row: sorting all pixels of a slide takes seconds and gigabytes
    seen = np.zeros(highest + 1, dtype=bool)
    for row in labels:
        seen[row] = True
    return int(np.count_nonzero(seen[1:]))


def _owners_last(records: list[ImageRecord]) -> list[tuple[int, ImageRecord]]:
    """List records so that of several with one mask name the one that did not fail comes last and owns it."""
    return sorted(enumerate(records), key=lambda item: (not item[1].failures, -item[0]))


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _number(value: object) -> float | None:
    """Return a finite number of 0 or more, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number < MAX_WHOLE else None


def _fraction(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number <= 1 else None


def _counts(value: object) -> dict[str, int]:
    pairs = ((key, _whole(item)) for key, item in _dict(value).items())
    return {key: count for key, count in pairs if count is not None}


def _numbers(value: object) -> dict[str, float]:
    pairs = ((key, _number(item)) for key, item in _dict(value).items())
    return {key: number for key, number in pairs if number is not None}


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
