"""Targets of MAUNet: interior, boundary and background, and how near a pixel is to the middle of its cell.

Source: MAUNet paper, section 2.1. Where paper and published code disagree there is a setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mosaicell.errors import OptionError
from mosaicell.postprocess.bands import look_up
from mosaicell.postprocess.centre_distances import centre_distances
from mosaicell.postprocess.distances import border_distances
from mosaicell.postprocess.flow_targets import boundary_of_labels
from mosaicell.postprocess.numbering import Labels, number_objects

#: what `maunet_maps` knows; the proxy has no pixels: it is learned through the softmax alone (section 2.2.3)
CHANNELS = ("interior", "boundary", "background", "proxy", "distance")
BOUNDARY_RULES = ("inside", "both sides")
DISTANCE_RULES = ("centre", "depth")


@dataclass(frozen=True)
class MaunetTargetOptions:
    """The section [targets] of a recipe.

    Attributes
    ----------
    boundary
        "inside": the pixels of a cell within sqrt(S) / 20 px of its outside, S its area (paper). "both sides": those
        within ceil(sqrt(S) / 40) px of its outermost pixels, inside and outside (published code).
    distance
        "centre": gamma is the distance to the centre of mass (paper). "depth": gamma is how much nearer to the border a
        pixel is than the deepest one of its cell (published code).
    beta
        Of the paper.

    Raises
    ------
    OptionError
        For an unknown rule.
    """

    boundary: str = "inside"
    distance: str = "centre"
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name, rules in (("boundary", BOUNDARY_RULES), ("distance", DISTANCE_RULES)):
            if getattr(self, name) not in rules:
                raise OptionError(f"targets.{name} is {getattr(self, name)!r}; allowed are {', '.join(rules)}")


def maunet_maps(
    labels: NDArray[np.integer], channels: Sequence[str], options: MaunetTargetOptions
) -> NDArray[np.float32]:
    """Compute what a network should answer for a crop.

    Parameters
    ----------
    labels : integer array (y, x)
        Label image, 0 = background, ids with any gaps. One id is one cell.
    channels
        Some of `CHANNELS`.
    options
        The rules.

    Returns
    -------
    float32 array (len(channels), y, x)
        Classes are 1 where they are and 0 elsewhere. The distance is d = 1 / (1 + alpha beta gamma) with
        alpha = 1 / sqrt(S): 1 in the middle of a cell, about 0.6 at the rim of a round one, 0 in the background.

    Raises
    ------
    ValueError
        When `labels` is not a two-dimensional array of integers in 0..2**32 - 1.

    Notes
    -----
    The image border is no border of a cell, and the visible piece of a cell counts. The deepest pixels of a cell are
    interior however thin it is: by the published rules a cell of two pixels' width is all boundary, and no marker
    would ever find it.
    """
    numbers, areas = number_objects(labels)
    inside = numbers > 0
    depths = border_distances(numbers)
    # where one cell fills the image nothing is known of its border
    depths[np.isinf(depths)] = 0
    deepest = np.zeros(areas.size, np.float32)
    np.maximum.at(deepest, numbers[inside], depths[inside])
    sides = np.sqrt(areas.clip(1)).astype(np.float32)
    boundary = BOUNDARIES[options.boundary](numbers, depths, sides)
    boundary &= ~inside | (depths < look_up(deepest, numbers))
    maps = np.zeros((len(channels), *numbers.shape), np.float32)
    for name, plane in zip(channels, maps, strict=True):
        if name == "interior":
            plane[:] = inside & ~boundary
        elif name == "boundary":
            plane[:] = boundary
        elif name == "background":
            plane[:] = ~inside & ~boundary
        elif name == "distance":
            away = DISTANCES[options.distance](numbers, depths, deepest)
            plane[inside] = 1 / (1 + options.beta * away[inside] / look_up(sides, numbers)[inside])
    return maps


def _inside_boundary(numbers: Labels, depths: NDArray[np.float32], sides: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark the pixels of cells within sqrt(S) / 20 px of the outside; the outermost ones in any case."""
    return (numbers > 0) & (depths <= np.maximum(look_up(sides, numbers) / 20, 1))


def _both_sided_boundary(numbers: Labels, depths: NDArray[np.float32], sides: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark all pixels within ceil(sqrt(S) / 40) px of the outermost pixels of a cell."""
    reach_px = look_up(np.ceil(sides / 40).astype(np.uint32), numbers)
    outermost = boundary_of_labels(numbers)
    boundary = outermost.copy()
    for reach in np.unique(reach_px[outermost]).tolist():
        steps = np.arange(-reach, reach + 1)
        disc = (np.square(steps)[:, None] + np.square(steps) <= reach**2).view(np.uint8)
        boundary |= cv2.dilate((outermost & (reach_px == reach)).view(np.uint8), disc) > 0
    return boundary


def _distances_to_centre(numbers: Labels, depths: NDArray[np.float32], deepest: NDArray[np.float32]) -> NDArray:
    """Measure how far each pixel of a cell is from its centre of mass in px."""
    return centre_distances(numbers)


def _depths_below_deepest(numbers: Labels, depths: NDArray[np.float32], deepest: NDArray[np.float32]) -> NDArray:
    """Measure how much nearer to the border each pixel of a cell is than the deepest one, in px."""
    return look_up(deepest, numbers) - depths


BOUNDARIES = dict(zip(BOUNDARY_RULES, (_inside_boundary, _both_sided_boundary), strict=True))
DISTANCES = dict(zip(DISTANCE_RULES, (_distances_to_centre, _depths_below_deepest), strict=True))
