"""The options of the command line, as argparse reads them; nothing heavy is loaded, so that --help answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mosaicell.machine.console import program_name
from mosaicell.options import (
    BLOOD,
    DEFAULT_NAMES,
    DEFAULT_SYSTEM,
    MASK_DTYPES,
    MASK_FORMATS,
    MAX_EXPANSION_PX,
    MAX_THREADS,
    NAME_RULES,
    NGFF_VERSIONS,
    OPEN_WEIGHTS,
    SYSTEM_NAMES,
    WEIGHTS_FOLDER,
    find_weights,
)
from mosaicell.pictures.selection import PLANE_RULES, SCENE_RULES, TIME_RULES, read_choice

EXAMPLES = """examples:
  {name} IMAGES -o MASKS --overlay --report
      all images of a folder; pictures to look at, and run.json with what to check first
  {name} slide.ome.tif -o MASKS --channels DAPI --expand 5 --table --geojson
      nuclei of one channel grown to cells, a table with the values in all channels, and outlines for QuPath

exit code: 0 all images have a mask, 1 some have none, 2 nothing could start
"""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    name = program_name()
    parser = argparse.ArgumentParser(
        prog=name,
        usage=f"{name} IN [IN ...] -o OUT [option ...]",
        description="Segment every cell in microscopy images.",
        epilog=EXAMPLES.format(name=name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("inputs", nargs="*", type=_path, metavar="IN", help="folders of images, and images")
    add("-i", "--input", "--input_path", "--input-path", dest="more_inputs", nargs="+", action="extend", default=[],
        type=_path, metavar="IN", help="the same, also more than one")  # fmt: skip
    add("-o", "--output", "--output_path", "--output-path", dest="output_path", type=_path, metavar="OUT",
        help="folder for NAME_label.tiff, made when missing")  # fmt: skip
    add("--recursive", action="store_true", help="also segment what sub-folders hold; OUT gets the same sub-folders")
    add("--include", action="append", default=[], metavar="GLOB",
        help="of folders only the files of such names, as '*.tif'; may be given more than once")  # fmt: skip
    add("--part", default="", metavar="I/N|auto",
        help="take the I-th of N equal shares of the images; auto: that of this job in an array of jobs")  # fmt: skip
    add("--names", choices=NAME_RULES, default=DEFAULT_NAMES,
        help="NAME is the image's without the suffix, or up to the first dot (default: %(default)s)")  # fmt: skip
    add("--mask-dtype", "--mask_dtype", choices=MASK_DTYPES, default=MASK_DTYPES[0],
        help="store ids as uint16 where they fit, or always as uint32, which napari takes for labels "
        "(default: %(default)s)")  # fmt: skip
    add("--mask-format", "--mask_format", choices=MASK_FORMATS, default=MASK_FORMATS[0],
        help="write masks as TIFF, or with OME's XML (default: %(default)s)")  # fmt: skip
    add(
        "--system",
        choices=SYSTEM_NAMES,
        default=DEFAULT_SYSTEM,
        help="which system segments (default: %(default)s)",
    )
    add(
        "--weights",
        type=_weights,
        default=WEIGHTS_FOLDER,
        metavar="DIR|open",
        help="folder of models with their manifest.json, or those trained on images of open terms alone",
    )
    add(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        help="where the networks run (default: %(default)s)",
    )
    add(
        "--threads",
        type=_thread_count,
        default=0,
        metavar="N",
        help="CPU threads (default: all this process may use)",
    )
    add("--gpu-mem-limit", "--gpu_mem_limit", type=_positive_float, default=8.0, metavar="GB",
        help="GPU memory for the networks (default: %(default)s)")  # fmt: skip
    add("--batch-size", "--batch_size", type=read_positive, default=0, metavar="N",
        help="tiles per network call (default: 1 on the CPU, 4 on a GPU)")  # fmt: skip
    add("--tta", action="store_true",
        help="better masks from 4 mirrored views of every tile, in 2 to 4 times the time")  # fmt: skip
    add("--choose-by", "--choose_by", default="", metavar="WAY",
        help="how the system chooses between the answers of its models; a way that it does not know is refused with "
        "a list of those it knows (default: what is best for the system)")  # fmt: skip
    add("--all-tiles", "--all_tiles", action="store_true",
        help="also run the networks on the empty parts of slides")  # fmt: skip
    add("--max-megapixels", "--max_megapixels", type=_positive_float, default=1000.0, metavar="N",
        help="refuse larger images (default: %(default)g)")  # fmt: skip
    _add_picture_options(parser)
    _add_result_options(parser)
    add("--follow-links", "--follow_links", action="store_true",
        help="also segment links that lead out of the input folder")  # fmt: skip
    add(
        "--skip-existing",
        "--skip_existing",
        action="store_true",
        help="leave images alone whose mask is there, of the same file, options and weights",
    )
    add(
        "--report",
        action="store_true",
        help="write run.json: version, weights, options, and figures for every image",
    )
    add("-v", "--verbose", action="store_true", help="log every choice made")
    add("--version", action="store_true", help="print the version, with --verbose also of all packages and weights")
    add("--check", action="store_true", help="run every model of the system once on the device, then stop")
    add("--completion", action="store_true",
        help="print what has bash and zsh complete the options, for eval or a file, and stop")  # fmt: skip
    return parser


def _add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses between the pictures of a file."""
    add = parser.add_argument_group("files that hold more than one picture (docs/pictures.md)").add_argument
    add("--channels", nargs="+", default=(), metavar="C",
        help="channels by number from 1 or by name: one is seen as grey, two or three as colours")  # fmt: skip
    add("--z", type=_picture_choice(PLANE_RULES), metavar="N|first|focus|max|mean|all",
        help="plane of a stack, a projection, or all: a page of the mask for each")  # fmt: skip
    add("--t", type=_picture_choice(TIME_RULES), metavar="N|all", help="time, or all: a page of the mask for each")
    add("--scene", type=_picture_choice(SCENE_RULES), metavar="N|largest", help="image of a file that holds several")
    add("--strict", action="store_true", help="refuse files where one of these would be chosen for you")


