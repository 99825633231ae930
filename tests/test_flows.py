"""From labels to flows and back: what is drawn is found again, whatever the shape, the noise or the orientation."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mosaicell.evaluation.matching import count_overlaps, match_overlaps
from mosaicell.evaluation.metrics import f1_score
from mosaicell.postprocess import bands, flows
from mosaicell.postprocess.flow_pieces import group_pixels
from mosaicell.postprocess.flow_targets import boundary_of_labels, flows_of_labels
from mosaicell.postprocess.flows import MAX_SIDE_PX, drop_contradicted, follow_flows, segment_flows
from mosaicell.postprocess.objects import remove_debris

#: dihedral group without the identity: on arrays (..., y, x), and what each does to (dy, dx)
TURNS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "flip y": (lambda a: a[..., ::-1, :], lambda f: np.stack([-f[0], f[1]])),
    "flip x": (lambda a: a[..., ::-1], lambda f: np.stack([f[0], -f[1]])),
    "quarter": (lambda a: np.rot90(a, axes=(-2, -1)), lambda f: np.stack([-f[1], f[0]])),
    "half": (lambda a: np.rot90(a, 2, axes=(-2, -1)), lambda f: -f),
    "transpose": (lambda a: a.swapaxes(-2, -1), lambda f: f[::-1]),
}


def draw_discs() -> np.ndarray:
    """Rows of discs, 11 to 45 px wide, that touch their neighbours in the row."""
    labels = np.zeros((240, 260), np.uint8)
    number, y = 0, 4
    for radius in (5, 7, 10, 15, 22):
        y += radius
        for x in range(radius + 2, 260 - radius, 2 * radius + 1):
            number += 1
            cv2.circle(labels, (x, y), radius, number, -1)
        y += radius + 6
    return labels.astype(np.uint32)


def draw_rods() -> np.ndarray:
    """Bacteria 5 to 9 px wide, side by side and end to end."""
    labels = np.zeros((200, 200), np.uint8)
    number = 0
    for row, y in enumerate(range(12, 180, 36)):
        width = 5 + row
        for x in range(12, 190, width + 2):
            number += 1
            cv2.line(labels, (x, y), (x + 3, y + 28), number, width)
    return labels.astype(np.uint32)


def draw_filaments() -> np.ndarray:
    """Waves, a spiral and an arc, 3 to 9 px wide and up to 600 px long."""
    labels = np.zeros((260, 260), np.uint8)
    x = np.arange(10, 250)
    lines = [np.stack([x, 20 + 22 * k + 8 * np.sin(x / (9 + 3 * k))], 1) for k in range(4)]
    turn = np.linspace(0.6, 3.4, 300)
    lines.append(np.stack([70 + 16 * turn * np.cos(2 * np.pi * turn), 180 + 16 * turn * np.sin(2 * np.pi * turn)], 1))
    bend = np.linspace(-2.5, 2.5, 200)
    lines.append(np.stack([190 + 45 * np.cos(bend), 180 + 60 * np.sin(bend)], 1))
    for number, (line, width) in enumerate(zip(lines, (3, 5, 7, 9, 5, 9), strict=True), start=1):
        cv2.polylines(labels, [np.rint(line).astype(np.int32)], False, number, width)
    return labels.astype(np.uint32)


def draw_branched() -> np.ndarray:
    """Cells with a body and three to six arms 4 to 7 px wide."""
    labels = np.zeros((240, 240), np.uint8)
    for number in range(1, 10):
        y, x = 40 + 80 * ((number - 1) // 3), 40 + 80 * ((number - 1) % 3)
        cv2.circle(labels, (x, y), 6 + number % 3, number, -1)
        arms = 3 + number % 4
        for angle in 0.3 * number + 2 * np.pi * np.arange(arms) / arms:
            tip = (int(x + 34 * np.cos(angle)), int(y + 34 * np.sin(angle)))
            cv2.line(labels, (x, y), tip, number, 4 + number % 4)
    return labels.astype(np.uint32)


def draw_layer() -> np.ndarray:
    """Tissue: polygons that leave no background."""
    centres = np.random.default_rng(0).uniform(0, 220, (60, 2))
    y, x = np.mgrid[:220, :220]
    distance = (y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2
    return np.unique(distance.argmin(-1), return_inverse=True)[1].reshape(220, 220).astype(np.uint32) + 1


DRAWINGS = {
    "discs": draw_discs,
    "rods": draw_rods,
    "filaments": draw_filaments,
    "branched": draw_branched,
    "layer": draw_layer,
}


def exact_maps(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the foreground, boundary and flow that a perfect network would predict."""
    return (
        (labels > 0).astype(np.float32),
        boundary_of_labels(labels).astype(np.float32),
        flows_of_labels(labels),
    )


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def decode(foreground: np.ndarray, boundary: np.ndarray, flow: np.ndarray, **settings: float) -> np.ndarray:
    keywords = {"boundary_threshold": 0.5, "min_size_fraction": 0.0, **settings}
    return segment_flows(foreground, boundary, flow, **keywords)  # type: ignore[arg-type]


