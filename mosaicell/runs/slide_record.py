"""What whoever has a slide done by several processes knows of its cells, and what run.json says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mosaicell.networks.augmentation import VIEWS
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.contested import Key
from mosaicell.runs.inputs import Source
from mosaicell.runs.origin import Origin
from mosaicell.runs.slide_blocks import Summary
from mosaicell.runs.slide_work import Numbering, SlidePlan
from mosaicell.systems import DOUBTFUL_F1
from mosaicell.writing.outputs import Results


@dataclass(frozen=True)
class Found:
    """What the workers found in a slide.

    Attributes
    ----------
    summaries
        Of all blocks, by number from 0.
    predicted_f1
        As in `slide.Slide`.
    notes
        What was decided about the pixels.
    """

    summaries: list[Summary]
    predicted_f1: float | None
    notes: list[str]


@dataclass(frozen=True)
class Numbered:
    """The cells of a slide with their ids.

    Attributes
    ----------
    parts
        Of the label image that cells reach into, each with the numbers of the blocks that these are from.
    cells
        (blocks, branches): how many of its cells the user wants, by the branch that they are from.
    first_ids
        By number of a block.
    left
        Pixels that contested cells keep.
    """

    parts: list[tuple[Bounds, list[int]]]
    cells: np.ndarray
    first_ids: dict[int, int]
    left: dict[Key, int]

    def choose(self, numbers: Sequence[int]) -> Numbering:
        """Return what is settled about the cells of some blocks."""
        own = set(numbers)
        return Numbering(
            {number: self.first_ids[number] for number in numbers},
            {key: pixels for key, pixels in self.left.items() if key[0] in own},
        )


def describe_slide(
    source: Source,
    results: Results,
    origin: Origin,
    plan: SlidePlan,
    found: Found,
    counts: np.ndarray,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Return the entry of run.json, as `ImageWork` gives it."""
    cells = dict(zip(plan.bands.names, counts.tolist(), strict=True))
    predicted_f1 = found.predicted_f1
    height, width = plan.shape_px
    return {
        "image": source.name,
        "mask": str(source.place / results.mask.name),
        "height": height,
        "width": width,
        "dtype": plan.source_dtype,
        **plan.described,
        "branch": max(cells, key=cells.__getitem__),
        "predicted_f1": None if predicted_f1 is None else round(predicted_f1, 4),
        "doubtful": predicted_f1 is not None and predicted_f1 < DOUBTFUL_F1,
        "scale": round(plan.bands.scale, 4),
        "cells": sum(cells.values()),
        "cells_by_branch": cells,
        "views": len(VIEWS) if plan.bands.tta else 1,
        "notes": found.notes,
        "settings": origin.settings,
        "digest": origin.digest,
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
    }
