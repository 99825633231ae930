"""A mosaic of windows that shows what an image holds, small enough to try every branch and scale on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mosaicell.postprocess.bounds import Bounds

#: a mosaic has at most this many windows, of this many px a side
MOSAIC_WINDOWS, WINDOW_PX = 9, 640
#: a window counts as content when its contrast is at least this fraction of the strongest window's
MIN_CONTENT_FRACTION = 0.3


def draw_mosaic(
    read: Callable[[Bounds], np.ndarray],
    shape_px: tuple[int, int],
    sample: np.ndarray,
    most_windows: int = MOSAIC_WINDOWS,
    window_px: int = WINDOW_PX,
) -> np.ndarray:
    """Put windows of an image together that show what it holds.

    Parameters
    ----------
    read
        Maps bounds (y0, x0, y1, x1) to that part of the image, (c, y, x).
    shape_px
        Height and width of the image.
    sample
        (y, x): the image's luminance on a regular grid, stretched, so that debris counts no more than cells.
    most_windows, window_px
        Number of windows, a square, and their side.

    Returns
    -------
    (c, y, x): the windows at full resolution, in rows that are as long as there are rows.

    Notes
    -----
    Windows are ranked by their contrast, the standard deviation of their samples; those far below the strongest count
    as background. The windows taken are spread evenly over the ranks of the rest, from dense to sparse.
    """
    height, width = (min(side, window_px) for side in shape_px)
    corners = [(y, x) for y in _find_starts(shape_px[0], height) for x in _find_starts(shape_px[1], width)]
    rows, columns = sample.shape[0] / shape_px[0], sample.shape[1] / shape_px[1]
    contrast = np.array(
        [
            sample[
                int(y * rows) : math.ceil((y + height) * rows), int(x * columns) : math.ceil((x + width) * columns)
            ].std(dtype=np.float64)
            for y, x in corners
        ]
    )
    order = np.argsort(-contrast, kind="stable")
    content = order[contrast[order] >= MIN_CONTENT_FRACTION * contrast.max()]
    chosen = content[np.unique(np.linspace(0, len(content) - 1, most_windows).round().astype(int))]
    windows = [read((y, x, y + height, x + width)) for y, x in (corners[index] for index in chosen)]
    side = math.ceil(math.sqrt(len(windows)))
    # a last row that is not full is left out: black parts would be content too
    full = [windows[first : first + side] for first in range(0, len(windows) - side + 1, side)]
    return np.concatenate([np.concatenate(row, axis=2) for row in full], axis=1)


def _find_starts(side_px: int, window_px: int) -> list[int]:
    """Return where windows begin that cover a side; the last ends with it and may overlap the one before."""
    return sorted({*range(0, side_px - window_px, window_px), side_px - window_px})
