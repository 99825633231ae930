"""Images of a run done by the workers of a Dask cluster, a task for each."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Client, Future, as_completed, get_worker, wait
from distributed.scheduler import KilledWorker

from mosaicell.errors import OptionError
from mosaicell.options import Options
from mosaicell.runs.cluster_worker import Assignment, Done, do_image
from mosaicell.runs.inputs import Source
from mosaicell.runs.segmentation import Segmentation
from mosaicell.runs.settings import digest_settings
from mosaicell.runs.shared_work import fail
from mosaicell.writing.parts import remove_stale_parts

#: seconds between two lines about how far the run is
PROGRESS_S = 15.0
log = logging.getLogger(__name__)


class ClusterWork:
    """Does the images of a run by the workers of a cluster; one that dies loses its images to others.

    Parameters
    ----------
    client
        Of the cluster.
    options
        Of the run, with absolute paths.
    devices, verbose
        As in `Assignment`.

    Raises
    ------
    OptionError
        When weights are missing, or a card or the judges are wrong.
    """

    def __init__(
        self, client: Client, options: Options, *, devices: tuple[str, ...] = (), verbose: bool = False
    ) -> None:
        self._client, self._options = client, options
        # only what the workers load is on their devices
        names = Segmentation(replace(options, device="cpu")).model_names
        settings = digest_settings(options, names)
        self._assignment = Assignment(os.urandom(8).hex(), options, settings, verbose=verbose, devices=devices)
        self._used: dict[str, dict[str, Any]] = {}

    def do_all(self, images: list[Source], known: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Segment files, and give the entry of each for run.json as soon as it is done.

        Raises
        ------
        OptionError
            When no image can be segmented: a worker has another version or other weights, or the cluster is gone.
        """
        log.info("%d images, %d workers", len(images), self._count_workers())
        tasks: dict[Future, Source] = {}
        for source in images:
            tasks[self._submit(source, known, -len(tasks))] = source
        failed, blamed = [], []
        with _Progress(len(images), self._count_workers) as progress:

            def finish(task: Future) -> dict[str, Any]:
                record = self._receive(task, tasks.pop(task))
                if "error" in record:
                    failed.append(record)
                progress.advance()
                return record

            try:
                for task in as_completed(list(tasks)):
                    if _ended_workers(task):
                        blamed.append(tasks.pop(task))
                        task.release()
                    else:
                        yield finish(task)
                # Dask blames each image that a worker had when it died, those too that only waited there
                for source in blamed:
                    task = self._submit(source, known, 0)
                    tasks[task] = source
                    wait([task])
                    yield finish(task)
            finally:
                # after a mistake the others are not worth doing
                self._client.cancel(list(tasks), force=True)
        # what workers left that were killed
        for place in {Path(), *(source.place for source in images)}:
            with suppress(OSError):
                remove_stale_parts(self._options.output_path / place)
        for record in failed:
            log.error("failed: %s: %s", record["image"], record["error"])

    def _submit(self, source: Source, known: Mapping[str, dict[str, Any]], priority: int) -> Future:
        return self._client.submit(
            _do_image, self._assignment, source, known.get(source.name, {}), pure=False, priority=priority
        )

    def _receive(self, task: Future, source: Source) -> dict[str, Any]:
        """Return the record of an image, and say what its worker said."""
        try:
            done: Done = task.result()
        except OptionError:
            raise
        except KilledWorker as error:
            return fail(source, f"{error.allowed_failures + 1} workers died while they had it")
        except Exception as error:
            if task.status != "error":
                raise OptionError("the cluster is gone; --skip-existing goes on from here") from error
            return fail(source, f"failed unexpectedly on its worker ({type(error).__name__}: {error})")
        finally:
            task.release()
        for name, level, message in done.said:
            logging.getLogger(name).log(level, "%s", message)
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


def _ended_workers(task: Future) -> bool:
    """Say whether Dask gave up a task because the workers that had it died."""
    return task.status == "error" and isinstance(task.exception(), KilledWorker)


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


class _Progress(ExitStack):
    """Says how many images are done and when the rest will be: a bar on a terminal, else a line now and then."""

    def __init__(self, total: int, count_workers: Callable[[], int]) -> None:
        super().__init__()
        self._total, self._done, self._count_workers = total, 0, count_workers
        self._started_s = self._said_s = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self.enter_context(logging_redirect_tqdm())
            self._bar = self.enter_context(tqdm(total=total, unit="image"))

    def advance(self) -> None:
        """Count an image."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
            return
        now_s = time.monotonic()
        if now_s - self._said_s >= PROGRESS_S and self._done < self._total:
            self._said_s = now_s
            left_s = (now_s - self._started_s) / self._done * (self._total - self._done)
            text = f"{left_s / 60:.0f} min" if left_s > 90 else f"{left_s:.0f} s"
            log.info("%d of %d images, %d workers, about %s left", self._done, self._total, self._count_workers(), text)
