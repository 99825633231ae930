"""Quality estimation: how likely each cell is right, how good the answer is, and which branch's to trust.

The program judges every cell of both branches by what the maps of both say about it, and keeps the better ones; a
further judge predicts the F1 of what results. The rule of the Cell Segmenter paper (section 2.2.3) remains as an
option: it compares the branches' confidences and takes one answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mosaicell.answers.branches import Prediction
from mosaicell.errors import OptionError
from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.cells import (
    CELL_FEATURES,
    best_ious,
    count_shared,
    describe_cells,
    find_unsure,
    median_size,
    merge_cells,
)
from mosaicell.postprocess.objects import keep_largest_pieces

#: below this confidence of AWF the Omnipose-style branch is taken (paper)
MIN_CONFIDENCE = 0.8
#: the Omnipose-style branch is taken when it is more confident by this much (paper)
MIN_ADVANTAGE = 0.05
#: the fitted judges, in the folder of the weights
QUALITY_FILE = "quality.json"
#: judges by what they judge: cells of either kind of branch, and whole answers
JUDGED = ("awf", "omnipose", "image")
#: what `describe_evidence` returns of an answer, in this order
IMAGE_FEATURES = ("expected_f1", "agreement", "matched")
#: range of what a judge sees
INPUT_LIMIT = 4.0
#: less likely cells are dropped: at an F1 of twice that, one more cell of this likelihood does not change it
MIN_LIKELIHOOD = 0.3
#: an answer of a lower predicted F1 is doubtful: two of the validation images are, and their F1 is 0.13 and 0
DOUBTFUL_F1 = 0.2
#: an answer with a lower predicted F1 is left out: no validation image has one, noise has
HOPELESS_F1 = 0.08
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
class Sizes:
    """What the cells that one branch finds in an image are compared with, in px of its maps.

    Attributes
    ----------
    least_px
        Smaller cells are debris.
    typical
        Median logarithm of the area.
    """

    least_px: int
    typical: float


#: what of a cell adds up to what `describe_evidence` says of the answer, in this order: how likely it is, where it
#: stays; that it stays; that it stays or would if it were likely enough; its IoU with the best cell of the other
#: branch; that this is at least 0.5; that it is a cell
EVIDENCE = ("true", "kept", "found", "agreement", "matched", "cells")


@dataclass(frozen=True)
class Judged:
    """The better cells of both branches in an image or in part of one.

    Attributes
    ----------
    labels
        uint32 (y, x), 1..n without gaps, every cell 4-connected.
    sources
        (n,), of the ids from 1: 0 for a cell of AWF, 1 for one of the Omnipose-style branch.
    evidence
        float64 (m, len(EVIDENCE)), of the cells of AWF, then of those of the Omnipose-style branch.
    unsure
        bool (m,), of the same: whose fate or form depends on what lies beyond the part.
    """

    labels: np.ndarray
    sources: np.ndarray
    evidence: np.ndarray
    unsure: np.ndarray


def judge_cells(
    awf: Prediction,
    omnipose: Prediction,
    judges: Judges,
    typical: tuple[float, float],
    cut_sides: tuple[bool, bool, bool, bool] | None = None,
) -> Judged:
    """Judge the cells of both branches, which worked at the same scale, and keep the better ones.

    Parameters
    ----------
    awf, omnipose
        Of an image or of part of one, with their maps.
    judges
        By what they judge.
    typical
        `Sizes.typical` of either branch.
    cut_sides
        Beyond which sides of the part, top, left, bottom and right, the image goes on; None for a whole image.
    """
    labels = (awf.labels, omnipose.labels)
    pairs, shared_px, features = describe_branches(awf, omnipose, typical)
    likelihoods = (judges["awf"].judge(features[0]), judges["omnipose"].judge(features[1]))
    unsure = None
    if cut_sides is not None:
        cut = (_cut_cells(labels[0], cut_sides), _cut_cells(labels[1], cut_sides))
        unsure = find_unsure(cut, pairs, shared_px, (count_pixels(labels[0]), count_pixels(labels[1])))
    selected = merge_cells(labels, likelihoods, pairs, shared_px, MIN_LIKELIHOOD, unsure)
    # what a better cell cuts off is no cell: of 11 such pieces in the validation images none was right
    merged, ids = keep_largest_pieces(selected.labels, MIN_CELL_PX)
    evidence = [_list_evidence(*described) for described in zip(likelihoods, selected.stays, features, strict=True)]
    doubtful = np.concatenate([one[1:] for one in selected.unsure])
    return Judged(merged, selected.sources[ids], np.concatenate(evidence), doubtful)


def _cut_cells(labels: np.ndarray, cut_sides: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """Flag, by id, the cells that touch one of these sides."""
    flags = np.zeros(int(labels.max(initial=0)) + 1, bool)
    sides = (labels[0], labels[:, 0], labels[-1], labels[:, -1])
    for side, is_cut in zip(sides, cut_sides, strict=True):
        if is_cut:
            flags[side] = True
    flags[0] = False
    return flags


def _list_evidence(likelihoods: np.ndarray, stays: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return (n, len(EVIDENCE)) of the cells 1..n of a branch."""
    likelihoods, stays, agreement = likelihoods[1:], stays[1:], features[1:, CELL_FEATURES.index("agreement")]
    kept = stays & (likelihoods >= MIN_LIKELIHOOD)
    rows = (likelihoods * kept, kept, stays, agreement, agreement >= 0.5, np.ones(likelihoods.size))
    return np.stack(rows, axis=1).astype(np.float64)