def f1(truth: np.ndarray, labels: np.ndarray, iou: float = 0.5) -> float:
    matching = match_overlaps(count_overlaps(truth, labels), iou)
    return f1_score(matching.n_truth, matching.n_prediction, len(matching.ious))


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_exact_maps_give_back_the_labels(drawing: str) -> None:
    labels = DRAWINGS[drawing]()
    assert f1(labels, decode(*exact_maps(labels), max_hole_fraction=0.0), iou=0.8) == 1


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_noisy_flow_changes_few_cells(drawing: str, rng: np.random.Generator) -> None:
    labels = DRAWINGS[drawing]()
    foreground, boundary, flow = exact_maps(labels)
    noisy = flow + rng.normal(0, 0.3, flow.shape).astype(np.float32)
    assert f1(labels, decode(foreground, boundary, noisy)) >= 0.9
    noisy = flow + rng.normal(0, 0.5, flow.shape).astype(np.float32)
    # the noise alone makes a flow error of 2 x 0.25
    assert f1(labels, decode(foreground, boundary, noisy, flow_threshold=0.9)) >= 0.8


@pytest.mark.parametrize("drawing", DRAWINGS)
def test_blurred_weak_maps_change_few_cells(drawing: str) -> None:
    labels = DRAWINGS[drawing]()
    foreground, boundary, flow = exact_maps(labels)
    weak = np.stack([0.6 * blur(part, 1.5) for part in flow])
    found = decode(blur(foreground, 1.0), blur(boundary, 1.0), weak, flow_threshold=0.9, boundary_threshold=0.4)
    assert f1(labels, found) >= 0.9


@pytest.mark.parametrize("drawing", ["filaments", "branched"])
def test_long_and_branched_cells_stay_in_one_piece_without_a_boundary_map(drawing: str) -> None:
    labels = DRAWINGS[drawing]()
    foreground, boundary, flow = exact_maps(labels)
    found = decode(foreground, 0 * boundary, flow)
    assert f1(labels, found, iou=0.9) == 1


def test_large_cell_stays_whole_where_the_network_knows_only_its_rim(rng: np.random.Generator) -> None:
    labels = np.zeros((300, 300), np.uint8)
    cv2.ellipse(labels, (105, 150), (70, 130), 0, 0, 360, 1, -1)
    cv2.ellipse(labels, (215, 150), (60, 120), 0, 0, 360, 2, -1)
    labels = labels.astype(np.uint32)
    foreground, boundary, flow = exact_maps(labels)
    rim = cv2.distanceTransform((labels > 0).astype(np.uint8), cv2.DIST_L2, 5) < 12
    lost = np.stack([blur(part, 4.0) for part in rng.normal(0, 3, flow.shape).astype(np.float32)])
    flow = np.where(rim | (np.hypot(*flow) > 0.6), flow, lost).astype(np.float32)
    assert f1(labels, decode(foreground, boundary, flow), iou=0.9) == 1


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("drawing", ["rods", "branched", "layer"])
def test_turned_maps_give_turned_labels(drawing: str, turn: str, rng: np.random.Generator) -> None:
    """The same cells, down to single pixels of their borders where distances tie."""
    on_arrays, on_vectors = TURNS[turn]
    foreground, boundary, flow = exact_maps(DRAWINGS[drawing]())
    flow = np.stack([blur(part, 1.0) for part in flow + rng.normal(0, 0.2, flow.shape).astype(np.float32)])
    settings = {"flow_threshold": 9.0}
    straight = on_arrays(decode(foreground, boundary, flow, **settings))
    turned = decode(
        np.ascontiguousarray(on_arrays(foreground)),
        np.ascontiguousarray(on_arrays(boundary)),
        np.ascontiguousarray(on_vectors(on_arrays(flow))),
        **settings,
    )
    assert f1(straight, turned, iou=0.8) == 1
    assert np.mean((straight > 0) != (turned > 0)) < 1e-3


