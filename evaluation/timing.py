"""Command `python -m evaluation.timing`: run a container or a command once for each image, as the challenge does."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mosaicell.evaluation.contestant import Command, Container, Contestant, Usage
from mosaicell.evaluation.memory import parse_memory
from mosaicell.evaluation.outcome import LOG_END_BYTES, check_mask, find_failures
from mosaicell.evaluation.timed_image import VALID, TimedImage, summarise, write_csv
from mosaicell.evaluation.timing_folder import (
    REPORT,
    SUMMARY,
    TABLE,
    WORK_PREFIX,
    find_images,
    log_path,
    prepare_output,
)
from mosaicell.evaluation.timing_options import make_parser
from mosaicell.reading.images import find_mask, mask_name, read_image, write_whole


@dataclass(frozen=True)
class Rules:
    """How every image is run: how often, the seconds after which a run is stopped, and the RAM allowed."""

    runs: int
    timeout_s: float
    memory_limit_bytes: int


@dataclass(frozen=True)
class _Outcome:
    """What one run used and gave."""

    usage: Usage
    mask: str
    failures: list[str]
    report: dict[str, Any] | None


def time_image(
    path: Path, output: Path, contestant: Contestant, rules: Rules
) -> tuple[TimedImage, dict[str, Any] | None]:
    """Run a contestant on one image; its mask, of the last run, and its log go into the output folder.

    Parameters
    ----------
    path : Path
        Image file.
    output : Path
        Folder of `prepare_output`, absolute.
    contestant : Contestant
    rules : Rules

    Returns
    -------
    TimedImage
        Of all runs together: a failure of one is a failure.
    dict or None
        The run.json that the last run with one left in its outputs.
    """
    shape, note = _read_shape(path)
    outcomes, failures = [], []
    with log_path(output, path.name).open("wb") as log:
        for run in range(1, rules.runs + 1):
            which = f"run {run} of {rules.runs}: " if rules.runs > 1 else ""
            log.write(which.encode())
            log.flush()
            outcome = _run_once(path, shape, output, contestant, rules, log)
            outcomes.append(outcome)
            if outcome.failures:
                failures.append(which + "; ".join(outcome.failures))
    usages = [outcome.usage for outcome in outcomes]
    timed = TimedImage(
        name=path.name,
        seconds=tuple(usage.seconds for usage in usages),
        shape=shape,
        peak_ram_bytes=_highest([usage.peak_ram_bytes for usage in usages]),
        peak_gpu_bytes=_highest([usage.peak_gpu_bytes for usage in usages]),
        exit_code=next((usage.exit_code for usage in usages if usage.exit_code), 0),
        mask=next((outcome.mask for outcome in outcomes if outcome.mask != VALID), VALID),
        failure=failures[0] if failures else "",
        note=note,
    )
    reports = [outcome.report for outcome in outcomes if outcome.report]
    return timed, reports[-1] if reports else None


def merge_reports(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the run.json of one image each into one.

    Parameters
    ----------
    reports : sequence of dict
        At least one, in the order of the images.

    Returns
    -------
    dict
        The first one's version, device, options and so on; all `images`; the sum of `elapsed_s`; all
        `weights_sha256`, as a run loads only what its image needs.
    """
    merged = dict(reports[0])
    merged["images"] = [record for report in reports for record in report["images"]]
    seconds = [report["elapsed_s"] for report in reports if isinstance(report.get("elapsed_s"), int | float)]
    if seconds:
        merged["elapsed_s"] = round(sum(seconds), 3)
    hashes = [report["weights_sha256"] for report in reports if isinstance(report.get("weights_sha256"), dict)]
    if hashes:
        merged["weights_sha256"] = {model: value for known in hashes for model, value in known.items()}
    return merged


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command line without the program's name; by default that of the process.

    Returns
    -------
    int
        0; 1 when a run failed or an image took longer than its tolerance; 2 when the output cannot be written any
        more; 130 when interrupted. Images that were done by then are in the table.

    Raises
    ------
    SystemExit
        With 2 when nothing can start.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    contestant = _make_contestant(parser, options)
    # absolute, as `docker run -v` takes a relative path for the name of a volume
    output = options.output_path.resolve()
    try:
        if output == options.input_path.resolve():
            raise ValueError(f"{output} is the folder of the images; name another for the results")
        if options.image and ":" in str(output):
            raise ValueError(f"{output} has a colon, at which Docker ends the path of a folder; name another")
        images = find_images(options.input_path)
        contestant.check()
        prepare_output(output)
    except (OSError, RuntimeError, ValueError) as error:
        parser.error(str(error))
    rules = Rules(options.runs, options.timeout, parse_memory(options.memory))
    title = f"{contestant.describe()}; RAM allowed: {options.memory}; runs of each image: {rules.runs}"
    try:
        timed = _time_images(images, output, contestant, rules, title)
    except KeyboardInterrupt:
        print(f"interrupted; what was done is in {output / TABLE}", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 2
    print(summarise(title, timed), end="")
    return 1 if any(image.failure or image.over_s for image in timed) else 0


def _time_images(
    images: Sequence[Path], output: Path, contestant: Contestant, rules: Rules, title: str
) -> list[TimedImage]:
    """Time one image after the other; all tables are written anew after each, so that an interrupt loses nothing."""
    timed, reports = [], []
    for number, path in enumerate(images, start=1):
        image, report = time_image(path, output, contestant, rules)
        timed.append(image)
        write_csv(output / TABLE, timed)
        with write_whole(output / SUMMARY) as part:
            part.write_text(summarise(title, timed), encoding="utf-8")
        if report is not None:
            reports.append(report)
            with write_whole(output / REPORT) as part:
                part.write_text(json.dumps(merge_reports(reports), indent=1) + "\n", encoding="utf-8")
        time = f"{image.median_s:.2f} s of {image.tolerance_s:.1f} s"
        remarks = "".join(f"; {remark}" for remark in (image.failure, image.note) if remark)
        print(f"{number}/{len(images)} {path.name}: {time}{remarks}", file=sys.stderr)
    return timed


def _run_once(
    path: Path, shape: tuple[int, int] | None, output: Path, contestant: Contestant, rules: Rules, log: BinaryIO
) -> _Outcome:
    """Run a contestant on one image in new folders."""
    # within the output, so that the mask is renamed, not copied; a container may leave what only root can remove
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=output, ignore_cleanup_errors=True) as work:
        inputs, outputs = Path(work, "inputs"), Path(work, "outputs")
        inputs.mkdir()
        outputs.mkdir()
        shutil.copy(path, inputs)
        before = log.tell()
        usage = contestant.run(inputs, outputs, log, rules.timeout_s)
        # the challenge knows one name; a command may be one that is asked for nothing of the challenge's
        written = find_mask(outputs, path) if isinstance(contestant, Command) else outputs / mask_name(path)
        mask = check_mask(written, shape)
        report = _read_report(outputs / REPORT, path)
        # a report says itself what went wrong
        said = "" if report else _read_end(Path(log.name), before)
        failures = find_failures(usage, mask, path, outputs, rules.timeout_s, rules.memory_limit_bytes, said)
        if written.is_file():
            written.replace(output / written.name)
    return _Outcome(usage, mask, failures, report)


