"""The groups of disturbances: which scenes are drawn, what is done to them, what is right afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import debris, surroundings
from benchmarks.scenery import draw_scenery
from benchmarks.slides import draw_rows
from benchmarks.sparse_fields import drop_cut_cells, enlarge_field
from benchmarks.trials import Trial
from mosaicell.training.synthesis import draw_scene

Labels = NDArray[np.uint32]
#: every trial and its pixels, (y, x, c) or for two channels (2, y, x), an undisturbed image before the disturbed ones
Drawn = Iterator[tuple[Trial, NDArray[Any]]]


COVERS = (0.03, 0.01, 0.006, 0.003, 0.001)


@dataclass(frozen=True)
class Extent:
    """How much is drawn.

    Attributes
    ----------
    scenes : int
        Scenes of each kind.
    large : bool
        Also images around and above 8 megapixels, where the program begins to work as on slides.
    covers : tuple of float
        How much of the fields of the group sparse cells cover.
    """

    scenes: int = 2
    large: bool = True
    covers: tuple[float, ...] = COVERS


#: what may be lost: at the lowest cover few cells are left to count, beside the brightest blob little contrast
LEAST_COVER_LOSS, BRIGHTEST_LOSS = 0.05, 0.1
#: the very same cells, one time as an image and one time as a slide
STEP_LOSS = 0.005
#: a field that is no slide has at most so many px, one that is has at least so many
MOST_FIELD_PX, SLIDE_PX = 14_000_000, 17_600_000
SPARSE_KINDS = (
    "fluorescence_nuclei",
    "fluorescence_round",
    "fluorescence_rods",
    "phase_round",
    "phase_rods",
    "dic_yeast",
    "brightfield_yeast",
    "brightfield_blood",
)
SLIDE_KINDS = ("fluorescence_nuclei", "brightfield_blood")
GREY_KINDS = (
    "phase_rods",
    "phase_yeast",
    "phase_round",
    "dic_yeast",
    "dic_round",
    "brightfield_yeast",
    "brightfield_round",
    "brightfield_rods",
)
GLOW_KINDS = ("fluorescence_nuclei", "fluorescence_round", "fluorescence_rods", "fluorescence_cells")
FRAMED_KINDS = ("fluorescence_nuclei", "phase_round", "dic_yeast", "brightfield_yeast", "brightfield_blood")
TISSUE_KINDS = ("brightfield_tissue", "brightfield_immunostain", "brightfield_blood")
ROD_KINDS = ("phase_rods", "dic_rods", "brightfield_rods", "fluorescence_rods")
CASTS = (0.04, 0.08, 0.15)
ROD_PX, ROD_SIDES_PX = 12.0, (500, 1000, 1300)
SCENE_PX, DIAMETER_PX = (288, 352), 20.0
#: sides just below and above 8 megapixels
BELOW_PX, ABOVE_PX = 2820, 2840


def draw_sparse(extent: Extent) -> Drawn:
    """Lay scenes into larger fields of their own noise, where cells cover 3 to 0.1 %; also on slides."""
    for kind in SPARSE_KINDS:
        for seed in range(extent.scenes):
            pixels, labels = _draw(kind, seed, (160, 160), 12.0)
            rng = np.random.default_rng([seed, 1])
            yield from spread_cells(f"{kind}-{seed}", pixels, labels, rng, "images", extent.covers)
    for kind in SLIDE_KINDS if extent.large else ():
        pixels, labels = _draw(kind, 0, (1500, 1500), 24.0)
        for cover in extent.covers:
            side = _find_side(labels, cover * SLIDE_PX)
            rng = np.random.default_rng([2, round(1e4 * cover)])
            name = f"slide-{kind}-{cover:g}"
            scene = _cut_middle(pixels, side), _cut_middle(labels, side)
            yield from spread_cells(name, *scene, rng, "slides", (cover,), slide=True)


def spread_cells(
    name: str,
    pixels: NDArray[Any],
    labels: Labels,
    rng: np.random.Generator,
    what: str,
    covers: tuple[float, ...] = COVERS,
    *,
    slide: bool = False,
) -> Drawn:
    """Yield a scene as it is, and in fields of which its cells cover less and less.

    Parameters
    ----------
    name : str
    pixels : (y, x, c) uint8 or uint16
    labels : (y, x) uint32
    rng : numpy.random.Generator
    what : str
        Begins the name of a row.
    covers : tuple of float
        A cover that the scene itself does not reach, or that takes more than `MOST_FIELD_PX`, is left out. A scene
        without background gives none.
    slide : bool
        In fields of at least `SLIDE_PX`, in the middle.
    """
    reference = Trial(f"sparse-{name}", "sparse", "", labels)
    cells_px = np.count_nonzero(drop_cut_cells(labels))
    yield reference, pixels
    for cover in covers:
        wanted_px = max(SLIDE_PX, cells_px / cover) if slide else cells_px / cover
        factor = np.sqrt(wanted_px / labels.size)
        if factor < 1 or (not slide and wanted_px > MOST_FIELD_PX):
            continue
        height, width = (int(np.ceil(side * factor)) for side in labels.shape)
        try:
            field, truth, corner = enlarge_field(pixels, labels, (height, width), rng, centred=slide)
        except ValueError:
            return
        trial = replace(reference, name=f"{reference.name}-in-{cover:g}", row=f"{what}, cover {cover:.1%}", truth=truth)
        lost = LEAST_COVER_LOSS if cover <= 0.001 else trial.most_lost
        yield replace(trial, corner=corner, reference=reference, most_lost=lost), field


def _find_side(labels: Labels, wanted_px: float) -> int:
    """Return the side of the part in the middle in which whole cells cover about so many px."""
    sides = range(64, labels.shape[0], 8)
    covered = (np.count_nonzero(drop_cut_cells(_cut_middle(labels, side))) for side in sides)
    return next((side for side, cells_px in zip(sides, covered, strict=True) if cells_px >= wanted_px), len(labels))


def draw_frames(extent: Extent) -> Drawn:
    """Draw frames of one value, surroundings of tissue, and scans that were turned."""
    for kind in FRAMED_KINDS:
        for seed in range(extent.scenes):
            pixels, labels = _draw(kind, seed, SCENE_PX, DIAMETER_PX)
            reference = Trial(f"frames-{kind}-{seed}", "frames", "", labels)
            yield reference, pixels
            rng = np.random.default_rng([seed, 3])
            changes: list[tuple[str, int, NDArray[Any]]] = [
                ("0", 0, pixels),
                ("mid-grey", 128, pixels),
                ("white", 255, pixels),
                ("65535", 65535, pixels.astype(np.uint16) * np.uint16(16) + np.uint16(100)),
                ("-9999", -9999, pixels.astype(np.int16 if seed % 2 else np.float32)),
            ]
            for what, value, changed in changes:
                for share in (0.1, 0.6):
                    framed, corner = surroundings.add_frame(changed, share, value, rng)
                    trial = replace(reference, name=f"{reference.name}-{what}-{share:g}", corner=corner)
                    yield replace(trial, row=f"frame of {what}, {share:.0%}", reference=reference), framed
            for degrees in (8, 35):
                turned, truth, area = surroundings.turn_scan(pixels, labels, degrees)
                trial = Trial(f"{reference.name}-turned-{degrees}", "frames", f"turned by {degrees} degrees", truth)
                yield replace(trial, area=area, reference=reference), turned
    for kind in TISSUE_KINDS:
        for seed in range(extent.scenes):
            pixels, labels = _draw(kind, seed, (448, 448), DIAMETER_PX)
            area = surroundings.draw_outline(labels.shape, np.random.default_rng([seed, 4]))
            reference = Trial(f"frames-cut-{kind}-{seed}", "frames", "", labels, area=area, elsewhere=False)
            yield reference, pixels
            for what, value, transparent in (
                ("black around tissue", 0, False),
                ("white around tissue", 255, False),
                ("transparent around tissue, black beneath", 0, True),
                ("transparent around tissue, white beneath", 255, True),
            ):
                name = f"{reference.name}-{'alpha' if transparent else 'plain'}-{value}"
                trial = replace(reference, name=name, row=what, elsewhere=True, reference=reference)
                yield trial, surroundings.cut_out(pixels, area, value, transparent=transparent)


def draw_casts(extent: Extent) -> Drawn:
    """Draw colour casts on grey images, and pairs of channels of which one is 100 times as bright."""
    for kind in GREY_KINDS:
        for seed in range(extent.scenes):
            pixels, labels = _draw(kind, seed, SCENE_PX, DIAMETER_PX)
            yield from tint_scene(f"{kind}-{seed}", pixels[..., :1], labels, "images")
    for number, kind in enumerate(GLOW_KINDS):
        for seed in range(extent.scenes):
            name = f"casts-channels-{kind}-{seed}"
            yield from _pair_channels(name, (kind, seed), (GLOW_KINDS[number - 1], seed + extent.scenes))


def tint_scene(name: str, pixels: NDArray[np.uint8], labels: Labels, what: str) -> Drawn:
    """Yield a grey scene (y, x, 1) as RGB without and with colour casts; `what` begins the names of rows."""
    rng = np.random.default_rng(list(name.encode()))
    reference = Trial(f"casts-{name}", "casts", "", labels)
    yield reference, debris.tint(pixels, 0, rng)
    for cast in CASTS:
        trial = replace(reference, name=f"{reference.name}-{cast:g}", row=f"{what}, colour cast of {cast:.0%}")
        yield replace(trial, reference=reference), debris.tint(pixels, cast, rng)


def _pair_channels(name: str, dim: tuple[str, int], bright: tuple[str, int]) -> Drawn:
    """Yield two scenes, given by kind and seed, as a dim and a bright channel, and the first beside haze."""
    rng = np.random.default_rng(list(name.encode()))
    (pixels, labels), (others, other_labels) = (_draw(*scene, SCENE_PX, DIAMETER_PX) for scene in (dim, bright))
    plane, other = pixels.max(axis=2), others.max(axis=2)
    # each half of the image has its cells in one channel, and in the other the empty field
    left = np.hstack([plane, debris.draw_level(plane, labels, rng)])
    right = np.hstack([debris.draw_level(other, other_labels, rng), other])
    truth = np.hstack([labels, np.where(other_labels > 0, other_labels + labels.max(), 0).astype(np.uint32)])
    for what, row, first, second, right_labels in (
        ("haze", "a haze", plane, debris.draw_haze(labels.shape, rng), labels),
        ("cells", "cells", left, right, truth),
    ):
        reference = Trial(f"{name}-{what}-equal", "casts", "", right_labels)
        yield reference, debris.join_channels(first, second, 1.0) if what == "cells" else first[..., None]
        trial = replace(reference, name=f"{name}-{what}", row=f"dim cells beside {row} 100 times as bright")
        yield replace(trial, reference=reference), debris.join_channels(first, second, 0.01)


def draw_debris(extent: Extent) -> Drawn:
    """Draw one blob beside the cells, 5 to 40 times as bright."""
    for kind in GLOW_KINDS:
        for seed in range(extent.scenes):
            pixels, labels = _draw(kind, seed, SCENE_PX, DIAMETER_PX)
            rng = np.random.default_rng([seed, 7])
            for times in (5, 15, 40):
                for cover in (0.002, 0.01, 0.02):
                    image, area = debris.add_blob(pixels, labels, times, cover, rng)
                    name = f"debris-{kind}-{seed}-{times}-{cover:g}"
                    # what lies beneath the blob counts in neither image
                    reference = Trial(f"{name}-without", "debris", "", labels, area=area, elsewhere=False)
                    reference = replace(reference, image=f"debris-{kind}-{seed}")
                    yield reference, debris.deepen(pixels)
                    trial = Trial(name, "debris", f"{times} times as bright, {cover:.1%}", labels, area=area)
                    lost = BRIGHTEST_LOSS if times == 40 else trial.most_lost
                    yield replace(trial, reference=reference, most_lost=lost), image


def draw_sizes(extent: Extent) -> Drawn:
    """Draw the same cells in images of three sizes, and around the size at which an image becomes a slide."""
    smallest, *_, largest = ROD_SIDES_PX
    for kind in ROD_KINDS:
        for seed in range(extent.scenes):
            pixels, labels = _draw(kind, seed, (largest, largest), ROD_PX)
            trial = Trial(f"sizes-{kind}-{seed}", "sizes", "", _cut_middle(labels, smallest), elsewhere=False)
            yield trial, _cut_middle(pixels, smallest)
            for side in ROD_SIDES_PX[1:]:
                corner = (side - smallest) // 2, (side - smallest) // 2
                row = f"rods amid {side} x {side} px, not {smallest} x {smallest}"
                larger = replace(trial, name=f"{trial.name}-{side}", row=row, corner=corner, reference=trial)
                yield larger, _cut_middle(pixels, side)
    for kind in ("fluorescence_nuclei", "brightfield_tissue") if extent.large else ():
        rows = list(draw_rows((ABOVE_PX, ABOVE_PX), draw_scenery(kind)))
        pixels, labels = (np.concatenate(planes) for planes in zip(*rows, strict=True))
        below = Trial(f"sizes-{kind}-below", "sizes", "", _cut_middle(labels, BELOW_PX), elsewhere=False)
        yield below, _cut_middle(pixels, BELOW_PX)
        corner = (ABOVE_PX - BELOW_PX) // 2, (ABOVE_PX - BELOW_PX) // 2
        above = replace(below, name=f"sizes-{kind}-above", corner=corner, reference=below)
        yield replace(above, row=f"8.1 megapixels, not 7.9, of {kind}", most_lost=STEP_LOSS), pixels


def _cut_middle(plane: NDArray[Any], side: int) -> NDArray[Any]:
    top, left = ((length - side) // 2 for length in plane.shape[:2])
    return np.ascontiguousarray(plane[top : top + side, left : left + side])


def _draw(kind: str, seed: int, shape_px: tuple[int, int], diameter_px: float) -> tuple[NDArray[np.uint8], Labels]:
    return draw_scene(kind, shape_px, np.random.default_rng([seed, *kind.encode()]), diameter_px=diameter_px)


GROUPS: dict[str, Callable[[Extent], Drawn]] = {
    "sparse": draw_sparse,
    "frames": draw_frames,
    "casts": draw_casts,
    "debris": draw_debris,
    "sizes": draw_sizes,
}
