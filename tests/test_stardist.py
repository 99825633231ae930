"""Rays to cells: exact answers give the cells back, in tiles, blocks and mirrored views as in the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cc3d
import cv2
import numpy as np
import pytest

from benchmarks.drawn_stars import object_probability_of_labels, rays_of_labels
from mosaicell.answers import slide
from mosaicell.answers.branches import Prediction, predict_raw, segment
from mosaicell.answers.merging import Sizes
from mosaicell.contrast.normalize import normalize
from mosaicell.decoders import load_decoder
from mosaicell.decoders.stardist import RAYS
from mosaicell.errors import OptionError
from mosaicell.evaluation.metrics import score_image
from mosaicell.networks.augmentation import VIEWS, average_views
from mosaicell.networks.manifest import Card
from mosaicell.networks.raw import Outputs, Raw
from mosaicell.networks.session import Session
from mosaicell.networks.views import Views
from mosaicell.postprocess.objects import keep_largest_pieces, relabel_sequential
from mosaicell.reading.pixels import ArrayPixels
from mosaicell.training.synthesis import draw_scene
from tests.models import write_star_model
from tests.test_blocks import same_objects

SETTINGS: dict[str, Any] = {
    "probability_threshold": 0.4,
    "nms_threshold": 0.4,
    "foreground_threshold": 0.5,
    "max_growth_px": 3,
    "min_cell_px": 5,
    "min_size_fraction": 0.0,
    "max_hole_fraction": 0.1,
}
DECODER = load_decoder("stardist")


def make_card(window_px: int = 640, **settings: float | None) -> Card:
    return Card(
        name="test",
        path=Path("test.onnx"),
        sha256="",
        kind="stardist",
        window_px=window_px,
        overlap_fraction=0.25,
        stride_px=32,
        percentiles=(0.0, 100.0),
        diameter_range_px=(1.0, 1000.0),
        diameter_target_px=35.0,
        scale_rule="full size",
        settings=SETTINGS | settings,
    )


def draw_cells(kind: str, diameter_px: float, shape: tuple[int, int], seed: int = 3) -> np.ndarray:
    _, labels = draw_scene(kind, shape, np.random.default_rng(seed), diameter_px=diameter_px)
    return keep_largest_pieces(labels, 5)[0]


def answer(labels: np.ndarray, noise: float = 0.0, rng: np.random.Generator | None = None, step_px: int = 2) -> Outputs:
    """Say what an exact network says of cells: maps (1, 2, y, x) and rays (1, 32, y / step_px, x / step_px)."""
    rows, columns = labels.shape[0] // step_px, labels.shape[1] // step_px
    places = step_px * np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    rays = rays_of_labels(labels, places, RAYS).T.reshape(RAYS, rows, columns)
    maps = np.stack([(labels > 0).astype(np.float32), object_probability_of_labels(labels)])
    if rng is not None:
        maps += np.array([cv2.GaussianBlur(rng.normal(0, 6 * noise, labels.shape), (0, 0), 1.5) for _ in maps])
        rays = (rays * rng.lognormal(0, noise, rays.shape)).astype(np.float32)
    return maps[None].astype(np.float32), rays[None]


def colour(labels: np.ndarray) -> np.ndarray:
    """Paint cells so that neighbours differ: uint8 (y, x), grey on black, and the ends of a stretch."""
    levels = 40 + 3 * (labels * 29 % 71)
    pixels = np.where(labels > 0, levels, 0).astype(np.uint8)
    pixels[0, :2] = 1, 255
    return pixels


class Seer:
    """A network for which each piece of one level of grey is a cell: it answers exactly for what it sees of them."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, batch: np.ndarray) -> Outputs:
        """Answer for a batch."""
        self.asked += len(batch)
        answers = []
        for image in batch:
            levels = np.rint(image[0] * 255).astype(np.uint32)
            answers.append(answer(cc3d.connected_components(levels, connectivity=4).astype(np.uint32)))
        maps, rays = zip(*answers, strict=True)
        return np.concatenate(maps), np.concatenate(rays)


def decode(outputs: Outputs, **settings: float | None) -> np.ndarray:
    chosen = SETTINGS | settings
    (raw,) = DECODER.read(outputs, chosen)
    return DECODER.decode(Raw(raw.maps, raw.candidates[DECODER.keep(raw.candidates, chosen)]), chosen)


@pytest.mark.parametrize("growth_px", [None, 0, 3])
@pytest.mark.parametrize(
    ("kind", "diameter_px"),
    [
        ("fluorescence_nuclei", 30),
        ("fluorescence_nuclei", 60),
        ("fluorescence_nuclei", 10),
        ("phase_round", 25),
    ],
)
def test_exact_answers_give_the_cells_back(kind: str, diameter_px: float, growth_px: int | None) -> None:
    labels = draw_cells(kind, diameter_px, (320, 320))
    assert labels.max() > 10
    found = decode(answer(labels), max_growth_px=growth_px)
    assert score_image(labels, found, [0.8])[0].f1 == 1


