"""HoVer maps to cells: exact maps give the cells back, as the plain way does, and a part gives those of the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cc3d
import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage import measure, morphology, segmentation

from benchmarks import peers
from benchmarks.drawn_stars import middle_distances_of_labels
from mosaicell.answers.branches import segment
from mosaicell.decoders import load_decoder
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.raw import Raw
from mosaicell.networks.session import Session
from mosaicell.postprocess import hover
from mosaicell.postprocess.blocks import Found
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.hover import measure_borders, segment_hover
from mosaicell.postprocess.objects import keep_largest_pieces, relabel_sequential
from mosaicell.training.synthesis import draw_scene
from tests.models import write_channel_model
from tests.test_blocks import decode_in_blocks, same_objects
from tests.test_flows import TURNS
from tests.test_stardist import make_card

SETTINGS: dict[str, Any] = {
    "foreground_threshold": 0.5,
    "marker_threshold": 0.15,
    "min_marker_px": 10,
    "min_cell_px": 5,
    "max_hole_fraction": 0.1,
}


def draw_cells(kind: str, diameter_px: float, shape: tuple[int, int] = (300, 340), seed: int = 3) -> np.ndarray:
    _, labels = draw_scene(kind, shape, np.random.default_rng(seed), diameter_px=diameter_px)
    return keep_largest_pieces(labels, 5)[0]


def exact_maps(labels: np.ndarray) -> np.ndarray:
    """Foreground, and distances across and down: float32 (3, y, x)."""
    foreground = cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 0.7)
    return np.concatenate([foreground[None], middle_distances_of_labels(labels)])


def add_noise(maps: np.ndarray, rng: np.random.Generator, strength: float = 0.1) -> np.ndarray:
    noise = [cv2.GaussianBlur(rng.normal(0, 6 * strength, maps.shape[1:]), (0, 0), 1.5) for _ in maps]
    return (maps + np.array(noise)).astype(np.float32)


def segment_plainly(maps: np.ndarray) -> np.ndarray:
    """Do the same with scikit-image, scipy and Sobel's filter by name."""
    foreground, horizontal, vertical = maps.astype(np.float64)
    size = hover.SLOPE_KERNEL_PX
    jump = np.where(np.arange(101) < 50, 1.0, -1.0)[None].repeat(101, axis=0)
    most = -cv2.Sobel(jump, cv2.CV_64F, 1, 0, ksize=size).min()
    borders = -np.minimum(
        cv2.Sobel(horizontal, cv2.CV_64F, 1, 0, ksize=size), cv2.Sobel(vertical, cv2.CV_64F, 0, 1, ksize=size)
    )
    cells = foreground > SETTINGS["foreground_threshold"]
    middles = measure.label(cells & (borders / most < SETTINGS["marker_threshold"]), connectivity=1)
    markers = peers.fill_holes_one_by_one(middles, 1.0) > 0
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (hover.OPENING_PX, hover.OPENING_PX))
    # the image's border takes nothing away
    opened = ndimage.binary_dilation(ndimage.binary_erosion(markers, disc, border_value=1), disc)
    pieces = measure.label(opened, connectivity=1)
    pieces = morphology.remove_small_objects(pieces, max_size=SETTINGS["min_marker_px"] - 1)
    labels = segmentation.watershed(cv2.GaussianBlur(borders, (3, 3), 0), pieces, connectivity=1, mask=cells)
    labels = morphology.remove_small_objects(labels, max_size=SETTINGS["min_cell_px"] - 1)
    return relabel_sequential(labels)


@pytest.mark.parametrize(
    ("kind", "diameter_px"),
    [("fluorescence_nuclei", 30), ("fluorescence_nuclei", 60), ("phase_round", 25), ("fluorescence_nuclei", 16)],
)
def test_exact_maps_of_round_cells_give_them_back(kind: str, diameter_px: float) -> None:
    labels = draw_cells(kind, diameter_px)
    assert labels.max() > 10
    found = segment_hover(*exact_maps(labels), **SETTINGS)
    assert score_image(labels, found, [0.8])[0].f1 == 1


@pytest.mark.parametrize(
    ("kind", "diameter_px"),
    [("fluorescence_nuclei", 30), ("phase_rods", 25), ("phase_spread", 60), ("fluorescence_nuclei", 10)],
)
@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_cells_are_those_of_the_plain_way(
    kind: str, diameter_px: float, strength: float, rng: np.random.Generator
) -> None:
    maps = add_noise(exact_maps(draw_cells(kind, diameter_px)), rng, strength)
    ours = segment_hover(*maps, **SETTINGS | {"max_hole_fraction": 0.0})
    theirs = segment_plainly(maps)
    assert ours.max() == theirs.max() > 8
    assert score_image(theirs, ours, [0.95])[0].f1 > 0.995
    assert np.mean((ours > 0) == (theirs > 0)) > 0.9999


def test_cells_are_numbered_and_in_one_piece(rng: np.random.Generator) -> None:
    labels = segment_hover(*add_noise(exact_maps(draw_cells("phase_spread", 50)), rng, 0.2), **SETTINGS)
    assert labels.dtype == np.uint32
    counts = np.bincount(labels.ravel())
    assert counts.size > 8
    assert counts[1:].min() >= 5
    assert cc3d.connected_components(labels, connectivity=4).max() == labels.max()


