"""What lies around a scene and is no image of anything: frames, cut-out tissue, the corners of turned scans."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.outlines import draw_lobed

Labels = NDArray[np.uint32]
Area = NDArray[np.bool_]


def add_frame(
    pixels: NDArray[Any], share: float, value: float, rng: np.random.Generator
) -> tuple[NDArray[Any], tuple[int, int]]:
    """Lay a scene into a frame of one value.

    Parameters
    ----------
    pixels : (y, x, c)
    share : float
        Part of the area that the frame takes, in [0, 1).
    value : float
        In all channels; the data type of the pixels must hold it.
    rng : numpy.random.Generator
        Chooses where the scene lies.

    Returns
    -------
    framed : (y, x, c), as `pixels`
    corner : (int, int)
        Row and column of the scene.
    """
    height, width, channels = pixels.shape
    factor = 1 / np.sqrt(1 - share)
    shape_px = round(height * factor), round(width * factor)
    framed = np.full((*shape_px, channels), value, pixels.dtype)
    top, left = (int(rng.integers(outer - inner + 1)) for outer, inner in zip(shape_px, (height, width), strict=True))
    framed[top : top + height, left : left + width] = pixels
    return framed, (top, left)


def draw_outline(shape_px: tuple[int, int], rng: np.random.Generator) -> Area:
    """Draw where a piece of tissue lies (y, x): about half of the image, with lobes."""
    height, width = shape_px
    return draw_lobed(shape_px, (height / 2, width / 2), 0.41 * min(shape_px), rng, roughness=0.05, lobes=7)


def cut_out(pixels: NDArray[np.uint8], area: Area, value: int, *, transparent: bool = False) -> NDArray[np.uint8]:
    """Replace what lies outside an area by one value; `transparent` adds an alpha channel that is 0 there.

    Parameters
    ----------
    pixels : (y, x, 3) uint8
    area : (y, x) bool
    value : int
    transparent : bool
    """
    cut = np.where(area[..., None], pixels, np.uint8(value))
    return np.dstack([cut, area.astype(np.uint8) * np.uint8(255)]) if transparent else cut


def turn_scan(pixels: NDArray[np.uint8], labels: Labels, degrees: float) -> tuple[NDArray[np.uint8], Labels, Area]:
    """Turn a scene, with black in the corners of the larger image that holds it.

    Parameters
    ----------
    pixels : (y, x, c) uint8
    labels : (y, x) uint32
    degrees : float

    Returns
    -------
    turned : (y, x, c) uint8
    labels : (y, x) uint32
    area : (y, x) bool
        Where the scene is.
    """
    height, width = labels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    outer = int(np.ceil(width * cosine + height * sine)), int(np.ceil(width * sine + height * cosine))
    matrix[:, 2] += (np.array(outer) - (width, height)) / 2
    turned = cv2.warpAffine(pixels, matrix, outer, flags=cv2.INTER_LINEAR).reshape(outer[1], outer[0], -1)
    exact = cv2.warpAffine(labels.astype(np.float32), matrix, outer, flags=cv2.INTER_NEAREST)
    area = cv2.warpAffine(np.ones(labels.shape, np.uint8), matrix, outer, flags=cv2.INTER_NEAREST) > 0
    return turned, exact.astype(np.uint32), area
