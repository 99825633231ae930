"""Cellpose models: what they say is decoded, mirrored and summed up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mosaicell.answers.branches import segment
from mosaicell.decoders import load_decoder
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.raw import Outputs
from mosaicell.postprocess.cells import Cells
from tests.test_flow_sinks import draw_cells, exact_maps
from tests.test_stardist import make_card

SETTINGS: dict[str, Any] = {
    "foreground_threshold": 0.5,
    "flow_threshold": 0.4,
    "steps": 200,
    "min_cell_px": 15,
    "min_size_fraction": 0.0,
    "max_hole_fraction": 1.0,
}


def answer_as_seen(batch: np.ndarray) -> Outputs:
    """Answer with what the picture holds, and with the means of its channels as style."""
    return batch, batch.mean((2, 3))


@pytest.mark.parametrize("window_px", [320, 128])
def test_an_answer_is_decoded_and_summed_up(window_px: int) -> None:
    labels = draw_cells("fluorescence_layer", 24, (288, 320))
    foreground, flow = exact_maps(labels)
    maps = np.concatenate([foreground[None], flow])
    card = replace(make_card(window_px), kind="cellpose", settings=SETTINGS)
    prediction = segment(maps, card, answer_as_seen, 2)
    assert score_image(labels, prediction.labels, [0.9])[0].f1 >= 0.98
    assert prediction.raw.maps.shape == (3, 288, 320)
    assert set(card.decoder.settings) == set(SETTINGS)
    if window_px == 320:
        np.testing.assert_allclose(prediction.raw.summary, maps.mean((1, 2)), atol=1e-6)


def test_the_summary_is_the_mean_over_tiles_in_batches_of_any_size() -> None:
    maps = np.zeros((3, 96, 200), np.float32)
    maps[0, :, 120:] = maps[1, :, :20] = 1
    card = replace(make_card(96), kind="cellpose", settings=SETTINGS)
    seen: list[np.ndarray] = []

    def run_model(batch: np.ndarray) -> Outputs:
        seen.extend(batch.mean((2, 3)))
        return answer_as_seen(batch)

    expected = None
    for size in (1, 2, 7):
        seen.clear()
        found = segment(maps, card, run_model, size).raw.summary
        assert len(seen) == 3
        np.testing.assert_allclose(found, np.mean(seen, axis=0), atol=1e-6)
        assert expected is None or np.array_equal(found, expected)
        expected = found


@pytest.mark.parametrize("axes", [(3,), (2,), (2, 3)])
def test_a_mirrored_answer_turned_back_is_that_of_the_picture(axes: tuple[int, ...]) -> None:
    decoder = load_decoder("cellpose")
    labels = draw_cells("fluorescence_layer", 25, seed=5)
    plain = np.concatenate([(labels > 0)[None], exact_maps(labels)[1]])
    flat = tuple(axis - 2 for axis in axes)
    mirrored = np.ascontiguousarray(np.flip(labels, flat))
    seen = np.concatenate([(mirrored > 0)[None], exact_maps(mirrored)[1]])[None].astype(np.float32)
    style = np.array([[0.6, 0.8]], np.float32)
    maps, turned_style = decoder.mirror((seen, style), axes, labels.shape)
    # the middle of a cell of even width lies a px to one side
    assert (np.abs(maps[0] - plain).max(0) < 0.3).mean() > 0.99
    assert (np.abs(seen[0] - plain).max(0) < 0.3).mean() < 0.9
    np.testing.assert_array_equal(turned_style, style)
    assert turned_style is not style
    np.testing.assert_array_equal(decoder.mirror((maps, style), axes, labels.shape)[0], seen)


def test_cells_are_described_by_their_foreground_and_flow() -> None:
    labels = draw_cells("fluorescence_layer", 25)
    foreground, flow = exact_maps(labels)
    decoder = load_decoder("cellpose")
    style = np.zeros((1, 4), np.float32)
    flow[:, labels == 2] *= -1
    (raw,) = decoder.read((np.concatenate([0.9 * foreground[None], flow])[None], style), SETTINGS)
    said = decoder.describe(Cells(labels), raw)
    np.testing.assert_allclose(said[1:, 0], 0.9, rtol=1e-5)
    errors = np.zeros(labels.max())
    errors[1] = 2
    np.testing.assert_allclose(said[1:, 1], errors, atol=0.01)


def test_a_card_may_leave_the_check_of_flows_out() -> None:
    labels = draw_cells("fluorescence_nuclei", 24)
    foreground, flow = exact_maps(labels)
    maps = np.concatenate([foreground[None], 0.2 * flow])
    card = replace(make_card(640), kind="cellpose", settings=SETTINGS)
    assert segment(maps, card, answer_as_seen, 1).labels.max() == 0
    without = replace(card, settings=SETTINGS | {"flow_threshold": None})
    assert segment(maps, without, answer_as_seen, 1).labels.max() > 0.9 * labels.max()
