"""Maps as decoders take them: checked once, before any step that would hide what is wrong with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]


def check_maps(*maps: NDArray) -> list[Map]:
    """Return maps (y, x) as float32.

    Raises
    ------
    ValueError
        When they differ in shape or hold NaN or infinity.
    """
    checked = [np.asarray(values, np.float32) for values in maps]
    shapes = [values.shape for values in checked]
    if len(shapes[0]) != 2 or len(set(shapes)) != 1:
        raise ValueError(f"expected (y, x) maps of one shape, got {', '.join(map(str, shapes))}")
    if not all(np.isfinite(values).all() for values in checked):
        raise ValueError("a map holds NaN or infinity: the network or the blending of tiles failed")
    return checked
