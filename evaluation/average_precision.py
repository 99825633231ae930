"""Average precision of masks with scores, by the rule of COCO (MDE-CellMask, paper section 5.1)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosaicell.evaluation.matching import Overlaps, count_overlaps
from mosaicell.writing.masks import LABEL_SUFFIX

Map = NDArray[np.float64]

#: smallest IoU of a match: 0.50, 0.55, ... 0.95
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
#: where precision is looked up
RECALLS = np.linspace(0, 1, 101)
#: what `mosaicell --table` writes beside a mask, and the columns of it that count
TABLE_SUFFIX = "_cells.csv"
LABEL_COLUMN, SCORE_COLUMN = "label", "likelihood"
AP_COLUMNS = ("images", "number", "AP 0.50:0.95", "AP 0.50", "AP 0.75", "true", "predicted")


@dataclass(frozen=True)
class Detections:
    """The predicted cells of one image, and which of them match.

    Attributes
    ----------
    n_truth : int
        True cells.
    scores : float64 array (n,)
        How sure each predicted cell is.
    matched : bool array (10, n)
        Whether it takes a true cell, at each of `IOU_THRESHOLDS`.
    """

    n_truth: int
    scores: Map
    matched: NDArray[np.bool_]


def detect_cells(truth: NDArray[np.integer], prediction: NDArray[np.integer], scores: dict[int, float]) -> Detections:
    """Match predicted cells with true ones: the surest takes first, and takes what it overlaps best.

    Parameters
    ----------
    truth, prediction : integer arrays (y, x)
        Label images with 0 as background and any positive ids.
    scores : dict
        How sure each predicted cell is, by its id. Equal scores: the lower id takes first.

    Raises
    ------
    ValueError
        When arrays do not fit, or when scores are not those of the cells of the prediction.

    Notes
    -----
    Every cell counts, at the border too, and no image is cut into regions: this is not the metric of the challenge.
    """
    overlaps = count_overlaps(truth, prediction)
    ids = overlaps.prediction_ids.tolist()
    if set(ids) != set(scores):
        raise ValueError(f"its mask has {len(ids)} cells, but scores are there for {len(scores)}, or for others")
    ordered = np.array([scores[number] for number in ids], np.float64)
    ranks = np.empty(len(ids), np.intp)
    ranks[np.argsort(-ordered, kind="stable")] = np.arange(len(ids))
    matched = np.stack([_match_by_rank(overlaps, ranks, threshold) for threshold in IOU_THRESHOLDS])
    return Detections(overlaps.truth_ids.size, ordered, matched)


def nothing_detected(truth: NDArray[np.integer]) -> Detections:
    """Return what counts where there is no prediction."""
    return detect_cells(truth, np.zeros_like(truth), {})


def average_precisions(images: Iterable[Detections]) -> Map:
    """Rank the cells of all images together and average their precision over recall.

    Parameters
    ----------
    images : iterable of Detections
        Equal scores: earlier images come first, and in an image lower ids.

    Returns
    -------
    float64 array (10,)
        One for each of `IOU_THRESHOLDS`, 0 to 1; NaN where there is nothing to be found.

    Notes
    -----
    COCO's: precision counts as the best at this or a higher recall, and is averaged over 101 recalls from 0 to 1. As
    many cells count as there are (COCO takes the 100 surest of an image).
    """
    listed = list(images)
    n_truth = sum(image.n_truth for image in listed)
    if not n_truth:
        return np.full(len(IOU_THRESHOLDS), np.nan)
    scores = np.concatenate([image.scores for image in listed])
    matched = np.concatenate([image.matched for image in listed], axis=1)[:, np.argsort(-scores, kind="stable")]
    found = np.cumsum(matched, axis=1, dtype=np.float64)
    precision = found / np.arange(1, len(scores) + 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # what is never recalled has a precision of 0
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    places = [np.searchsorted(recall, RECALLS) for recall in found / n_truth]
    return np.array([row[place].mean() for row, place in zip(best, places, strict=True)])


def read_scores(mask_path: Path) -> dict[int, float]:
    """Read how sure a mask's cells are from the table beside it, `NAME_cells.csv` for `NAME_label.tiff`.

    Raises
    ------
    ValueError
        When there is no table, or one without the columns `label` and `likelihood`, or with an empty entry.
    OSError
        When it cannot be read.
    """
    path = mask_path.with_name(mask_path.name.removesuffix(LABEL_SUFFIX) + TABLE_SUFFIX)
    if not path.is_file():
        raise ValueError(f"there is no {path.name} beside the mask; mosaicell --table writes it")
    scores = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {LABEL_COLUMN, SCORE_COLUMN} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path.name} lacks the column {LABEL_COLUMN} or {SCORE_COLUMN}")
        for row in reader:
            try:
                score = float(row[SCORE_COLUMN] or "nan")
                scores[int(row[LABEL_COLUMN])] = score
            except (TypeError, ValueError):
                score = math.nan
            if not math.isfinite(score):
                raise ValueError(f"{path.name}, line {reader.line_num}: no id or no likelihood; judges give it")
    return scores


def summarise_precision(images: Sequence[tuple[str, Detections]]) -> list[tuple[str, ...]]:
    """Average precision by modality, and over all images.

    Parameters
    ----------
    images : sequence of (str, Detections)
        Modality of each image, empty where none is known, and its cells.

    Returns
    -------
    list of tuples
        Rows of `AP_COLUMNS`: the mean over all thresholds and two of them alone, in four decimals, and sums of cells.
    """
    named = sorted({modality for modality, _ in images if modality})
    groups = [(name, [cells for modality, cells in images if modality == name]) for name in named]
    rows = []
    for name, group in [*groups, ("all", [cells for _, cells in images])]:
        precisions = average_precisions(group)
        half, three_quarters = (precisions[IOU_THRESHOLDS.index(threshold)] for threshold in (0.5, 0.75))
        figures = ("-" if np.isnan(value) else f"{value:.4f}" for value in (precisions.mean(), half, three_quarters))
        counts = (sum(cells.n_truth for cells in group), sum(cells.scores.size for cells in group))
        rows.append((name, str(len(group)), *figures, *map(str, counts)))
    return rows


def _match_by_rank(overlaps: Overlaps, ranks: NDArray[np.intp], threshold: float) -> NDArray[np.bool_]:
    """Say which predictions find a true cell that is still free; of two as good ones the last is taken, as by COCO."""
    ious = overlaps.ious()
    pairs = np.flatnonzero(ious >= threshold)
    true, predicted = overlaps.pairs[pairs].T
    matched = np.zeros(len(ranks), bool)
    taken = np.zeros(overlaps.truth_ids.size, bool)
    for pair in np.lexsort((-true, -ious[pairs], ranks[predicted])):
        if not matched[predicted[pair]] and not taken[true[pair]]:
            matched[predicted[pair]] = taken[true[pair]] = True
    return matched
