"""Images of a run done by the workers of a Dask cluster, a task for each."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from distributed import Client, Future, get_worker

from mosaicell.errors import ImageError
from mosaicell.options import Options
from mosaicell.reading.enclosure import Opener
from mosaicell.runs.cluster_slide import ClusterSlide
from mosaicell.runs.cluster_tasks import Progress, complete, receive
from mosaicell.runs.cluster_worker import Assignment, Done, do_image
from mosaicell.runs.inputs import Source
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.settings import digest_settings
from mosaicell.runs.shared_work import SharedWork, fail
from mosaicell.runs.split_choice import choose_split
from mosaicell.writing.parts import remove_stale_parts

log = logging.getLogger(__name__)


class ClusterWork:
    """Does the images of a run by the workers of a cluster; one that dies loses its images to others.

    Parameters
    ----------
    client
        Of the cluster.
    options
        Of the run, with absolute paths.
    openers
        What opens the files of each input.
    devices, verbose
        As in `Assignment`.
    split_above_px
        OME-Zarr of more pixels is split over the workers.

    Raises
    ------
    OptionError
        When weights are missing, or a card or the judges are wrong.
    """

    def __init__(
        self,
        client: Client,
        options: Options,
        openers: Mapping[Path, Opener],
        *,
        devices: tuple[str, ...] = (),
        verbose: bool = False,
        split_above_px: int,
    ) -> None:
        self._client, self._options, self._openers = client, options, openers
        self._split_above_px = split_above_px
        # only what the workers load is on their devices
        segmentation = Segmentation(replace(options, device="cpu"))
        self._judges = segmentation.judges
        settings = digest_settings(options, segmentation.model_names)
        self._assignment = Assignment(os.urandom(8).hex(), options, settings, verbose=verbose, devices=devices)
        self._used: dict[str, dict[str, Any]] = {}

    def do_all(self, images: list[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Segment files, and give the entry of each for run.json as soon as it is done.

        Raises
        ------
        OptionError
            When no image can be segmented: a worker has another version or other weights, or the cluster is gone. When
            an option asks for what a slide that is split cannot have.
        """
        split = choose_split(images, self._openers, self._options, self._split_above_px)
        log.info("%d images, %d workers", len(images), self._count_workers())
        failed = []
        for record in chain(
            self._do_whole([one for one in images if one not in split], known), self._do_split(split, known)
        ):
            if "error" in record:
                failed.append(record)
            yield record
        # what workers left that were killed
        for place in {Path(), *(source.place for source in images)}:
            with suppress(OSError):
                remove_stale_parts(self._options.output_path / place)
        for record in failed:
            log.error("failed: %s: %s", record["image"], record["error"])

    def _do_whole(self, images: list[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Have images done, each by one worker."""
        if not images:
            return
        with Progress(len(images), self._count_workers) as progress:
            for source, task in complete(self._client, images, partial(self._submit, known)):
                record = self._receive(task, source)
                progress.advance()
                yield record

    def _do_split(self, images: Iterable[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Have slides done one after the other, each by all workers; they are claimed here."""
        work = ClusterSlide(
            self._client, self._assignment, self._judges, self._openers, self._note, self._count_workers
        )
        # what is written is OME-Zarr in any case
        options = replace(self._options, ome_zarr=False)
        shared = SharedWork(options, self._openers, self._assignment.settings, known, work.do, as_zarr=True)
        yield from shared.segment_all(sorted(images, key=lambda source: source.name))

    def _submit(self, known: Mapping[str, dict[str, Any]], source: Source, priority: int) -> Future:
        return self._client.submit(
            _do_image, self._assignment, source, known.get(source.name, {}), pure=False, priority=priority
        )

    def _receive(self, task: Future, source: Source) -> dict[str, Any]:
        """Return the record of an image, and say what its worker said."""
        try:
            return self._note(receive(task))
        except ImageError as error:
            return fail(source, str(error))

    def _note(self, done: Done[Any]) -> Any:
        """Keep what a worker used, and return what it gave."""
        self._used[done.worker] = done.used
        return done.record

    def _count_workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of devices and weights: of all workers together, and how many did images."""
        hashes: dict[str, str] = {}
        for used in self._used.values():
            hashes |= used["weights_sha256"]
        return {
            "device": ", ".join(sorted({used["device"] for used in self._used.values()})),
            "threads": max((used["threads"] for used in self._used.values()), default=0),
            "workers": len(self._used),
            "weights_sha256": dict(sorted(hashes.items())),
        }


def _do_image(assignment: Assignment, source: Source, known: dict[str, Any]) -> Done:
    """Do an image on the worker that this runs on."""
    name = str(get_worker().name)
    return do_image(assignment, source, known, int(name) if name.isdecimal() else 0)


def as_absolute(options: Options) -> Options:
    """Return options whose paths mean the same in any working directory."""
    return replace(
        options,
        input_path=options.input_path.absolute(),
        further_inputs=tuple(path.absolute() for path in options.further_inputs),
        output_path=options.output_path.absolute(),
        weights_path=options.weights_path.absolute(),
    )
