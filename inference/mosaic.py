"""A mosaic of windows that shows what a slide holds, small enough to try every branch on it."""

from __future__ import annotations

import math

import numpy as np

from inference.pixels import Pixels
from postprocess.blocks import Bounds

#: the mosaic has at most this many windows of this many px a side
MOSAIC_WINDOWS, WINDOW_PX = 9, 640
#: a window counts as content when its contrast is at least this fraction of the strongest window's
MIN_CONTENT_FRACTION = 0.3


def draw_mosaic(pixels: Pixels, sample: np.ndarray) -> list[list[Bounds]]:
    """Put windows of an image together that show what it holds.

    Parameters
    ----------
    pixels
        The image.
    sample
        (y, x, c): the image's pixels on a regular grid.

    Returns
    -------
    (y, x, c): up to nine windows of 640 px a side at full resolution, in rows of three.

    Notes
    -----
    Windows are ranked by their contrast, the standard deviation of their samples; those far below the strongest count
    as background. The windows taken are spread evenly over the ranks of the rest, from dense to sparse.
    """
    shape = pixels.shape_px
    height, width = (min(side, WINDOW_PX) for side in shape)
    corners = [(y, x) for y in range(0, shape[0] - height + 1, height) for x in range(0, shape[1] - width + 1, width)]
    luminance = sample.mean(axis=2, dtype=np.float64)
    rows, columns = sample.shape[0] / shape[0], sample.shape[1] / shape[1]
    contrast = np.array(
        [
            luminance[
                int(y * rows) : math.ceil((y + height) * rows), int(x * columns) : math.ceil((x + width) * columns)
            ].std()
            for y, x in corners
        ]
    )
    order = np.argsort(-contrast, kind="stable")
    content = order[contrast[order] >= MIN_CONTENT_FRACTION * contrast.max()]
    chosen = content[np.unique(np.linspace(0, len(content) - 1, MOSAIC_WINDOWS).round().astype(int))]
    windows = [(y, x, y + height, x + width) for y, x in (corners[index] for index in chosen)]
    side = math.ceil(math.sqrt(len(windows)))
    # a last row that is not full is left out: black parts would be content too
    return [windows[first : first + side] for first in range(0, len(windows) - side + 1, side)]
