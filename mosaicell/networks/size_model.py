"""Size model: from the style of an image to the diameter of its cells (cvml paper, section 2.3.2, equation 4)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mosaicell.errors import OptionError


@dataclass(frozen=True)
class SizeModel:
    """A linear map from style vectors to the logarithm of the median diameter.

    Attributes
    ----------
    mean_style, slopes
        float64 (s,): the mean of the styles that it was fitted to, and what a step away from it adds.
    mean_log_diameter
        The natural logarithm of a diameter in px, where the style is the mean one.
    diameter_range_px
        Smallest and largest diameter that it was fitted to; it never says less or more.
    """

    mean_style: np.ndarray
    slopes: np.ndarray
    mean_log_diameter: float
    diameter_range_px: tuple[float, float]

    def diameter_px(self, style: np.ndarray) -> float:
        """Return the median diameter of the cells of an image with this style (s,), a mean over tiles of any length.

        Raises
        ------
        OptionError
            When it was fitted to styles of another length.
        """
        if style.shape != self.slopes.shape:
            raise OptionError(
                f"the size model is for styles of {self.slopes.size} numbers, the model answers with {style.size}; "
                "fit it again"
            )
        direction = style / max(float(np.linalg.norm(style)), 1e-12)
        log_diameter = self.mean_log_diameter + float((direction - self.mean_style) @ self.slopes)
        low, high = (math.log(end) for end in self.diameter_range_px)
        return math.exp(min(max(log_diameter, low), high))


def read_size_model(path: Path) -> SizeModel:
    """Read a size model from a JSON file of its attributes.

    Raises
    ------
    OptionError
        When the file is missing or holds something else.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        mean_style, slopes = (np.array(entries[name], np.float64) for name in ("mean_style", "slopes"))
        low, high = (float(end) for end in entries["diameter_range_px"])
        model = SizeModel(mean_style, slopes, float(entries["mean_log_diameter"]), (low, high))
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise OptionError(f"cannot read the size model {path}: {error}") from error
    numbers = np.concatenate([mean_style.ravel(), slopes.ravel(), [model.mean_log_diameter, low, high]])
    if (
        mean_style.ndim != 1
        or mean_style.shape != slopes.shape
        or not np.isfinite(numbers).all()
        or not 0 < low <= high
    ):
        raise OptionError(f"{path} holds no size model: its numbers do not fit together")
    return model


def write_size_model(model: SizeModel, path: Path) -> None:
    """Write a size model for `read_size_model`, with as many digits as float32 has."""
    entries = {
        "diameter_range_px": [round(end, 2) for end in model.diameter_range_px],
        "mean_log_diameter": round(model.mean_log_diameter, 6),
        "mean_style": [float(f"{value:.7g}") for value in model.mean_style],
        "slopes": [float(f"{value:.7g}") for value in model.slopes],
    }
    path.write_text(json.dumps(entries) + "\n", encoding="utf-8")
