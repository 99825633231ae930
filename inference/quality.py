"""Quality estimation: how good a prediction is, and which branch's answer to trust.

The program predicts the F1 of each branch from what its prediction looks like. The rule of the Cell Segmenter paper
(section 2.2.3), which compares the branches' confidences, remains as an option.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.errors import OptionError
from inference.features import FEATURES

#: below this confidence of AWF the Omnipose-style branch is taken (paper)
MIN_CONFIDENCE = 0.8
#: the Omnipose-style branch is taken when it is more confident by this much (paper)
MIN_ADVANTAGE = 0.05
#: the fitted predictor, in the folder of the weights
QUALITY_FILE = "quality.json"
#: the predictor's inputs, in order
INPUTS = (*FEATURES, "agreement")


def foreground_confidence(foreground: np.ndarray) -> float:
    """Mean foreground probability over the pixels above 0.5 (equation 6); 0 when there is none."""
    chosen = foreground > 0.5
    count = int(np.count_nonzero(chosen))
    return float(foreground[chosen].mean(dtype=np.float64)) if count else 0.0


def prefers_omnipose(awf: float, omnipose: float) -> bool:
    """Choose the Omnipose-style branch when AWF is unsure, or clearly less sure (section 2.2.3).

    An empty Omnipose-style prediction (confidence 0) is never preferred: there is nothing to choose.
    """
    return omnipose > 0 and (awf < MIN_CONFIDENCE or omnipose - awf > MIN_ADVANTAGE)


@dataclass(frozen=True)
class Predictor:
    """Linear predictor of the log odds of F1 from standardised inputs; all arrays are (len(INPUTS),)."""

    mean: np.ndarray
    scale: np.ndarray
    slopes: np.ndarray
    offset: float

    def predict(self, inputs: np.ndarray) -> float:
        """Predict the F1 at IoU 0.5 of a prediction from its features and the agreement of the branches.

        Inputs beyond three standard deviations count as three: nothing was fitted there.
        """
        standard = np.clip((inputs - self.mean) / self.scale, -3, 3)
        return float(1 / (1 + np.exp(-(self.offset + standard @ self.slopes))))


def read_predictors(folder: Path) -> dict[str, Predictor]:
    """Read the predictors, by kind of model, from the folder of the weights.

    Raises
    ------
    OptionError
        When the file is missing, cannot be read, or was fitted to other inputs.
    """
    path = folder / QUALITY_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        inputs = table.pop("inputs")
        predictors = {
            kind: Predictor(
                np.array(entry["mean"]), np.array(entry["scale"]), np.array(entry["slopes"]), entry["offset"]
            )
            for kind, entry in table.items()
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise OptionError(f"cannot read the quality predictor {path}: {error}") from error
    if tuple(inputs) != INPUTS:
        raise OptionError(f"{path} was fitted to other inputs; fit it again")
    return predictors
