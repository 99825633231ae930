"""A trial: an image, what is right in a part of it, and the undisturbed image that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.evaluation.metrics import FRAME_PX, f1_score, score_image

Labels = NDArray[np.integer]
Area = NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """What is known of one image.

    Attributes
    ----------
    name : str
    group, row : str
        Where its score goes; an undisturbed image has no row.
    truth : (y, x) integer
        Labels of the part that is scored.
    corner : (int, int)
        Row and column of that part in the image.
    area : (y, x) bool, optional
        Where within that part it is scored; all where None.
    elsewhere : bool
        Whether cells predicted outside the area are false; else they do not count.
    reference : Trial, optional
        The undisturbed image.
    most_lost : float
        How much lower than the undisturbed image's the F1 of the row may be.
    image : str
        The file's name without suffix, where it is not the trial's own: several trials may score one image.
    """

    name: str
    group: str
    row: str
    truth: Labels
    corner: tuple[int, int] = (0, 0)
    area: Area | None = None
    elsewhere: bool = True
    reference: Trial | None = None
    most_lost: float = 0.03
    image: str = ""

    @property
    def file(self) -> str:
        """The file's name without suffix."""
        return self.image or self.name


@dataclass(frozen=True)
class Row:
    """The images of one row.

    Attributes
    ----------
    group, row : str
    images : int
    undisturbed, f1 : float
        Mean F1 at IoU 0.5.
    worst : float
        The lowest change of F1 among the images, below 0 where one lost.
    predicted_f1 : float
        Mean of what the program expected of its masks.
    most_lost : float
    """

    group: str
    row: str
    images: int
    undisturbed: float
    f1: float
    worst: float
    predicted_f1: float
    most_lost: float

    @property
    def short(self) -> bool:
        """Whether more is lost than allowed."""
        # a mean of floats that lies on the limit does not miss it
        return self.undisturbed - self.f1 > self.most_lost + 1e-9


def score_trial(trial: Trial, prediction: Labels) -> float:
    """Return the F1 at IoU 0.5 of a whole predicted label image.

    Parameters
    ----------
    trial : Trial
    prediction : (y, x) integer
        Of the whole image.

    Notes
    -----
    Cells with a pixel in the area's outer 2 px are left out on both sides, as the challenge's metric does at the border
    of an image: what was cut by the border of a scene stays out when the scene lies in a larger image.
    """
    height, width = trial.truth.shape
    top, left = trial.corner
    found = prediction[top : top + height, left : left + width]
    area = np.ones(trial.truth.shape, bool) if trial.area is None else trial.area
    kernel = np.ones((2 * FRAME_PX + 1, 2 * FRAME_PX + 1), np.uint8)
    inner = cv2.erode(area.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    frame = area & ~inner
    truth, kept = (np.pad(_keep_inner(labels, area, frame), FRAME_PX) for labels in (trial.truth, found))
    scores = score_image(truth, kept)[0]
    false = len(np.setdiff1d(prediction, np.append(found[area], 0))) if trial.elsewhere else 0
    return f1_score(scores.n_truth, scores.n_prediction + false, scores.n_matched)


def _keep_inner(labels: Labels, area: Area, frame: Area) -> Labels:
    return np.where(area & ~np.isin(labels, np.unique(labels[frame])), labels, 0)


def summarise(trials: Sequence[Trial], f1: Mapping[str, float], predicted_f1: Mapping[str, float | None]) -> list[Row]:
    """Average the scores of every row, in the order of the trials.

    Parameters
    ----------
    trials : sequence of Trial
    f1, predicted_f1 : mapping
        By the trials' names; None where the program expected nothing.
    """
    rows: dict[tuple[str, str], list[tuple[Trial, Trial]]] = {}
    for trial in trials:
        if trial.reference is not None:
            rows.setdefault((trial.group, trial.row), []).append((trial, trial.reference))
    return [
        Row(
            group,
            row,
            len(members),
            undisturbed=fmean(f1[reference.name] for _, reference in members),
            f1=fmean(f1[trial.name] for trial, _ in members),
            worst=min(f1[trial.name] - f1[reference.name] for trial, reference in members),
            predicted_f1=fmean(predicted_f1[trial.name] or 0.0 for trial, _ in members),
            most_lost=members[0][0].most_lost,
        )
        for (group, row), members in rows.items()
    ]


def format_table(group: str, rows: Sequence[Row]) -> str:
    """Return a Markdown table of one group's rows."""
    lines = [
        f"| {group} | images | undisturbed | F1 | change | allowed | worst image | predicted F1 | |",
        "| --- |" + " ---: |" * 7 + " --- |",
    ]
    for row in rows:
        numbers = (
            str(row.images),
            f"{row.undisturbed:.3f}",
            f"{row.f1:.3f}",
            f"{row.f1 - row.undisturbed:+.3f}",
            f"-{row.most_lost:g}",
            f"{row.worst:+.3f}",
            f"{row.predicted_f1:.2f}",
            "short" if row.short else "",
        )
        lines.append(f"| {row.row} | {' | '.join(numbers)} |")
    return "\n".join(lines)
