"""Fitting of judges: what they learn from, kept in files, and the regression."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.judges import IMAGE, QUALITY_FILE, judged_inputs, read_table
from mosaicell.errors import OptionError
from mosaicell.writing.parts import write_whole

#: strength of the penalty on the slopes, with products and without, and iterations of Newton's method
RIDGE, PLAIN_RIDGE, ITERATIONS = 1e-2, 1e-3, 30
#: what a file of examples holds of each judge
ARRAYS = ("names", "features", "right", "weights")


@dataclass(frozen=True)
class Examples:
    """What a judge learns from: cells of a branch, or whole answers.

    Attributes
    ----------
    names
        Of the features.
    features
        (n, f), what they look like.
    right
        (n,), 1 for a cell that is right and 0 for one that is not; the F1 of an answer.
    weights
        (n,)
    """

    names: tuple[str, ...]
    features: np.ndarray
    right: np.ndarray
    weights: np.ndarray


def join(parts: list[Examples]) -> Examples:
    """Join examples of the same features.

    Raises
    ------
    ValueError
        When they have others.
    """
    if len({part.names for part in parts}) != 1:
        raise ValueError(f"{len({part.names for part in parts})} kinds of features cannot be joined")
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS[1:])
    return Examples(parts[0].names, *arrays)


def fit(examples: Examples, *, products: bool) -> dict[str, Any]:
    """Fit a logistic regression on standardised features, with a ridge penalty, by Newton's method.

    Parameters
    ----------
    examples
        What to learn from.
    products
        Let the judge see the products of two features too.

    Returns
    -------
    Entry of the judges' file: mean, scale, slopes, offset.

    Raises
    ------
    OptionError
        When all examples are right or all are wrong.
    """
    right = examples.right
    if not 0 < right.mean() < 1:
        raise OptionError("the examples collected are all right or all wrong: nothing can be learned from them")
    weights = examples.weights / examples.weights.sum()
    mean = weights @ examples.features
    scale = np.sqrt(weights @ np.square(examples.features - mean))
    scale[scale < 1e-6] = 1.0
    inputs = np.column_stack((np.ones(len(right)), judged_inputs(examples.features, mean, scale, products=products)))
    slopes = np.zeros(inputs.shape[1])
    penalty = (RIDGE if products else PLAIN_RIDGE) * np.append(0.0, np.ones(slopes.size - 1))
    for _ in range(ITERATIONS):
        likelihoods = 1 / (1 + np.exp(-(inputs @ slopes)))
        gradient = inputs.T @ (weights * (right - likelihoods)) - penalty * slopes
        curvature = (inputs * (weights * likelihoods * (1 - likelihoods))[:, None]).T @ inputs + np.diag(penalty)
        slopes += np.linalg.solve(curvature + 1e-9 * np.eye(len(slopes)), gradient)
    return {
        "mean": mean.round(6).tolist(),
        "scale": scale.round(6).tolist(),
        "slopes": slopes[1:].round(6).tolist(),
        "offset": round(float(slopes[0]), 6),
    }


def write_examples(path: Path, examples: dict[str, Examples]) -> None:
    """Write examples, by the judge that is to learn from them, as .npz."""
    arrays: dict[str, Any] = {
        f"{judge}_{name}": np.array(getattr(part, name)) for judge, part in examples.items() for name in ARRAYS
    }
    with write_whole(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def read_examples(paths: list[Path]) -> dict[str, Examples]:
    """Read and join the examples of all files written by `write_examples`.

    Raises
    ------
    OptionError
        When a file cannot be read or has other features than those before it.
    """
    parts: dict[str, list[Examples]] = {}
    for path in paths:
        try:
            with np.load(path) as arrays:
                judges = [name.removesuffix("_names") for name in arrays if name.endswith("_names")]
                if not judges:
                    raise OptionError(f"cannot read {path}: it holds no examples")
                for judge in judges:
                    names, *columns = (arrays[f"{judge}_{name}"] for name in ARRAYS)
                    found = Examples(tuple(names.tolist()), *columns)
                    if judge in parts and parts[judge][0].names != found.names:
                        raise OptionError(f"{path} was collected with other features; collect again")
                    parts.setdefault(judge, []).append(found)
        except (OSError, LookupError, ValueError) as error:
            raise OptionError(f"cannot read {path}: {error}") from error
    return {judge: join(found) for judge, found in parts.items()}


def write_judges(folder: Path, system: str, examples: dict[str, Examples]) -> None:
    """Fit judges of a system and write them into the folder of the weights, beside those of other systems.

    Those of cells stay if there are only answers; that of answers goes without. Judges of cells see products of
    features too; of answers there are a few hundred, too few to learn them from.
    """
    path = folder / QUALITY_FILE
    table = read_table(folder) if path.is_file() else {}
    fitted = {
        judge: {"features": found.names, **fit(found, products=judge != IMAGE)} for judge, found in examples.items()
    }
    kept = table.get(system, {}) if set(fitted) == {IMAGE} else {}
    with write_whole(path) as part:
        text = json.dumps({**table, system: {**kept, **fitted}}, indent=1)
        part.write_text(text + "\n", encoding="utf-8")
