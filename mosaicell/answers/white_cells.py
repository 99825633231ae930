"""Whole white cells: where a smear shows them, what is neither slide nor red cell joins nucleus and cytoplasm."""

from __future__ import annotations

import cv2
import numpy as np

from mosaicell.answers.blood import MIN_NUCLEUS_AREA, Smear
from mosaicell.postprocess.bounds import widen
from mosaicell.postprocess.objects import Labels

#: absorbance of green light from which a pixel is no slide, once noise is blurred away; cytoplasm can be as pale
LEAST_ABSORBANCE, BLUR_PX = 0.06, 1.5
#: share of a red cell's diameter by which bridges between cells are cut
BRIDGE_SHARE = 0.35
#: least share of its convex hull that a white cell fills
MIN_SOLIDITY = 0.8
#: several pieces with a nucleus are lobes of one where they cover less than this share of the cell; cells that touch
#: cover all of it
MAX_LOBES_SHARE = 0.9
#: a white cell has at most so many lobes, covers so many times as much as a red one, and this share of it was found;
#: where the slide itself is stained, what is no red cell reaches from cell to cell
MAX_LOBES, MAX_AREA, MIN_FOUND = 5, 16.0, 0.25
#: these shares are of what lies so far within the cell: blur makes stain wider than cells
RIM_PX = 2
#: a piece lies in the whole cell with at least this share of it, and is the whole cell with that share of the cell
MIN_INSIDE, WHOLE_SHARE = 0.8, 0.85


def join_white_cells(labels: Labels, smear: Smear, wanted: np.ndarray) -> None:
    """Make whole cells of the nuclei, lobes and cytoplasm that white cells were found as.

    Parameters
    ----------
    labels
        (y, x), 1..n; changed in place.
    smear
        Of these labels. Where it was not seen at each pixel, nothing is joined.
    wanted
        bool (n + 1,), from `blood.find_wanted`; of the pieces of a cell the largest stays alone.
    """
    areas_px = np.bincount(labels.ravel(), minlength=len(wanted))
    if smear.step > 1 or not smear.red.any():
        return
    red_area_px = float(np.median(areas_px[smear.red]))
    side = 2 * round(BRIDGE_SHARE * np.sqrt(red_area_px / np.pi)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    stained = cv2.GaussianBlur(smear.green, (0, 0), BLUR_PX) > LEAST_ABSORBANCE
    region = cv2.morphologyEx((stained & ~smear.red[labels]).view(np.uint8), cv2.MORPH_OPEN, disc)
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(region, connectivity=4)
    nuclei_px = np.bincount(parts[smear.nuclei], minlength=count)
    has_nucleus = np.bincount(labels[smear.nuclei], minlength=len(wanted)) >= MIN_NUCLEUS_AREA / 2 * red_area_px
    for part in range(1, count):
        if nuclei_px[part] >= MIN_NUCLEUS_AREA * red_area_px and boxes[part, -1] <= MAX_AREA * red_area_px:
            x, y, width, height, _ = boxes[part].tolist()
            y0, x0, y1, x1 = widen((y, x, y + height, x + width), RIM_PX, labels.shape)
            box = slice(y0, y1), slice(x0, x1)
            _join(labels[box], (parts[box] == part).view(np.uint8), areas_px, has_nucleus, wanted)


def _join(labels: Labels, part: np.ndarray, areas_px: np.ndarray, has_nucleus: np.ndarray, wanted: np.ndarray) -> None:
    """Make one cell of a stained part uint8 (y, x), unless it is found whole or its shape is none of a cell."""
    outlines, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(part, outlines, -1, 1, -1)
    core = labels[cv2.erode(whole, np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)) > 0]
    core_px = np.bincount(core, minlength=len(wanted))
    hull = cv2.fillPoly(np.zeros_like(whole), [cv2.convexHull(np.concatenate(outlines))], 1)
    inside = np.bincount(labels[whole > 0], minlength=len(wanted))
    inside[0] = 0
    pieces = np.flatnonzero((inside > 0) & (inside >= MIN_INSIDE * areas_px))
    lobes = pieces[has_nucleus[pieces]]
    if (
        not pieces.size
        or len(lobes) > MAX_LOBES
        or core_px[pieces].sum() < MIN_FOUND * len(core)
        or core_px[pieces].max() >= WHOLE_SHARE * len(core)
        or np.count_nonzero(whole) < MIN_SOLIDITY * np.count_nonzero(hull)
        or (len(lobes) > 1 and core_px[lobes].sum() >= MAX_LOBES_SHARE * len(core))
    ):
        return
    kept = pieces[inside[pieces].argmax()]
    wanted[pieces] = pieces == kept
    labels[(whole > 0) & ((labels == 0) | np.isin(labels, pieces))] = kept