def describe_evidence(totals: np.ndarray) -> np.ndarray | None:
    """Measure an answer as a whole.

    Parameters
    ----------
    totals
        (len(EVIDENCE),): the sum over all cells of both branches.

    Returns
    -------
    float64 (len(IMAGE_FEATURES),), or None where nothing was found:

    - expected_f1: twice the sum of the likelihoods of the cells that stay, over their number plus that of all
    - agreement: mean IoU of the cells of both branches with the best one of the other
    - matched: share of them where that is at least 0.5
    """
    true, kept, found, agreement, matched, cells = totals.tolist()
    return np.array((2 * true / (kept + found), agreement / cells, matched / cells)) if found else None


def predict_f1(described: np.ndarray | None, judges: Judges) -> float | None:
    """Return the F1 at IoU 0.5 that is to be expected of an answer, from `describe_evidence`; None where nothing is.

    That is what the judge of images says or, without one, what follows if everything that a branch took for a cell is
    one and those that were dropped are missed.
    """
    if described is None:
        return None
    return float(judges["image"].judge(described) if "image" in judges else described[0])


@dataclass(frozen=True)
class Merged:
    """The better cells of both branches in an image.

    Attributes
    ----------
    labels
        uint32 (y, x), 1..n without gaps, every cell 4-connected.
    cells
        How many of them are AWF's, and how many the Omnipose-style branch's.
    sizes
        Of the cells that either branch found.
    described, predicted_f1
        From `describe_evidence` and `predict_f1`.
    """

    labels: np.ndarray
    cells: tuple[int, int]
    sizes: tuple[Sizes, Sizes]
    described: np.ndarray | None
    predicted_f1: float | None


def merge_branches(awf: Prediction, omnipose: Prediction, judges: Judges) -> Merged:
    """Choose cell by cell between the predictions of both branches for an image, as `judge_cells` does."""
    typical = (median_size(awf.map_labels), median_size(omnipose.map_labels))
    judged = judge_cells(awf, omnipose, judges, typical)
    described = describe_evidence(judged.evidence.sum(axis=0))
    from_awf, from_omnipose = np.bincount(judged.sources, minlength=2).tolist()
    sizes = (Sizes(awf.least_px, typical[0]), Sizes(omnipose.least_px, typical[1]))
    return Merged(judged.labels, (from_awf, from_omnipose), sizes, described, predict_f1(described, judges))


def describe_branches(
    awf: Prediction, omnipose: Prediction, typical: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Measure the cells of both branches.

    Parameters
    ----------
    awf, omnipose
        With their maps.
    typical
        `Sizes.typical` of either branch.

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
    awf_features, omnipose_features = (
        describe_cells(one.map_labels, best, awf.raw.maps, omnipose.raw.maps, awf.raw.candidates, size)
        for one, best, size in zip((awf, omnipose), ious, typical, strict=True)
    )
    return pairs, shared_px, (awf_features, omnipose_features)
