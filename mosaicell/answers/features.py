"""Features of cells: what is measured of each, by which judges tell the right ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mosaicell.answers.branches import Prediction
from mosaicell.decoders import load_decoder
from mosaicell.postprocess.cells import SHAPE_FEATURES, Cells, describe_shapes
from mosaicell.postprocess.label_fusion import Overlaps, best_ious, measure_overlaps

#: of a cell's best IoU with a cell of each other branch the highest, 0 where there is no other branch
AGREEMENT = "agreement"
#: the share of the other branches that have a cell with an IoU of at least `MATCHED_IOU` with it
MATCHED_SHARE = "matched_share"
MATCHED_IOU = 0.5
#: of a cell, as decoders of candidates measure it: the score of the one that fits best
BOX_SCORE = "box_score"


@dataclass(frozen=True)
class Described:
    """What was measured of the cells of a branch, or of an answer.

    Attributes
    ----------
    names
        Of the features; of cells as `name_features` gives them.
    values
        float64 (..., len(names)); of cells a row for each id, of which that of the background says nothing.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Return the features of these names (..., len(names)), row by row in memory.

        Raises
        ------
        ValueError
            When one was not measured.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise ValueError(f"of these cells no {', '.join(missing)} is known, but {', '.join(self.names)}")
        return np.take(self.values, [self.names.index(name) for name in names], axis=-1)


def name_branches(kinds: Iterable[str]) -> tuple[str, ...]:
    """Name the branches of a system after the kinds of their models; of the same kind, "awf", "awf-2" and so on."""
    seen: Counter[str] = Counter()
    names = []
    for kind in kinds:
        seen[kind] += 1
        names.append(kind if seen[kind] == 1 else f"{kind}-{seen[kind]}")
    return tuple(names)


def name_features(kinds: Sequence[str]) -> tuple[str, ...]:
    """Name what `describe_branches` measures of a cell where branches of these kinds see an image, in its order."""
    said = [
        f"{name}.{what}"
        for name, kind in zip(name_branches(kinds), kinds, strict=True)
        for what in load_decoder(kind).evidence
    ]
    return (AGREEMENT, MATCHED_SHARE, *SHAPE_FEATURES, *said)


def describe_branches(
    predictions: Sequence[Prediction], typical: Sequence[float]
) -> tuple[Overlaps, tuple[Described, ...]]:
    """Measure the cells of all branches that saw an image, at the same scale.

    Parameters
    ----------
    predictions
        With what the networks said.
    typical
        Of each branch, the typical size of its cells in the whole image, as `median_size` gives it.

    Returns
    -------
    overlaps
        Of the branches' labels.
    described
        The cells of each branch, compared with those of the others and with what every branch says.
    """
    overlaps = measure_overlaps([prediction.labels for prediction in predictions])
    names = name_features([prediction.kind for prediction in predictions])
    others = max(1, len(predictions) - 1)
    described = []
    for prediction, size, ious in zip(predictions, typical, overlaps.split(best_ious(overlaps)), strict=True):
        # a row for the background
        best = np.pad(ious, ((1, 0), (0, 0)))
        cells = Cells(prediction.map_labels, len(best))
        compared = (best.max(axis=1), np.count_nonzero(best >= MATCHED_IOU, axis=1) / others)
        said = [load_decoder(other.kind).describe(cells, other.raw) for other in predictions]
        described.append(Described(names, np.column_stack((*compared, describe_shapes(cells, size), *said))))
    return overlaps, tuple(described)


def score_cells(prediction: Prediction) -> np.ndarray | None:
    """Return how sure a branch is of each cell, float32 (n,), of the ids from 1; None where it kept no boxes.

    A cell that no box marks is as sure as the least sure box that was kept.
    """
    boxes = prediction.raw.candidates
    if not len(boxes) or BOX_SCORE not in load_decoder(prediction.kind).evidence:
        return None
    decoder = load_decoder(prediction.kind)
    cells = Cells(prediction.map_labels, int(prediction.labels.max(initial=0)) + 1)
    scores = decoder.describe(cells, prediction.raw)[1:, decoder.evidence.index(BOX_SCORE)]
    return np.asarray(np.maximum(scores, boxes[:, 4].min()), np.float32)
