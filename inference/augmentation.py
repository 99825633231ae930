"""Test-time augmentation: the mean of what a network answers for its input and for mirrored views of it."""

from __future__ import annotations

import numpy as np

from inference.branches import RunModel
from inference.errors import OptionError

#: the views: which axes of a batch (b, c, y, x) each of them mirrors. All have the input's shape: on a GPU another one
#: would be prepared and held too. Transposed views, four more, did not help (docs/performance.md).
VIEWS: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
#: side in px of the cells of the grid on which the candidate boxes lie: training.networks.awf.DETECTION_STRIDE
GRID_PX = 8
#: which channel of an Omnipose-style model's maps holds the flow along an axis
FLOW_CHANNELS = {2: 2, 3: 3}


def choose_views(run_model: RunModel, kind: str, *, tta: bool) -> RunModel:
    """Return what answers for a model: with test-time augmentation `average_views` of it, without the model itself."""
    return average_views(run_model, kind) if tta else run_model


def average_views(run_model: RunModel, kind: str) -> RunModel:
    """Return a model that answers with the mean of what another one answers for all `VIEWS` of a batch.

    Parameters
    ----------
    run_model
        Asked once for each view, with batches of the size that comes, so that the views need hardly more memory.
    kind
        The model's decoder family: the maps of "omnipose" hold flows, which turn round with the picture.

    Returns
    -------
    Maps a batch float32 (b, 3, h, w) to the same outputs as `run_model`; raises OptionError when the boxes do not lie
    on the grid that `mirror_boxes` needs.
    """

    def ask(batch: np.ndarray, axes: tuple[int, ...]) -> list[np.ndarray]:
        maps, *boxes = run_model(np.flip(batch, axes))
        shape_px = (batch.shape[2], batch.shape[3])
        return [
            mirror_maps(maps, axes, has_flows=kind == "omnipose"),
            *(mirror_boxes(candidates, axes, shape_px) for candidates in boxes),
        ]

    def run_views(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        sums = ask(batch, VIEWS[0])
        for axes in VIEWS[1:]:
            for total, part in zip(sums, ask(batch, axes), strict=True):
                total += part
        return tuple(total / len(VIEWS) for total in sums)

    return run_views


def mirror_maps(maps: np.ndarray, axes: tuple[int, ...], *, has_flows: bool) -> np.ndarray:
    """Mirror maps float32 (b, m, h, w) along axes of them, into a copy; a flow changes its sign along such an axis."""
    mirrored = np.flip(maps, axes).copy()
    if has_flows:
        for axis in axes:
            mirrored[:, FLOW_CHANNELS[axis]] *= -1
    return mirrored


def mirror_boxes(boxes: np.ndarray, axes: tuple[int, ...], shape_px: tuple[int, int]) -> np.ndarray:
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
