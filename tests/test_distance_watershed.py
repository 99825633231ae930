"""MAUNet maps to cells: exact maps give the cells back, as three passes do, and a part gives those of the whole."""

from __future__ import annotations

from typing import Any

import cc3d
import cv2
import numpy as np
import pytest

from benchmarks.distance_comparisons import fields_of_labels
from benchmarks.distance_peers import flood_three_times
from mosaicell.decoders import load_decoder
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.raw import Raw
from mosaicell.postprocess.blocks import Found
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.distance_watershed import MAX_BLUR_PX, measure_blur, segment_distances
from mosaicell.postprocess.objects import relabel_sequential
from tests.test_blocks import decode_in_blocks, same_objects
from tests.test_flows import TURNS
from tests.test_hover import add_noise, draw_cells

SETTINGS: dict[str, Any] = {
    "foreground_threshold": 0.5,
    "interior_threshold": 0.5,
    "marker_threshold": 0.75,
    "peak_threshold": 0.5,
    "min_marker_px": 8,
    "min_unmarked_px": None,
    "min_cell_px": 5,
    "max_hole_fraction": 0.1,
}


def exact_maps(labels: np.ndarray) -> np.ndarray:
    """Foreground, distance and interior: float32 (3, y, x)."""
    interior, distance = fields_of_labels(labels)
    return np.stack([cv2.GaussianBlur((labels > 0).astype(np.float32), (0, 0), 0.7), distance, interior])


@pytest.mark.parametrize(
    ("kind", "diameter_px"),
    [("fluorescence_nuclei", 30), ("fluorescence_nuclei", 60), ("phase_round", 25), ("fluorescence_nuclei", 16)],
)
def test_exact_maps_of_round_cells_give_them_back(kind: str, diameter_px: float) -> None:
    labels = draw_cells(kind, diameter_px)
    assert labels.max() > 10
    found = segment_distances(*exact_maps(labels), **SETTINGS | {"min_unmarked_px": 8})
    assert score_image(labels, found, [0.8])[0].f1 == 1


@pytest.mark.parametrize(
    ("kind", "diameter_px"),
    [("fluorescence_nuclei", 30), ("phase_rods", 25), ("phase_spread", 60), ("fluorescence_nuclei", 12)],
)
@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_cells_are_those_of_three_passes(
    kind: str, diameter_px: float, strength: float, rng: np.random.Generator
) -> None:
    maps = add_noise(exact_maps(draw_cells(kind, diameter_px)), rng, strength)
    settings = SETTINGS | {"max_hole_fraction": 0.0}
    ours, theirs = segment_distances(*maps, **settings), flood_three_times(*maps, **settings)
    assert ours.max() == theirs.max() > 8
    # a pixel between two markers goes to the higher one in scikit-image, to the lower right one here; all that hangs
    # by it goes with it, in noise up to half of a small cell
    assert score_image(theirs, ours, [0.9])[0].f1 > (0.94 if strength else 0.99)
    assert np.mean((ours > 0) == (theirs > 0)) > 0.9999


def test_touching_cells_have_no_line_between_them() -> None:
    labels = np.zeros((60, 120), np.uint32)
    labels[10:50, 10:50], labels[10:50, 50:110] = 1, 2
    foreground, distance, interior = exact_maps(labels)
    found = segment_distances(foreground, distance, interior, **SETTINGS)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, foreground > 0.5)


def test_one_piece_of_interior_is_split_where_the_distance_falls() -> None:
    labels = np.zeros((60, 120), np.uint32)
    labels[10:50, 10:50], labels[10:50, 50:90] = 1, 2
    foreground, distance, _ = exact_maps(labels)
    # without a boundary between them
    found = segment_distances(foreground, distance, (labels > 0).astype(np.float32), **SETTINGS | {"blur_px": 7})
    assert score_image(labels, found, [0.9])[0].f1 == 1


def test_small_cells_beside_large_ones_are_found_by_their_peaks() -> None:
    """After a blur for large cells a small one lies below the first threshold, and a smaller one below both."""
    y, x = np.mgrid[:120, :260]
    labels = np.zeros((120, 260), np.uint32)
    for number, (row, column, radius) in enumerate([(60, 60, 40), (30, 130, 7), (90, 130, 3), (60, 200, 40)], start=1):
        labels[np.hypot(y - row, x - column) <= radius] = number
    maps, settings = exact_maps(labels), SETTINGS | {"blur_px": 25}
    found = segment_distances(*maps, **settings | {"peak_threshold": 0.2})
    assert set(np.unique(labels[found > 0])) >= {1, 2, 4}
    assert segment_distances(*maps, **settings | {"peak_threshold": 0.9}).max() == 2
    assert segment_distances(*maps, **settings | {"peak_threshold": 0.9, "min_unmarked_px": 8}).max() == 4
    assert segment_distances(*maps, **settings | {"peak_threshold": 0.9, "min_unmarked_px": 60}).max() == 3


def test_the_rest_of_the_image_does_not_matter() -> None:
    """An outlier far away changes no cell; against the largest value of the image it would lose them all."""
    labels = draw_cells("fluorescence_nuclei", 30)
    maps, settings = exact_maps(labels), SETTINGS | {"blur_px": 25}
    kept = segment_distances(*maps, **settings)
    y, x = np.argwhere(labels == 0)[0]
    maps[1, y, x] = 40
    changed = segment_distances(*maps, **settings)
    assert same_objects(relabel_sequential(changed[60:, 60:]), relabel_sequential(kept[60:, 60:]))


