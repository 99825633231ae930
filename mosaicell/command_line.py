"""The command line: `mosaicell`, `python -m mosaicell` and `python predict.py` are the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from mosaicell.command_options import build_parser
from mosaicell.errors import OptionError
from mosaicell.machine.console import close_streams, open_streams, say_error, start_log
from mosaicell.machine.stop import end_on_signals
from mosaicell.options import VERSION, Options
from mosaicell.pictures.selection import Selection


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when every image has its mask, 1 when one failed, 2 when nothing could start."""
    return perform(build_parser(), arguments, _run_here)


def _run_here(options: Options, _: argparse.Namespace) -> int:
    from mosaicell.runs.run import run

    return run(options)


def perform(
    parser: argparse.ArgumentParser,
    arguments: list[str] | None,
    segment: Callable[[Options, argparse.Namespace], int],
) -> int:
    """Read a command line of `build_parser`, have a run done that returns how many images failed; as `main`."""
    given = parser.parse_intermixed_args(arguments)
    if given.version and not given.verbose:
        print(f"mosaicell {VERSION}")
        return 0
    if given.completion:
        from mosaicell.completion import write_completion

        print(write_completion(parser))
        return 0
    if given.version or given.check:
        return _print_installation(given)
    inputs = [*given.inputs, *given.more_inputs]
    if not inputs or given.output_path is None:
        parser.error("the following arguments are required: IN or -i/--input, -o/--output")
    start_log(verbose=given.verbose)
    try:
        options = _read_options(given, inputs)
        from mosaicell.machine.heap import share_heap

        # before anything is imported that starts threads
        share_heap()
        failed = segment(options, given)
    except OptionError as error:
        say_error(str(error))
        return 2
    return 1 if failed else 0


def _read_options(given: argparse.Namespace, inputs: list[Path]) -> Options:
    return Options(
        input_path=inputs[0],
        output_path=given.output_path,
        further_inputs=tuple(inputs[1:]),
        recursive=given.recursive,
        include=tuple(given.include),
        part=given.part,
        names=given.names,
        mask_dtype=given.mask_dtype,
        mask_format=given.mask_format,
        system=given.system,
        weights_path=given.weights,
        device=given.device,
        threads=given.threads,
        gpu_mem_limit_gb=given.gpu_mem_limit,
        batch_size=given.batch_size,
        choose_by=given.choose_by,
        tta=given.tta,
        all_tiles=given.all_tiles,
        max_megapixels=given.max_megapixels,
        follow_links=given.follow_links,
        selection=Selection(tuple(given.channels), given.z, given.t, given.scene, given.strict),
        min_area_px=given.min_area,
        max_area_px=given.max_area,
        exclude_edges=given.exclude_edges,
        expand_px=given.expand,
        blood=given.blood,
        overlay=given.overlay,
        table=given.table,
        geojson=given.geojson,
        rois=given.rois,
        ome_zarr=given.ome_zarr,
        ome_zarr_version=given.ome_zarr_version,
        skip_existing=given.skip_existing,
        report=given.report,
    )


def _print_installation(given: argparse.Namespace) -> int:
    try:
        from mosaicell.runs.installation import check_installation, describe_installation

        if given.version:
            lines = describe_installation(given.weights)
        else:
            lines = check_installation(given.system, given.weights, given.device, given.threads, given.gpu_mem_limit)
    except OptionError as error:
        say_error(str(error))
        return 2
    print("\n".join(lines))
    return 0


def start(command: Callable[[], int] = main) -> None:
    """Run a command line as a process of its own: with its streams and signals, and its exit code."""
    open_streams()
    end_on_signals()
    status = command()
    close_streams()
    sys.exit(status)
