"""What a prediction looks like: the numbers from which inference/quality.py predicts its F1, without any truth."""

from __future__ import annotations

import math

import numpy as np

from inference.scale import nearest_px
from postprocess.distances import border_distances
from postprocess.numbering import Labels
from postprocess.objects import energy_of_labels

#: what `describe` returns, in this order
FEATURES = (
    "confidence",
    "certainty",
    "explained",
    "filled",
    "box_score",
    "boxes_per_cell",
    "energy_error",
    "border",
    "cells",
    "diameter",
    "size_spread",
    "roundness",
    "contact",
    "enlargement",
)


def describe(labels: Labels, maps: np.ndarray, boxes: np.ndarray, kind: str, confidence: float) -> np.ndarray:
    """Measure a prediction.

    Parameters
    ----------
    labels
        uint32 (y, x), 1..n without gaps, in px of the image.
    maps
        float32 (m, y, x), the model's maps in px of the resized image: foreground probability first, then energy of
        kind "awf", boundary probability of kind "omnipose".
    boxes
        float32 (n, 5), those that became markers; none of kind "omnipose".
    kind
        Of the model.
    confidence
        Of equation 6.

    Returns
    -------
    float64 (len(FEATURES),), finite:

    - confidence: as given
    - certainty: share of pixels above 0.25 foreground probability that are above 0.75
    - explained: share of the pixels above 0.5 that lie in cells
    - filled: mean foreground probability in cells
    - box_score, boxes_per_cell: mean score; the smaller of the numbers of boxes and cells over the larger
    - energy_error: mean distance between the energy map and the energy of the cells' shapes
    - border: mean boundary probability on the cells' outermost pixels less that of the others
    - cells: natural logarithm of 1 + their number
    - diameter, size_spread: mean and standard deviation of the logarithms of the cells' diameters in px of the maps
    - roundness: median of 16 area / perimeter^2, the perimeter counted in pixel edges; 0.79 for a disc
    - contact: share of the cells' pixel edges that face another cell
    - enlargement: logarithm of the factor by which the image was resized
    """
    foreground = maps[0]
    shape_px = foreground.shape[0], foreground.shape[1]
    scale = math.sqrt(foreground.size / labels.size)
    if labels.shape != shape_px:
        rows, columns = (nearest_px(np.arange(n), n, old) for n, old in zip(shape_px, labels.shape, strict=True))
        labels = np.ascontiguousarray(labels[rows[:, None], columns])
    inside = labels > 0
    areas = np.bincount(labels.ravel())[1:].astype(np.float64)
    areas = areas[areas > 0]
    values = dict.fromkeys(FEATURES, 0.0)
    values["confidence"] = confidence
    values["certainty"] = _share(foreground > 0.75, foreground > 0.25)
    values["explained"] = _share(inside, foreground > 0.5)
    values["enlargement"] = math.log(scale)
    if len(boxes):
        values["box_score"] = float(boxes[:, 4].mean())
    if areas.size:
        values["filled"] = float(foreground[inside].mean(dtype=np.float64))
        values["boxes_per_cell"] = min(len(boxes), len(areas)) / max(len(boxes), len(areas))
        values["cells"] = math.log1p(areas.size)
        logs = 0.5 * np.log(areas * 4 / math.pi)
        values["diameter"], values["size_spread"] = float(logs.mean()), float(logs.std())
        values["roundness"], values["contact"] = _measure_outlines(labels)
        if kind == "awf":
            wanted = energy_of_labels(labels)[inside]
            values["energy_error"] = float(np.abs(maps[1][inside] - wanted).mean(dtype=np.float64))
        else:
            outermost = border_distances(labels)[inside] < 1.5
            boundary = maps[1][inside]
            deeper = boundary[~outermost].mean(dtype=np.float64) if (~outermost).any() else 0.0
            values["border"] = float(boundary[outermost].mean(dtype=np.float64) - deeper) if outermost.any() else 0.0
    return np.array([values[name] for name in FEATURES])


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return int(np.count_nonzero(part & whole)) / max(1, int(np.count_nonzero(whole)))


def _measure_outlines(labels: Labels) -> tuple[float, float]:
    """Return the median roundness of the cells and the share of their pixel edges that face another cell."""
    count = int(labels.max()) + 1
    edges, shared = np.zeros(count), 0.0
    for first, second in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        differ = first != second
        one, other = first[differ], second[differ]
        edges += np.bincount(one, minlength=count) + np.bincount(other, minlength=count)
        shared += 2.0 * np.count_nonzero((one > 0) & (other > 0))
    areas = np.bincount(labels.ravel(), minlength=count)
    cells = np.flatnonzero(edges[1:] > 0) + 1
    if not cells.size:
        return 0.0, 0.0
    return float(np.median(16 * areas[cells] / edges[cells] ** 2)), float(shared / edges[1:].sum())


def agreement(first: Labels, second: Labels) -> float:
    """F1 of the cells of two predictions for the same image that overlap by an IoU above 0.5; 1 when both are empty."""
    counts = [np.bincount(labels.ravel()) for labels in (first, second)]
    total = sum(int(np.count_nonzero(areas[1:])) for areas in counts)
    both = (first > 0) & (second > 0)
    pairs, shared = np.unique(np.stack([first[both], second[both]]), axis=1, return_counts=True)
    union = counts[0][pairs[0]] + counts[1][pairs[1]] - shared
    return 2 * int(np.count_nonzero(2 * shared > union)) / total if total else 1.0
