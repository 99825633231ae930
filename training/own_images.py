"""Labelled images of a user: what a system makes of them, which a training does not see, and which weights are best."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from mosaicell.arrays import picture_of
from mosaicell.errors import OptionError
from mosaicell.evaluation.metrics import score_image
from mosaicell.segmenter import Segmenter
from mosaicell.training.pairs import Pair
from mosaicell.writing.masks import mask_name, write_labels

#: of the IoU at which F1 counts: cells that are found, and outlines that fit
THRESHOLDS = (0.5, 0.7)
#: of the IoU at which versions of a model are compared: with one image kept that holds a cell or two, F1 at a single
#: one is the same for nearly all of them
COMPARED = tuple(step / 10 for step in range(1, 10))
#: of so many images one is kept from the training
PER_HELD_OUT = 4
#: a model counts as better from a gain in the mean over `COMPARED` above this
MIN_GAIN = 0.005
#: shares of the new weights that lose less than this against the best share leave more of what the old ones knew
MOST_LOST = 0.01
log = logging.getLogger("training")

#: F1 at each of `THRESHOLDS`
Scores = tuple[float, ...]


@dataclass(frozen=True)
class Answer:
    """What a system makes of an image.

    Attributes
    ----------
    scores
        F1 at each of `THRESHOLDS`.
    fit
        Mean F1 over `COMPARED`.
    models
        That looked at the image, the one that finds the scale first.
    """

    scores: Scores
    fit: float
    models: tuple[str, ...]


class OwnImage:
    """A labelled image, held in memory.

    Parameters
    ----------
    pair
        Its files.

    Raises
    ------
    OptionError
        When they cannot be used, or the labels hold no cell.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        pixels, self.labels = pair.read()
        if not self.labels.any():
            raise OptionError(f"{pair.labels} holds no cell")
        self._picture = picture_of(pixels)

    @property
    def name(self) -> str:
        """Of the file."""
        return self.pair.image.name

    def answer(self, segmenter: Segmenter) -> Answer:
        """Segment it, and score that as the challenge does."""
        result = segmenter.segment(self._picture)
        found = [score.f1 for score in score_image(self.labels, result.labels, (*THRESHOLDS, *COMPARED))]
        count = len(THRESHOLDS)
        return Answer(tuple(found[:count]), fmean(found[count:]), tuple(result.cells_by_model))


def answer_all(images: Iterable[OwnImage], segmenter: Segmenter) -> list[Answer]:
    """Segment and score images, with a line for each."""
    answers = []
    for image in images:
        answers.append(image.answer(segmenter))
        said = ", ".join(f"{f1:.3f}" for f1 in answers[-1].scores)
        log.info("%s: F1 %s at IoU %s", image.name, said, ", ".join(map(str, THRESHOLDS)))
    return answers


def hold_out(fits: Sequence[float]) -> list[int]:
    """Choose the images that are kept from a training, to tell better from worse.

    Parameters
    ----------
    fits
        `Answer.fit` of each image, by the weights that are there.

    Returns
    -------
    list of int
        Rising indices: a quarter of the images, at least one. They are spread over easy and hard images; a single one
        is in the middle.
    """
    count = max(1, len(fits) // PER_HELD_OUT)
    order = sorted(range(len(fits)), key=lambda index: (fits[index], index))
    places = (np.arange(count) + 0.5) / count * len(fits)
    return sorted(order[int(place)] for place in places)


def mean_fit(answers: Iterable[Answer]) -> float:
    """Return the mean of `Answer.fit`."""
    return fmean(answer.fit for answer in answers)


def choose_share(before: float, after: Mapping[float, float]) -> float:
    """Choose how much of the new weights is taken.

    Parameters
    ----------
    before
        Mean fit of the old weights on the images that were kept from the training.
    after
        That of their mean with the new ones, by the share of these in 0..1.

    Returns
    -------
    float
        The smallest share whose fit is at most `MOST_LOST` below the best; 0 where that is not better than before by
        more than `MIN_GAIN`.
    """
    best = max(after.values())
    share = min(share for share, score in after.items() if score >= best - MOST_LOST)
    if after[share] <= before + MIN_GAIN:
        share = min(share for share, score in after.items() if score == best)
    return share if after[share] > before + MIN_GAIN else 0.0


def lay_out(images: Iterable[OwnImage], folder: Path) -> Path:
    """Copy images and labels into a folder in the challenge's layout, which a training reads; return the folder."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for image in images:
        shutil.copyfile(image.pair.image, folder / "images" / image.name)
        write_labels(folder / "labels" / mask_name(image.name, "full"), image.labels)
    return folder
