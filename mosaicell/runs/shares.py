"""Shares of the images: one of N jobs takes every N-th, and an array of jobs on a cluster numbers them itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mosaicell.errors import OptionError

Item = TypeVar("Item")

#: of each scheduler the variables for the number of this job, and for the first, the last and the step of the array
ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"),
    ("SGE_TASK_ID", "SGE_TASK_FIRST", "SGE_TASK_LAST", "SGE_TASK_STEPSIZE"),
    ("LSB_JOBINDEX", "", "LSB_JOBINDEX_END", "LSB_JOBINDEX_STEP"),
    ("PBS_ARRAY_INDEX", "", "", ""),
    ("PBS_ARRAYID", "", "", ""),
)
#: variables for the number of this job, from 0, and for how many there are
COUNTED = (("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"), ("JOB_COMPLETION_INDEX", ""))
#: what LSF numbers a job that belongs to no array
NO_ARRAY = ("LSB_JOBINDEX", 0)
#: how many jobs an array of SLURM has, also where its numbers have gaps
SLURM_COUNT = "SLURM_ARRAY_TASK_COUNT"
ALLOWED = "allowed are I/N with I from 1 to N, auto and auto/N"


def take_part(items: Sequence[Item], part: str, environment: Mapping[str, str]) -> list[Item]:
    """Take the items that belong to a part; all parts together take each once.

    Parameters
    ----------
    items
        In the same order for every part.
    part
        "I/N" with I from 1; "auto", the part of this job of an array; "auto/N", where the scheduler does not say how
        many jobs there are; "" for all.
    environment
        Variables of the process.

    Raises
    ------
    OptionError
        When the part is none of these, or the variables do not tell it.
    """
    if not part:
        return list(items)
    first, count = _parse(part, environment)
    return list(items[first::count])


def _parse(part: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of the part, from 0, and how many there are."""
    match = re.fullmatch(r"(\d{1,9}|auto)(?:/(\d{1,9}))?", part)
    if match is None or (match[2] is None and match[1] != "auto"):
        raise OptionError(f"--part {part!r} is no part; {ALLOWED}")
    count = int(match[2]) if match[2] else None
    if match[1] == "auto":
        return _read_array(environment, count)
    number = int(match[1])
    assert count is not None
    if not 1 <= number <= count:
        raise OptionError(f"--part {part} is no part of {count}; {ALLOWED}")
    return number - 1, count


def _read_array(environment: Mapping[str, str], count: int | None) -> tuple[int, int]:
    """Find the job's place in its array, or with a count its number modulo that."""
    for name, *limits in ARRAYS:
        number = _whole(environment, name)
        if number is None or (name, number) == NO_ARRAY:
            continue
        if count is not None:
            return number % count, count
        first, last, step = (_whole(environment, limit) for limit in limits)
        counted = _whole(environment, SLURM_COUNT) if name.startswith("SLURM") else None
        if last is None:
            if not counted:
                raise _uncounted(name)
            return number % counted, counted
        first, step = 1 if first is None else first, step or 1
        size = (last - first) // step + 1
        if counted not in (None, size):
            raise OptionError(f"the numbers of this array of jobs have gaps; {ALLOWED}")
        if not first <= number <= last:
            raise OptionError(f"{name} is {number}, which is not from {first} to {last}; {ALLOWED}")
        return (number - first) // step, size
    for name, size_name in COUNTED:
        number, counted = _whole(environment, name), count or _whole(environment, size_name)
        if number is not None:
            if not counted:
                raise _uncounted(name)
            return number % counted, counted
    known = ", ".join(names[0] for names in (*ARRAYS, *COUNTED))
    raise OptionError(f"--part auto finds no array of jobs: none of {known} is set; {ALLOWED}")


def _uncounted(name: str) -> OptionError:
    return OptionError(f"{name} does not say how many jobs there are; use --part auto/N with their number")


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else None
