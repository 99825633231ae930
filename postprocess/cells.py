"""The cells of one segmentation: which pixels are whose, and what can be measured of any cell."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.bounds import bounding_boxes
from mosaicell.postprocess.flow_targets import boundary_of_labels
from mosaicell.postprocess.numbering import Labels

#: what `describe_shapes` returns of each cell, in this order
SHAPE_FEATURES = ("relative_size", "outline", "size", "at_border", "debris")


class Cells:
    """The cells of a label image, which are measured against maps of the same height and width.

    Parameters
    ----------
    labels : (y, x) uint32 array
        0 = background. Ids need not all occur.
    size : int, optional
        How many ids there are, that of the background included; by default up to the largest that occurs.
    """

    def __init__(self, labels: Labels, size: int | None = None) -> None:
        self.labels = labels
        self.size = int(labels.max(initial=0)) + 1 if size is None else size

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """Mark the pixels (y, x) of cells."""
        return self.labels > 0

    @cached_property
    def outermost(self) -> NDArray[np.bool_]:
        """Mark the pixels (y, x) of cells with another cell or background above, below, left or right."""
        return boundary_of_labels(self.labels)

    @cached_property
    def inner(self) -> NDArray[np.bool_]:
        """Mark the other pixels (y, x) of cells."""
        return self.inside & ~self.outermost

    @cached_property
    def ids(self) -> Labels:
        """Ids (k,) of the pixels of cells, row by row."""
        return self.labels[self.inside]

    @cached_property
    def outermost_ids(self) -> Labels:
        """Ids (k,) of the outermost pixels, row by row."""
        return self.labels[self.outermost]

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """Pixels (n + 1,) of each id."""
        areas = count_pixels(self.labels)
        return np.pad(areas, (0, self.size - areas.size)).astype(np.float64)

    def mean(self, plane: NDArray) -> NDArray[np.float64]:
        """Return the mean of a map (y, x) over the pixels of each id (n + 1,); 0 without any."""
        return self.mean_of(self.ids, plane[self.inside])

    def mean_of(self, ids: Labels, values: NDArray) -> NDArray[np.float64]:
        """Return the mean of values (k,) of pixels with these ids (k,), by id (n + 1,); 0 without any."""
        return np.bincount(ids, values, minlength=self.size) / np.bincount(ids, minlength=self.size).clip(1)

    def deviation(self, field: NDArray, expected: NDArray) -> NDArray[np.float64]:
        """Return the root mean square of how far vectors (k, y, x) lie apart, by id (n + 1,); 0 without any."""
        errors = np.zeros(self.ids.size)
        for found, wanted in zip(field, expected, strict=True):
            errors += np.square(found[self.inside] - wanted[self.inside])
        return np.sqrt(self.mean_of(self.ids, errors))


def describe_shapes(cells: Cells, typical_size: float) -> NDArray[np.float64]:
    """Measure what any cell has.

    Parameters
    ----------
    cells : Cells
        In px of the maps.
    typical_size : float
        Of the cells in the whole image, as `median_size` gives it.

    Returns
    -------
    (n + 1, len(SHAPE_FEATURES)) float64 array
        A row for each id; that of the background, and those of ids that do not occur, say nothing:

        - size, relative_size, debris: logarithm of the area, the same relative to the typical one, its square below
          that
        - outline: outermost pixels squared over area, 1 for a disc
        - at_border: 1 for a cell that touches the border of the image
    """
    areas, labels = cells.areas, cells.labels
    size = np.log(areas.clip(1))
    relative = size - typical_size
    outline = np.bincount(cells.outermost_ids, minlength=cells.size) ** 2 / (4 * np.pi * areas.clip(1))
    at_border = np.zeros(cells.size)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        at_border[side] = 1
    return np.column_stack((relative, outline, size, at_border, np.minimum(relative, 0) ** 2))


def median_size(labels: Labels) -> float:
    """Return the median logarithm of the areas of the cells of a label image (y, x); 0 without cells."""
    areas = count_pixels(labels)[1:]
    return float(np.median(np.log(areas[areas > 0]))) if areas.any() else 0.0


def match_boxes(cells: Cells, boxes: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compare cells with boxes (m, 5 or more), each y0, x0, y1, x1, score.

    Returns
    -------
    box_iou, box_score : (n + 1,) float64 arrays
        By id, the IoU of its bounding box with the best box whose centre lies in the cell, and that box's score; 0
        without any.
    """
    labels = cells.labels
    iou, score = np.zeros(cells.size), np.zeros(cells.size)
    if not len(boxes):
        return iou, score
    bounds = bounding_boxes(labels, cells.size)
    rows, columns = (
        np.clip(((boxes[:, axis] + boxes[:, axis + 2]) / 2).astype(np.int64), 0, labels.shape[axis] - 1)
        for axis in (0, 1)
    )
    ids = labels[rows, columns]
    places = bounds[ids]
    sides = np.minimum(boxes[:, 2:4], places[:, 2:]) - np.maximum(boxes[:, :2], places[:, :2])
    shared = sides.clip(0).prod(1)
    union = (boxes[:, 2:4] - boxes[:, :2]).prod(1) + (places[:, 2:] - places[:, :2]).prod(1) - shared
    ious = shared / union.clip(1e-6)
    order = np.argsort(ious, kind="stable")
    iou[ids[order]], score[ids[order]] = ious[order], boxes[order, 4]
    iou[0] = score[0] = 0
    return iou, score
