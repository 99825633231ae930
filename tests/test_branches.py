from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mosaicell.answers.branches import (
    Prediction,
    decode_part,
    foreground_confidence,
    predict_raw,
    segment,
    segment_view,
)
from mosaicell.answers.scale_rules import FIT, SIZE_MODEL, choose_scale, measure_misfit
from mosaicell.errors import OptionError
from mosaicell.networks.grid import Grid
from mosaicell.networks.manifest import Card
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.networks.size_model import SizeModel
from mosaicell.postprocess.energy import energy_of_labels
from mosaicell.postprocess.heat_flows import heat_flows

DECODER: dict[str, Any] = {
    "foreground_threshold": 0.5,
    "score_threshold": 0.2,
    "box_iou_threshold": 0.3,
    "contained_fraction": 0.8,
    "e1": 0.8,
    "e2": 1.25,
    "min_marker_px": 5,
    "min_unmarked_px": None,
    "min_cell_px": 10,
    "min_size_fraction": 0.0,
    "max_hole_fraction": 0.1,
    "max_energy_error": None,
}
FLOW_DECODER: dict[str, Any] = {
    "foreground_threshold": 0.5,
    "flow_threshold": 0.4,
    "steps": 200,
    "min_cell_px": 15,
    "min_size_fraction": 0.0,
    "max_hole_fraction": 1.0,
}


def make_card(window_px: int = 640, decoder: dict[str, Any] | None = None) -> Card:
    return Card(
        name="test",
        path=Path("test.onnx"),
        sha256="",
        kind="awf",
        window_px=window_px,
        overlap_fraction=0.25,
        stride_px=32,
        percentiles=(1.0, 99.0),
        diameter_range_px=(22.0, 50.0),
        diameter_target_px=35.0,
        scale_rule="boxes",
        settings=decoder or DECODER,
    )


