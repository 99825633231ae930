from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mosaicell.answers import slide
from mosaicell.answers.branches import segment
from mosaicell.answers.quality import Sizes
from mosaicell.contrast.normalize import normalize
from mosaicell.decoders import load_decoder
from mosaicell.decoders._mirroring import GRID_PX, flip_boxes, flip_maps
from mosaicell.decoders.omnipose import FLOW_CHANNELS
from mosaicell.errors import OptionError
from mosaicell.networks.augmentation import VIEWS, average_views
from mosaicell.networks.manifest import Card, read_card
from mosaicell.networks.raw import RunModel
from mosaicell.networks.session import Session
from mosaicell.networks.views import Views
from mosaicell.options import WEIGHTS_FOLDER
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.training.losses import DETECTION_STRIDE
from mosaicell.training.synthesis import draw_scene
from tests.test_blocks import same_objects


class Even:
    """A network that treats left and right, above and below alike: maps and boxes turn with its input."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.asked: list[np.ndarray] = []

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer for a batch."""
        self.asked.append(batch)
        slopes = np.stack(np.gradient(batch[:, 0], axis=(1, 2)), axis=1)
        if self.kind == "omnipose":
            return (np.concatenate((batch[:, 1:], slopes), axis=1),)
        return batch[:, :2], np.concatenate([self._boxes(batch, slopes, side) for side in (12.0, 30.0)], axis=1)

    @staticmethod
    def _boxes(batch: np.ndarray, slopes: np.ndarray, side: float) -> np.ndarray:
        """One candidate for each cell of the grid, shifted by the slope and as wide as the cell is bright."""
        count, _, height, width = batch.shape
        rows, columns = height // GRID_PX, width // GRID_PX
        means = np.concatenate((slopes, batch), axis=1)
        means = means.reshape(count, -1, rows, GRID_PX, columns, GRID_PX).mean(axis=(3, 5))
        y = (np.arange(rows)[:, None] + 0.5 + means[:, 0]) * GRID_PX
        x = (np.arange(columns) + 0.5 + means[:, 1]) * GRID_PX
        tall, wide = side * means[:, 2], side * means[:, 3]
        boxes = np.stack((y - tall, x - wide, y + tall, x + wide, means[:, 4]), axis=-1)
        return boxes.reshape(count, -1, 5).astype(np.float32)


