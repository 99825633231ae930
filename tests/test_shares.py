"""Which share of the images a job takes, as it is told or as its scheduler numbers it."""

from __future__ import annotations

import pytest

from mosaicell.errors import OptionError
from mosaicell.runs.shares import take_part

ITEMS = list(range(10))


@pytest.mark.parametrize("count", [1, 3, 10, 12])
def test_all_parts_together_take_each_item_once_and_none_takes_many_more(count: int) -> None:
    parts = [take_part(ITEMS, f"{number}/{count}", {}) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == ITEMS
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert take_part(ITEMS, "", {}) == ITEMS


@pytest.mark.parametrize(
    ("part", "environment", "same_as"),
    [
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3"}, "1/4"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "9",
                  "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "5"}, "3/5"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "4"}, "1/4"),
        ("auto", {"SGE_TASK_ID": "2", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "4", "SGE_TASK_STEPSIZE": "1"}, "2/4"),
        ("auto", {"SGE_TASK_ID": "undefined", "LSB_JOBINDEX": "3", "LSB_JOBINDEX_END": "3"}, "3/3"),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "4"}, "1/4"),
        ("auto/4", {"PBS_ARRAY_INDEX": "4"}, "1/4"),
        ("auto/4", {"PBS_ARRAYID": "2"}, "3/4"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "3"}, "4/4"),
        ("auto/4", {"SLURM_ARRAY_TASK_ID": "6"}, "3/4"),
    ],
    ids=str,
)  # fmt: skip
def test_an_array_of_jobs_numbers_its_parts(part: str, environment: dict[str, str], same_as: str) -> None:
    assert take_part(ITEMS, part, environment) == take_part(ITEMS, same_as, {})


@pytest.mark.parametrize(
    ("part", "environment", "reason"),
    [
        ("0/3", {}, "is no part of 3"),
        ("4/3", {}, "is no part of 3"),
        ("1/0", {}, "is no part of 0"),
        ("2", {}, "is no part"),
        ("-1/3", {}, "is no part"),
        ("auto", {}, "SLURM_ARRAY_TASK_ID, SGE_TASK_ID, .* is set"),
        ("auto/4", {"LSB_JOBINDEX": "0"}, "finds no array"),
        ("auto", {"PBS_ARRAY_INDEX": "1"}, "PBS_ARRAY_INDEX does not say how many"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "use --part auto/N"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7",
                  "SLURM_ARRAY_TASK_COUNT": "3"}, "have gaps"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "7"}, "from 1 to 7"),
    ],
    ids=str,
)  # fmt: skip
def test_what_tells_no_part_says_what_does(part: str, environment: dict[str, str], reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        take_part(ITEMS, part, environment)