def draw_discs(shape: tuple[int, int], radius: int, step: int) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    count = 0
    for y in range(step // 2, shape[0] - radius, step):
        for x in range(step // 2, shape[1] - radius, step):
            count += 1
            cv2.circle(labels, (x, y), radius, count, -1)
    return labels.astype(np.uint32)


class Oracle:
    """A network that reads the labels from the image's first channel and answers with the truth."""

    def __init__(self, box_score_by_width: dict[int, float] | None = None) -> None:
        self.widths: list[int] = []
        self.box_score_by_width = box_score_by_width or {}

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer for a batch."""
        self.widths.append(batch.shape[3])
        maps, boxes = [], []
        for image in batch:
            labels = np.rint(image[0] * 255).astype(np.uint32)
            maps.append(np.stack([(labels > 0) * np.float32(0.9), energy_of_labels(labels)]))
            score = self.box_score_by_width.get(batch.shape[3], 0.9)
            found = [(*_box(labels == k), score) for k in np.unique(labels[labels > 0])]
            boxes.append(np.array(found + [(0, 0, 1, 1, 0)] * (40 - len(found)), np.float32))
        return np.stack(maps), np.stack(boxes)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    y, x = np.nonzero(mask)
    return y.min(), x.min(), y.max() + 1, x.max() + 1


def as_image(labels: np.ndarray) -> np.ndarray:
    return np.repeat(labels[None].astype(np.float32) / 255, 3, 0)


def test_tiled_equals_whole_with_boxes() -> None:
    """Cells as large as the overlap, cut by every tile, come out as from one tile."""
    labels = draw_discs((300, 260), 14, 42)
    image = as_image(labels)
    whole = segment(image, make_card(640), Oracle(), 1)
    tiled = segment(image, make_card(128), Oracle(), 3)
    assert whole.labels.max() == labels.max()
    assert tiled.labels.max() == labels.max()
    assert ((whole.labels > 0) == (labels > 0)).all()
    assert np.mean(tiled.labels != whole.labels) < 0.01


class Wide(Oracle):
    """A network that sees everything a little further from the middle of its tile than it is."""

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer for a batch."""
        maps, boxes = super().__call__(batch)
        middles = (boxes[..., :2] + boxes[..., 2:4]) / 2
        outwards = np.sign(middles - np.array(batch.shape[2:]) / 2) * 1.5
        boxes[..., :4] += np.concatenate([outwards, outwards], axis=-1).astype(np.float32)
        return maps, boxes


def test_a_cell_that_two_tiles_leave_to_each_other_is_found_once() -> None:
    """In the middle of an overlap each tile places the box on the other one's side; no energy makes up for it."""
    card = make_card(64, {**DECODER, "e2": 100.0})
    labels = np.zeros((64, 112), np.uint8)
    for number, x in enumerate((20, 56, 92), start=1):
        cv2.circle(labels, (x, 32), 6, number, -1)
    network = Wide()
    found = segment(as_image(labels.astype(np.uint32)), card, network, 1, 1.0).labels
    assert network.widths == [64, 64]
    assert found.max() == 3
    assert ((found > 0) == (labels > 0)).all()


def test_cells_in_range_are_segmented_once_at_full_size() -> None:
    oracle = Oracle()
    prediction = segment(as_image(draw_discs((320, 320), 17, 60)), make_card(), oracle, 1)
    # the coarse pass of 80 px on a tile of 96; one of 40 px would be too small
    assert oracle.widths == [320, 96]
    assert prediction.scale == 1.0
    assert prediction.confidence == pytest.approx(0.9)
    assert prediction.box_score == pytest.approx(0.9)


def test_large_cells_are_reduced_and_come_back_at_full_size() -> None:
    labels = draw_discs((640, 640), 60, 200)
    oracle = Oracle()
    prediction = segment(as_image(labels), make_card(), oracle, 1)
    assert oracle.widths == [640, 160, 96, 192]
    assert prediction.scale == pytest.approx(35 / 120, rel=0.03)
    assert prediction.labels.shape == labels.shape
    assert prediction.labels.max() == labels.max()
    assert np.mean((prediction.labels > 0) != (labels > 0)) < 0.02


def test_resized_pass_with_less_sure_boxes_does_not_count() -> None:
    labels = draw_discs((640, 640), 60, 200)
    oracle = Oracle({640: 0.9, 192: 0.5})
    prediction = segment(as_image(labels), make_card(), oracle, 1)
    assert oracle.widths == [640, 160, 96, 192]
    assert prediction.scale == 1.0


def test_resized_pass_without_boxes_does_not_count() -> None:
    oracle = Oracle(dict.fromkeys((640, 160, 96, 192), 0.0))
    assert segment(as_image(draw_discs((640, 640), 60, 200)), make_card(), oracle, 1).scale == 1.0
    assert oracle.widths == [640, 160, 96, 192]


class Splitter(Oracle):
    """A network that sees stripes of the cells at full size, not quite surely."""

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer for a batch."""
        if batch.shape[3] < 640:
            return super().__call__(batch)
        columns = np.arange(batch.shape[3]) // 24
        pieces = np.where(columns % 2, np.round(batch * 255), 0).astype(np.uint32)
        pieces = np.where(pieces > 0, pieces * 8 + columns.astype(np.uint32) % 8, 0)
        return super().__call__(pieces.astype(np.float32) / 255)


@pytest.mark.parametrize(("step", "score", "found"), [(300, 0.6, True), (300, 0.88, False), (500, 0.6, False)])
def test_coarse_passes_find_cells_that_fall_apart_at_full_size(step: int, score: float, found: bool) -> None:
    """They do where their boxes are clearly surer and there is more than one cell or two."""
    labels = draw_discs((640, 640), 110, step)
    splitter = Splitter({640: score})
    prediction = segment(as_image(labels), make_card(), splitter, 1)
    assert splitter.widths[:3] == [640, 160, 96]
    if found:
        assert prediction.scale == pytest.approx(35 / 220, rel=0.05)
        assert prediction.labels.max() == labels.max() == 4
    else:
        # the diameter is that of the stripes
        assert prediction.scale > 0.3


def test_given_scale_is_used_as_it_is() -> None:
    oracle = Oracle()
    prediction = segment(as_image(draw_discs((640, 640), 60, 200)), make_card(), oracle, 1, 0.5)
    assert oracle.widths == [320]
    assert prediction.scale == 0.5


def test_cells_too_large_to_be_seen_at_full_size_are_found() -> None:
    labels = draw_discs((640, 640), 120, 400)
    oracle = Oracle()

    def blind_to_large_cells(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        maps, boxes = oracle(batch)
        return (maps, boxes) if batch.shape[3] < 640 else (maps * 0, boxes * 0)

    prediction = segment(as_image(labels), make_card(), blind_to_large_cells, 1)
    assert prediction.scale == 0.35
    assert prediction.labels.max() == labels.max()


def test_a_model_without_boxes_does_not_choose_a_scale() -> None:
    widths = []

    def network(batch: np.ndarray) -> tuple[np.ndarray, ...]:
        widths.append(batch.shape[3])
        return (np.concatenate((batch[:, :1] > 0, np.zeros_like(batch)), axis=1).astype(np.float32),)

    settings = {"boundary_threshold": 0.15, "flow_threshold": 9.0, "min_size_fraction": 0.0}
    card = replace(make_card(decoder=DECODER | settings), kind="omnipose", scale_rule="full size")
    image = as_image(draw_discs((640, 640), 60, 200))
    assert segment(image, card, network, 1).scale == 1.0
    assert widths == [640]
    assert segment(image, card, network, 1, 0.5).scale == 0.5
    assert widths == [640, 320]


def test_every_scale_has_a_view_of_its_own() -> None:
    """Small cells, of which a part is looked at enlarged: that pass counts, and its cells are those of the part."""
    labels = draw_discs((320, 320), 7, 40)
    asked: list[float] = []

    def view(scale: float) -> np.ndarray:
        asked.append(scale)
        return as_image(labels if scale <= 1 else labels[:160, :120])

    prediction = segment_view(view, make_card(), Oracle(), 1)
    assert asked[0] == 1.0
    assert asked[-1] == prediction.scale > 1.5
    assert prediction.labels.shape == (160, 120)
    assert prediction.map_labels.shape == prediction.raw.maps.shape[1:] > (240, 180)
    assert prediction.labels.max() == 12


def test_no_scale_is_larger_than_the_largest() -> None:
    labels = draw_discs((320, 320), 7, 40)
    card, asked = make_card(), list[float]()

    def view(scale: float) -> np.ndarray:
        asked.append(scale)
        return as_image(labels)

    assert segment_view(view, card, Oracle(), 1, None, 1.5).scale == 1.5
    assert max(asked) == 1.5
    assert segment_view(view, card, Oracle(), 1, 3.0, 1.5).scale == 1.5
    assert segment_view(view, card, Oracle(), 1, 1.2, 1.5).scale == 1.2


def test_debris_is_what_is_small_against_the_mean_cell_or_the_size_given() -> None:
    labels = draw_discs((320, 320), 17, 60)
    y, x = np.nonzero(labels == 3)
    labels[y[30:], x[30:]] = 0
    card = make_card(decoder=DECODER | {"min_size_fraction": 0.2})
    whole = segment(as_image(labels), card, Oracle(), 1)
    assert whole.labels.max() == labels.max() - 1
    assert 100 < whole.least_px < 200
    oracle = Oracle()
    raw = predict_raw(as_image(labels), card, oracle, 1, 1.0)
    kept = Raw(raw.maps, raw.candidates[card.keep(raw.candidates)])
    grid = Grid((320, 320), (320, 320))
    for least_px, count in ((20, labels.max()), (whole.least_px, labels.max() - 1), (10_000, 0)):
        found = decode_part(kept, card, grid, grid.whole, least_px)
        assert found.labels.max() == count
        assert found.least_px == least_px


def test_scale_rule() -> None:
    card = make_card()
    assert choose_scale(math.nan, (90, 1000), card) == 1.0
    assert choose_scale(math.nan, (92, 92), card) == 0.35
    assert choose_scale(22.0, (100, 100), card) == 1.0
    assert choose_scale(70.0, (10_000, 10_000), card) == 0.5
    assert choose_scale(17.5, (1000, 1000), card) == 2.0
    assert choose_scale(17.5, (20_000, 12_500), card) == 2.0
    assert choose_scale(5000.0, (10_000, 10_000), card) == 0.1
    assert choose_scale(2.0, (100, 100), card) == 3.0


class Stylist:
    """A network that answers with the flows of discs it is shown, and with a style that says one diameter."""

    def __init__(self, said_px: float) -> None:
        self.sides: list[int] = []
        self.style = np.array([math.log(said_px), 1.0], np.float32)

    def __call__(self, batch: np.ndarray) -> Outputs:
        """Answer for a batch."""
        self.sides.append(batch.shape[3])
        inside = (batch[:, 0] > 0.5).astype(np.uint8)
        labels = [cv2.connectedComponents(one)[1] for one in inside]
        maps = [np.concatenate([one[None], heat_flows(cells)]) for one, cells in zip(inside, labels, strict=True)]
        style = self.style / np.linalg.norm(self.style)
        return np.array(maps, np.float32), np.repeat(style[None], len(batch), 0)


class Doubter(Stylist):
    """A `Stylist` whose flows are as long as its confidence at that width of the image, 0.6 where nothing is said."""

    def __init__(self, confidence_by_width: dict[int, float]) -> None:
        super().__init__(35.0)
        self.confidence_by_width = confidence_by_width

    def __call__(self, batch: np.ndarray) -> Outputs:
        """Answer for a batch."""
        maps, style = super().__call__(batch)
        maps[:, 1:] *= self.confidence_by_width.get(batch.shape[3], 0.6)
        return maps, style


@pytest.mark.parametrize(
    ("radius", "confidences", "widths", "scale"),
    [
        # flows of full size fit, and the cells are of the right size
        (17, {640: 1.0}, [640, 320, 160], 1.0),
        # those at a quarter fit, and tell a scale that fits better still
        (60, {160: 0.9, 192: 1.0}, [640, 320, 160, 192], 35 / 121),
        # the scale that the diameter tells fits worse
        (60, {320: 1.0}, [640, 320, 160, 192], 0.5),
    ],
)
def test_models_without_boxes_go_by_how_well_their_maps_fit(
    radius: int, confidences: dict[int, float], widths: list[int], scale: float
) -> None:
    card = replace(make_card(), kind="cellpose", settings=FLOW_DECODER, scale_rule=FIT)
    discs = (draw_discs((640, 640), radius, 200) > 0).astype(np.float32)
    network = Doubter(confidences)
    prediction = segment(np.repeat(discs[None], 3, 0), card, network, 1)
    assert network.sides == widths
    assert prediction.scale == pytest.approx(scale, abs=0.01)
    assert prediction.labels.max() == 9
    assert prediction.seconds["network"] > 0


@pytest.mark.parametrize(("foreground", "colonies_count"), [(1.0, False), (0.75, False), (0.6, True)])
def test_colonies_that_fit_a_little_better_do_not_count_as_cells(foreground: float, colonies_count: bool) -> None:
    class Unsure(Doubter):
        def __call__(self, batch: np.ndarray) -> Outputs:
            maps, style = super().__call__(batch)
            maps[:, 0] *= foreground if batch.shape[3] == 640 else 1.0
            return maps, style

    card = replace(make_card(), kind="cellpose", settings=FLOW_DECODER, scale_rule=FIT)
    # two colonies of 100 cells of 24 px, between which a dim pixel is left: in the reduced image it is gone
    cell = np.pad(np.ones((24, 24), np.float32), (0, 1), constant_values=0.3)
    image = np.zeros((640, 640), np.float32)
    for at in (10, 340):
        image[at : at + 250, at : at + 250] = np.tile(cell, (10, 10))
    prediction = segment(np.repeat(image[None], 3, 0), card, Unsure({640: 0.98, 320: 1.0}), 1)
    assert (prediction.scale == 0.5, prediction.labels.max()) == ((True, 2) if colonies_count else (False, 200))


def test_a_misfit_is_that_of_the_pixels_of_two_cells_or_more() -> None:
    card = replace(make_card(), kind="cellpose", settings=FLOW_DECODER)
    labels = draw_discs((64, 128), 20, 60)
    flow = heat_flows(labels)
    flow[:, labels == 2] *= 0.5
    maps = np.concatenate([(labels > 0)[None], flow]).astype(np.float32)

    def misfit(shown: np.ndarray) -> tuple[int, float]:
        raw = Raw(maps, np.zeros((0, 5), np.float32))
        return measure_misfit(Prediction(shown, 0.0, raw=raw, map_labels=shown), card)

    missing, mean = misfit(labels)
    assert (missing, mean) == (0, pytest.approx(0.25, abs=0.02))
    assert misfit(np.where(labels == 1, labels, 0)) == (1, pytest.approx(0, abs=1e-6))
    assert misfit(np.zeros_like(labels))[0] == 2


def make_size_card(said_px: float) -> Card:
    """Return a card whose size model reads the diameter that `Stylist` says."""
    style = np.array([math.log(said_px), 1.0]) / math.hypot(math.log(said_px), 1)
    model = SizeModel(style, np.ones(2), math.log(said_px), (5.0, 400.0))
    return replace(make_card(), kind="cellpose", settings=FLOW_DECODER, scale_rule=SIZE_MODEL, size_model=model)


@pytest.mark.parametrize(
    ("said_px", "scales"),
    [
        # right: one pass at that scale
        (70.0, (1.0, 0.5)),
        # wrong: the cells of the first pass tell better
        (140.0, (1.0, 0.25, 0.5)),
        # within the range of the card, but the cells are not
        (35.0, (1.0, 0.5)),
        # so wrong that nothing is left
        (400.0, (1.0, 0.1)),
    ],
)
def test_the_size_model_and_then_the_cells_tell_the_scale(said_px: float, scales: tuple[float, ...]) -> None:
    discs = (draw_discs((320, 320), 35, 80) > 0).astype(np.float32)
    image = np.repeat(discs[None], 3, 0)
    if said_px == 400:
        # holes make discs of ten px vanish at a tenth of the size
        image *= (np.indices((320, 320)).sum(0) % 20 < 8).astype(np.float32)
    network = Stylist(said_px)
    prediction = segment(image, make_size_card(said_px), network, 1)
    np.testing.assert_allclose(network.sides, [max(64, 320 * scale) for scale in scales], atol=32)
    assert prediction.scale == pytest.approx(scales[-1], rel=0.05)
    assert prediction.labels.max() == (0 if said_px == 400 else 16)


def test_a_scale_that_is_too_large_is_tried_once() -> None:
    discs = (draw_discs((320, 320), 6, 40) > 0).astype(np.float32)
    network = Stylist(12.0)
    prediction = segment_view(lambda _: np.repeat(discs[None], 3, 0), make_size_card(12.0), network, 1, None, 1.5)
    assert prediction.scale == 1.5
    np.testing.assert_allclose(network.sides, [320, 480], atol=32)


def test_a_size_model_for_other_styles_is_refused() -> None:
    card = make_size_card(35.0)
    assert card.size_model is not None
    with pytest.raises(OptionError, match="styles of 2 numbers, the model answers with 3"):
        card.size_model.diameter_px(np.ones(3))


def test_nothing_in_nothing_out() -> None:
    prediction = segment(np.zeros((3, 50, 70), np.float32), make_card(), Oracle(), 1)
    assert prediction.labels.shape == (50, 70)
    assert not prediction.labels.any()
    assert prediction.confidence == prediction.box_score == 0.0


def test_boxes_are_kept_by_score_and_overlap() -> None:
    boxes = np.array(
        [[0, 0, 10, 10, 0.9], [1, 0, 11, 10, 0.8], [40, 40, 50, 50, 0.3], [80, 80, 90, 90, 0.1]], np.float32
    )
    assert sorted(make_card().keep(boxes)) == [0, 2]
    assert len(make_card().keep(np.empty((0, 5), np.float32))) == 0


def test_confidence_is_the_mean_over_the_foreground_only() -> None:
    foreground = np.array([[0.9, 0.7], [0.5, 0.1]], np.float32)
    assert foreground_confidence(foreground) == pytest.approx(0.8)
    assert foreground_confidence(np.zeros((3, 3), np.float32)) == 0.0


def test_a_prediction_keeps_maps_and_boxes_for_its_judge() -> None:
    labels = draw_discs((320, 320), 17, 60)
    prediction = segment(as_image(labels), make_card(), Oracle(), 1)
    assert prediction.raw.maps.shape == (2, 320, 320)
    np.testing.assert_array_equal(prediction.raw.maps[0] > 0.5, labels > 0)
    assert prediction.raw.candidates.shape == (labels.max(), 5)
