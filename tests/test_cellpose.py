"""Cellpose models: the network, what it is asked for, and how its answers are decoded, mirrored and summed up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mosaicell.answers.branches import segment
from mosaicell.decoders import load_decoder
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.manifest import read_card
from mosaicell.networks.raw import Outputs
from mosaicell.postprocess.cells import Cells
from mosaicell.training.export import Exported, write_card
from mosaicell.training.kinds import load_kind
from mosaicell.training.networks.cellpose import (
    AwfCellposeNetwork,
    CellposeNetwork,
    GreenBlueCellposeNetwork,
    MergedCellposeNetwork,
    pick_channels,
    style_of,
)
from mosaicell.training.recipe import read_recipe
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


def test_the_network_has_the_size_of_the_paper() -> None:
    """6.6 million: 5,704 fewer than the published code, whose convolutions have biases beside the normalisation."""
    assert sum(values.numel() for values in CellposeNetwork().parameters()) == 6_595_139


def test_grey_is_shown_beside_nothing_and_colour_as_green_and_blue(rng: np.random.Generator) -> None:
    colour = torch.from_numpy(rng.random((1, 3, 8, 8), np.float32))
    grey = colour[:, :1].repeat(1, 3, 1, 1)
    # of a batch each picture counts by itself, and one pixel with a colour is enough
    tinted = grey.clone()
    tinted[0, 0, 3, 4] += 0.1
    shown = pick_channels(torch.cat((colour, grey, tinted)))
    torch.testing.assert_close(shown[0], colour[0, 1:])
    torch.testing.assert_close(shown[1], torch.stack((grey[0, 0], torch.zeros(8, 8))))
    torch.testing.assert_close(shown[2], tinted[0, 1:])


def test_the_awf_body_is_shown_two_channels(rng: np.random.Generator) -> None:
    red, green, blue = torch.from_numpy(rng.random((3, 1, 1, 32, 32), np.float32))
    shown = {
        GreenBlueCellposeNetwork: ((green, green, blue), (green, green, torch.zeros_like(green))),
        MergedCellposeNetwork: (((red + green) / 2, (red + green) / 2, (red + blue) / 2), (green, green, green)),
    }
    whole = AwfCellposeNetwork(width=0.125).eval()
    for network_class, (colour, grey) in shown.items():
        network = network_class(width=0.125).eval()
        network.load_state_dict(whole.state_dict())
        for seen, image in ((colour, (red, green, blue)), (grey, (green, green, green))):
            torch.testing.assert_close(network(torch.cat(image, 1)), whole(torch.cat(seen, 1)))


def test_the_style_says_what_is_there_and_not_how_much() -> None:
    features = torch.rand(2, 5, 6, 7)
    style = style_of(features)
    torch.testing.assert_close(style.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(style_of(3 * features), style)
    torch.testing.assert_close(style_of(features.flip(2)), style)
    assert not style_of(torch.zeros(1, 5, 2, 2)).any()


def test_all_outputs_depend_on_skips_and_style() -> None:
    """Each scale of the encoder, and each matrix of the style, has a share in the answer."""
    torch.manual_seed(2)
    network = CellposeNetwork(width=0.25)
    pixels, style = network(torch.rand(2, 3, 64, 96))
    assert pixels.shape == (2, 3, 64, 96)
    assert style.shape == (2, 64)
    pixels.square().sum().backward()
    for name, values in network.named_parameters():
        assert values.grad is not None, name
        assert values.grad.abs().max() > 0, name


@pytest.mark.parametrize("body", ["cellpose", "awf"])
def test_exported_flows_have_their_own_length(body: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(f"[network]\nkind = 'cellpose'\nwidth = 0.125\nbody = '{body}'\n", "utf-8")
    recipe = read_recipe(str(tmp_path / "tiny.toml"))
    kind = load_kind("cellpose")
    network = kind.build_network(recipe).eval()
    head = kind.make_head(network, recipe, torch.zeros(0, 2))
    with torch.no_grad():
        pixels, style = network(torch.rand(1, 3, 64, 64))
        maps, said = head((pixels, style))
    torch.testing.assert_close(maps[:, 1:], pixels[:, 1:] / 5)
    torch.testing.assert_close(maps[:, :1], pixels[:, :1].sigmoid())
    torch.testing.assert_close(said, style)


def test_tiles_in_a_new_card_are_larger_than_those_of_the_paper(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text("[network]\nkind = 'cellpose'\nwidth = 0.125\n", "utf-8")
    recipe = read_recipe(str(tmp_path / "tiny.toml"))
    model = tmp_path / "tiny.onnx"
    model.touch()
    write_card(recipe, Exported(recipe.build_network(), recipe, torch.zeros(0, 2), "cellpose"), model, tmp_path, 1, 1.0)
    card = read_card("tiny", tmp_path)
    assert (card.window_px, card.overlap_fraction) == (512, 0.125)
    assert set(card.settings) == set(card.decoder.settings)