def test_borders_are_measured_against_those_between_two_cells() -> None:
    """1 between cells, one half towards the background, and less than nothing within a cell."""
    labels = np.zeros((80, 120), np.uint32)
    labels[:, 20:60], labels[:, 60:100] = 1, 2
    across, down = middle_distances_of_labels(labels)
    borders = measure_borders(across, 0 * down)[40]
    assert borders[[59, 60]] == pytest.approx(1, abs=0.1)
    assert borders[[19, 20, 99, 100]] == pytest.approx(0.5, abs=0.1)
    assert borders[[5, 115]] == pytest.approx(0)
    labels[:20] = labels[60:] = 0
    assert (measure_borders(*middle_distances_of_labels(labels))[30:50, 30:50] < 0).all()
    np.testing.assert_allclose(measure_borders(0 * down.T.copy(), across.T.copy())[:, 40], borders, atol=1e-6)


def test_the_rest_of_the_image_does_not_matter() -> None:
    """One outlier far away changes no cell; stretched between lowest and highest value it would."""
    labels = draw_cells("fluorescence_nuclei", 30)
    maps = exact_maps(labels)
    kept = segment_hover(*maps, **SETTINGS)
    y, x = np.argwhere(labels == 0)[0]
    maps[1:, y, x] = -40
    changed = segment_hover(*maps, **SETTINGS)
    np.testing.assert_array_equal(changed[60:, 60:] > 0, kept[60:, 60:] > 0)
    assert same_objects(relabel_sequential(changed[60:, 60:]), relabel_sequential(kept[60:, 60:]))


@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_blocks_give_the_cells_of_the_whole(strength: float, rng: np.random.Generator) -> None:
    maps = add_noise(exact_maps(draw_cells("fluorescence_nuclei", 24, (400, 440))), rng, strength)
    whole = segment_hover(*maps, **SETTINGS)
    assert whole.max() > 80

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        return Found(segment_hover(*maps[:, y0:y1, x0:x1], **SETTINGS))

    for core_px in (100, 170):
        blocks = decode_in_blocks(decode, (400, 440), core_px=core_px, margin_px=48, max_margin_px=96, workers=2)
        assert same_objects(blocks, whole)


@pytest.mark.parametrize("axes", [(3,), (2,), (2, 3)])
def test_a_mirrored_answer_turned_back_gives_the_same_cells(axes: tuple[int, ...], rng: np.random.Generator) -> None:
    decoder = load_decoder("hover")
    labels = draw_cells("fluorescence_nuclei", 30)
    maps = exact_maps(labels)
    flat = tuple(axis - 2 for axis in axes)
    seen = exact_maps(np.flip(labels, flat))[None]
    (turned,) = decoder.mirror((seen,), axes, labels.shape)
    # the middle of a cell of even width lies a px to one side
    assert np.abs(turned[0] - maps).max() < 0.25
    assert np.abs(seen[0] - maps).max() > 0.9
    found, again = (decoder.decode(Raw(one, np.zeros((0, 5))), SETTINGS) for one in (maps, turned[0]))
    assert found.max() == again.max() == labels.max()
    assert score_image(found, again, [0.9])[0].f1 == 1
    noisy = add_noise(maps, rng)[None]
    (twice,) = decoder.mirror(decoder.mirror((noisy,), axes, labels.shape), axes, labels.shape)
    np.testing.assert_array_equal(twice, noisy)


@pytest.mark.parametrize("turn", sorted(TURNS))
def test_turned_maps_give_the_turned_cells(turn: str) -> None:
    turn_array, turn_vector = TURNS[turn]
    labels = draw_cells("fluorescence_nuclei", 30)
    foreground, across, down = exact_maps(labels)
    down, across = turn_vector(np.stack([turn_array(down), turn_array(across)]))
    found = segment_hover(turn_array(foreground), across, down, **SETTINGS)
    assert score_image(turn_array(labels), found, [0.8])[0].f1 == 1


def test_what_the_settings_are_for() -> None:
    labels = draw_cells("fluorescence_nuclei", 30)
    maps = exact_maps(labels)
    assert segment_hover(*maps, **SETTINGS | {"min_marker_px": 10_000}).max() == 0
    assert segment_hover(*maps, **SETTINGS | {"foreground_threshold": 1.1}).max() == 0
    assert segment_hover(*maps, **SETTINGS | {"marker_threshold": -9}).max() == 0
    # without borders, touching cells are one
    assert segment_hover(*maps, **SETTINGS | {"marker_threshold": 9}).max() < labels.max() - 5
    large = int(np.median(np.bincount(labels.ravel())[1:]))
    few = segment_hover(*maps, **SETTINGS | {"min_cell_px": large})
    assert 0 < few.max() < labels.max()


def test_nothing_in_nothing_out() -> None:
    assert segment_hover(*np.zeros((3, 40, 50), np.float32), **SETTINGS).max() == 0


def test_maps_that_do_not_fit_or_are_no_numbers_are_refused() -> None:
    maps = np.zeros((3, 20, 20), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        segment_hover(maps[0], maps[1], maps[2, :10], **SETTINGS)
    for broken in range(3):
        values = maps.copy()
        values[broken, 3, 3] = np.nan
        with pytest.raises(ValueError, match="NaN or infinity"):
            segment_hover(*values, **SETTINGS)


@pytest.mark.parametrize("window_px", [320, 128])
def test_a_model_file_is_read_and_decoded(tmp_path: Path, window_px: int) -> None:
    """The picture holds the maps themselves."""
    labels = draw_cells("fluorescence_nuclei", 24, (288, 320))
    card = replace(make_card(window_px), kind="hover", settings=SETTINGS | {"min_size_fraction": 0.0})
    session = Session(write_channel_model(tmp_path / "m.onnx", (0, 1, 2)), "cpu", 1, 1.0)
    prediction = segment(exact_maps(labels), card, session.run, 2)
    assert score_image(labels, prediction.labels, [0.8])[0].f1 == 1
    assert prediction.raw.maps.shape == (3, 288, 320)
    assert prediction.confidence > 0.9
    assert set(card.decoder.settings) == set(card.settings)
