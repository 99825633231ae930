"""The challenge's metric: F1 of matched instances without border cells, in regions on very large images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaicell.evaluation.matching import check_label_pair, count_overlaps, drop_instances, match_overlaps

FRAME_PX = 2
LARGE_IMAGE_PX = 25_000_000
REGION_PX = 2000


@dataclass(frozen=True)
class Scores:
    """Counts of one image at one IoU threshold, and what follows from them.

    Attributes
    ----------
    threshold : float
        Smallest IoU of a match.
    n_truth, n_prediction, n_matched : int
        Instances that count (border cells do not), and pairs of them that match.
    dice : float
        Overlap of the two foregrounds, border cells included; 1 when both are empty.
    """

    threshold: float
    n_truth: int
    n_prediction: int
    n_matched: int
    dice: float

    @property
    def n_missed(self) -> int:
        """True instances without a match."""
        return self.n_truth - self.n_matched

    @property
    def n_wrong(self) -> int:
        """Predicted instances without a match."""
        return self.n_prediction - self.n_matched

    @property
    def precision(self) -> float:
        """Matched fraction of the predicted instances, 0 without a match."""
        return self.n_matched / self.n_prediction if self.n_matched else 0.0

    @property
    def recall(self) -> float:
        """Matched fraction of the true instances, 0 without a match."""
        return self.n_matched / self.n_truth if self.n_matched else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 without a match."""
        return f1_score(self.n_truth, self.n_prediction, self.n_matched)


def f1_score(n_truth: int, n_prediction: int, n_matched: int) -> float:
    """Return the F1 score of three counts.

    Parameters
    ----------
    n_truth, n_prediction, n_matched : int
        True instances, predicted instances, and pairs of them that match.

    Returns
    -------
    float
        2 n_matched / (n_truth + n_prediction) in [0, 1]; 0 without a match, also when nothing was there to be
        found and nothing was found: the challenge counts an empty prediction as 0 whatever the truth is.
    """
    return 2 * n_matched / (n_truth + n_prediction) if n_matched else 0.0


def score_image(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], thresholds: Sequence[float] = (0.5,)
) -> list[Scores]:
    """Score one predicted label image as the challenge does.

    Parameters
    ----------
    truth, prediction : (y, x) integer arrays
        Label images with 0 as background and any positive ids.
    thresholds : sequence of float
        Smallest IoU of a match, each in (0, 1]; a pair at exactly the threshold matches.

    Returns
    -------
    list of Scores
        One for each threshold, in their order.

    Raises
    ------
    ValueError
        Shapes differ, an array is empty, not 2-D or not integer, an id is negative, or a threshold is outside
        (0, 1].

    Notes
    -----
    After compute_metric.py of the challenge (github.com/JunMa11/NeurIPS-CellSeg, version of May 2024). A cell
    with a pixel in the outer 2 pixels of its image is left out, in truth and prediction independently. An
    image of 25 megapixels or more is cut into regions of 2000 x 2000 pixels whose counts are summed; a cell
    that reaches the 2-pixel frame of a region is left out there, while the right and bottom edges of the
    image leave out nothing, because the organisers pad the last regions. Two accidents of that script are not
    repeated: on large images it wraps predicted ids into the data type of the truth, and for an empty
    prediction it reports no missed cells (its F1 is the same).
    """
    check_label_pair(truth, prediction)
    dice = _foreground_dice(truth, prediction)
    counts = np.zeros((len(thresholds), 3), dtype=np.int64)
    for region, full_shape in _scored_regions(truth.shape):
        true_part, predicted_part = truth[region], prediction[region]
        overlaps = drop_instances(
            count_overlaps(true_part, predicted_part),
            _frame_ids(true_part, full_shape),
            _frame_ids(predicted_part, full_shape),
        )
        for index, threshold in enumerate(thresholds):
            matching = match_overlaps(overlaps, threshold)
            counts[index] += (matching.n_truth, matching.n_prediction, matching.ious.size)
    return [
        Scores(threshold, int(n_truth), int(n_prediction), int(n_matched), dice)
        for threshold, (n_truth, n_prediction, n_matched) in zip(thresholds, counts, strict=True)
    ]


def _foreground_dice(truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> float:
    foreground_px = int(np.count_nonzero(truth)) + int(np.count_nonzero(prediction))
    shared_px = int(np.count_nonzero((truth != 0) & (prediction != 0)))
    return 2 * shared_px / foreground_px if foreground_px else 1.0


def _scored_regions(shape: tuple[int, ...]) -> Iterator[tuple[tuple[slice, slice], tuple[int, int]]]:
    """Yield each region and the shape that its frame belongs to (larger than the region at a padded edge)."""
    height, width = shape
    if height * width < LARGE_IMAGE_PX:
        yield (slice(0, height), slice(0, width)), (height, width)
        return
    for top in range(0, height, REGION_PX):
        for left in range(0, width, REGION_PX):
            region = (slice(top, top + REGION_PX), slice(left, left + REGION_PX))
            yield region, (REGION_PX, REGION_PX)


def _frame_ids(labels: NDArray[np.integer], full_shape: tuple[int, int]) -> NDArray[np.integer]:
    """Return the ids in the frame of an array of `full_shape`, of which `labels` is the top left part."""
    bottom, right = (max(size - FRAME_PX, 0) for size in full_shape)
    strips = (labels[:FRAME_PX], labels[bottom:], labels[:, :FRAME_PX], labels[:, right:])
    return np.unique(np.concatenate([strip.ravel() for strip in strips]))