@pytest.mark.parametrize("step_px", [1, 4])
def test_the_step_of_the_grid_is_seen_from_the_rays(step_px: int) -> None:
    labels = draw_cells("fluorescence_nuclei", 30, (160, 192))
    assert score_image(labels, decode(answer(labels, step_px=step_px)), [0.8])[0].f1 == 1


def test_fitting_to_the_foreground_mends_noisy_rays(rng: np.random.Generator) -> None:
    labels = draw_cells("fluorescence_nuclei", 30, (320, 320))
    outputs = answer(labels, 0.1, rng)
    as_painted, fitted = (score_image(labels, decode(outputs, max_growth_px=px), [0.9])[0].f1 for px in (None, 3))
    assert fitted > as_painted + 0.2


def test_candidates_are_the_points_above_the_threshold_with_their_polygons() -> None:
    outputs = answer(draw_cells("fluorescence_nuclei", 30, (96, 160)))
    (raw,) = DECODER.read(outputs, SETTINGS)
    maps, rays = outputs[0][0], outputs[1][0]
    np.testing.assert_array_equal(raw.maps, maps)
    rows, columns = np.nonzero(maps[1, ::2, ::2] > 0.4)
    found = raw.candidates
    assert found.shape == (rows.size, 5 + DECODER.payload)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, 4], maps[1, 2 * rows, 2 * columns])
    np.testing.assert_array_equal(found[:, :2] + found[:, 5:7], np.stack([2 * rows, 2 * columns], 1) + 0.5)
    np.testing.assert_array_equal(found[:, 7:], rays[:, rows, columns].T)
    # the boxes hold the polygons, and no px too much: ray 0 runs right, 8 down, 16 left and 24 up
    centres = found[:, :2] + found[:, 5:7]
    for side, ray in ((3, 7), (2, 15)):
        assert (found[:, side] >= centres[:, side - 2] + found[:, ray]).all()
    for side, ray in ((1, 23), (0, 31)):
        assert (found[:, side] <= centres[:, side] - found[:, ray]).all()
    assert (np.hypot(*(found[:, 2:4] - found[:, :2]).T) < 4 * found[:, 7:].max(axis=1)).all()
    assert (found[:, :4] == np.round(found[:, :4])).all()


def test_a_shifted_box_carries_its_polygon() -> None:
    """Far out in a slide the polygon is the same to the last digit."""
    (raw,) = DECODER.read(answer(draw_cells("fluorescence_nuclei", 30, (96, 96))), SETTINGS)
    kept = raw.candidates[DECODER.keep(raw.candidates, SETTINGS)]
    near = DECODER.decode(Raw(raw.maps, kept), SETTINGS)
    moved = raw.candidates.copy()
    moved[:, :4] += np.array([90_000, 70_001, 90_000, 70_001], np.float32)
    np.testing.assert_array_equal(DECODER.keep(moved, SETTINGS), DECODER.keep(raw.candidates, SETTINGS))
    moved = moved[DECODER.keep(moved, SETTINGS)]
    moved[:, :4] -= np.array([90_000, 70_001, 90_000, 70_001], np.float32)
    np.testing.assert_array_equal(DECODER.decode(Raw(raw.maps, moved), SETTINGS), near)


def test_tiled_equals_whole() -> None:
    labels = draw_cells("fluorescence_nuclei", 24, (300, 340))
    image = np.repeat(colour(labels)[None].astype(np.float32) / 255, 3, 0)
    whole, tiled, batched = (
        segment(image, make_card(window_px), Seer(), batch) for window_px, batch in ((640, 1), (128, 1), (128, 5))
    )
    for prediction in (whole, tiled):
        assert score_image(labels, prediction.labels, [0.8])[0].f1 == 1
    np.testing.assert_array_equal(tiled.labels, batched.labels)
    assert score_image(whole.labels, tiled.labels, [0.9])[0].f1 == 1
    # those of cells that are mirrored into the padding among them
    assert len(whole.raw.candidates) > whole.labels.max()
    assert whole.raw.candidates.shape[1] == 5 + DECODER.payload
    assert whole.box_score > 0.9


def bands_of(array: np.ndarray, card: Card, batch: int = 1, workers: int = 2) -> np.ndarray:
    contrast = Views(ArrayPixels(array)).contrast(card.percentiles)
    branch = slide.Branch(card, Seer(), contrast, Sizes(1, 0.0))
    return slide.segment_bands(ArrayPixels(array), [branch], 1.0, None, batch, workers, skip_empty=False).labels


