"""Turn what a network says about a mirrored batch back: what decoders share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mosaicell.errors import OptionError

#: side in px of the cells of the grid on which candidate boxes lie: training.networks.awf.DETECTION_STRIDE
GRID_PX = 8


def flip_maps(maps: np.ndarray, axes: tuple[int, ...], odd: Mapping[int, int] | None = None) -> np.ndarray:
    """Mirror maps float32 (b, m, h, w) along axes of them, into a copy.

    `odd` says by axis which channel, a component of a vector along it, changes its sign.
    """
    mirrored = np.flip(maps, axes).copy()
    for axis in axes:
        if odd:
            mirrored[:, odd[axis]] *= -1
    return mirrored


def flip_boxes(boxes: np.ndarray, axes: tuple[int, ...], shape_px: tuple[int, int]) -> np.ndarray:
    """Mirror candidate boxes, so that each stands where an unmirrored input has the candidate of the same place.

    Parameters
    ----------
    boxes
        (b, n, 5) as (y0, x0, y1, x1, score) in px, ordered by anchor, row and column of the grid.
    axes
        Of a batch (b, c, y, x).
    shape_px
        Height and width of the input, multiples of `GRID_PX`.

    Returns
    -------
    float32 (b, n, 5), in the same order.

    Raises
    ------
    OptionError
        When the number of boxes is no multiple of the number of cells of the grid.
    """
    rows, columns = (side // GRID_PX for side in shape_px)
    if boxes.shape[1] % (rows * columns):
        raise OptionError(
            f"{boxes.shape[1]} candidate boxes do not lie on a grid of {rows} x {columns} cells of {GRID_PX} px; "
            "predict without --tta"
        )
    grid = boxes.reshape(len(boxes), -1, rows, columns, boxes.shape[2])
    mirrored = np.flip(grid, axes).reshape(boxes.shape).astype(np.float32)
    for axis in axes:
        near, far = axis - 2, axis
        mirrored[..., [near, far]] = shape_px[axis - 2] - mirrored[..., [far, near]]
    return mirrored
