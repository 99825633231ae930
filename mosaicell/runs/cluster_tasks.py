"""Tasks of a cluster: each item once, also where workers die, and how far they are."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from distributed import Client, Future, as_completed, wait
from distributed.scheduler import KilledWorker

from mosaicell.errors import ImageError, OptionError
from mosaicell.runs.cluster_worker import Done

#: seconds between two lines about how far the run is
PROGRESS_S = 15.0
log = logging.getLogger(__name__)

Item = TypeVar("Item")


def complete(
    client: Client, items: Sequence[Item], submit: Callable[[Item, int], Future]
) -> Iterator[tuple[Item, Future]]:
    """Have items done by the workers, and give each with its task as soon as that has ended.

    Parameters
    ----------
    client
        Of the cluster.
    items
        What is to be done, the first first.
    submit
        Makes the task of an item, of a priority.

    Notes
    -----
    An item whose workers died is tried once more by itself at the end. What is left when the caller stops is cancelled.
    """
    tasks: dict[Future, Item] = {}
    for item in items:
        tasks[submit(item, -len(tasks))] = item
    blamed = []
    try:
        for task in as_completed(list(tasks)):
            item = tasks.pop(task)
            if _ended_workers(task):
                blamed.append(item)
                task.release()
            else:
                yield item, task
        # Dask blames each item that a worker had when it died, those too that only waited there
        for item in blamed:
            task = submit(item, 0)
            tasks[task] = item
            wait([task])
            yield tasks.pop(task), task
    finally:
        # after a mistake the others are not worth doing
        client.cancel(list(tasks), force=True)


def receive(task: Future) -> Done[Any]:
    """Return what a task that has ended gave, and let go of it.

    Raises
    ------
    ImageError
        When the workers that had it died, or it failed.
    OptionError
        When no image can be done: as the worker said, or the cluster is gone.
    """
    try:
        done: Done[Any] = task.result()
    except (OptionError, ImageError):
        raise
    except KilledWorker as error:
        raise ImageError(f"{error.allowed_failures + 1} workers died while they had it") from error
    except Exception as error:
        if task.status != "error":
            raise OptionError("the cluster is gone; --skip-existing goes on from here") from error
        if isinstance(error, OSError):
            raise ImageError(f"its mask cannot be written: {error.strerror or error}") from error
        raise ImageError(f"failed unexpectedly on its worker ({type(error).__name__}: {error})") from error
    finally:
        task.release()
    for name, level, message in done.said:
        logging.getLogger(name).log(level, "%s", message)
    return done


def _ended_workers(task: Future) -> bool:
    """Say whether Dask gave up a task because the workers that had it died."""
    return task.status == "error" and isinstance(task.exception(), KilledWorker)


class Progress(ExitStack):
    """Says how many images, or parts of one, are done and when the rest will be.

    That is a bar on a terminal, else a line now and then.
    """

    def __init__(self, total: int, count_workers: Callable[[], int], unit: str = "image") -> None:
        super().__init__()
        self._total, self._done, self._count_workers, self._unit = total, 0, count_workers, unit
        self._started_s = self._said_s = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm

            self.enter_context(logging_redirect_tqdm())
            self._bar = self.enter_context(tqdm(total=total, unit=unit))

    def advance(self) -> None:
        """Count one."""
        self._done += 1
        if self._bar is not None:
            self._bar.update()
            return
        now_s = time.monotonic()
        if now_s - self._said_s >= PROGRESS_S and self._done < self._total:
            self._said_s = now_s
            left_s = (now_s - self._started_s) / self._done * (self._total - self._done)
            text = f"{left_s / 60:.0f} min" if left_s > 90 else f"{left_s:.0f} s"
            workers = self._count_workers()
            log.info("%d of %d %ss, %d workers, about %s left", self._done, self._total, self._unit, workers, text)
