"""Objects of an image whose blocks are never together in memory: which stay where two blocks own the same pixels.

Two neighbours that see one object differently may both own it. The rule is that of `assembly.Assembly`, which takes the
blocks in their order: an object that is there already, for the most part, is dropped, and others keep what is free.
Here pixels that several objects want are counted first, part by part of the image, then it is settled for all, and then
any part can be painted by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.numbering import Labels

#: number of a block, and the id of an object in it
Key = tuple[int, int]
#: pixels on which just these objects meet, in the order of their blocks
Meetings = Counter[tuple[Key, ...]]
#: stands for an object that keeps its pixels from others and is not wanted itself
UNWANTED = np.uint32(np.iinfo(np.uint32).max)


@dataclass(frozen=True)
class Crop:
    """The objects of a block, or what of them lies in a part of the image.

    Attributes
    ----------
    number
        Of the block.
    bounds
        Where `labels` lies in the image.
    labels
        uint32 (y, x), ids of the block.
    """

    number: int
    bounds: Bounds
    labels: Labels

    def cut(self, region: Bounds) -> Crop:
        """Return what lies in a region, which may be nothing."""
        y0, x0, y1, x1 = self.bounds
        top, left = min(max(y0, region[0]), y1), min(max(x0, region[1]), x1)
        bottom, right = max(min(y1, region[2]), top), max(min(x1, region[3]), left)
        return Crop(
            self.number, (top, left, bottom, right), self.labels[top - y0 : bottom - y0, left - x0 : right - x0]
        )

    def within(self, region: Bounds) -> tuple[slice, slice]:
        """Return where the crop lies in an array of a region that holds it."""
        y0, x0, y1, x1 = self.bounds
        return slice(y0 - region[0], y1 - region[0]), slice(x0 - region[1], x1 - region[1])


def find_meetings(crops: Sequence[Crop], region: Bounds) -> Meetings:
    """Count the pixels of a region that several objects want.

    Parameters
    ----------
    crops
        Of the blocks that reach into the region, in their order, cut to it.
    region
        Part of the image.
    """
    shape_px = (region[2] - region[0], region[3] - region[1])
    wanting = np.zeros(shape_px, np.uint8)
    for crop in crops:
        wanting[crop.within(region)] += crop.labels > 0
    contested = wanting > 1
    meeting: dict[int, list[Key]] = {}
    for crop in crops:
        place = crop.within(region)
        rows, columns = np.nonzero(contested[place] & (crop.labels > 0))
        pixels = (rows + place[0].start) * shape_px[1] + columns + place[1].start
        for pixel, label in zip(pixels.tolist(), crop.labels[rows, columns].tolist(), strict=True):
            meeting.setdefault(pixel, []).append((crop.number, label))
    return Counter(map(tuple, meeting.values()))


def settle(meetings: Mapping[tuple[Key, ...], int], areas: Mapping[Key, int]) -> dict[Key, int]:
    """Return how many pixels each contested object keeps, 0 for one that is dropped.

    Parameters
    ----------
    meetings
        Of the whole image.
    areas
        Pixels of each object in them.
    """
    places: dict[Key, list[tuple[tuple[Key, ...], int]]] = {}
    for keys, pixels in meetings.items():
        for key in keys:
            places.setdefault(key, []).append((keys, pixels))
    left: dict[Key, int] = {}
    for key in sorted(places):
        # what is earlier is settled
        lost = sum(pixels for keys, pixels in places[key] if any(left[one] for one in keys[: keys.index(key)]))
        left[key] = 0 if 2 * lost > areas[key] else areas[key] - lost
    return left


def paint(crops: Sequence[Crop], tables: Sequence[NDArray[np.uint32]], region: Bounds) -> Labels:
    """Return the labels of a region.

    Parameters
    ----------
    crops
        As in `find_meetings`.
    tables
        For each the new id by id: 0 for objects that are dropped, `UNWANTED` for those that are not wanted.
    region
        Part of the image.
    """
    labels = np.zeros((region[2] - region[0], region[3] - region[1]), np.uint32)
    for crop, table in zip(crops, tables, strict=True):
        target = labels[crop.within(region)]
        np.copyto(target, table[crop.labels], where=target == 0)
    labels[labels == UNWANTED] = 0
    return labels
