"""Quality estimation: which branch's answer to trust (Cell Segmenter paper, section 2.2.3)."""

from __future__ import annotations

import numpy as np

#: below this confidence of AWF the Omnipose-style branch is taken
MIN_CONFIDENCE = 0.8
#: the Omnipose-style branch is taken when it is more confident by this much
MIN_ADVANTAGE = 0.05


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
