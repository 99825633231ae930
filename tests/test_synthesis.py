"""Drawn scenes: seeded, exactly labelled, visible and of the size asked for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.measure import regionprops

from mosaicell.training.drawing import artefacts, optics
from mosaicell.training.drawing.arrangements import arrange_yeast
from mosaicell.training.drawing.cultures import arrange_channels, arrange_fibroblasts, arrange_suspension
from mosaicell.training.drawing.layouts import clean_labels, grow, noise_field, scatter, tessellate
from mosaicell.training.drawing.shapes import (
    anchored_outline,
    blob_outline,
    branched_stamp,
    centreline,
    draw_stamp,
    spiked_outline,
)
from mosaicell.training.drawing.spindles import Spindle, contest
from mosaicell.training.synthesis import MODALITY_OF_SCENE, SCENES, draw_scene


def pieces_of(labels: NDArray[np.uint32]) -> int:
    return sum(
        cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=4)[0] - 1
        for label in range(1, int(labels.max()) + 1)
    )


def diameters(labels: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Diameters of the cells that no border cuts; of all cells where there are fewer than three of them."""
    area = np.bincount(labels.ravel()).astype(float)
    whole = np.ones(len(area), bool)
    whole[[0, *labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]]] = False
    kept = area[whole] if np.count_nonzero(whole) > 2 else area[1:]
    return 2 * np.sqrt(kept / np.pi)


@pytest.mark.parametrize("kind", SCENES)
def test_scene_is_well_formed_for_every_shape_and_seed(kind: str) -> None:
    for seed, shape_px in enumerate([(64, 64), (200, 333), (97, 41), (160, 160)]):
        image, labels = draw_scene(kind, shape_px, np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[:2] == shape_px
        assert image.shape[2] in (1, 3)
        assert labels.dtype == np.uint32
        assert labels.shape == shape_px
        area = np.bincount(labels.ravel())[1:]
        assert len(area) >= 1
        assert area.min() >= 5
        assert pieces_of(labels) == len(area)


@pytest.mark.parametrize("kind", SCENES)
def test_same_seed_draws_the_same_and_another_seed_another(kind: str) -> None:
    image, labels = draw_scene(kind, (96, 96), np.random.default_rng(7))
    again, again_labels = draw_scene(kind, (96, 96), np.random.default_rng(7))
    other, _ = draw_scene(kind, (96, 96), np.random.default_rng(8))
    assert np.array_equal(image, again)
    assert np.array_equal(labels, again_labels)
    assert image.shape != other.shape or not np.array_equal(image, other)


@pytest.mark.parametrize("kind", SCENES)
def test_diameter_is_respected(kind: str) -> None:
    for diameter_px in (24.0, 60.0):
        scenes = [draw_scene(kind, (300, 300), np.random.default_rng(s), diameter_px=diameter_px) for s in range(4)]
        found = [np.median(diameters(labels)) for _, labels in scenes]
        assert diameter_px / 1.7 < np.median(found) < 1.5 * diameter_px


@pytest.mark.parametrize("kind", SCENES)
def test_cells_are_visible(kind: str) -> None:
    """Local structure along the outlines exceeds that of the empty field, in the median of several seeds."""
    ratios = []
    for seed in range(7):
        image, labels = draw_scene(kind, (192, 192), np.random.default_rng([3, seed]))
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1).reshape(image.shape)
        detail = np.abs(smooth - cv2.GaussianBlur(smooth, (0, 0), 3).reshape(image.shape)).max(axis=2)
        edge = np.zeros(labels.shape, np.uint8)
        edge[1:][labels[1:] != labels[:-1]] = 1
        edge[:, 1:][labels[:, 1:] != labels[:, :-1]] = 1
        away_px = cv2.distanceTransform(1 - edge, cv2.DIST_L2, 5)
        # A layer has no empty field; there the middle of the cells stands for it.
        empty = (away_px > 8) & (labels == 0)
        empty = empty if np.count_nonzero(empty) > 400 else away_px > 8
        if np.count_nonzero(empty) > 100:
            ratios.append(detail[away_px < 3].mean() / detail[empty].mean())
    assert len(ratios) >= 3
    assert np.median(ratios) > 1.4


def test_filaments_of_a_bundle_are_long_and_touch_along_their_sides() -> None:
    contacts, lengths = [], []
    for seed in range(4):
        _, labels = draw_scene("phase_bundles", (300, 300), np.random.default_rng(seed))
        cells = regionprops(labels)
        lengths += [cell.axis_major_length / cell.axis_minor_length for cell in cells]
        right, below = labels[:, 1:], labels[1:]
        touching = np.count_nonzero((labels[:, :-1] != right) & (labels[:, :-1] > 0) & (right > 0))
        touching += np.count_nonzero((labels[:-1] != below) & (labels[:-1] > 0) & (below > 0))
        contacts.append(touching / len(cells))
    assert np.median(lengths) > 4
    assert np.mean(contacts) > 5


