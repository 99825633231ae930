from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mosaicell.postprocess.assembly import Assembly
from mosaicell.postprocess.block_queue import SPARE_BLOCKS
from mosaicell.postprocess.blocks import (
    Decode,
    Found,
    Owned,
    decode_block,
    divide_columns,
    plan_blocks,
)
from mosaicell.postprocess.bounds import Bounds, widen
from mosaicell.postprocess.boxes import suppress_boxes
from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.flow_targets import flows_of_labels
from mosaicell.postprocess.flows import segment_flows
from mosaicell.postprocess.objects import relabel_sequential, split_disconnected
from mosaicell.postprocess.watershed import two_step_watershed
from mosaicell.training.synthesis import draw_scene
from tests.test_flows import draw_layer, exact_maps


def draw_ellipses(rng: np.random.Generator, shape: tuple[int, int], count: int, radius_px: float) -> np.ndarray:
    """Label image of ellipses, later ones over earlier ones; pieces that this cuts off are objects of their own."""
    labels = np.zeros(shape, np.uint32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for index in range(1, count + 1):
        centre, radii = rng.uniform(0, shape), rng.uniform(2, radius_px, 2)
        labels[((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1] = index
    return split_disconnected(labels, 1)


def reader(labels: np.ndarray):  # type: ignore[no-untyped-def]
    """Return a decoder that knows the answer, and sees of it what a block sees."""

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        return Found(relabel_sequential(labels[y0:y1, x0:x1]))

    return decode


def decode_in_blocks(
    decode: Decode, shape_px: tuple[int, int], core_px: int, margin_px: int, max_margin_px: int, workers: int = 1
) -> np.ndarray:
    """Decode an image in blocks of that side at most; return its labels."""
    with Assembly(shape_px, workers) as assembly:
        for row in plan_blocks(shape_px, (core_px, core_px)):
            for core in row:
                assembly.submit(decode, core, margin_px, max_margin_px)
        return assembly.finish()


def same_objects(one: np.ndarray, two: np.ndarray) -> bool:
    """Say whether two label images hold the same objects under whatever ids."""
    pairs = np.unique(np.stack([one.ravel(), two.ravel()]), axis=1)
    return pairs.shape[1] == one.max() + 1 == two.max() + 1 and ((pairs[0] == 0) == (pairs[1] == 0)).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (100, 100), (101, 203)])
@pytest.mark.parametrize("core", [(1, 400), (50, 50), (64, 10), (1000, 1000)])
def test_blocks_cover_every_pixel_once(shape: tuple[int, int], core: tuple[int, int]) -> None:
    count = np.zeros(shape, int)
    for y0, x0, y1, x1 in (bounds for row in plan_blocks(shape, core) for bounds in row):
        assert 0 < y1 - y0 <= core[0]
        assert 0 < x1 - x0 <= core[1]
        count[y0:y1, x0:x1] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("width_px", [1, 90, 130, 1000])
def test_strips_hold_every_block_once(width_px: int) -> None:
    blocks = plan_blocks((100, 333), (40, 50))
    strips = divide_columns(blocks, width_px)
    assert [block for row in blocks for block in row] == sorted(
        block for strip in strips for row in strip for block in row
    )
    for strip in strips:
        assert strip[0][-1][3] - strip[0][0][1] <= max(width_px, 50)
        assert [row[0][0] for row in strip] == [row[0][0] for row in blocks]


def test_widening_ends_at_the_image() -> None:
    assert widen((10, 0, 20, 30), 5, (22, 100)) == (5, 0, 22, 35)


@pytest.mark.parametrize(("core_px", "margin_px"), [(64, 40), (37, 40), (200, 24), (1000, 0)])
@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_equal_whole(rng: np.random.Generator, core_px: int, margin_px: int, workers: int) -> None:
    labels = draw_ellipses(rng, (190, 230), 150, 12)
    found = decode_in_blocks(
        reader(labels), labels.shape, core_px=core_px, margin_px=margin_px, max_margin_px=margin_px, workers=workers
    )
    assert same_objects(found, labels)


def test_the_number_of_threads_does_not_change_an_id(rng: np.random.Generator) -> None:
    labels = draw_ellipses(rng, (190, 230), 150, 12)

    def hasty(bounds: Bounds) -> Found:
        # later blocks are ready first
        time.sleep(0.02 / (1 + bounds[0] + bounds[1]))
        return reader(labels)(bounds)

    settings = {"core_px": 50, "margin_px": 30, "max_margin_px": 30}
    results = [decode_in_blocks(hasty, labels.shape, workers=workers, **settings) for workers in (1, 2, 5)]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_an_object_larger_than_the_margin_is_seen_with_a_wider_one() -> None:
    labels = np.zeros((300, 300), np.uint32)
    labels[20:150, 88:110] = 1
    labels[200, 3:290] = 2
    found = decode_in_blocks(reader(labels), labels.shape, core_px=100, margin_px=4, max_margin_px=256)
    assert same_objects(found, labels)
    asked = []

    def spy(bounds: Bounds) -> Found:
        asked.append(bounds)
        return reader(labels)(bounds)

    owned = decode_block(spy, (0, 0, 100, 100), (300, 300), 4, 256)
    assert asked == [(0, 0, 104, 104), (0, 0, 108, 108), (0, 0, 116, 116), (0, 0, 132, 132), (0, 0, 164, 164)]
    assert (owned.labels.max(), owned.undecided) == (1, 0)


def test_an_object_larger_than_every_margin_is_reported() -> None:
    labels = np.ones((40, 400), np.uint32)
    with Assembly((40, 400), workers=1) as assembly:
        for core in plan_blocks((40, 400), (40, 100))[0]:
            assembly.submit(reader(labels), core, 8, 16)
        found = assembly.finish()
    assert assembly.undecided == 4
    # cut, but nothing of it is lost
    assert (found > 0).all()


def test_what_blocks_own_is_counted_once(rng: np.random.Generator) -> None:
    """Objects of three sources, and evidence at their places: the sums are those of the whole image."""
    labels = draw_ellipses(rng, (190, 230), 150, 12)
    count = int(labels.max())
    sources, evidence = rng.integers(0, 3, count + 1), rng.integers(0, 100, (count + 1, 2)).astype(float)
    likelihoods = rng.random(count + 1, np.float32)
    settings = {"core_px": 50, "margin_px": 30, "max_margin_px": 30}

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        part = relabel_sequential(labels[y0:y1, x0:x1])
        ids = np.zeros(int(part.max()) + 1, int)
        ids[part.ravel()] = labels[y0:y1, x0:x1].ravel()
        places = [np.nonzero(part == number) for number in range(1, len(ids))]
        boxes = np.array([(y.min(), x.min(), y.max() + 1, x.max() + 1) for y, x in places]).reshape(-1, 4)
        sure = np.zeros(len(boxes), bool)
        return Found(part, sources[ids[1:]], boxes, evidence[ids[1:]], sure, likelihoods[ids[1:]])

    with Assembly(labels.shape, workers=2) as assembly:
        for core in (core for row in plan_blocks(labels.shape, (50, 50)) for core in row):
            assembly.submit(decode, core, settings["margin_px"], settings["max_margin_px"])
        found = assembly.finish()
    assert same_objects(found, labels)
    before = np.zeros(count, int)
    before[found[found > 0] - 1] = labels[found > 0]
    assert np.array_equal(assembly.sources, sources[before])
    assert np.array_equal(assembly.likelihoods, likelihoods[before])
    assert assembly.count_sources(3) == np.bincount(sources[1:], minlength=3).tolist()
    assert assembly.totals is not None
    assert assembly.totals.tolist() == evidence[1:].sum(axis=0).tolist()


def test_what_is_unsure_is_seen_with_a_wider_margin() -> None:
    """An object of the core hangs by one beyond the margin until 20 px are seen."""
    asked = []

    def decode(bounds: Bounds) -> Found:
        asked.append(bounds)
        labels = np.zeros((bounds[2] - bounds[0], bounds[3] - bounds[1]), np.uint32)
        labels[10:20, 90:98] = 1
        places = np.array([(10, 90, 20, 98), (10, 104, 20, 107)])
        return Found(labels, None, places, np.ones((2, 1)), np.array([bounds[3] < 120, True]))

    owned = decode_block(decode, (0, 0, 100, 100), (300, 300), 8, 256)
    assert [bounds[3] for bounds in asked] == [108, 116, 132]
    assert (owned.labels.max(), owned.undecided) == (1, 0)
    # the place beyond the core is another block's
    assert owned.totals.tolist() == [1]


def test_an_object_that_two_blocks_own_stays_once() -> None:
    """Neighbours that see one object a pixel apart may each find its middle on their own side."""
    assembly = Assembly((20, 40), workers=1)
    first, second = np.ones((10, 10), np.uint32), np.ones((10, 11), np.uint32)
    other = np.zeros((10, 12), np.uint32)
    other[:, :2], other[:, 4:] = 1, 2
    nothing = (np.zeros(1, np.uint8), np.zeros(1, np.float32), np.zeros(0))
    assembly._paste((0, 0, 20, 40), Owned((5, 10, 15, 20), first, *nothing, 0))
    assembly._paste((0, 0, 20, 40), Owned((5, 11, 15, 22), second, *nothing, 0))
    assembly._paste(
        (0, 0, 20, 40), Owned((5, 18, 15, 30), other, np.ones(2, np.uint8), np.ones(2, np.float32), np.zeros(0), 0)
    )
    found = assembly.finish()
    assert np.array_equal(np.bincount(found.ravel())[1:], [100, 80])
    assert (found[5:15, 10:20] == 1).all()
    assert assembly.count_sources(2) == [1, 1]


def test_few_blocks_are_decoded_one_at_a_time() -> None:
    """The second one begins when the first one has ended, however many threads there are."""
    running, most = threading.Semaphore(1), []

    def decode(bounds: Bounds) -> Found:
        most.append(running.acquire(blocking=False))
        time.sleep(0.02)
        running.release()
        return Found(np.ones((bounds[2] - bounds[0], bounds[3] - bounds[1]), np.uint32))

    with Assembly((10, 10 * SPARE_BLOCKS), workers=4) as assembly:
        for core in plan_blocks((10, 10 * SPARE_BLOCKS), (10, 10))[0]:
            assembly.submit(decode, core, 0, 0)
        while len(most) < SPARE_BLOCKS:
            time.sleep(0.01)
        assembly.finish()
    assert most == [True] * SPARE_BLOCKS


@pytest.mark.parametrize("blocks", [2, 12])
def test_all_threads_decode_when_they_are_waited_for(blocks: int) -> None:
    """Each of two blocks goes on only when the other one is under way too."""
    both = threading.Barrier(2, timeout=30)

    def decode(bounds: Bounds) -> Found:
        both.wait()
        return Found(np.ones((bounds[2] - bounds[0], bounds[3] - bounds[1]), np.uint32))

    with Assembly((10, 10 * blocks), workers=2) as assembly:
        for core in plan_blocks((10, 10 * blocks), (10, 10))[0]:
            assembly.submit(decode, core, 0, 0)
        assert assembly.finish().max() == blocks


def test_failures_of_a_decoder_reach_the_caller() -> None:
    def failing(bounds: Bounds) -> Found:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        decode_in_blocks(failing, (50, 50), core_px=20, margin_px=5, max_margin_px=5, workers=2)


def test_an_empty_image_has_no_objects() -> None:
    found = decode_in_blocks(reader(np.zeros((60, 70), np.uint32)), (60, 70), core_px=20, margin_px=5, max_margin_px=5)
    assert found.shape == (60, 70)
    assert not found.any()


@pytest.mark.parametrize("kind", ["fluorescence_nuclei", "brightfield_tissue"])
def test_watershed_in_blocks_equals_whole(kind: str, rng: np.random.Generator) -> None:
    """Confluent and sparse cells with a noisy energy: the published decoder gives the same cells in blocks."""
    _, labels = draw_scene(kind, (400, 500), rng, diameter_px=24)
    energy = energy_of_labels(labels) + rng.normal(0, 0.05, labels.shape).astype(np.float32) * (labels > 0)
    boxes = []
    for label in range(1, int(labels.max()) + 1):
        y, x = np.nonzero(labels == label)
        if y.size and rng.random() < 0.9:
            boxes.append((y.min(), x.min(), y.max() + 1, x.max() + 1, rng.random()))
    known = np.array(boxes, np.float32)

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        y, x = (known[:, 0] + known[:, 2]) / 2, (known[:, 1] + known[:, 3]) / 2
        inside = known[(y >= y0) & (y < y1) & (x >= x0) & (x < x1)] - np.array([y0, x0, y0, x0, 0], np.float32)
        inside = inside[suppress_boxes(inside[:, :4], inside[:, 4], 0.3)]
        part = (slice(y0, y1), slice(x0, x1))
        foreground = (labels[part] > 0).astype(np.float32)
        found = two_step_watershed(
            foreground, energy[part], inside[:, :4], inside[:, 4], e1=0.8, e2=1.25, foreground_threshold=0.5
        )
        return Found(found)

    whole = decode((0, 0, *labels.shape)).labels
    assert whole.max() > 50
    found = decode_in_blocks(decode, labels.shape, core_px=130, margin_px=60, max_margin_px=120, workers=2)
    assert same_objects(found, whole)


def test_flows_in_blocks_equal_whole(rng: np.random.Generator) -> None:
    _, labels = draw_scene("phase_spread", (400, 500), rng, diameter_px=30)
    flow = flows_of_labels(labels) + rng.normal(0, 0.05, (2, *labels.shape)).astype(np.float32)
    foreground = (labels > 0).astype(np.float32)

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        part = foreground[y0:y1, x0:x1]
        found = segment_flows(
            part, np.zeros_like(part), flow[:, y0:y1, x0:x1], boundary_threshold=0.5, min_size_fraction=0.0
        )
        return Found(found)

    whole = decode((0, 0, *labels.shape)).labels
    assert whole.max() > 20
    found = decode_in_blocks(decode, labels.shape, core_px=130, margin_px=80, max_margin_px=160, workers=2)
    assert same_objects(found, whole)


@pytest.mark.parametrize(("core_px", "margin_px"), [(29, 71), (37, 61), (51, 67), (73, 81)])
def test_noisy_flows_of_tissue_in_blocks_equal_whole(core_px: int, margin_px: int) -> None:
    """Blocks at odd and even offsets: where many pixels end up between two seeds, every tie shows."""
    foreground, boundary, flow = exact_maps(np.pad(draw_layer(), 8))
    flow += np.random.default_rng(1).normal(0, 1, flow.shape).astype(np.float32)

    def decode(bounds: Bounds) -> Found:
        y0, x0, y1, x1 = bounds
        part = np.s_[..., y0:y1, x0:x1]
        settings = {"boundary_threshold": 0.5, "flow_threshold": 9.0, "min_size_fraction": 0.0}
        return Found(segment_flows(foreground[part], boundary[part], flow[part], **settings))  # type: ignore[arg-type]

    whole = decode((0, 0, *foreground.shape)).labels
    assert whole.max() > 50
    found = decode_in_blocks(
        decode, foreground.shape, core_px=core_px, margin_px=margin_px, max_margin_px=margin_px, workers=2
    )
    assert same_objects(found, whole)
