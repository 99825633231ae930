"""Options of the command `python -m evaluation.timing`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from mosaicell.evaluation.memory import parse_memory


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line; every value is checked where it is read."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation.timing",
        description="Run a container or a command once for each image, as the challenge does; say what each run took.",
    )
    add = parser.add_argument
    add("-i", "--input_path", "--input-path", type=Path, required=True, metavar="IMAGES", help="folder of images")
    add(
        "-o",
        "--output_path",
        "--output-path",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for the masks, timing.csv, timing.md, run.json and logs/; new, or of an earlier timing",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", type=_image, metavar="NAME", help="container image, run by docker or by $DOCKER")
    what.add_argument(
        "--command",
        type=_words,
        metavar="LINE",
        help="program to time instead, called with -i INPUTS -o OUTPUTS behind its own arguments",
    )
    add("--runs", type=_count, default=1, metavar="N", help="runs of each image; the median counts (default: 1)")
    add("--gpus", type=_gpu, metavar="DEVICE", help="the container's GPU: a number, or all (default: none)")
    add("--memory", type=_memory, default="28g", metavar="AMOUNT", help="RAM allowed (default: %(default)s)")
    add("--timeout", type=_seconds, default=3600.0, metavar="S", help="stop a run after S seconds (default: 3600)")
    return parser


def _image(text: str) -> str:
    # a name that begins with a dash would be an option of docker's
    if not text.strip() or text.startswith("-"):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an image")
    return text


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no command line: {error}") from error
    if not words:
        raise argparse.ArgumentTypeError("the command line is empty")
    return words


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _gpu(text: str) -> str:
    number = text.removeprefix("device=")
    if number != "all" and not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither the number of a GPU nor all")
    return number


def _memory(text: str) -> str:
    try:
        parse_memory(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