@pytest.mark.parametrize("turn", TURNS)
def test_flows_of_turned_labels_are_the_turned_flows(turn: str) -> None:
    on_arrays, on_vectors = TURNS[turn]
    labels = draw_branched()
    turned = flows_of_labels(np.ascontiguousarray(on_arrays(labels)))
    np.testing.assert_allclose(turned, on_vectors(on_arrays(flows_of_labels(labels))), atol=2e-6)


def test_the_number_of_threads_changes_nothing(rng: np.random.Generator) -> None:
    foreground, boundary, flow = exact_maps(draw_discs())
    flow += rng.normal(0, 0.4, flow.shape).astype(np.float32)
    before = cv2.getNumThreads()
    results = []
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            results.append(decode(foreground, boundary, flow))
    finally:
        cv2.setNumThreads(before)
    assert results[0].max() > 10
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_labels_are_contiguous_in_order_and_4_connected(rng: np.random.Generator) -> None:
    shape = (120, 130)
    flow = np.stack([blur(part, 3.0) for part in rng.normal(0, 4, (2, *shape)).astype(np.float32)])
    foreground = blur(rng.random(shape, np.float32), 2.0) * 1.1
    labels = decode(foreground, rng.random(shape, np.float32), flow, flow_threshold=9.0)
    assert labels.dtype == np.uint32
    ids, first = np.unique(labels, return_index=True)
    np.testing.assert_array_equal(ids, np.arange(ids.size))
    assert ids.size > 5
    assert (np.diff(first[1:]) > 0).all()
    for number in ids[1:]:
        assert cv2.connectedComponents((labels == number).astype(np.uint8), connectivity=4)[0] == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (64, 65)])
def test_nothing_and_everything_foreground(shape: tuple[int, int]) -> None:
    nothing = np.zeros(shape, np.float32)
    everything = np.ones(shape, np.float32)
    flow = np.zeros((2, *shape), np.float32)
    assert not decode(nothing, nothing, flow).any()
    assert (decode(everything, nothing, flow, min_size_px=1) == 1).all()


def test_single_pixels_are_cells_when_small_cells_are_wanted() -> None:
    labels = np.zeros((9, 11), np.uint32)
    labels[[1, 3, 3, 8], [1, 2, 8, 10]] = [1, 2, 3, 4]
    maps = exact_maps(labels)
    np.testing.assert_array_equal(decode(*maps, min_size_px=1), labels)
    assert not decode(*maps, min_size_px=2).any()


def test_small_pieces_holes_and_debris(rng: np.random.Generator) -> None:
    labels = np.zeros((80, 80), np.uint32)
    labels[5:35, 5:35] = 1
    labels[50:54, 50:54] = 2
    labels[70:72, 70:72] = 3
    foreground, boundary, flow = exact_maps(labels)
    foreground[18:21, 18:21] = 0
    found = decode(foreground, boundary, flow, flow_threshold=0.4)
    np.testing.assert_array_equal(found, np.where(labels == 3, 0, labels))
    assert not decode(foreground, boundary, flow, max_hole_fraction=0.0)[18:21, 18:21].any()
    np.testing.assert_array_equal(remove_debris(found, 0.2), np.where(labels == 1, 1, 0))
    np.testing.assert_array_equal(remove_debris(np.zeros_like(found), 0.2), np.zeros_like(found))


