"""What a worker of a cluster does with an image of a run: its models stay loaded for the next one."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from mosaicell.errors import OptionError
from mosaicell.options import VERSION, Options
from mosaicell.reading.enclosure import enclose_input
from mosaicell.runs.inputs import Source
from mosaicell.runs.one_process import OneProcess
from mosaicell.runs.slide_work import SlideWork

Result = TypeVar("Result")
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Assignment:
    """What a worker has to know of a run.

    Attributes
    ----------
    run
        Tells runs apart.
    options
        With absolute paths, which lead to the same folders for all workers.
    settings
        Digest of the options and weights.
    version
        Of the program.
    verbose
        Also tell every choice made.
    devices
        Which the workers take by turns, by their number; empty where each finds its own.
    """

    run: str
    options: Options
    settings: str
    version: str = VERSION
    verbose: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What became of an image, or of a step of the work on one.

    Attributes
    ----------
    record
        The entry of run.json of an image, what a step gives.
    used
        As `OneProcess.describe` says.
    worker
        Host and process that did it.
    said
        What was logged: name of the log, level and message.
    """

    record: Result
    used: dict[str, Any]
    worker: str
    said: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Held:
    run: str
    process: OneProcess
    openers: ExitStack


#: a network uses all threads by itself: one image at a time
_lock = threading.Lock()
_held: list[_Held] = []


def do_image(assignment: Assignment, source: Source, known: dict[str, Any], number: int = 0) -> Done[dict[str, Any]]:
    """Segment an image and write its results, as a run in one process does.

    Parameters
    ----------
    assignment
        The same for all images of a run.
    source
        The image.
    known
        What earlier runs say of it; empty where they say nothing.
    number
        Of this worker.

    Raises
    ------
    OptionError
        When the worker has another version or other weights, or none of its images can be segmented.
    """

    def segment(process: OneProcess) -> dict[str, Any]:
        (record,) = process.segment([source], {source.name: known} if known else {})
        return record

    return _do(assignment, number, segment)


def do_step(
    assignment: Assignment,
    source: Source,
    number: int,
    step: Callable[Concatenate[SlideWork, Given], Result],
    *arguments: Given.args,
    **settings: Given.kwargs,
) -> Done[Result]:
    """Do a step of the work on a slide.

    Parameters
    ----------
    assignment, source, number
        As in `do_image`.
    step
        A method of `SlideWork`.
    arguments, settings
        Of it.

    Raises
    ------
    OptionError
        As `do_image`.
    ImageError, OSError
        As the step.
    """
    return _do(assignment, number, lambda process: step(process.open_slide(source), *arguments, **settings))


def _do(assignment: Assignment, number: int, act: Callable[[OneProcess], Result]) -> Done[Result]:
    with _lock, _listen(assignment) as said:
        process = _take_over(assignment, number)
        record = act(process)
        return Done(record, process.describe(), f"{socket.gethostname()}:{os.getpid()}", said)


def _take_over(assignment: Assignment, number: int) -> OneProcess:
    """Return what does the images of a run; its models are loaded when the first needs them."""
    for held in _held:
        if held.run == assignment.run:
            return held.process
    while _held:
        _held.pop().openers.close()
    if assignment.version != VERSION:
        raise OptionError(f"the worker has version {VERSION} of mosaicell, the command {assignment.version}")
    options = assignment.options
    if assignment.devices:
        options = replace(options, device=assignment.devices[number % len(assignment.devices)])
    with ExitStack() as stack:
        openers = {
            path: stack.enter_context(enclose_input(path, follow_links=options.follow_links)) for path in options.inputs
        }
        process = OneProcess(options, openers)
        if process.settings != assignment.settings:
            raise OptionError(f"the worker has other weights in {options.weights_path} than the command")
        _held.append(_Held(assignment.run, process, stack.pop_all()))
    return process


class _Listener(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _listen(assignment: Assignment) -> Iterator[list[tuple[str, int, str]]]:
    """Keep what the program logs, which whoever started the run will see."""
    own, listener = logging.getLogger("mosaicell"), _Listener()
    level, propagate = own.level, own.propagate
    own.addHandler(listener)
    own.setLevel(logging.DEBUG if assignment.verbose else logging.INFO)
    own.propagate = False
    try:
        yield listener.said
    finally:
        own.removeHandler(listener)
        own.setLevel(level)
        own.propagate = propagate