def _add_result_options(parser: argparse.ArgumentParser) -> None:
    """Add what chooses between the cells, and what is written beside a mask."""
    add = parser.add_argument_group("which cells, and what is written of them (docs/analysis.md)").add_argument
    add("--min-area", "--min_area", type=read_positive, default=0, metavar="PX", help="leave out smaller cells")
    add("--max-area", "--max_area", type=read_positive, default=0, metavar="PX", help="leave out larger cells")
    add("--exclude-edges", "--exclude_edges", action="store_true",
        help="leave out cells that touch the border of the image")  # fmt: skip
    add("--expand", type=_expansion, default=0, metavar="PX",
        help="let cells grow by so many px without merging, as from nuclei to whole cells")  # fmt: skip
    add("--blood", choices=BLOOD, default=BLOOD[0],
        help="auto: in smears that show white cells among red ones the white only; white: leave out red cells of any "
        "stained image (default: %(default)s)")  # fmt: skip
    add(
        "--overlay",
        action="store_true",
        help="write NAME_overlay.png, the image with outlines, beside each mask",
    )
    add("--table", action="store_true",
        help="write NAME_cells.csv: shape, branch, likelihood and values in all channels of every cell")  # fmt: skip
    add("--geojson", action="store_true",
        help="write NAME_cells.geojson: the cells' outlines and measurements, for QuPath")  # fmt: skip
    add("--rois", action="store_true", help="write NAME_rois.zip: the cells' outlines, for ImageJ's ROI Manager")
    add("--ome-zarr", "--ome_zarr", action="store_true",
        help="write NAME.zarr: the labels as OME-Zarr, with reduced copies for viewers")  # fmt: skip
    add("--ome-zarr-version", "--ome_zarr_version", choices=NGFF_VERSIONS, default=NGFF_VERSIONS[0],
        help="of --ome-zarr; most viewers read no 0.5 (default: %(default)s)")  # fmt: skip


def _picture_choice(rules: tuple[str, ...]) -> Callable[[str], int | str]:
    def read(text: str) -> int | str:
        try:
            return read_choice(text, rules)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def read_positive(text: str) -> int:
    """Read a whole number of 1 or more, for a parser."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _thread_count(text: str) -> int:
    count = read_positive(text)
    if count > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} are too many; allowed are 1 to {MAX_THREADS:,}")
    return count


def _expansion(text: str) -> int:
    distance_px = read_positive(text)
    if distance_px > MAX_EXPANSION_PX:
        raise argparse.ArgumentTypeError(f"{text!r} is too far; allowed are 1 to {MAX_EXPANSION_PX:,} px")
    return distance_px


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _weights(text: str) -> Path:
    return find_weights(text) if text == OPEN_WEIGHTS else _path(text)
