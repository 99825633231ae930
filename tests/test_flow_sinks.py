"""Heat flows to cells: exact maps give the cells back, noisy ones nearly, and a part gives those of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.evaluation.metrics import score_image
from mosaicell.postprocess import flows
from mosaicell.postprocess.blocks import Found
from mosaicell.postprocess.bounds import Bounds
from mosaicell.postprocess.flow_sinks import come_to_rest, nearest_sinks, segment_heat_flows
from mosaicell.postprocess.flows import drift
from mosaicell.postprocess.heat_flows import heat_flows
from mosaicell.postprocess.objects import keep_largest_pieces
from mosaicell.training.synthesis import draw_scene
from tests.test_blocks import decode_in_blocks, same_objects
from tests.test_flows import DRAWINGS, TURNS, blur

SCENES = [
    ("fluorescence_nuclei", 14),
    ("fluorescence_layer", 25),
    ("fluorescence_crowded", 20),
    ("phase_rods", 16),
    ("phase_spread", 50),
    ("brightfield_tissue", 18),
    ("dic_fibroblasts", 40),
]


def draw_cells(kind: str, diameter_px: float, shape: tuple[int, int] = (300, 340), seed: int = 3) -> np.ndarray:
    _, labels = draw_scene(kind, shape, np.random.default_rng(seed), diameter_px=diameter_px)
    return keep_largest_pieces(labels.astype(np.uint32), 15)[0]


def exact_maps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (labels > 0).astype(np.float32), heat_flows(labels)


def noisy_maps(labels: np.ndarray, rng: np.random.Generator, strength: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    foreground, flow = exact_maps(labels)
    foreground = blur(foreground, 0.8) + rng.normal(0, 0.1, labels.shape)
    flow = flow + np.stack([blur(rng.normal(0, 5 * strength, labels.shape), 1.5) for _ in range(2)])
    return foreground.astype(np.float32), flow.astype(np.float32)


@pytest.mark.parametrize(("kind", "diameter_px"), SCENES)
@pytest.mark.parametrize("flow_threshold", [0.4, None])
def test_exact_maps_give_back_the_cells(kind: str, diameter_px: float, flow_threshold: float | None) -> None:
    labels = draw_cells(kind, diameter_px)
    assert labels.max() > 5
    found = segment_heat_flows(*exact_maps(labels), flow_threshold=flow_threshold, max_hole_fraction=0.0)
    assert score_image(labels, found, [0.9])[0].f1 >= 0.98


@pytest.mark.parametrize("drawing", sorted(set(DRAWINGS) - {"filaments"}))
def test_exact_maps_of_discs_rods_and_branches_give_them_back(drawing: str) -> None:
    labels = DRAWINGS[drawing]()
    found = segment_heat_flows(*exact_maps(labels), min_size_px=5, max_hole_fraction=0.0)
    assert score_image(labels, found, [0.9])[0].f1 == 1


@pytest.mark.parametrize(("kind", "diameter_px"), SCENES[:3])
def test_noisy_maps_change_few_cells(kind: str, diameter_px: float, rng: np.random.Generator) -> None:
    labels = draw_cells(kind, diameter_px)
    found = segment_heat_flows(*noisy_maps(labels, rng), flow_threshold=0.8)
    assert score_image(labels, found, [0.5])[0].f1 > 0.9


def test_cells_longer_than_the_steps_come_to_pieces() -> None:
    labels = np.zeros((20, 300), np.uint32)
    labels[5:15, 10:290] = 1
    maps = exact_maps(labels)
    assert segment_heat_flows(*maps, flow_threshold=None).max() == 1
    short = segment_heat_flows(*maps, flow_threshold=None, steps=60)
    assert score_image(labels, short, [0.7])[0].f1 == 0
    assert (short[labels == 0] == 0).all()


def test_the_check_drops_cells_whose_flow_is_not_that_of_their_shape() -> None:
    """Two discs, in the flow of one the rows point the wrong way."""
    labels = DRAWINGS["discs"]()
    foreground, flow = exact_maps(labels)
    chosen = labels == labels.max()
    # aside rather than to the middle, by 80 degrees
    turn = np.deg2rad(70)
    y, x = flow[:, chosen]
    flow[:, chosen] = y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)
    kept = segment_heat_flows(foreground, flow, flow_threshold=None, min_size_px=5)
    checked = segment_heat_flows(foreground, flow, flow_threshold=0.4, min_size_px=5)
    assert kept[chosen].any()
    assert not checked[chosen].any()
    assert checked.max() == labels.max() - 1


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_blocks_give_the_cells_of_the_whole(strength: float, rng: np.random.Generator) -> None:
    labels = draw_cells("fluorescence_layer", 20, (220, 250))
    foreground, flow = noisy_maps(labels, rng, strength)
    whole = segment_heat_flows(foreground, flow, flow_threshold=0.8)
    assert whole.max() > 80

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        return Found(segment_heat_flows(foreground[y0:y1, x0:x1], flow[:, y0:y1, x0:x1], flow_threshold=0.8))

    for core_px in (80, 130):
        blocks = decode_in_blocks(decode, (220, 250), core_px=core_px, margin_px=40, max_margin_px=80, workers=2)
        assert same_objects(blocks, whole)


@pytest.mark.parametrize("turn", sorted(TURNS))
def test_turned_maps_give_the_turned_cells(turn: str) -> None:
    turn_array, turn_vector = TURNS[turn]
    labels = draw_cells("fluorescence_layer", 25)
    foreground, flow = exact_maps(labels)
    turned = segment_heat_flows(turn_array(foreground), turn_vector(turn_array(flow)))
    found = segment_heat_flows(foreground, flow)
    assert score_image(labels, found, [0.9])[0].f1 == 1
    assert turned.max() == found.max()
    assert score_image(np.ascontiguousarray(turn_array(found)), turned, [0.95])[0].f1 == 1


def test_resting_pixels_end_where_all_steps_would_lead(rng: np.random.Generator) -> None:
    labels = draw_cells("fluorescence_layer", 40)
    foreground, flow = noisy_maps(labels, rng, 0.2)
    field = np.dstack(list(flow * (foreground > 0.5)))
    places = np.stack(np.nonzero(foreground > 0.5)).astype(np.float32)
    rested = nearest_sinks(come_to_rest(field, places, 200), labels.shape)
    stepped = nearest_sinks(drift(field, places, np.ones(200, np.float32)), labels.shape)
    pairs, counts = np.unique(np.stack([rested, stepped]), axis=1, return_counts=True)
    agreeing = sum(counts[pairs[0] == sink].max() for sink in np.unique(rested))
    assert agreeing > 0.97 * rested.size


def test_no_more_than_all_steps_are_taken() -> None:
    field = np.zeros((10, 100, 2), np.float32)
    field[..., 1] = 1
    places = np.array([[5, 5], [3, 60]], np.float32)
    np.testing.assert_array_equal(come_to_rest(field, places, 25), [[5, 5], [28, 85]])
    np.testing.assert_array_equal(come_to_rest(field, places, 300), [[5, 5], [99, 99]])


def test_sinks_gather_what_ends_near_them() -> None:
    ends = np.full((2, 30), 10, np.float32)
    ends[:, 12:24] = np.array([[10], [14.4]])
    ends[:, 24:29] = np.array([[13], [16]])
    ends[:, 29] = 30, 30
    found = nearest_sinks(ends, (40, 40))
    assert len({*found[:12]}) == len({*found[12:29]}) == 1
    assert 0 < found[0] < found[12] or 0 < found[12] < found[0]
    assert found[29] == 0
    # too few for a sink
    assert not nearest_sinks(ends[:, :9], (40, 40)).any()


def test_sides_beyond_the_limit_of_remap_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = draw_cells("phase_rods", 16)
    maps = exact_maps(labels)
    whole = segment_heat_flows(*maps, steps=40)
    monkeypatch.setattr(flows, "MAX_SIDE_PX", 230)
    np.testing.assert_array_equal(segment_heat_flows(*maps, steps=40), whole)


def test_nothing_in_nothing_out() -> None:
    nothing = segment_heat_flows(np.zeros((40, 50), np.float32), np.zeros((2, 40, 50), np.float32))
    assert nothing.dtype == np.uint32
    assert nothing.shape == (40, 50)
    assert not nothing.any()
    # foreground without flow goes nowhere
    assert not segment_heat_flows(np.ones((40, 50), np.float32), np.zeros((2, 40, 50), np.float32)).any()


def test_maps_that_do_not_fit_or_are_no_numbers_are_refused() -> None:
    foreground, flow = np.zeros((20, 20), np.float32), np.zeros((2, 20, 20), np.float32)
    with pytest.raises(ValueError, match="expected foreground"):
        segment_heat_flows(foreground, flow[:, :10])
    for broken in (foreground, flow):
        broken[..., 3, 3] = np.nan
        with pytest.raises(ValueError, match="NaN or infinity"):
            segment_heat_flows(foreground, flow)
        broken[..., 3, 3] = 0
