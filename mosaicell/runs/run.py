"""A run: find the images, segment one after the other, write masks; one bad image never stops the others."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from mosaicell.machine.stop import before_end
from mosaicell.options import VERSION, Options
from mosaicell.reading.enclosure import Opener, enclose_input
from mosaicell.runs.inputs import Found, Refusals, Search, Source, check_names, find_images
from mosaicell.runs.journal import Journal
from mosaicell.runs.layout import find_image_folders
from mosaicell.runs.one_process import OneProcess
from mosaicell.runs.shared_work import fail
from mosaicell.runs.shares import take_part
from mosaicell.systems import choose_way
from mosaicell.writing.outputs import make_places, prepare_output

log = logging.getLogger(__name__)


class Work(Protocol):
    """What does the images of a run."""

    def do_all(self, images: list[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Segment files, write their results, and give the entry of each for run.json; as `OneProcess.do_all`."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of what did them: "device", "threads", "weights_sha256"."""
        ...


#: makes ready what does the images of a run with these options, whose inputs have these openers
MakeWork = Callable[[Options, Mapping[Path, Opener]], Work]


def run(options: Options, make_work: MakeWork = OneProcess) -> int:
    """Segment all images of the input; return how many failed, or 1 where files are there and none is an image.

    Parameters
    ----------
    options
        What the user asked for.
    make_work
        By default the images are done one after the other, in this process.

    Raises
    ------
    OptionError
        When nothing can start: no input, no writable output, output into the input folder, no such part, device or way
        to choose, weights missing. When a model that an image needs is not the file that its card describes: the masks
        of the images before it are written.
    """
    options = replace(options, choose_by=choose_way(options.system, options.choose_by))
    if not options.recursive:
        first, *further = [folder for path in options.inputs for folder in find_image_folders(path)]
        options = replace(options, input_path=first, further_inputs=tuple(further))
    with ExitStack() as stack:
        openers = {
            path: stack.enter_context(enclose_input(path, follow_links=options.follow_links)) for path in options.inputs
        }
        return _run(options, make_work, openers)


def _run(options: Options, make_work: MakeWork, openers: Mapping[Path, Opener]) -> int:
    started_s = time.perf_counter()
    work = make_work(options, openers)
    taken, refused, found, names = _list_images(options)
    journal = Journal(options.output_path) if options.report else None
    records: list[dict[str, Any]] = []

    def keep(record: dict[str, Any]) -> None:
        records.append(record)
        if journal is not None:
            journal.add(record)

    def write_report(*, complete: bool) -> None:
        if journal is not None:
            header = _describe_run(options, work, time.perf_counter() - started_s, complete=complete)
            journal.write_report(header, names, wait=complete)

    with before_end(lambda: write_report(complete=False)):
        for source in taken:
            if source in refused:
                keep(fail(source, refused[source]))
        images = [source for source in taken if source not in refused]
        for record in work.do_all(images, journal.known if journal is not None else {}):
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
    named, refused_names = check_names(found.images, options.output_path, options.names, {"overlay", *options.extras})
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


def _describe_run(options: Options, work: Work, elapsed_s: float, *, complete: bool) -> dict[str, Any]:
    """Return what run.json says beside the images."""
    return {
        "version": VERSION,
        "python": platform.python_version(),
        **work.describe(),
        "options": json.loads(json.dumps(asdict(options), default=str)),
        "elapsed_s": round(elapsed_s, 3),
        "complete": complete,
    }
