"""Which of several classes an image belongs to, as a small network sees it in windows (sribdmed paper, section 2.1).

The paper resizes the whole image to 256 px and cuts out the middle 224. That makes cells of a large image small and
those of a small one large, though the classes go by cell size. Here all images are reduced by the same factor and seen
in windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class ClassifierCard:
    """What the program needs to know of a classifier.

    Attributes
    ----------
    input_px
        Side of the network's input.
    reduction
        Whole number by which images are reduced.
    most_windows
        Windows that are looked at, at most, evenly over the image.
    classes
        What the outputs mean.
    """

    input_px: int
    reduction: int
    most_windows: int
    classes: tuple[str, ...]

    @property
    def window_px(self) -> int:
        """Side of a window of the image before it is reduced."""
        return self.input_px * self.reduction


def classify(image: np.ndarray, run_model: Callable[[np.ndarray], np.ndarray], card: ClassifierCard) -> np.ndarray:
    """Return the probabilities of the classes: their means over the windows of an image.

    Parameters
    ----------
    image
        float32 (3, y, x), normalised; of a slide, a mosaic of its windows.
    run_model
        Maps windows float32 (n, 3, input_px, input_px) to probabilities (n, classes).
    card
        Of the model.

    Returns
    -------
    float32 (classes,), of sum 1.
    """
    answers = run_model(cut_windows(image, card))
    return answers.mean(axis=0, dtype=np.float64).astype(np.float32)


def cut_windows(image: np.ndarray, card: ClassifierCard) -> np.ndarray:
    """Cut the windows of an image and reduce them.

    Parameters
    ----------
    image
        float32 (3, y, x).

    Returns
    -------
    float32 (n, 3, input_px, input_px): windows at even distances, from the first row and column to the last; they cover
    the image unless that took more than `most_windows`. An image smaller than a window is mirrored at its edges.
    """
    side = card.window_px
    missing = [max(0, side - length) for length in image.shape[1:]]
    before = [length // 2 for length in missing]
    top, left = before
    bottom, right = (length - half for length, half in zip(missing, before, strict=True))
    planes = [cv2.copyMakeBorder(plane, top, bottom, left, right, cv2.BORDER_REFLECT) for plane in image]
    height, width = planes[0].shape
    rows, columns = count_windows((height, width), card)
    size = (card.input_px, card.input_px)
    return np.stack(
        [
            [cv2.resize(plane[y : y + side, x : x + side], size, interpolation=cv2.INTER_AREA) for plane in planes]
            for y in _starts(height, side, rows)
            for x in _starts(width, side, columns)
        ]
    )


def count_windows(shape_px: tuple[int, int], card: ClassifierCard) -> tuple[int, int]:
    """Return how many rows and columns of windows cover an image, or as many as are allowed, in its proportions."""
    rows, columns = (max(1, math.ceil(length / card.window_px)) for length in shape_px)
    share = math.sqrt(card.most_windows / (rows * columns))
    if share >= 1:
        return rows, columns
    fewer = max(1, round(min(rows, columns) * share))
    more = min(max(rows, columns), card.most_windows // fewer)
    return (fewer, more) if rows <= columns else (more, fewer)


def _starts(length: int, side: int, count: int) -> list[int]:
    if count == 1:
        return [(length - side) // 2]
    return [round(index * (length - side) / (count - 1)) for index in range(count)]