def test_cells_whose_flow_contradicts_their_shape_are_dropped() -> None:
    labels = draw_discs()
    flow = flows_of_labels(labels)
    flow[:, labels == 3] *= -1
    kept = drop_contradicted(labels, flow, 0.4)
    assert kept.max() == labels.max() - 1
    assert not kept[labels == 3].any()
    # turned round, a vector is twice its length away: the squared error is at most 4
    np.testing.assert_array_equal(drop_contradicted(labels, flow, 4.0), labels)


def test_end_points_lie_in_the_image_and_in_row_order() -> None:
    labels = np.zeros((20, 30), np.uint32)
    labels[:6, 22:] = 1
    flow = np.stack([np.full((20, 30), -1, np.float32), np.full((20, 30), 1, np.float32)])
    ends = follow_flows(flow, labels > 0, reach_px=3.0)
    y, x = np.nonzero(labels)
    step = 3 / np.sqrt(2)
    expected = np.stack([np.maximum(y - step, 0), np.minimum(x + step, 29)])
    # far from background, where the flow outside counts as 0 and slows pixels down
    inner = (y < 5) & (x > 25)
    np.testing.assert_allclose(ends[:, inner], expected[:, inner], atol=0.1)
    assert follow_flows(flow, np.zeros((20, 30), bool)).shape == (2, 0)


@pytest.mark.parametrize(("length", "share"), [(2.0, 1.0), (0.3, 1.0), (0.15, 1.0), (0.075, 0.5), (0.015, 0.1)])
def test_flow_is_a_direction_unless_it_is_weak(length: float, share: float) -> None:
    flow = np.stack([np.zeros((20, 30), np.float32), np.full((20, 30), length, np.float32)])
    ends = follow_flows(flow, np.ones((20, 30), bool), reach_px=3.0).reshape(2, 20, 30)
    np.testing.assert_allclose(ends[1, :, 10] - 10, 3 * share, atol=0.03)
    np.testing.assert_array_equal(ends[0, :, 10], np.arange(20))


@pytest.mark.parametrize(("rows", "groups"), [(2, 1), (6, 2)])
def test_a_gap_that_parts_a_broad_cell_is_slipping_in_a_process_without_inner_pixels(rows: int, groups: int) -> None:
    inside = np.pad(np.ones((rows, 20), bool), 4)
    y, x = (places.astype(np.float32) for places in np.nonzero(inside))
    # both halves gather, and the pixels on either side of the middle are torn 1.2 px further apart than they were
    for column, end in ((13, 12.4), (14, 14.6)):
        x[x == column] = end
    x[x < 12] = 8
    x[x > 15] = 19
    found = group_pixels(np.stack([y, x]), inside, np.full(inside.shape, 0.5, np.float32), 0.5, 1)
    assert np.unique(found[inside]).size == groups


def test_flows_point_inward_and_stop_at_label_borders() -> None:
    labels = np.zeros((40, 60), np.uint32)
    labels[10:30, 10:30] = 1
    labels[10:30, 30:50] = 2
    dy, dx = flows_of_labels(labels)
    assert (dx[15:25, 10:14] > 0.8).all()
    assert (dx[15:25, 26:30] < -0.8).all()
    assert (dx[15:25, 30:34] > 0.8).all()
    assert (dy[10:14, 15:25] > 0.8).all()
    assert not dy[labels == 0].any()
    assert not dx[labels == 0].any()
    assert np.hypot(dy, dx).max() <= 1 + 1e-6
    alone = flows_of_labels(np.where(labels == 1, 1, 0))
    np.testing.assert_array_equal(alone[:, labels == 1], np.stack([dy, dx])[:, labels == 1])
    renumbered = flows_of_labels(np.array([0, 77, 5], np.uint32)[labels])
    np.testing.assert_array_equal(renumbered, np.stack([dy, dx]))


def test_image_border_is_no_label_border() -> None:
    labels = np.zeros((30, 40), np.uint32)
    labels[:, 15:25] = 7
    dy, dx = flows_of_labels(labels)
    assert np.abs(dy).max() < 1e-6
    np.testing.assert_allclose(dx[0], dx[15], atol=2e-6)
    expected = np.zeros(labels.shape, bool)
    expected[:, [15, 24]] = True
    np.testing.assert_array_equal(boundary_of_labels(labels), expected)
    assert not flows_of_labels(np.ones((5, 6), np.uint32)).any()


