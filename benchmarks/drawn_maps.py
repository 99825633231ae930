"""Maps as a good network would predict them, made from the exact labels of drawn cells: no weights are needed."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.images import choose_shape
from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.flow_targets import boundary_of_labels, flows_of_labels
from mosaicell.training.synthesis import draw_scene

Map = NDArray[np.float32]

DIAMETER_PX = 30.0
#: noise of each map, as the standard deviation of white noise before the blur
NOISE, NOISE_BLUR_PX = 0.4, 1.5
#: predicted boxes per cell; what they are off is a share of their sides
BOXES_PER_CELL, BOX_JITTER = 3, 0.05


@dataclass(frozen=True)
class DrawnMaps:
    """Drawn cells and the maps that a network with a little noise would predict.

    Attributes
    ----------
    labels : uint32 array (y, x)
        The cells.
    foreground, boundary, energy : float32 arrays (y, x)
        As the decoders take them.
    flow : float32 array (2, y, x)
        dy and dx in the form of `flows_of_labels`.
    flow_noise : float32 array (2, y, x)
        What the flow has of noise.
    boxes, scores : float32 arrays (n, 4) and (n,)
        Several boxes for each cell.
    """

    labels: NDArray[np.uint32]
    foreground: Map
    boundary: Map
    energy: Map
    flow: Map
    flow_noise: Map
    boxes: Map
    scores: Map

    @property
    def megapixels(self) -> float:
        """Size in 10^6 pixels."""
        return self.labels.size / 1e6


def draw_maps(kind: str, megapixels: float, seed: int = 0) -> DrawnMaps:
    """Draw a scene of cells about 30 px wide and derive its maps.

    Parameters
    ----------
    kind : str
        One of `training.synthesis.SCENES`.
    megapixels : float
        Size, as for `benchmarks.images.choose_shape`.
    seed : int
        The same seed gives the same maps.
    """
    rng = np.random.default_rng(seed)
    shape = choose_shape(megapixels)
    _, labels = draw_scene(kind, shape, rng, diameter_px=DIAMETER_PX)

    def add_noise(exact: Map) -> Map:
        return exact + draw_noise(shape, rng)

    flow_noise = np.stack([draw_noise(shape, rng), draw_noise(shape, rng)])
    boxes, scores = _predict_boxes(labels, rng)
    return DrawnMaps(
        labels,
        add_noise(_soften(labels > 0)).clip(0, 1),
        add_noise(_soften(boundary_of_labels(labels))).clip(0, 1),
        add_noise(energy_of_labels(labels)),
        flows_of_labels(labels) + flow_noise,
        flow_noise,
        boxes,
        scores,
    )


def draw_noise(shape_px: tuple[int, ...], rng: np.random.Generator) -> Map:
    """Draw what a map is off."""
    return cv2.GaussianBlur(rng.normal(0, NOISE, shape_px).astype(np.float32), (0, 0), NOISE_BLUR_PX)


def _soften(mask: NDArray[np.bool_]) -> Map:
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)


def _predict_boxes(labels: NDArray[np.uint32], rng: np.random.Generator) -> tuple[Map, Map]:
    """Return boxes that are a little off, several for each cell, and a score for each."""
    slices = cc3d.statistics(labels)["bounding_boxes"][1:]
    exact = np.array([(box[0].start, box[1].start, box[0].stop, box[1].stop) for box in slices], np.float32)
    boxes = np.repeat(exact, BOXES_PER_CELL, axis=0)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    boxes += rng.normal(0, BOX_JITTER, boxes.shape).astype(np.float32) * sides
    return boxes, rng.uniform(0.5, 1, len(boxes)).astype(np.float32)