def _read_end(log: Path, before: int) -> str:
    """Return the end of what was written to a log from a place on."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(before, size - LOG_END_BYTES))
        return file.read().decode("utf-8", "replace")


def _read_shape(path: Path) -> tuple[tuple[int, int] | None, str]:
    """Return height and width, or None and why they are not known."""
    try:
        height, width = read_image(path).pixels.shape[:2]
    except ValueError as error:
        return None, f"the image {error}; allowed the least time, the mask's size is not checked"
    return (height, width), ""


def _read_report(path: Path, image: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        print(f"{image.name}: its {REPORT} cannot be read: {error}", file=sys.stderr)
        return None
    if not isinstance(report, dict) or not isinstance(report.get("images"), list):
        print(f"{image.name}: its {REPORT} has no list of images", file=sys.stderr)
        return None
    return report


def _highest(amounts: Sequence[int | None]) -> int | None:
    return max((amount for amount in amounts if amount is not None), default=None)


def _make_contestant(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Contestant:
    if options.image is not None:
        return Container(options.image, options.memory, options.gpus or "", os.environ.get("DOCKER") or "docker")
    if options.gpus:
        parser.error("--gpus goes with --image; a command chooses its GPU itself")
    return Command(options.command)


if __name__ == "__main__":
    # so that a run that is told to end stops its container as well
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
