"""Distances of pixels to the centre of their cell, and the field that MAUNet learns of them (paper, section 2.1).

The same function makes the training target and judges a decoded cell, so the two cannot drift apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def centre_distances(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the distance of each cell pixel to the centre of mass of its cell.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background. One id is one cell.

    Returns
    -------
    float32 array (y, x)
        In px; 0 in the background.
    """
    away = np.zeros(labels.shape, np.float32)
    rows, columns = np.nonzero(labels)
    ids = labels[rows, columns]
    counts = np.bincount(ids).clip(1)
    squares = np.zeros(ids.size)
    for places in (rows, columns):
        centres = np.bincount(ids, places) / counts
        squares += np.square(places - centres[ids])
    away[rows, columns] = np.sqrt(squares)
    return away


def centre_closeness(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return d = 1 / (1 + g / sqrt(S)), g the distance to the centre of mass of the cell and S its area.

    Parameters
    ----------
    labels : integer array (y, x)
        As for `centre_distances`.

    Returns
    -------
    float32 array (y, x)
        1 in the middle of a cell, about 0.6 at the rim of a round one; 0 in the background.
    """
    inside = labels > 0
    sides = np.sqrt(np.bincount(labels[inside]).clip(1))
    closeness = np.zeros(labels.shape, np.float32)
    closeness[inside] = 1 / (1 + centre_distances(labels)[inside] / sides[labels[inside]])
    return closeness