class Lopsided:
    """A network whose answer depends on the column alone."""

    def run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Answer for a batch."""
        return np.broadcast_to(np.arange(batch.shape[3], dtype=np.float32), batch.shape), np.zeros((len(batch), 0, 5))


@pytest.mark.parametrize("kind", ["awf", "omnipose"])
@pytest.mark.parametrize("axes", VIEWS)
def test_every_view_of_an_even_network_says_the_same(
    kind: str, axes: tuple[int, ...], rng: np.random.Generator
) -> None:
    batch = rng.random((2, 3, 64, 96), np.float32)
    mirrored = load_decoder(kind).mirror(Even(kind).run(np.flip(batch, axes)), axes, (64, 96))
    for ours, theirs in zip(Even(kind).run(batch), mirrored, strict=True):
        assert np.allclose(theirs, ours, atol=1e-4)


@pytest.mark.parametrize("kind", ["awf", "omnipose"])
def test_an_even_network_answers_as_without_views(kind: str, rng: np.random.Generator) -> None:
    batch = rng.random((2, 3, 96, 64), np.float32)
    network = Even(kind)
    answer = average_views(network.run, load_decoder(kind))(batch)
    assert len(network.asked) == len(VIEWS)
    assert len({view.tobytes() for view in network.asked}) == len(VIEWS)
    for ours, theirs in zip(answer, network.run(batch), strict=True):
        assert ours.dtype == np.float32
        assert np.allclose(ours, theirs, atol=1e-4)


def test_an_uneven_network_answers_with_the_mean() -> None:
    maps, _ = average_views(Lopsided().run, load_decoder("awf"))(np.zeros((1, 3, 32, 64), np.float32))
    assert maps.shape == (1, 3, 32, 64)
    assert (maps == 31.5).all()


def test_a_flow_turns_round_along_the_mirrored_axis_alone() -> None:
    maps = np.zeros((1, 4, 32, 32), np.float32)
    maps[:, :, 3, 5] = (0.9, 0.1, 0.25, 0.75)
    across = flip_maps(maps, (3,), FLOW_CHANNELS)
    assert across[0, :, 3, 26].tolist() == pytest.approx([0.9, 0.1, 0.25, -0.75])
    down = flip_maps(maps, (2,), FLOW_CHANNELS)
    assert down[0, :, 28, 5].tolist() == pytest.approx([0.9, 0.1, -0.25, 0.75])
    both = flip_maps(maps, (2, 3), FLOW_CHANNELS)
    assert both[0, :, 28, 26].tolist() == pytest.approx([0.9, 0.1, -0.25, -0.75])
    assert flip_maps(maps, (3,))[0, 3, 3, 26] == np.float32(0.75)


def test_a_mirrored_box_lies_where_the_mirrored_cell_lies() -> None:
    boxes = np.zeros((1, 2 * 4 * 8, 5), np.float32)
    second_anchor, row, column = 32, 1, 2
    boxes[0, second_anchor + row * 8 + column] = (9, 17, 15, 27, 0.5)
    across = flip_boxes(boxes, (3,), (32, 64))
    assert across[0, second_anchor + row * 8 + 5].tolist() == [9, 37, 15, 47, 0.5]
    down = flip_boxes(boxes, (2,), (32, 64))
    assert down[0, second_anchor + 2 * 8 + column].tolist() == [17, 17, 23, 27, 0.5]


@pytest.mark.parametrize("axes", VIEWS)
def test_mirroring_twice_changes_nothing(axes: tuple[int, ...], rng: np.random.Generator) -> None:
    maps, (boxes,) = rng.random((2, 4, 32, 64), np.float32), rng.random((1, 2, 3 * 4 * 8, 5), np.float32)
    kept = maps.copy(), boxes.copy()
    assert np.array_equal(flip_maps(flip_maps(maps, axes, FLOW_CHANNELS), axes, FLOW_CHANNELS), maps)
    assert np.allclose(flip_boxes(flip_boxes(boxes, axes, (32, 64)), axes, (32, 64)), boxes, atol=1e-5)
    assert np.array_equal(maps, kept[0])
    assert np.array_equal(boxes, kept[1])


def test_the_batch_does_not_change_the_answer(rng: np.random.Generator) -> None:
    batch = rng.random((5, 3, 32, 64), np.float32)
    together = average_views(Even("awf").run, load_decoder("awf"))(batch)
    alone = [average_views(Even("awf").run, load_decoder("awf"))(batch[k : k + 1]) for k in range(5)]
    for ours, theirs in zip(together, zip(*alone, strict=True), strict=True):
        assert np.array_equal(ours, np.concatenate(theirs))


def test_boxes_off_the_grid_are_refused() -> None:
    with pytest.raises(OptionError, match=r"33 candidate boxes .* 4 x 8 cells .* without --tta"):
        flip_boxes(np.zeros((1, 33, 5), np.float32), (3,), (32, 64))


def load(name: str) -> tuple[Card, RunModel]:
    card = read_card(name, WEIGHTS_FOLDER)
    return card, average_views(Session(card.path, "cpu", 1, 1.0).run, card.decoder)


def test_the_shipped_models_boxes_lie_on_the_grid(rng: np.random.Generator) -> None:
    """A centre lies in its cell of the grid or up to half a cell outside, and so does the mean of the right ones."""
    assert GRID_PX == DETECTION_STRIDE
    _, run_model = load("awf-grey")
    _, boxes = run_model(rng.random((1, 3, 96, 160), np.float32))
    centres = ((boxes[0, :, :2] + boxes[0, :, 2:4]) / 2).reshape(-1, 12, 20, 2) / GRID_PX
    cells = np.stack(np.meshgrid(np.arange(12), np.arange(20), indexing="ij"), axis=-1)
    assert len(centres) == 3
    assert (np.abs(centres - cells - 0.5) <= 1.001).all()


def bands_of(array: np.ndarray, card: Card, run_model: RunModel, batch: int = 1, workers: int = 2) -> np.ndarray:
    contrast = Views(ArrayPixels(array)).contrast(card.percentiles)
    branch = slide.Branch(card, run_model, contrast, Sizes(1, 0.0))
    return slide.segment_bands(ArrayPixels(array), [branch], 1.0, None, batch, workers, skip_empty=False).labels


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [("fluorescence_nuclei", "awf-fluorescence"), ("phase_round", "omnipose"), ("phase_spread", "omnipose")],
)
def test_bands_equal_whole(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells in blocks of a slide as from whole maps, whatever the batch and the threads."""
    for setting, value in {
        "CORE_PX": (150, 200),
        "MAX_CORE_PX": (300, 400),
        "STRIP_PX": 450,
        "MARGIN_PX": 64,
        "MAX_MARGIN_PX": 128,
    }.items():
        monkeypatch.setattr(slide, setting, value)
    array, _ = draw_scene(kind, (600, 800), np.random.default_rng(5), diameter_px=30)
    card, run_model = load(name)
    card = replace(card, settings={**card.settings, "min_size_fraction": 0.0})
    whole = segment(normalize(array, card.percentiles), card, run_model, 1, 1.0).labels
    assert whole.max() > 100
    found = bands_of(array, card, run_model)
    assert same_objects(found, whole)
    assert np.array_equal(bands_of(array, card, run_model, batch=3, workers=4), found)
