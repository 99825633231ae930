"""Judges: how likely each cell is right, and how good an answer is, from what is measured of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.features import name_branches, name_features
from mosaicell.errors import OptionError

#: the fitted judges, in the folder of the weights: by system and by what they judge
QUALITY_FILE = "quality.json"
#: the name of the judge of whole answers; the others have those of the branches whose cells they judge
IMAGE = "image"
#: what `merging.describe_evidence` returns of an answer, in this order
IMAGE_FEATURES = ("expected_f1", "agreement", "matched")
#: range of what a judge sees
INPUT_LIMIT = 4.0


@dataclass(frozen=True)
class Judge:
    """Logistic regression on standardised features, on their products too where it was fitted to those.

    Attributes
    ----------
    features
        Their names.
    mean, scale
        (f,), those of the features that it was fitted to.
    slopes
        One for each of `judged_inputs`, with or without products.
    offset
        The logarithm of the odds where all of those are 0.
    """

    features: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    offset: float

    def judge(self, features: np.ndarray) -> np.ndarray:
        """Return how likely cells are right, or the F1 of answers, (...) in 0..1, from their features (..., f)."""
        inputs = judged_inputs(features, self.mean, self.scale, products=self.slopes.size > self.mean.size)
        return 1 / (1 + np.exp(-(self.offset + inputs @ self.slopes)))


def judged_inputs(features: np.ndarray, mean: np.ndarray, scale: np.ndarray, *, products: bool) -> np.ndarray:
    """Standardise features (..., f); with `products` append their squares and products: (..., f + f * (f + 1) / 2).

    Whatever lies beyond four standard deviations, or four as a product, counts as four: little was fitted there.
    Products let a feature count by another one: that no box marks it says little against a thin cell.
    """
    standard = np.clip((features - mean) / scale, -INPUT_LIMIT, INPUT_LIMIT)
    if not products:
        return standard
    first, second = np.triu_indices(mean.size)
    multiplied = np.clip(standard[..., first] * standard[..., second], -INPUT_LIMIT, INPUT_LIMIT)
    return np.concatenate((standard, multiplied), axis=-1)


#: the judges of a system, by the branches whose cells they judge; that of images may be missing
Judges = Mapping[str, Judge]


def read_table(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the judges of all systems as they stand in the folder of the weights.

    Raises
    ------
    OptionError
        When the file is missing or cannot be read.
    """
    path = folder / QUALITY_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(f"cannot read the judges {path}: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(judges, dict) for judges in table.values()):
        raise OptionError(f"cannot read the judges {path}: it holds no object of judges by system")
    return table


def read_judges(folder: Path, system: str, kinds: Sequence[str]) -> dict[str, Judge]:
    """Read the judges of a system from the folder of the weights.

    Parameters
    ----------
    folder
        With the file of all judges.
    system
        The system's name.
    kinds
        Of the branches whose cells are judged.

    Raises
    ------
    OptionError
        When the file is missing or cannot be read, lacks a judge of one of these branches, or has one that was fitted
        to features that are not measured.
    """
    path = folder / QUALITY_FILE
    table = read_table(folder)
    if system not in table:
        raise OptionError(f"{path} has no judges for {system}; fit them")
    try:
        judges = {name: _make_judge(entry) for name, entry in table[system].items()}
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise OptionError(f"cannot read the judges {path}: {error}") from error
    measured = set(name_features(kinds))
    fits = judges.keys() - {IMAGE} == set(name_branches(kinds)) and all(
        set(judge.features) <= (set(IMAGE_FEATURES) if name == IMAGE else measured) for name, judge in judges.items()
    )
    if not fits:
        raise OptionError(f"{path} was fitted to other features or branches for {system}; fit it again")
    return judges


def _make_judge(entry: dict[str, Any]) -> Judge:
    mean, scale, slopes = (np.array(entry[name], np.float64) for name in ("mean", "scale", "slopes"))
    judge = Judge(tuple(entry["features"]), mean, scale, slopes, float(entry["offset"]))
    count = len(judge.features)
    if not judge.mean.shape == judge.scale.shape == (count,):
        raise ValueError(f"{count} features have means {judge.mean.shape} and scales {judge.scale.shape}")
    if judge.slopes.shape not in ((count,), (count + count * (count + 1) // 2,)):
        raise ValueError(f"{count} features have slopes {judge.slopes.shape}")
    numbers = np.concatenate([judge.mean, judge.slopes, [judge.offset]])
    if not np.isfinite(numbers).all() or not (judge.scale > 0).all():
        raise ValueError("it has numbers that are not finite, or scales that are not above 0")
    if not all(isinstance(name, str) for name in judge.features):
        raise ValueError(f"its features are {judge.features!r:.100}, not texts")
    return judge