def test_every_modality_is_drawn() -> None:
    assert set(MODALITY_OF_SCENE) == set(SCENES)
    assert set(MODALITY_OF_SCENE.values()) == {"fluorescence", "brightfield", "phase-contrast", "dic"}


@pytest.mark.parametrize(
    ("kind", "shape_px", "diameter_px", "message"),
    [
        ("x-ray", (64, 64), None, "unknown scene 'x-ray'"),
        ("phase_rods", (64, 31), None, "at least 32 x 32 px, got 64 x 31"),
        ("phase_rods", (64, 64), 5.0, "at least 6 px, got 5.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    kind: str, shape_px: tuple[int, int], diameter_px: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        draw_scene(kind, shape_px, np.random.default_rng(0), diameter_px=diameter_px)


def test_cleaning_keeps_the_largest_piece_and_separates_touching_cells() -> None:
    labels = np.zeros((12, 12), np.uint32)
    labels[:6, :6] = 7
    labels[:6, 6:] = 3  # touches 7 along a side
    labels[8:10, 0:2] = 7  # a second piece of 7
    labels[11, 11] = 9  # too small
    cleaned = clean_labels(labels)
    assert np.array_equal(np.unique(cleaned), [0, 1, 2])
    assert np.all(cleaned[:6, 6:] == 1)
    assert np.all(cleaned[:6, :6] == 2)
    assert not cleaned[6:].any()
    assert np.array_equal(clean_labels(cleaned), cleaned)


def test_a_diagonal_contact_does_not_join() -> None:
    labels = np.zeros((10, 10), np.uint32)
    labels[:5, :5] = 1
    labels[5:, 5:] = 1
    labels[4, 4] = 0
    cleaned = clean_labels(labels)
    assert not cleaned[:5, :5].any()
    assert np.count_nonzero(cleaned) == 25


def test_scatter_without_overlap_draws_whole_stamps() -> None:
    rng = np.random.default_rng(0)
    stamp = draw_stamp(blob_outline(14, rng))
    area = np.count_nonzero(stamp)
    labels = scatter((200, 200), lambda: stamp, 40, rng)
    border = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    sizes = np.bincount(labels.ravel())
    whole = [label for label in range(1, len(sizes)) if label not in border]
    assert len(whole) > 10
    assert np.all(sizes[whole] == area)


def test_growing_skeletons_meet_midway_and_end_round() -> None:
    lines = [np.array([[20.0, 10.0], [20.0, 50.0]]), np.array([[28.0, 10.0], [28.0, 50.0]])]
    labels = grow((60, 60), lines, np.array([6.0, 6.0]))
    assert labels[23, 30] == 1
    assert labels[25, 30] == 2
    assert labels[20, 5] == 1  # the round end
    assert labels[14, 4] == 0  # its corner


@pytest.mark.parametrize(("taper", "area"), [(0, np.pi), (1, 8 / 3), (2, 32 / 15)])
def test_a_lone_spindle_has_its_own_area(taper: int, area: float) -> None:
    arm = Spindle(np.array([75.0, 75.0]), 0.6, 50.0, 20.0, bend=0.2, taper=taper)
    labels = contest((150, 150), [(1, arm)], np.random.default_rng(0), waviness_px=0)
    assert np.count_nonzero(labels) == pytest.approx(area * 1000, rel=0.04)


def test_equal_spindles_meet_midway_and_arms_of_one_cell_join() -> None:
    first, second = (Spindle(np.array([30.0, x]), 0.0, 20.0, 12.0, taper=0) for x in (30.0, 54.0))
    apart = contest((60, 90), [(1, first), (2, second)], np.random.default_rng(0), waviness_px=0)
    assert apart[30, 41] == 1
    assert apart[30, 43] == 2
    joined = contest((60, 90), [(1, first), (1, second)], np.random.default_rng(0), waviness_px=0)
    assert np.array_equal(joined > 0, apart > 0)
    assert joined.max() == 1


def test_fibroblasts_are_long_and_suspended_cells_round() -> None:
    def length_over_width(labels: NDArray[np.uint32]) -> float:
        ratios = []
        for label in range(1, int(labels.max()) + 1):
            y, x = np.nonzero(labels == label)
            if y.min() > 0 and x.min() > 0 and y.max() < labels.shape[0] - 1 and x.max() < labels.shape[1] - 1:
                low, high = np.linalg.eigvalsh(np.cov(y, x))
                ratios.append(np.sqrt(high / low))
        return float(np.median(ratios))

    long, compact = (
        [length_over_width(arrange((300, 300), 30.0, np.random.default_rng(seed))) for seed in range(5)]
        for arrange in (arrange_fibroblasts, arrange_suspension)
    )
    assert np.median(long) > 1.8
    assert max(compact) < 1.5


def test_walls_and_pillars_leave_the_cells_free() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = arrange_channels((160, 140), 22.0, rng)
        walls = artefacts.channel_walls(labels, rng)
        assert np.abs(walls[labels > 0]).mean() < 0.5 * np.abs(walls).max()
        light = artefacts.field_stop(labels, rng)
        assert light[labels > 0].min() == pytest.approx(1, abs=1e-3)


def test_a_layer_has_no_gaps_and_cells_of_the_size_asked() -> None:
    labels = tessellate((240, 200), 30.0, np.random.default_rng(1), stretch=1.6, waviness=0.1)
    assert labels.min() == 1
    assert abs(np.median(diameters(labels)) - 30) < 6


def test_colonies_of_yeast_touch_without_a_gap() -> None:
    touching = 0
    for seed in range(5):
        labels = arrange_yeast((160, 160), 22.0, np.random.default_rng(seed))
        side = (labels[1:] != labels[:-1]) & (labels[1:] > 0) & (labels[:-1] > 0)
        touching += int(side.any())
    assert touching >= 3


@pytest.mark.parametrize("diameter_px", [12.0, 40.0, 90.0])
def test_outlines_enclose_the_area_of_the_circle(diameter_px: float) -> None:
    rng = np.random.default_rng(5)
    wanted = np.pi / 4 * diameter_px**2
    for outline in (
        blob_outline(diameter_px, rng, aspect=2, roughness=0.2, order=8),
        spiked_outline(diameter_px, rng, tips=4, reach=1.5, aspect=1.3),
        anchored_outline(diameter_px, rng, anchors=3, fan=0.0, aspect=1.5),
        anchored_outline(diameter_px, rng, anchors=5, fan=1.0, aspect=1.0),
    ):
        assert np.count_nonzero(draw_stamp(outline)) == pytest.approx(wanted, rel=0.35)
    sizes = [np.count_nonzero(branched_stamp(diameter_px, rng)) for _ in range(12)]
    assert 0.5 * wanted < np.median(sizes) < 1.6 * wanted


def test_a_centreline_has_the_length_asked() -> None:
    line = centreline(60.0, np.random.default_rng(2), angle=1.0, bend=2.0, wiggle=0.3)
    assert np.hypot(*np.diff(line, axis=0).T).sum() == pytest.approx(60.0)
    assert np.array_equal(line[0], [0, 0])


def test_phase_contrast_darkens_bodies_and_brightens_their_surroundings() -> None:
    phase = np.zeros((101, 101), np.float32)
    cv2.circle(phase, (50, 50), 8, 0.3, -1)
    image = optics.phase_contrast(phase, 6, 0.7)
    assert image[50, 50] < 0.7
    assert image[50, 62] > 1.02
    assert image[2, 2] == pytest.approx(1, abs=1e-3)
    assert optics.phase_contrast(phase, 6, 0.7, negative=True)[50, 50] > 1.3


def test_defocus_keeps_the_light_and_turns_its_rims_inside_out() -> None:
    phase = np.zeros((121, 121), np.float32)
    cv2.circle(phase, (60, 60), 15, 0.4, -1)
    phase = optics.blur(phase, 2)
    above, below = optics.defocused(phase, 5), optics.defocused(phase, -5)
    assert above.shape == phase.shape
    assert above.mean() == pytest.approx(1, abs=0.01)
    rim = (slice(60, 61), slice(68, 84))
    assert np.corrcoef(above[rim].ravel(), below[rim].ravel())[0, 1] < -0.5
    assert abs(above[rim] - 1).max() > 4 * abs(optics.defocused(phase, 0.0)[rim] - 1).max()


def test_differential_contrast_lights_one_side() -> None:
    phase = np.zeros((61, 61), np.float32)
    cv2.circle(phase, (30, 30), 10, 0.3, -1)
    image = optics.differential_contrast(optics.blur(phase, 1.5), 2, 0.0, 1.0)
    left, right = image[30, 20], image[30, 40]
    assert (left - 1) * (right - 1) < 0
    assert image[20, 30] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("scale_px", [1, 4, 30])
def test_noise_has_about_unit_variance(scale_px: float) -> None:
    field = noise_field((300, 300), scale_px, np.random.default_rng(0))
    assert field.dtype == np.float32
    assert field.std() == pytest.approx(1, abs=0.25)
