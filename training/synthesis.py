"""Synthetic microscopy with exact labels: every scene is an arrangement of cells seen through optics.

`draw_scene` is the one entry. A scene draws all its parameters (size, density, contrast, noise, blur, uneven
light, debris) from the generator it is given, so that a seed is an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mosaicell.training.drawing import cytoplasm, darkfield, fluorescence, plain_nuclei, smears, stained, transmitted
from mosaicell.training.drawing.arrangements import (
    Arrangement,
    arrange_branched,
    arrange_capsules,
    arrange_filaments,
    arrange_flakes,
    arrange_layer,
    arrange_nuclei,
    arrange_rods,
    arrange_round,
    arrange_spread_cells,
    arrange_yeast,
)
from mosaicell.training.drawing.camera import Pixels
from mosaicell.training.drawing.cultures import (
    arrange_adherent,
    arrange_bundles,
    arrange_channels,
    arrange_dividing_layer,
    arrange_fibroblasts,
    arrange_mat,
    arrange_suspension,
)
from mosaicell.training.drawing.layouts import Labels
from mosaicell.training.drawing.populations import (
    arrange_crowded,
    arrange_marrow,
    arrange_neurons,
    arrange_section,
    arrange_sheet,
    arrange_slice,
    arrange_smear,
)

Painter = Callable[[Labels, float, np.random.Generator], Pixels]


@dataclass(frozen=True)
class Scene:
    """One kind of image: who lies in it, how large, and how it is seen."""

    arrange: Arrangement
    paint: Painter
    smallest_px: float
    largest_px: float


def draw_scene(
    kind: str, shape_px: tuple[int, int], rng: np.random.Generator, *, diameter_px: float | None = None
) -> tuple[Pixels, Labels]:
    """Draw one image of cells and its labels.

    Parameters
    ----------
    kind : str
        One of `SCENES`.
    shape_px : (int, int)
        Height and width, at least 32 each.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same image.
    diameter_px : float, optional
        Typical diameter 2 sqrt(area / pi) of a cell, at least 6; drawn from the scene's own range where None.

    Returns
    -------
    image : (y, x, c) uint8
        c is 1 or 3.
    labels : (y, x) uint32
        At least one cell; ids 1..n without gaps, each 4-connected and of 12 px or more.

    Raises
    ------
    ValueError
        For an unknown kind, a smaller image or a smaller diameter.
    """
    if kind not in _SCENES:
        raise ValueError(f"unknown scene {kind!r}; choose one of {', '.join(_SCENES)}")
    if min(shape_px) < 32:
        raise ValueError(f"a scene needs at least 32 x 32 px, got {shape_px[0]} x {shape_px[1]}")
    scene = _SCENES[kind]
    if diameter_px is None:
        diameter_px = float(np.exp(rng.uniform(np.log(scene.smallest_px), np.log(scene.largest_px))))
    if diameter_px < 6:
        raise ValueError(f"cells need a diameter of at least 6 px, got {diameter_px}")
    labels = scene.arrange(shape_px, diameter_px, rng)
    while not labels.any():
        labels = scene.arrange(shape_px, diameter_px, rng)
    return scene.paint(labels, diameter_px, rng), labels


_SCENES: dict[str, Scene] = {
    "phase_rods": Scene(arrange_rods, transmitted.paint_phase_bacteria, 12, 40),
    "phase_filaments": Scene(arrange_filaments, transmitted.paint_phase_bacteria, 18, 45),
    "phase_bundles": Scene(arrange_bundles, transmitted.paint_phase_bacteria, 22, 65),
    "phase_mat": Scene(arrange_mat, transmitted.paint_phase_bacteria, 12, 40),
    "phase_channels": Scene(arrange_channels, transmitted.paint_phase_channels, 12, 40),
    "phase_yeast": Scene(arrange_yeast, transmitted.paint_phase_yeast, 14, 50),
    "phase_spread": Scene(arrange_adherent, transmitted.paint_phase_spread, 28, 110),
    "phase_fibroblasts": Scene(arrange_fibroblasts, transmitted.paint_phase_spread, 28, 100),
    "phase_layer": Scene(arrange_dividing_layer, transmitted.paint_phase_layer, 28, 100),
    "phase_round": Scene(arrange_suspension, transmitted.paint_phase_round, 14, 70),
    "dic_rods": Scene(arrange_rods, transmitted.paint_dic_bacteria, 12, 40),
    "dic_mat": Scene(arrange_mat, transmitted.paint_dic_bacteria, 14, 40),
    "dic_filaments": Scene(arrange_filaments, transmitted.paint_dic_bacteria, 18, 45),
    "dic_yeast": Scene(arrange_yeast, transmitted.paint_dic_yeast, 16, 60),
    "dic_spread": Scene(arrange_adherent, transmitted.paint_dic_spread, 30, 120),
    "dic_fibroblasts": Scene(arrange_fibroblasts, transmitted.paint_dic_spread, 30, 110),
    "dic_layer": Scene(arrange_dividing_layer, transmitted.paint_dic_layer, 28, 110),
    "dic_round": Scene(arrange_suspension, transmitted.paint_dic_round, 14, 80),
    "fluorescence_nuclei": Scene(arrange_nuclei, plain_nuclei.paint_glow_nuclei, 8, 60),
    "fluorescence_cells": Scene(arrange_spread_cells, cytoplasm.paint_glow_body, 20, 110),
    "fluorescence_round": Scene(arrange_round, cytoplasm.paint_glow_body, 15, 60),
    "fluorescence_branched": Scene(arrange_branched, cytoplasm.paint_glow_body, 25, 60),
    "fluorescence_layer": Scene(arrange_layer, fluorescence.paint_glow_membrane, 22, 110),
    "fluorescence_crowded": Scene(arrange_crowded, fluorescence.paint_glow_crowded, 8, 50),
    "fluorescence_tissue": Scene(arrange_section, fluorescence.paint_glow_crowded, 9, 40),
    "fluorescence_two_channel": Scene(arrange_sheet, cytoplasm.paint_glow_two_channel, 16, 90),
    "fluorescence_neurons": Scene(arrange_neurons, cytoplasm.paint_glow_body, 20, 70),
    "fluorescence_slice": Scene(arrange_slice, cytoplasm.paint_glow_slice, 12, 45),
    "fluorescence_rods": Scene(arrange_rods, fluorescence.paint_glow_bacteria, 10, 35),
    "brightfield_tissue": Scene(arrange_section, stained.paint_tissue, 13, 42),
    "brightfield_immunostain": Scene(arrange_section, stained.paint_immunostain, 13, 42),
    "brightfield_blood": Scene(arrange_smear, smears.paint_blood, 16, 90),
    "brightfield_marrow": Scene(arrange_marrow, smears.paint_marrow, 35, 110),
    "brightfield_yeast": Scene(arrange_yeast, transmitted.paint_bright_yeast, 14, 50),
    "brightfield_rods": Scene(arrange_rods, transmitted.paint_bright_bacteria, 12, 40),
    "brightfield_round": Scene(arrange_suspension, transmitted.paint_bright_round, 14, 80),
    "brightfield_spread": Scene(arrange_adherent, transmitted.paint_bright_spread, 30, 100),
    "brightfield_fibroblasts": Scene(arrange_fibroblasts, transmitted.paint_bright_spread, 30, 100),
    "brightfield_layer": Scene(arrange_dividing_layer, transmitted.paint_bright_layer, 30, 100),
    "brightfield_flakes": Scene(arrange_flakes, smears.paint_cervical, 70, 150),
    "darkfield_capsules": Scene(arrange_capsules, darkfield.paint_darkfield, 50, 130),
}

SCENES: tuple[str, ...] = tuple(_SCENES)
_MODALITY_OF_PREFIX = {"phase": "phase-contrast", "darkfield": "brightfield"}
MODALITY_OF_SCENE: dict[str, str] = {
    name: _MODALITY_OF_PREFIX.get(name.split("_")[0], name.split("_")[0]) for name in SCENES
}
