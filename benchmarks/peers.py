"""What the decoders are held against: the same work as other packages do it, or as plain code does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage import measure, segmentation

from benchmarks.drawn_maps import DrawnMaps
from mosaicell.postprocess.boxes import box_markers

Labels = NDArray[np.integer]


def flood_with_skimage(
    maps: DrawnMaps,
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    *,
    e1: float,
    e2: float,
    foreground_threshold: float,
    min_marker_px: int,
    min_unmarked_px: int,
) -> Labels:
    """Decode as `postprocess.watershed.two_step_watershed` does, with the labelling and flood of scikit-image."""
    cells = maps.foreground > foreground_threshold
    core = cells & (maps.energy >= e1)
    markers: Labels = box_markers(boxes, scores, core)
    parts = measure.label(core, connectivity=1)
    unmarked = np.setdiff1d(np.arange(1, parts.max() + 1), parts[markers > 0])
    deep = np.isin(parts, unmarked) & (maps.energy >= e2)
    markers = _add_pieces(markers, measure.label(deep, connectivity=1), min_marker_px + 1)
    labels = segmentation.watershed(-maps.energy, markers, connectivity=1, mask=cells)
    labels = _add_pieces(labels, measure.label(cells & (labels == 0), connectivity=1), min_unmarked_px)
    return segmentation.relabel_sequential(labels)[0]


def _add_pieces(labels: Labels, pieces: Labels, min_px: int) -> Labels:
    large = np.bincount(pieces.ravel())[pieces] >= min_px
    return np.where(large & (pieces > 0), pieces + labels.max(), labels)


def fill_holes_one_by_one(labels: Labels, max_fraction: float) -> Labels:
    """Fill holes by the rule of `postprocess.objects.fill_holes`, with `scipy.ndimage` on one object after another."""
    filled = labels.copy()
    eight = np.ones((3, 3), bool)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[place]
        cell = part == number
        holes, _ = ndimage.label(ndimage.binary_fill_holes(cell, eight) & ~cell, eight)
        areas = np.bincount(holes.ravel())
        small = areas < max_fraction * np.count_nonzero(cell)
        small[np.unique(holes[part > 0])] = False
        filled[place][small[holes]] = number
    return filled


def suppress_one_by_one(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], iou_threshold: float
) -> NDArray[np.intp]:
    """Choose boxes greedily by score, comparing each chosen one with all that are left."""
    boxes = boxes.astype(np.float64)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    rest = np.argsort(-scores, kind="stable")
    chosen = []
    while rest.size:
        best, rest = rest[0], rest[1:]
        chosen.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        rest = rest[shared <= iou_threshold * (areas[best] + areas[rest] - shared)]
    return np.array(chosen, np.intp)


def fuse_one_by_one(
    boxes: Sequence[NDArray[np.floating]],
    scores: Sequence[NDArray[np.floating]],
    weights: Sequence[float],
    iou_threshold: float,
    least_score: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fuse boxes as `postprocess.box_fusion.fuse_boxes` does, comparing one after the other with all fused ones."""
    rows = [
        (score * weight, box)
        for corners, sure, weight in zip(boxes, scores, weights, strict=True)
        for box, score in zip(np.asarray(corners, np.float64), np.asarray(sure, np.float64), strict=True)
        if score >= least_score and score > 0 and (box[2] - box[0]) * (box[3] - box[1]) > 0
    ]
    fused = np.zeros((len(rows), 4))
    members: list[list[tuple[float, NDArray[np.float64]]]] = []
    # Python's sort is stable, as ours
    for score, box in sorted(rows, key=lambda row: -row[0]):
        known = fused[: len(members)]
        shared = (np.minimum(known[:, 2:], box[2:]) - np.maximum(known[:, :2], box[:2])).clip(0).prod(axis=1)
        areas = (known[:, 2] - known[:, 0]) * (known[:, 3] - known[:, 1])
        ious = shared / (areas + (box[2] - box[0]) * (box[3] - box[1]) - shared)
        best = int(ious.argmax()) if ious.size else 0
        if not ious.size or ious[best] <= iou_threshold:
            best = len(members)
            members.append([])
        members[best].append((score, box))
        fused[best] = sum(sure * corners for sure, corners in members[best]) / sum(sure for sure, _ in members[best])
    counts = np.array([len(cluster) for cluster in members], np.int64)
    sums = np.array([sum(sure for sure, _ in cluster) for cluster in members])
    sure = sums / counts * np.minimum(counts, len(weights)) / sum(weights)
    order = np.argsort(-sure, kind="stable")
    return fused[order], sure[order]


def count_matches_densely(truth: Labels, prediction: Labels, threshold: float) -> tuple[int, int, int]:
    """Return true and predicted cells off the 2 px at the border, and matches, by a matrix of all pairs."""
    sides = []
    for labels in (truth, prediction):
        inner = segmentation.clear_border(labels, buffer_size=1)
        sides.append(segmentation.relabel_sequential(inner.astype(np.int64))[0])
    counts = [int(side.max()) for side in sides]
    pairs = sides[0] * (counts[1] + 1) + sides[1]
    shared = np.bincount(pairs.ravel(), minlength=(counts[0] + 1) * (counts[1] + 1)).reshape(counts[0] + 1, -1)
    areas = [np.bincount(side.ravel())[1:] for side in sides]
    ious = shared[1:, 1:] / (areas[0][:, None] + areas[1] - shared[1:, 1:])
    rows, columns = linear_sum_assignment((ious >= threshold) + ious / (2 * min(counts)), maximize=True)
    return counts[0], counts[1], int((ious[rows, columns] >= threshold).sum())


def load_cellpose() -> ModuleType | None:
    """Return `cellpose.dynamics`, limited to one thread, or None where cellpose is not installed."""
    try:
        dynamics = import_module("cellpose.dynamics")
    except ModuleNotFoundError:
        return None
    except RuntimeError:
        _declare_operators()
        dynamics = import_module("cellpose.dynamics")
    dynamics.torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Sparse invariant checks", UserWarning)
    return dynamics


@cache
def _declare_operators() -> object:
    """Declare what torchvision misses beside a CPU build of torch; what is returned must be kept, and the cache does.

    The torchvision of the public index is compiled for CUDA. Beside a CPU build its own operators do not load, and its
    import fails at these two, which cellpose's decoder does not use.
    """
    operators = vars(import_module("torch"))["library"].Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators


def decode_with_cellpose(
    dynamics: ModuleType, maps: DrawnMaps, flow: NDArray[np.float32], *, is_checked: bool
) -> Labels:
    """Decode a flow of cellpose's convention on the CPU, with or without its check of the cells by their flow."""
    # it takes five times the flow, and numbers above 0 for the foreground
    probability = maps.foreground - np.float32(0.5)
    return dynamics.compute_masks(5 * flow, probability, flow_threshold=0.4 if is_checked else 0.0, min_size=15)


def flow_of_cellpose(dynamics: ModuleType, maps: DrawnMaps) -> NDArray[np.float32]:
    """Return the flow that cellpose learns for the drawn cells, with the noise of the maps."""
    return spread_with_cellpose(dynamics, maps.labels) + maps.flow_noise


def spread_with_cellpose(dynamics: ModuleType, labels: Labels) -> NDArray[np.float32]:
    """Return the flow (2, y, x) that cellpose learns for cells, made on the CPU."""
    flow, *_ = dynamics.masks_to_flows_gpu(labels.astype(np.int64), device=dynamics.torch.device("cpu"))
    return flow.astype(np.float32)
