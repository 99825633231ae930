"""What a run answers for an image: the cells of its one picture, or of one page after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from mosaicell.pictures.pictures import Page
from mosaicell.systems import DOUBTFUL_F1, Choice
from mosaicell.writing.label_pages import LabelPages


class Answer:
    """The answers for the pages of an image, one of them for most images.

    Attributes
    ----------
    pages
        What run.json says of each.
    labels
        (y, x) of the one page, or all pages.
    first_labels
        (y, x) of the first page.
    picture
        Pixels (y, x, c) of the first page, where they are to be shown.
    tables
        Of the cells of each page, where they are asked for, as `cell_table.measure_cells` gives them.
    modality, branch, scale
        Of the first page.
    cells_by_branch, seconds
        Summed over the pages.
    confidences, predicted_f1
        The lowest of the pages: what is doubtful on one is looked at first.
    """

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        self.first_labels = np.zeros((0, 0), np.uint32)
        self.picture: np.ndarray | None = None
        self.tables: list[dict[str, np.ndarray]] = []
        self.modality, self.branch, self.scale = "", "", 1.0
        self.cells_by_branch: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.confidences: dict[str, float] = {}
        self.predicted_f1: float | None = None
        self._packed = LabelPages()

    def add(self, page: Page, modality: str, choice: Choice) -> None:
        """Add the answer for a page."""
        if not self.pages:
            self.modality, self.branch, self.scale = modality, choice.branch, choice.scale
            self.first_labels = choice.labels
        else:
            if len(self.pages) == 1:
                self._packed.add(self.first_labels)
            self._packed.add(choice.labels)
        for name, cells in choice.cells.items():
            self.cells_by_branch[name] = self.cells_by_branch.get(name, 0) + cells
        for stage, spent_s in choice.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent_s
        for name, confidence in choice.confidences.items():
            self.confidences[name] = min(self.confidences.get(name, 1.0), confidence)
        known = [value for value in (self.predicted_f1, choice.predicted_f1) if value is not None]
        self.predicted_f1 = min(known, default=None)
        self.pages.append(
            {
                "t": page.time + 1,
                "z": page.z + 1 if isinstance(page.z, int) else page.z,
                "modality": modality,
                "cells": int(choice.labels.max(initial=0)),
                "predicted_f1": _round(choice.predicted_f1),
            }
        )

    @property
    def labels(self) -> np.ndarray | LabelPages:
        """What the mask holds."""
        return self.first_labels if len(self.pages) == 1 else self._packed

    def count_planes(self) -> tuple[int, int]:
        """Return of how many times, and of how many planes at each, the pages are."""
        times = len({page["t"] for page in self.pages})
        return times, len(self.pages) // times

    @property
    def cells(self) -> int:
        """How many cells there are on all pages."""
        return sum(page["cells"] for page in self.pages)

    @property
    def doubtful(self) -> bool:
        """Most of the answer, or of one page, is expected to be wrong."""
        return self.predicted_f1 is not None and self.predicted_f1 < DOUBTFUL_F1

    def describe(self) -> dict[str, Any]:
        """Return what run.json says of the image; of its pages where there are several."""
        return {
            "modality": self.modality,
            "branch": self.branch,
            "confidences": {name: round(value, 4) for name, value in self.confidences.items()},
            "predicted_f1": _round(self.predicted_f1),
            "doubtful": self.doubtful,
            "scale": round(self.scale, 4),
            "cells": self.cells,
            "cells_by_branch": self.cells_by_branch,
            **({"pages": self.pages} if len(self.pages) > 1 else {}),
        }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
