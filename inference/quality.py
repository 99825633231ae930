"""Quality estimation: how likely each cell is right, how good the answer is, and which branch's to trust.

The program judges every cell of both branches by what the maps of both say about it, and keeps the better ones; a
further judge predicts the F1 of what results. The rule of the Cell Segmenter paper (section 2.2.3) remains as an
option: it compares the branches' confidences and takes one answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.branches import Prediction
from inference.errors import OptionError
from inference.scale import resize_labels
from postprocess.bands import count_pixels
from postprocess.cells import CELL_FEATURES, best_ious, count_shared, describe_cells, merge_cells
from postprocess.objects import keep_largest_pieces

#: below this confidence of AWF the Omnipose-style branch is taken (paper)
MIN_CONFIDENCE = 0.8
#: the Omnipose-style branch is taken when it is more confident by this much (paper)
MIN_ADVANTAGE = 0.05
#: the fitted judges, in the folder of the weights
QUALITY_FILE = "quality.json"
#: judges by what they judge: cells of either kind of branch, and whole answers
JUDGED = ("awf", "omnipose", "image")
#: what `describe_image` returns of an answer, in this order
IMAGE_FEATURES = ("expected_f1", "agreement", "matched")
#: range of what a judge sees
INPUT_LIMIT = 4.0
#: less likely cells are dropped: at an F1 of twice that, one more cell of this likelihood does not change it
MIN_LIKELIHOOD = 0.3
#: an answer of a lower predicted F1 is doubtful: on the validation images one is, and its F1 is 0.11
DOUBTFUL_F1 = 0.25
#: cells that better ones left fewer pixels than this in one piece are dropped
MIN_CELL_PX = 10


def prefers_omnipose(awf: float, omnipose: float) -> bool:
    """Choose the Omnipose-style branch when AWF is unsure, or clearly less sure (section 2.2.3).

    An empty Omnipose-style prediction (confidence 0) is never preferred: there is nothing to choose.
    """
    return omnipose > 0 and (awf < MIN_CONFIDENCE or omnipose - awf > MIN_ADVANTAGE)


@dataclass(frozen=True)
class Judge:
    """Logistic regression on standardised features, on their products too where it was fitted to those.

    Attributes
    ----------
    mean, scale
        (f,), those of the features that it was fitted to.
    slopes
        One for each of `judged_inputs`, with or without products.
    offset
        The logarithm of the odds where all of those are 0.
    """

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


#: judges by what they judge; that of images may be missing
Judges = Mapping[str, Judge]


def read_judges(folder: Path) -> dict[str, Judge]:
    """Read the judges from the folder of the weights.

    Raises
    ------
    OptionError
        When the file is missing, cannot be read, or was fitted to other features.
    """
    path = folder / QUALITY_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        judges = {kind: _make_judge(entry) for kind, entry in table.items()}
        features = {kind: tuple(entry["features"]) for kind, entry in table.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise OptionError(f"cannot read the judges {path}: {error}") from error
    if not set(judges).issuperset(JUDGED[:2]) or any(
        features[kind] != (IMAGE_FEATURES if kind == "image" else CELL_FEATURES) for kind in judges
    ):
        raise OptionError(f"{path} was fitted to other features; fit it again")
    return judges


def _make_judge(entry: dict[str, Any]) -> Judge:
    mean, scale, slopes = (np.array(entry[name]) for name in ("mean", "scale", "slopes"))
    judge = Judge(mean, scale, slopes, entry["offset"])
    count = len(entry["features"])
    if not judge.mean.shape == judge.scale.shape == (count,):
        raise ValueError(f"{count} features have means {judge.mean.shape} and scales {judge.scale.shape}")
    if judge.slopes.shape not in ((count,), (count + count * (count + 1) // 2,)):
        raise ValueError(f"{count} features have slopes {judge.slopes.shape}")
    return judge


@dataclass(frozen=True)
class Merged:
    """The better cells of both branches.

    Attributes
    ----------
    labels
        uint32 (y, x), 1..n without gaps, every cell 4-connected.
    from_awf, from_omnipose
        How many cells of `labels` each branch gave.
    alone_f1
        F1 that is to be expected of either branch's cells without the other's, if as many are true as the likelihoods
        of `labels` add up to.
    described
        What the answer looks like, (len(IMAGE_FEATURES),); None where nothing was found.
    predicted_f1
        F1 at IoU 0.5 that is to be expected: by the judge of images or, without one, if everything that a branch took
        for a cell is one and those that were dropped are missed. None where nothing was found.
    """

    labels: np.ndarray
    from_awf: int
    from_omnipose: int
    alone_f1: tuple[float, float]
    described: np.ndarray | None
    predicted_f1: float | None


def merge_branches(awf: Prediction, omnipose: Prediction, judges: Judges) -> Merged:
    """Choose cell by cell between the predictions of both branches, which worked at the same scale.

    Parameters
    ----------
    awf, omnipose
        For one image, with their maps.
    judges
        By what they judge.
    """
    labels = (awf.labels, omnipose.labels)
    pairs, shared_px, features = describe_branches(awf, omnipose)
    likelihoods = (judges["awf"].judge(features[0]), judges["omnipose"].judge(features[1]))
    merged, found, is_omnipose = merge_cells(labels, likelihoods, pairs, shared_px, MIN_LIKELIHOOD)
    described = describe_image(found, features) if found.size else None
    predicted = None
    if described is not None:
        predicted = float(judges["image"].judge(described) if "image" in judges else described[0])
    true_count = float(found[found >= MIN_LIKELIHOOD].sum())
    alone_f1 = (_expect_f1(likelihoods[0][1:], true_count), _expect_f1(likelihoods[1][1:], true_count))
    # what a better cell cuts off is no cell: of 11 such pieces in the validation images none was right
    whole, ids = keep_largest_pieces(merged, MIN_CELL_PX)
    from_omnipose = int(np.count_nonzero(is_omnipose[ids - 1]))
    return Merged(whole, ids.size - from_omnipose, from_omnipose, alone_f1, described, predicted)


def _expect_f1(likelihoods: np.ndarray, true_count: float) -> float:
    """Return the F1 to be expected of cells of these likelihoods (n,) where so many are true; 0 without cells."""
    return float(2 * likelihoods.sum() / (likelihoods.size + true_count)) if likelihoods.size else 0.0


def describe_image(likelihoods: np.ndarray, cells: Sequence[np.ndarray]) -> np.ndarray:
    """Measure an answer as a whole.

    Parameters
    ----------
    likelihoods
        (n,) from `merge_cells`, n > 0.
    cells
        Features of the cells of either branch, from `describe_branches`.

    Returns
    -------
    float64 (len(IMAGE_FEATURES),):

    - expected_f1: twice the sum of the likelihoods of the cells that stay, over their number plus that of all
    - agreement: mean IoU of the cells of both branches with the best one of the other
    - matched: share of them where that is at least 0.5
    """
    kept = likelihoods[likelihoods >= MIN_LIKELIHOOD]
    agreement = np.concatenate([one[1:, CELL_FEATURES.index("agreement")] for one in cells])
    expected = 2 * kept.sum() / (kept.size + likelihoods.size)
    return np.array((expected, agreement.mean(), np.mean(agreement >= 0.5)))


def describe_branches(
    awf: Prediction, omnipose: Prediction
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Measure the cells of both branches.

    Returns
    -------
    pairs, shared_px
        As `count_shared` gives them.
    features
        By id, of the cells of either branch.
    """
    labels = (awf.labels, omnipose.labels)
    pairs, shared_px = count_shared(*labels)
    ious = best_ious(pairs, shared_px, (count_pixels(labels[0]), count_pixels(labels[1])))
    shape_px = awf.maps.shape[1], awf.maps.shape[2]
    awf_features, omnipose_features = (
        describe_cells(
            one if one.shape == shape_px else np.ascontiguousarray(resize_labels(one, shape_px)),
            best,
            awf.maps,
            omnipose.maps,
            awf.boxes,
        )
        for one, best in zip(labels, ious, strict=True)
    )
    return pairs, shared_px, (awf_features, omnipose_features)
