"""Artefacts: answers that show what is no cell, such as specks, light out of focus, blocks of compression, stripes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from mosaicell.answers.focus import is_out_of_focus
from mosaicell.contrast.stripes import find_stripes, split_stripes
from mosaicell.contrast.surroundings import Surroundings
from mosaicell.postprocess.bands import count_pixels
from mosaicell.postprocess.cells import bounding_boxes
from mosaicell.postprocess.objects import Labels

#: what is found in an enlarged image is specks, dust or blocks of compression, where the median one has fewer pixels
#: and all together cover less of the image: of 1,006 labelled images all show larger cells or 0.7 % of them
SPECK_PX, SPECK_COVER = 64, 0.006
#: median diameter in px from which cells have sharp edges in an image that was not reduced too: of labelled images
#: with ten cells at most, those below `focus.LEAST_STEEPNESS` have cells of 18 px or less
SHARP_PX = 30.0
#: grey levels: over a block that JPEG leaves in an empty field and what lies around it, brightness has a range of 6 at
#: most in the median, over cells of 10 px in images of which it leaves blocks one of 10 or more, also where light from
#: the side makes one half of them bright and the other dark
BLOCK_RANGE, RANGE_PERCENTILES = 8.0, (5, 95)
#: share of the stripes' standard deviation by which cells differ from what lies around them once those are removed
LEAST_BESIDE_STRIPES = 0.25
#: how far around a cell it is compared with, in px
RING_PX = 4
#: so many cells, evenly over all, tell what the median one is like
LOOKED_AT = 500


@dataclass(frozen=True)
class Scene:
    """What the answers for an image are held against.

    Attributes
    ----------
    pixels
        (y, x, c), not stretched; None where they are not held whole.
    is_blocky, surroundings
        As of `Sample`.
    """

    pixels: np.ndarray | None
    is_blocky: bool = False
    surroundings: Surroundings | None = None

    @cached_property
    def stripes_angle(self) -> float | None:
        """From `find_stripes`."""
        return None if self.pixels is None else find_stripes(self.luminance())

    def luminance(self) -> np.ndarray:
        """Return the mean of the channels, float32 (y, x), with the median in what is around the picture."""
        assert self.pixels is not None
        plane = self.pixels.mean(axis=2, dtype=np.float32)
        if self.surroundings is not None:
            outside = self.surroundings.cover(self.pixels, (0, 0))
            plane[outside] = np.median(plane[~outside]) if not outside.all() else 0
        return plane


def shows_specks(labels: Labels, scale: float) -> bool:
    """Say whether what was found (y, x) in an image that was enlarged by a factor is too small and sparse for cells."""
    areas = count_pixels(labels)[1:]
    return (
        scale > 1
        and areas.size > 0
        and float(np.median(areas)) < SPECK_PX
        and int(areas.sum()) < SPECK_COVER * labels.size
    )


def shows_artefacts(labels: Labels, scale: float, scene: Scene) -> bool:
    """Say whether the pixels of an image speak against all that was found in it.

    Parameters
    ----------
    labels
        (y, x), 1..n.
    scale
        Factor by which the image was resized.
    scene
        The image. Where its pixels are not held, or what was found is of a mosaic of them, nothing is said.
    """
    pixels = scene.pixels
    if pixels is None or pixels.shape[:2] != labels.shape or not labels.any():
        return False
    return (
        _shows_blur(pixels, labels, scale)
        or (scene.is_blocky and shows_blocks(pixels, labels))
        or shows_stripes(scene, labels)
    )


def _shows_blur(pixels: np.ndarray, labels: Labels, scale: float) -> bool:
    diameter_px = 2 * np.sqrt(float(np.median(count_pixels(labels)[1:])) / np.pi)
    return (scale < 1 or diameter_px >= SHARP_PX) and is_out_of_focus(pixels, labels)


def shows_blocks(pixels: np.ndarray, labels: Labels) -> bool:
    """Say whether brightness changes as little over what was found (y, x) as over blocks of JPEG."""
    ranges = []
    for around, inside, ring in _look_around(labels):
        low, high = np.percentile(pixels[around][inside | ring], RANGE_PERCENTILES, axis=0)
        ranges.append(float((high - low).max()))
    return float(np.median(ranges)) < BLOCK_RANGE


def shows_stripes(scene: Scene, labels: Labels) -> bool:
    """Say whether an image is striped, and what was found in it (y, x) is not seen without the stripes."""
    if scene.stripes_angle is None:
        return False
    stripes, rest = split_stripes(scene.luminance(), scene.stripes_angle)
    return float(np.median(measure_contrasts(rest, labels))) < LEAST_BESIDE_STRIPES * float(stripes.std())


def measure_contrasts(plane: np.ndarray, labels: Labels) -> np.ndarray:
    """Measure by how much the mean brightness of each cell differs from that of the `RING_PX` around it.

    Parameters
    ----------
    plane
        float32 (y, x).
    labels
        (y, x), 1..n.

    Returns
    -------
    float64, of `LOOKED_AT` cells at most: 0 for one that fills the image.

    Notes
    -----
    Light from the side, as in DIC, leaves the mean of a cell as it is.
    """
    contrasts = []
    for around, inside, ring in _look_around(labels):
        values = plane[around]
        contrasts.append(abs(float(values[inside].mean()) - float(values[ring].mean())) if ring.any() else 0.0)
    return np.array(contrasts)


def _look_around(labels: Labels) -> Iterator[tuple[tuple[slice, slice], np.ndarray, np.ndarray]]:
    """Yield where cells of (y, x) lie with the `RING_PX` around them, their own pixels there, and those around them."""
    kernel = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)
    count = int(labels.max())
    boxes = bounding_boxes(labels, count + 1)
    for cell in np.unique(np.linspace(1, count, min(count, LOOKED_AT)).astype(int)).tolist():
        y0, x0, y1, x1 = boxes[cell].tolist()
        around = slice(max(0, y0 - RING_PX), y1 + RING_PX), slice(max(0, x0 - RING_PX), x1 + RING_PX)
        inside = labels[around] == cell
        yield around, inside, cv2.dilate(inside.view(np.uint8), kernel).view(bool) & ~inside