@pytest.mark.parametrize("strength", [0.0, 0.1])
def test_blocks_give_the_cells_of_the_whole(strength: float, rng: np.random.Generator) -> None:
    """With what is measured once; without it parts blur by what they hold."""
    decoder = load_decoder("maunet")
    maps = add_noise(exact_maps(draw_cells("fluorescence_nuclei", 24, (400, 440))), rng, strength)
    raw = Raw(maps, np.zeros((0, 5)))
    settings = SETTINGS | dict(decoder.measure(raw, SETTINGS))
    assert settings["blur_px"] > 9
    whole = decoder.decode(raw, SETTINGS)
    assert whole.max() > 80
    np.testing.assert_array_equal(decoder.decode(raw, settings), whole)

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        return Found(decoder.decode(Raw(maps[:, y0:y1, x0:x1], raw.candidates), settings))

    for core_px in (100, 170):
        blocks = decode_in_blocks(decode, (400, 440), core_px=core_px, margin_px=48, max_margin_px=96, workers=2)
        assert same_objects(blocks, whole)


def test_the_blur_is_the_root_of_the_mean_area_made_odd() -> None:
    interior = np.zeros((300, 300), np.float32)
    assert measure_blur(interior, 0.5, 16) == 1
    interior[10:30, 10:30] = 1
    assert measure_blur(interior, 0.5, 16) == 21
    # (400 + 100) / 2 has the root 15.8; three px are no piece
    interior[50:60, 50:60] = interior[80, 80:83] = 1
    assert measure_blur(interior, 0.5, 16) == 17
    assert measure_blur(np.ones((300, 300), np.float32), 0.5, 16) == MAX_BLUR_PX


def test_cells_are_numbered_and_in_one_piece(rng: np.random.Generator) -> None:
    labels = segment_distances(*add_noise(exact_maps(draw_cells("phase_spread", 50)), rng, 0.2), **SETTINGS)
    assert labels.dtype == np.uint32
    counts = np.bincount(labels.ravel())
    assert counts.size > 8
    assert counts[1:].min() >= 5
    assert cc3d.connected_components(labels, connectivity=4).max() == labels.max()


@pytest.mark.parametrize("turn", sorted(TURNS))
def test_turned_maps_give_the_turned_cells(turn: str) -> None:
    turn_array, _ = TURNS[turn]
    labels = draw_cells("fluorescence_nuclei", 30)
    found = segment_distances(*(turn_array(plane) for plane in exact_maps(labels)), **SETTINGS)
    assert score_image(turn_array(labels), found, [0.8])[0].f1 == 1


@pytest.mark.parametrize("interior", [0.0, 1.0])
def test_maps_without_interior_or_without_distance_have_no_cells(interior: float) -> None:
    """The published code divides by the number of pieces."""
    maps = np.zeros((3, 40, 50), np.float32)
    maps[0] = 1
    maps[2] = interior
    assert segment_distances(*maps, **SETTINGS).max() == 0


def test_pieces_of_the_interior_are_cells_where_there_is_no_distance() -> None:
    """What the paper calls the score without post-processing."""
    labels = draw_cells("fluorescence_nuclei", 30)
    foreground, _, interior = exact_maps(labels)
    nothing = np.zeros_like(foreground)
    found = segment_distances(foreground, nothing, interior, **SETTINGS | {"min_unmarked_px": 1})
    assert score_image(labels, found, [0.8])[0].f1 == 1
    assert segment_distances(foreground, nothing, interior, **SETTINGS).max() == 0


def test_maps_that_do_not_fit_or_are_no_numbers_are_refused() -> None:
    maps = np.zeros((3, 20, 20), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        segment_distances(maps[0], maps[1], maps[2, :10], **SETTINGS)
    for broken in range(3):
        values = maps.copy()
        values[broken, 3, 3] = np.nan
        with pytest.raises(ValueError, match="NaN or infinity"):
            segment_distances(*values, **SETTINGS)


def test_logits_are_read_as_probabilities() -> None:
    decoder, rng = load_decoder("maunet"), np.random.default_rng(3)
    outputs = rng.normal(0, 30, (2, 5, 8, 9)).astype(np.float32)
    for tile, raw in zip(outputs, decoder.read((outputs,), SETTINGS), strict=True):
        shares = np.exp(tile[:4].astype(np.float64))
        shares /= shares.sum(0)
        expected = np.stack([1 - shares[2], tile[4], shares[0]])
        np.testing.assert_allclose(raw.maps, expected, atol=1e-5)
        assert raw.candidates.shape == (0, 5)


@pytest.mark.parametrize("axes", [(3,), (2,), (2, 3)])
def test_a_mirrored_answer_is_turned_back(axes: tuple[int, ...]) -> None:
    decoder = load_decoder("maunet")
    outputs = np.random.default_rng(3).normal(0, 1, (2, 5, 8, 9)).astype(np.float32)
    (turned,) = decoder.mirror((np.flip(outputs, axes),), axes, (8, 9))
    np.testing.assert_array_equal(turned, outputs)
