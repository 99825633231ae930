"""The command line for many machines: python -m mosaicell.cluster, with a task of Dask for each image."""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mosaicell.command_line import perform, start
from mosaicell.command_options import build_parser, read_positive
from mosaicell.errors import OptionError
from mosaicell.machine.limits import SLIDE_FROM_PX
from mosaicell.options import Options

if TYPE_CHECKING:
    from distributed import Client

#: seconds that a scheduler has to answer
CONNECT_S = 20
#: megapixels above which an image is split over the workers unless the user says otherwise, and the least he may say:
#: smaller images are held whole
SPLIT_ABOVE, LEAST_SPLIT = 500.0, SLIDE_FROM_PX / 1e6


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; exit codes as those of `mosaicell`."""
    parser = build_parser()
    parser.description = "Segment every cell in microscopy images, with the workers of a Dask cluster."
    parser.epilog = "exit code: 0 all images have a mask, 1 some have none, 2 nothing could start"
    add = parser.add_argument_group("the cluster (docs/cluster.md)").add_argument
    add("--scheduler", default="", metavar="ADDRESS",
        help="of a Dask scheduler whose workers see the same folders, or a file that it wrote; without it workers are "
        "started on this machine")  # fmt: skip
    add("--workers", type=read_positive, default=0, metavar="N",
        help="how many to start on this machine (default: one for each GPU, else one for two threads)")  # fmt: skip
    add("--split-above", "--split_above", type=_read_split, default=SPLIT_ABOVE, metavar="MEGAPIXELS",
        help="OME-Zarr that is larger is done by all workers together, and its mask is NAME.zarr, OME-Zarr too "
        "(default: %(default)g)")  # fmt: skip
    return perform(parser, arguments, _run_on_cluster)


def _read_split(text: str) -> float:
    try:
        megapixels = float(text)
    except ValueError:
        megapixels = 0.0
    if not LEAST_SPLIT <= megapixels < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {LEAST_SPLIT:g} or more")
    return megapixels


def _run_on_cluster(options: Options, given: argparse.Namespace) -> int:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise OptionError(f"Dask is missing: pip install 'mosaicell[cluster]' ({error})") from error
    from mosaicell.runs.cluster_work import ClusterWork, as_absolute
    from mosaicell.runs.run import run

    if not given.verbose:
        logging.getLogger("distributed").setLevel(logging.WARNING)
    if given.scheduler and given.workers:
        raise OptionError("--workers are started on this machine; --scheduler has workers of its own")
    options = as_absolute(options)
    devices: tuple[str, ...] = ()
    if not given.scheduler:
        options, devices, count = share_machine(options, given.workers, count_gpus())
    with connect(given.scheduler) if given.scheduler else start_workers(count) as client:
        return run(
            options,
            lambda chosen, openers: ClusterWork(
                client,
                chosen,
                openers,
                devices=devices,
                verbose=given.verbose,
                split_above_px=round(given.split_above * 1e6),
            ),
        )


def count_gpus(devices: Path = Path("/dev")) -> int:
    """Count the NVIDIA GPUs of this machine."""
    return sum(path.name.removeprefix("nvidia").isdecimal() for path in devices.glob("nvidia*"))


def share_machine(options: Options, workers: int, gpus: int) -> tuple[Options, tuple[str, ...], int]:
    """Share this machine's threads and GPUs among workers.

    Parameters
    ----------
    options
        What the user asked for.
    workers
        How many; 0 chooses.
    gpus
        Of this machine.

    Returns
    -------
    options
        For each worker: with its share of the threads, unless the user said how many.
    devices
        Which the workers take by turns; empty where the device is the user's choice or the CPU.
    workers
        How many.
    """
    from mosaicell.networks.session import available_threads, resolve_device

    threads = available_threads()
    device = resolve_device(options.device)
    several = device != "cpu" and options.device in ("auto", "cuda") and gpus > 0
    devices = tuple(f"cuda:{number}" for number in range(gpus)) if several else ()
    workers = workers or len(devices) or (1 if device != "cpu" else max(1, threads // 2))
    return replace(options, threads=options.threads or max(1, threads // workers)), devices, workers


@contextlib.contextmanager
def start_workers(count: int) -> Iterator[Client]:
    """Start workers on this machine, each a process that is started again when it dies."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            # the program measures what memory there is, and refuses what would not fit
            memory_limit=0,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler by its address, or by the file that it wrote.

    Raises
    ------
    OptionError
        When it does not answer.
    """
    from distributed import Client

    file = Path(address).is_file()
    try:
        client = Client(**{"scheduler_file" if file else "address": address}, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise OptionError(f"the scheduler {address} does not answer: {error}") from error
    with client:
        yield client


if __name__ == "__main__":
    start(main)
