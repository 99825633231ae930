"""Scenery: a few drawn scenes of one kind as one slide shows them, from which parts are cut."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosaicell.training.synthesis import draw_scene

Pixels = NDArray[np.uint8]
Labels = NDArray[np.uint32]

KIND = "fluorescence_nuclei"
DIAMETER_PX = 24.0
#: scenes of a scenery, and their side
SCENES, SCENE_PX = 12, 1152
#: percentiles of the grey values that are alike in all scenes, as on one slide under one camera
LEVEL_PERCENTILES = (1.0, 99.0)
#: percentile of the px between cells that is the grey value of glass: stained tissue fills most of what lies there
GROUND_PERCENTILE, GROUND_PERCENTILES = 50.0, {"brightfield_tissue": 99.0, "brightfield_immunostain": 99.0}
#: a part comes from a scene up to this far in density, of the range, from what is asked for: else few scenes repeat
SPREAD = 0.1


@dataclass(frozen=True)
class Scenery:
    """Scenes of one kind, from sparse to dense, and the empty ground between their cells.

    Attributes
    ----------
    kind : str
    seed : int
    pixels : tuple of (y, x, c) uint8
    labels : tuple of (y, x) uint32
        Ids 1..n.
    ground : (c,) float32
        Grey values of glass.
    """

    kind: str
    seed: int
    pixels: tuple[Pixels, ...]
    labels: tuple[Labels, ...]
    ground: NDArray[np.float32]


def draw_scenery(kind: str = KIND, seed: int = 0) -> Scenery:
    """Draw the scenes.

    Parameters
    ----------
    kind : str
        One of `training.synthesis.SCENES`.
    seed : int
        0 or more; the same seed gives the same scenes.

    Notes
    -----
    Some kinds are grey in one image and coloured in the next. All scenes here have one number of channels: that
    of which there were enough first.
    """
    drawn: dict[int, list[tuple[Pixels, Labels]]] = {}
    for number in itertools.count():
        rng = np.random.default_rng([seed, *kind.encode(), number])
        pixels, labels = draw_scene(kind, (SCENE_PX, SCENE_PX), rng, diameter_px=DIAMETER_PX)
        group = drawn.setdefault(pixels.shape[2], [])
        group.append((pixels, labels))
        if len(group) == SCENES:
            break
    group.sort(key=lambda scene: np.count_nonzero(scene[1]))
    levels = [np.percentile(pixels, LEVEL_PERCENTILES) for pixels, _ in group]
    alike = [_set_levels(pixels, own, np.mean(levels, axis=0)) for (pixels, _), own in zip(group, levels, strict=True)]
    # of the sparsest scene, as others may show none
    empty = alike[0][group[0][1] == 0]
    share = GROUND_PERCENTILES.get(kind, GROUND_PERCENTILE)
    ground = np.percentile(empty if len(empty) else alike[0].reshape(-1, alike[0].shape[2]), share, axis=0)
    return Scenery(kind, seed, tuple(alike), tuple(labels for _, labels in group), ground.astype(np.float32))


def _set_levels(pixels: Pixels, own: NDArray[np.float64], wanted: NDArray[np.float64]) -> Pixels:
    gain = (wanted[1] - wanted[0]) / max(1.0, own[1] - own[0])
    values = np.clip((np.arange(256) - own[0]) * gain + wanted[0], 0, 255).round().astype(np.uint8)
    return values[pixels]


def cut_scene(
    scenery: Scenery, density: float, shape_px: tuple[int, int], rng: np.random.Generator
) -> tuple[Pixels, Labels]:
    """Cut a part at random out of a scene, turned and mirrored at random.

    Parameters
    ----------
    scenery : Scenery
    density : float
        0 takes a part of the sparsest scene, 1 of the densest.
    shape_px : (int, int)
        Height and width, at most the side of a scene.
    rng : numpy.random.Generator

    Returns
    -------
    pixels : (y, x, c) uint8
    labels : (y, x) uint32
        Ids of the whole scene.
    """
    chosen = int(np.clip((density + rng.uniform(-SPREAD, SPREAD)) * SCENES, 0, SCENES - 1))
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    top, left = (int(rng.integers(SCENE_PX - side + 1)) for side in shape_px)
    part = slice(top, top + shape_px[0]), slice(left, left + shape_px[1])

    def cut(plane: np.ndarray) -> np.ndarray:
        return np.rot90(plane[:, ::-1] if mirrored else plane, turns)[part]

    return cut(scenery.pixels[chosen]), cut(scenery.labels[chosen])
