"""Merging: the better cells of all branches that saw an image, and how good what they come to is expected to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mosaicell.answers.branches import Prediction
from mosaicell.answers.features import AGREEMENT, MATCHED_IOU, Described, describe_branches, name_branches
from mosaicell.answers.judges import IMAGE, IMAGE_FEATURES, Judges
from mosaicell.decoders import Settings
from mosaicell.postprocess.cells import median_size
from mosaicell.postprocess.label_fusion import find_unsure, merge_cells
from mosaicell.postprocess.objects import keep_largest_pieces

#: less likely cells are dropped: at an F1 of twice that, one more cell of this likelihood does not change it
MIN_LIKELIHOOD = 0.3
#: cells that better ones left fewer pixels than this in one piece are dropped
MIN_CELL_PX = 10
#: what of a cell adds up to what `describe_evidence` says of the answer, in this order: how likely it is, where it
#: stays; that it stays; that it stays or would if it were likely enough; its IoU with the best cell of another
#: branch; that this is at least 0.5; that it is a cell
EVIDENCE = ("true", "kept", "found", "agreement", "matched", "cells")


@dataclass(frozen=True)
class Sizes:
    """What the cells that one branch finds in an image are compared with, in px of its maps.

    Attributes
    ----------
    least_px
        Smaller cells are debris.
    typical
        Median logarithm of the area.
    measured
        What else is known of the whole image, as `Decoder.measure` gives it.
    """

    least_px: int
    typical: float
    measured: Settings = field(default_factory=dict)


def measure_sizes(prediction: Prediction) -> Sizes:
    """Measure the cells that a branch found in an image."""
    return Sizes(prediction.least_px, median_size(prediction.map_labels), prediction.measured)


@dataclass(frozen=True)
class Judged:
    """The better cells of all branches in an image or in part of one.

    Attributes
    ----------
    labels
        uint32 (y, x), 1..n without gaps, every cell 4-connected.
    sources
        (n,), of the ids from 1: the branch that a cell is from, by its place.
    likelihoods
        float32 (n,), of the ids from 1: how likely a cell is right.
    evidence
        float64 (m, len(EVIDENCE)), of the cells of one branch after the other.
    unsure
        bool (m,), of the same: whose fate or form depends on what lies beyond the part.
    """

    labels: np.ndarray
    sources: np.ndarray
    likelihoods: np.ndarray
    evidence: np.ndarray
    unsure: np.ndarray


def judge_cells(
    predictions: Sequence[Prediction],
    judges: Judges,
    typical: Sequence[float],
    cut_sides: tuple[bool, bool, bool, bool] | None = None,
) -> Judged:
    """Judge the cells of all branches, which worked at the same scale, and keep the better ones.

    Parameters
    ----------
    predictions
        Of the branches for an image or for part of one, with what the networks said.
    judges
        By the branches whose cells they judge.
    typical
        `Sizes.typical` of each branch.
    cut_sides
        Beyond which sides of the part, top, left, bottom and right, the image goes on; None for a whole image.
    """
    labels = [prediction.labels for prediction in predictions]
    overlaps, described = describe_branches(predictions, typical)
    likelihoods = np.concatenate(
        [
            judges[name].judge(one.columns(judges[name].features))[1:]
            for name, one in zip(name_branches(prediction.kind for prediction in predictions), described, strict=True)
        ]
    )
    unsure = None
    if cut_sides is not None:
        unsure = find_unsure(np.concatenate([_cut_cells(one, cut_sides) for one in labels]), overlaps)
    selected = merge_cells(labels, likelihoods, overlaps, MIN_LIKELIHOOD, unsure)
    # what a better cell cuts off is no cell: of 11 such pieces in the validation images none was right
    merged, ids = keep_largest_pieces(selected.labels, MIN_CELL_PX)
    evidence = _list_evidence(likelihoods, selected.stays, described)
    return Judged(merged, selected.sources[ids], selected.likelihoods[ids], evidence, selected.unsure)


def _cut_cells(labels: np.ndarray, cut_sides: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """Flag the cells 1..n that touch one of these sides."""
    flags = np.zeros(int(labels.max(initial=0)) + 1, bool)
    sides = (labels[0], labels[:, 0], labels[-1], labels[:, -1])
    for side, is_cut in zip(sides, cut_sides, strict=True):
        if is_cut:
            flags[side] = True
    return flags[1:]


def _list_evidence(likelihoods: np.ndarray, stays: np.ndarray, described: Sequence[Described]) -> np.ndarray:
    """Return (n, len(EVIDENCE)) of the cells of all branches."""
    agreement = np.concatenate([one.columns((AGREEMENT,))[1:, 0] for one in described])
    kept = stays & (likelihoods >= MIN_LIKELIHOOD)
    rows = (likelihoods * kept, kept, stays, agreement, agreement >= MATCHED_IOU, np.ones(likelihoods.size))
    return np.stack(rows, axis=1).astype(np.float64)


def describe_evidence(totals: np.ndarray) -> np.ndarray | None:
    """Measure an answer as a whole.

    Parameters
    ----------
    totals
        (len(EVIDENCE),): the sum over all cells of all branches.

    Returns
    -------
    float64 (len(IMAGE_FEATURES),), or None where nothing was found:

    - expected_f1: twice the sum of the likelihoods of the cells that stay, over their number plus that of all
    - agreement: mean IoU of the cells of all branches with the best one of another, 0 with one branch
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
    if IMAGE not in judges:
        return float(described[0])
    return float(judges[IMAGE].judge(Described(IMAGE_FEATURES, described).columns(judges[IMAGE].features)))


@dataclass(frozen=True)
class Merged:
    """The better cells of all branches in an image.

    Attributes
    ----------
    labels
        uint32 (y, x), 1..n without gaps, every cell 4-connected.
    cells
        How many of them each branch gave.
    sizes
        Of the cells that each branch found.
    described, predicted_f1
        From `describe_evidence` and `predict_f1`.
    sources, likelihoods
        As in `Judged`.
    """

    labels: np.ndarray
    cells: tuple[int, ...]
    sizes: tuple[Sizes, ...]
    described: np.ndarray | None
    predicted_f1: float | None
    sources: np.ndarray | None = None
    likelihoods: np.ndarray | None = None


def merge_branches(predictions: Sequence[Prediction], judges: Judges) -> Merged:
    """Choose cell by cell between the predictions of all branches for an image, as `judge_cells` does."""
    sizes = tuple(measure_sizes(prediction) for prediction in predictions)
    judged = judge_cells(predictions, judges, [size.typical for size in sizes])
    described = describe_evidence(judged.evidence.sum(axis=0))
    cells = np.bincount(judged.sources, minlength=len(predictions)).tolist()
    predicted_f1 = predict_f1(described, judges)
    return Merged(judged.labels, tuple(cells), sizes, described, predicted_f1, judged.sources, judged.likelihoods)