def test_given_distance_is_used_as_it_is() -> None:
    labels = np.zeros((20, 20), np.uint32)
    labels[4:16, 4:16] = 1
    rising = (labels * np.arange(20)).astype(np.float32)
    dy, dx = flows_of_labels(labels, rising)
    assert (dx[8:12, 8:12] > 0.4).all()
    assert np.abs(dy[8:12, 8:12]).max() < 1e-6


def test_wrong_shapes_are_refused() -> None:
    plane, flow = np.zeros((4, 5), np.float32), np.zeros((2, 4, 5), np.float32)
    with pytest.raises(ValueError, match=r"got \(4, 5\), \(4, 4\)"):
        decode(plane, plane[:, :4], flow)
    with pytest.raises(ValueError, match=r"and \(2, 4, 4\)"):
        decode(plane, plane, flow[..., :4])


def test_blocks_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    flow = rng.standard_normal((2, 90, 130)).astype(np.float32)
    mask = rng.random((90, 130)) < 0.7
    whole = follow_flows(flow, mask)
    monkeypatch.setattr(flows, "MAX_SIDE_PX", 40)
    np.testing.assert_array_equal(follow_flows(flow, mask), whole)


def test_a_cell_drifts_alike_wherever_it_lies(rng: np.random.Generator) -> None:
    """Rounding must not know the place: blocks of a slide would decode a cell on their common margin differently."""
    flow = rng.standard_normal((2, 40, 50)).astype(np.float32)
    mask = rng.random((40, 50)) < 0.7
    moved_px = np.array([[30_001], [37]], np.float32)
    far = np.zeros((2, 30_041, 87), np.float32)
    far[:, 30_001:, 37:] = flow
    far_mask = np.zeros(far.shape[1:], bool)
    far_mask[30_001:, 37:] = mask
    here, there = follow_flows(flow, mask), follow_flows(far, far_mask) - moved_px
    # at its upper and left side one drifts against the image's border
    inner = (here > 8).all(axis=0)
    assert inner.sum() > 500
    np.testing.assert_array_equal(there[:, inner], here[:, inner])


@pytest.mark.parametrize("moved_px", [(0, 1), (1, 0), (1, 1), (2, 3)])
def test_moved_maps_give_moved_labels(moved_px: tuple[int, int]) -> None:
    """To the pixel: end points half way between two pixels must not go to the even one."""
    maps = exact_maps(np.pad(draw_layer(), 8))
    noise = np.random.default_rng(0).normal(0, 1, maps[2].shape).astype(np.float32)
    foreground, boundary, flow = maps[0], maps[1], maps[2] + noise * maps[0]
    straight = decode(foreground, boundary, flow, flow_threshold=9.0)
    rolled = (np.roll(one, moved_px, axis=(-2, -1)) for one in (foreground, boundary, flow))
    moved = decode(*rolled, flow_threshold=9.0)
    assert straight.max() > 50
    np.testing.assert_array_equal(np.roll(straight, moved_px, axis=(0, 1)), moved)


@pytest.mark.parametrize("drawing", ["branched", "layer"])
def test_bands_equal_the_whole(drawing: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = DRAWINGS[drawing]()
    foreground, boundary, flow = exact_maps(labels)
    flow += rng.normal(0, 0.3, flow.shape).astype(np.float32)
    foreground[rng.random(foreground.shape) < 0.02] = 0
    whole = decode(foreground, boundary, flow), follow_flows(flow, labels > 0), flows_of_labels(labels)
    monkeypatch.setattr(bands, "BAND_PX", 700)
    parts = decode(foreground, boundary, flow), follow_flows(flow, labels > 0), flows_of_labels(labels)
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole[0].max() > 5


def test_sides_beyond_the_limit_of_remap_work() -> None:
    shape = (3, MAX_SIDE_PX + 100)
    ends = follow_flows(np.zeros((2, *shape), np.float32), np.ones(shape, bool))
    np.testing.assert_array_equal(ends, np.stack(np.nonzero(np.ones(shape))))
