"""What networks answer, before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

#: the arrays that a model answers for a batch, in the order of its outputs
Outputs = tuple[np.ndarray, ...]
#: maps a batch float32 (b, c, h, w) to a model's outputs
RunModel = Callable[[np.ndarray], Outputs]


@dataclass(frozen=True)
class Raw:
    """What networks say about an image or part of one, in px of what they saw.

    Attributes
    ----------
    maps
        float32 (m, y, x), as the decoder's `read` gives them.
    candidates
        float32 (n, 5 + k): y0, x0, y1, x1, score, and k further numbers that the decoder knows.
    summary
        float32 (s,): what kinds of model that do so say about all of it, as the mean over tiles.
    """

    maps: np.ndarray
    candidates: np.ndarray
    summary: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))


#: maps a batch float32 (b, c, h, w) to what networks say about each tile of it
Run = Callable[[np.ndarray], list[Raw]]


def no_candidates(payload: int = 0) -> np.ndarray:
    """Return candidates (0, 5 + payload)."""
    return np.empty((0, 5 + payload), np.float32)
