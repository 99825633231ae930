"""Focus: whether what was found has edges, or is light from far above and below what the microscope is focused on."""

from __future__ import annotations

import cv2
import numpy as np

from mosaicell.postprocess.cells import bounding_boxes
from mosaicell.postprocess.objects import Labels

#: what blurs without edges is large and little of it: answers with more cells are not looked at
MOST_CELLS = 10
#: median steepness below which an answer is out of focus: of 101 labelled images with cells above 40 px none is below
#: 0.40, blurred spots and uneven light have 0.18 to 0.27
LEAST_STEEPNESS = 0.3
#: diameter in px to which each cell is resized, how far its surroundings are looked at, and over how many px its
#: outline is a step: a twelfth of the diameter
CELL_PX, REACH_PX, STEP_PX = 48, 14, 4
#: fewer pixels of a distance do not count, and neither does a cell with fewer distances
LEAST_RING_PX, LEAST_RINGS = 9, 12


def is_out_of_focus(pixels: np.ndarray, labels: Labels) -> bool:
    """Say whether nothing of what was found has edges.

    Parameters
    ----------
    pixels
        (y, x, c), not stretched: where brightness is cut off, slopes end in edges.
    labels
        (y, x), 1..n.
    """
    if not 0 < int(labels.max(initial=0)) <= MOST_CELLS:
        return False
    steepness = measure_steepness(pixels.mean(axis=2, dtype=np.float32), labels)
    return bool(steepness.size) and float(np.median(steepness)) < LEAST_STEEPNESS


def measure_steepness(plane: np.ndarray, labels: Labels) -> np.ndarray:
    """Measure how sudden the brightness changes across the outline of each cell.

    Parameters
    ----------
    plane
        float32 (y, x).
    labels
        (y, x), 1..n.

    Returns
    -------
    float64 (m,): of the mean brightness at each distance from the outline, the largest step over a twelfth of the
    cell's diameter, as a share of the whole range. Cells of which too little is seen are left out.
    """
    measured = []
    for cell, (y0, x0, y1, x1) in enumerate(bounding_boxes(labels, int(labels.max(initial=0)) + 1).tolist()):
        if cell == 0 or y1 <= y0:
            continue
        diameter = 2 * np.sqrt(np.count_nonzero(labels[y0:y1, x0:x1] == cell) / np.pi)
        margin = int(diameter * REACH_PX / CELL_PX) + 2
        around = (slice(max(0, y0 - margin), y1 + margin), slice(max(0, x0 - margin), x1 + margin))
        steepness = _measure_one(plane[around], labels[around], cell, CELL_PX / diameter)
        if steepness is not None:
            measured.append(steepness)
    return np.array(measured)


def _measure_one(plane: np.ndarray, labels: Labels, cell: int, scale: float) -> float | None:
    size = tuple(max(1, round(side * scale)) for side in labels.shape[::-1])
    plane = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    inside, others = (
        cv2.resize(part.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        for part in (labels == cell, (labels > 0) & (labels != cell))
    )
    distances = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    near = (others == 0) & (np.abs(distances) < REACH_PX + 0.5)
    rings = np.rint(distances[near]).astype(np.intp) + REACH_PX
    counts = np.bincount(rings, minlength=2 * REACH_PX + 1)
    seen = counts >= LEAST_RING_PX
    if np.count_nonzero(seen) < LEAST_RINGS:
        return None
    profile = np.bincount(rings, plane[near], minlength=counts.size)[seen] / counts[seen]
    extent = float(np.ptp(profile))
    return float(np.abs(profile[STEP_PX:] - profile[:-STEP_PX]).max()) / extent if extent > 0 else None