@pytest.mark.slow
def test_bands_equal_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cells in blocks of a slide as from whole maps, whatever the batch and the threads."""
    for setting, value in {
        "CORE_PX": (110, 150),
        "MAX_CORE_PX": (220, 300),
        "STRIP_PX": 320,
        "MARGIN_PX": 48,
        "MAX_MARGIN_PX": 96,
    }.items():
        monkeypatch.setattr(slide, setting, value)
    labels = draw_cells("fluorescence_nuclei", 24, (420, 460))
    array = np.repeat(colour(labels)[:, :, None], 3, axis=2)
    card = make_card(192)
    whole = segment(normalize(array, card.percentiles), card, Seer(), 1, 1.0).labels
    assert score_image(labels, whole, [0.8])[0].f1 == 1
    found = bands_of(array, card)
    assert same_objects(found, whole)
    assert np.array_equal(bands_of(array, card, batch=3, workers=4), found)


def draw_places(radius_px: float, shape: tuple[int, int], pitch_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw discs, and for each pixel where in its disc it lies, as `tests.models.write_star_model` takes it."""
    labels, image = np.zeros(shape, np.uint32), np.zeros((3, *shape), np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    for cy in range(pitch_px // 2, shape[0], pitch_px):
        for cx in range(pitch_px // 2, shape[1], pitch_px):
            inside = np.hypot(y - cy, x - cx) < radius_px
            labels[inside] = labels.max() + 1
            image[0, inside] = 1
            for channel, values, middle in ((1, x, cx), (2, y, cy)):
                image[channel, inside] = (values[inside] - middle) / radius_px
    return labels, image


@pytest.mark.parametrize("growth_px", [None, 2])
@pytest.mark.parametrize("window_px", [256, 128])
def test_a_model_file_is_read_and_decoded(tmp_path: Path, window_px: int, growth_px: int | None) -> None:
    """Discs of 31 px that nearly touch, in one tile and in nine."""
    labels, image = draw_places(15.6, (224, 256), 32)
    session = Session(write_star_model(tmp_path / "m.onnx", 15.6), "cpu", 1, 1.0)
    maps, rays = session.run(image[None])
    assert (maps.shape, rays.shape) == ((1, 2, 224, 256), (1, RAYS, 112, 128))
    # in the middle of a disc, 4 px right of it, 2 px below
    assert rays[0, :, 8, 8] == pytest.approx(15.6, abs=1e-4)
    assert rays[0, [0, 16], 8, 10] == pytest.approx([11.6, 19.6], abs=1e-4)
    assert rays[0, [8, 24], 9, 8] == pytest.approx([13.6, 17.6], abs=1e-4)
    found = segment(image, make_card(window_px, max_growth_px=growth_px), session.run, 2).labels
    scores = score_image(labels, found, [0.95])[0]
    assert scores.f1 == 1
    assert found.max() == labels.max() == 56


@pytest.mark.parametrize("step_px", [1, 2, 4])
@pytest.mark.parametrize("axes", VIEWS)
def test_a_mirrored_answer_is_turned_back(axes: tuple[int, ...], step_px: int) -> None:
    """Rays of the mirrored picture agree, in the middles of cells, with those of the picture."""
    labels = draw_cells("fluorescence_nuclei", 40, (160, 192))
    maps, rays = answer(labels, step_px=step_px)
    mirrored = answer(np.ascontiguousarray(np.flip(labels, tuple(axis - 2 for axis in axes))), step_px=step_px)
    turned_maps, turned_rays = DECODER.mirror(mirrored, axes, (160, 192))
    np.testing.assert_array_equal(turned_maps, maps)
    middles = maps[0, 1, ::step_px, ::step_px] > 0.5
    off_px = np.abs(turned_rays - rays)[0][:, middles]
    assert off_px.mean() < 0.15 * step_px
    assert np.quantile(off_px, 0.99) <= step_px
    if axes:
        # neither the picture alone nor the rays alone may be turned
        assert np.abs(mirrored[1] - rays)[0][:, middles].mean() > 2
        assert np.abs(np.flip(mirrored[1], axes) - rays)[0][:, middles].mean() > 0.5
    assert score_image(labels, decode((turned_maps, turned_rays)), [0.8])[0].f1 == 1


@pytest.mark.parametrize("axes", VIEWS)
def test_even_rays_turn_back_exactly(axes: tuple[int, ...]) -> None:
    """Distances to the sides of one large cell change evenly from point to point; the outermost points have no next."""
    rows, columns = np.mgrid[:40, :60]
    y, x = 2.0 * rows, 2.0 * columns
    rays = np.zeros((1, RAYS, 40, 60), np.float32)
    for ray, distance in ((0, 119.5 - x), (8, 79.5 - y), (16, x + 0.5), (24, y + 0.5)):
        rays[0, ray] = distance
    maps = np.zeros((1, 2, 80, 120), np.float32)
    # the sides lie even about the middle: the mirrored picture has the same rays
    _, turned = DECODER.mirror((maps, rays), axes, (80, 120))
    np.testing.assert_allclose(turned[..., 1:, 1:], rays[..., 1:, 1:], atol=1e-4)
    if axes:
        assert turned.base is None
        assert not np.array_equal(np.flip(rays, axes), rays)


def test_the_mean_of_all_views_finds_the_cells() -> None:
    labels = draw_cells("fluorescence_nuclei", 30, (192, 256))
    image = np.repeat(colour(labels)[None].astype(np.float32) / 255, 3, 0)
    seer = Seer()
    found = segment(image, make_card(), average_views(seer, DECODER), 1).labels
    assert seer.asked == len(VIEWS)
    assert score_image(labels, found, [0.8])[0].f1 == 1


def test_no_more_than_the_maps_and_the_candidates_is_held() -> None:
    labels = draw_cells("fluorescence_nuclei", 24, (300, 340))
    image = np.repeat(colour(labels)[None].astype(np.float32) / 255, 3, 0)
    raw = predict_raw(image, make_card(128), Seer(), 1, 1.0)
    assert raw.maps.shape == (2, 300, 340)
    assert labels.max() <= len(raw.candidates) < 2 * labels.max()


def test_the_surest_candidate_of_a_cell_stays_and_only_above_the_threshold() -> None:
    outputs = answer(draw_cells("fluorescence_nuclei", 30, (160, 160)))
    (raw,) = DECODER.read(outputs, SETTINGS)
    kept = DECODER.keep(raw.candidates, SETTINGS)
    assert 10 < len(kept) < len(raw.candidates) / 10
    assert DECODER.keep(raw.candidates[kept], SETTINGS).tolist() == list(range(len(kept)))
    strict = SETTINGS | {"probability_threshold": 0.95}
    assert len(DECODER.read(outputs, strict)[0].candidates) < len(raw.candidates)
    assert (raw.candidates[DECODER.keep(raw.candidates, strict), 4] > 0.95).all()
    assert DECODER.keep(raw.candidates, SETTINGS | {"probability_threshold": 2}).shape == (0,)


def test_nothing_in_nothing_out() -> None:
    prediction = segment(np.zeros((3, 64, 96), np.float32), make_card(), Seer(), 1)
    assert isinstance(prediction, Prediction)
    assert prediction.labels.shape == (64, 96)
    assert not prediction.labels.any()
    assert prediction.raw.candidates.shape == (0, 5 + DECODER.payload)


def test_a_resized_pass_gives_cells_in_px_of_the_image() -> None:
    labels = draw_cells("fluorescence_nuclei", 60, (320, 384))
    small = cv2.resize(labels.astype(np.float32), (192, 160), interpolation=cv2.INTER_NEAREST).astype(np.uint32)

    def network(batch: np.ndarray) -> Outputs:
        assert batch.shape[2:] == small.shape
        return answer(small)

    prediction = segment(np.zeros((3, 320, 384), np.float32), make_card(), network, 1, 0.5)
    assert prediction.labels.shape == labels.shape
    assert score_image(labels, prediction.labels, [0.8])[0].f1 == 1
    assert prediction.map_labels.shape == small.shape


@pytest.mark.parametrize("shape", [(RAYS, 16, 8), (16, 16, 16), (RAYS, 0, 0), (RAYS, 12, 12)])
def test_rays_that_are_not_on_the_grid_are_refused(shape: tuple[int, ...]) -> None:
    outputs = np.zeros((1, 2, 32, 32), np.float32), np.zeros((1, *shape), np.float32)
    with pytest.raises(OptionError, match="32 on a grid with the same step"):
        DECODER.read(outputs, SETTINGS)
    with pytest.raises(OptionError, match="32 on a grid with the same step"):
        DECODER.mirror(outputs, (3,), (32, 32))


def test_the_card_may_leave_growth_out() -> None:
    assert set(DECODER.nullable) == {"max_growth_px"}
    assert set(DECODER.settings) == set(SETTINGS)
    card = replace(make_card(), settings=SETTINGS | {"max_growth_px": None})
    labels = draw_cells("fluorescence_nuclei", 30, (96, 96))
    image = np.repeat(colour(labels)[None].astype(np.float32) / 255, 3, 0)
    assert relabel_sequential(segment(image, card, Seer(), 1).labels).max() == labels.max()
