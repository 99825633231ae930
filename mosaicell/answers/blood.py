"""White cells among red ones, in stained smears of blood and marrow: told by how cells absorb each colour.

Haemoglobin absorbs blue light, the stains of a nucleus red and green light. A red cell is even; a white one has a
nucleus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from mosaicell.postprocess.objects import Labels
from mosaicell.reading.pixels import Pixels

#: cells are told by at most so many pixels, on a regular grid
SAMPLE_PX = 2_000_000
#: which of the pixels around cells is the empty slide, each colour by itself, and how far from cells that is seen
SLIDE_PERCENTILE, FAR_PX = 80, 2
#: a smear's slide is bare: this share of what lies around the cells absorbs less green light than that; tissue reaches
#: half of it
MIN_BARE, BARE_ABSORBANCE = 0.6, 0.12
#: a red cell absorbs so much green light, and so much blue light for one of red light; white cells of labelled smears
#: absorb 0.56 at most
MIN_GREEN, MIN_BLUE_SHARE = 0.08, 0.6
#: a pixel belongs to a nucleus where it absorbs so much red light, so many times as much as red cells do, and so many
#: times as much as blue light
NUCLEUS_ABSORBANCE, NUCLEUS_CONTRAST, NUCLEUS_HUE = 0.3, 1.6, 1.3
#: share of a cell that is nucleus: of red ones, with parasites or platelets on them, and of white ones
MAX_RED_NUCLEUS, MIN_WHITE_NUCLEUS = 0.1, 0.15
#: a white cell's nucleus has this share of a red cell's area; platelets are smaller
MIN_NUCLEUS_AREA = 0.6
#: red cells absorb so many times as much green light as red light where white ones are the subject. In films for
#: malaria, whose stain leaves red cells grey, it is 0.9 to 1.6, and about 1 where there are white ones
MIN_PINK = 1.2


@dataclass(frozen=True)
class Smear:
    """Which cells of an image are blood.

    Attributes
    ----------
    red, white
        bool (n + 1,), by id.
    other
        bool (n + 1,): neither, and no larger than a red cell, as platelets and debris are.
    shows_white
        The image is a smear whose white cells are the subject, and the red ones are what they lie among.
    green, nuclei
        Absorbance of green light (y, x), float32, and which pixels belong to nuclei, bool (y, x), of every `step`-th
        pixel of every `step`-th row.
    step
        In px of the image.
    """

    red: np.ndarray
    white: np.ndarray
    other: np.ndarray
    shows_white: bool
    green: np.ndarray
    nuclei: np.ndarray
    step: int


def find_blood(pixels: Pixels, labels: Labels) -> Smear:
    """Tell red from white cells.

    Parameters
    ----------
    pixels
        The image, of three channels: red, green and blue.
    labels
        (y, x), 1..n.

    Returns
    -------
    Smear
        Without red cells and white ones where the slide is not seen, as in tissue.
    """
    step = max(1, math.ceil(math.sqrt(labels.size / SAMPLE_PX)))
    count = int(labels.max(initial=0)) + 1
    seen = labels[::step, ::step]
    absorbance = _measure_absorbance(pixels.sample(step), seen)
    if absorbance is None:
        nothing, no_map = np.zeros(count, bool), np.zeros(seen.shape, np.float32)
        return Smear(nothing, nothing, nothing, False, no_map, no_map > 0, step)
    areas = np.bincount(seen.ravel(), minlength=count)
    sums = [np.bincount(seen.ravel(), plane.ravel(), count) for plane in absorbance]
    red_light, green_light, blue_light = (total / np.maximum(areas, 1) for total in sums)
    even = (areas > 0) & (green_light > MIN_GREEN) & (blue_light > MIN_BLUE_SHARE * red_light)
    even[0] = False
    usual = float(np.median(red_light[even])) if even.any() else 0.0
    is_nucleus = (absorbance[0] > max(NUCLEUS_ABSORBANCE, NUCLEUS_CONTRAST * usual)) & (
        absorbance[0] > NUCLEUS_HUE * absorbance[2]
    )
    nuclei = np.bincount(seen[is_nucleus], minlength=count)
    red = even & (nuclei < MAX_RED_NUCLEUS * areas)
    red_area = float(np.median(areas[red])) if red.any() else 0.0
    white = ~red & (nuclei >= MIN_WHITE_NUCLEUS * areas) & (nuclei >= max(1.0, MIN_NUCLEUS_AREA * red_area))
    white[0] = False
    neither = ~red & ~white
    neither[0] = False
    is_pink = red.any() and float(np.median(green_light[red] / np.maximum(red_light[red], 1e-3))) >= MIN_PINK
    shows_white = bool(white.any() and is_pink and np.count_nonzero(red) >= np.count_nonzero(neither))
    return Smear(red, white, neither & (areas <= red_area), shows_white, absorbance[1], is_nucleus, step)


def _measure_absorbance(values: np.ndarray, labels: Labels) -> np.ndarray | None:
    """Return the absorbance (3, y, x) against the empty slide, float32; None where too little of one is seen."""
    if values.shape[2] != 3:
        return None
    side = 2 * FAR_PX + 1
    far = cv2.erode((labels == 0).view(np.uint8), np.ones((side, side), np.uint8)).view(bool)
    if not far.any():
        return None
    slide = np.percentile(values[far], SLIDE_PERCENTILE, axis=0)
    if not (slide > 0).all():
        return None
    # nothing absorbs more than 255 of 256 parts can tell
    light = np.clip(values.astype(np.float32) / slide.astype(np.float32), 1 / 256, None)
    absorbance = -np.log(light).transpose(2, 0, 1)
    bare = np.abs(absorbance[1][far]) < BARE_ABSORBANCE
    return absorbance if float(bare.mean()) >= MIN_BARE else None


def find_wanted(smear: Smear, blood: str) -> np.ndarray:
    """Say which cells of a stained image stay.

    Parameters
    ----------
    smear
        From `find_blood`.
    blood
        "auto" leaves out red cells, and what is as small, where white ones are the subject; "white" wherever there are
        some.

    Returns
    -------
    bool (n + 1,), by id; the background is none.
    """
    wanted = ~(smear.red | smear.other) if blood == "white" or smear.shows_white else np.ones(len(smear.red), bool)
    wanted[0] = False
    return wanted
