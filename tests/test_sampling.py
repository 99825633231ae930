"""Sampling: the shares of the sources, what is held out, mining by loss, and batches of crops."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from mosaicell.errors import OptionError
from mosaicell.training import sampling as sampling_module
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.dataset import Sample
from mosaicell.training.recipe import read_recipe
from mosaicell.training.sampling import DRAWN, MINING_RANGE, Batch, CropStream, SamplingOptions, draw_weights, mine
from mosaicell.training.targets import Targets
from tests.samples import draw_grid, make_sample


def test_sources_share_by_the_power_of_their_size() -> None:
    labels = draw_grid(50)
    samples = [make_sample(labels, source) for source in "aaaaaaaaab"]
    for power, share in ((1.0, 9 / 10), (0.5, 3 / 4), (0.0, 1 / 2)):
        weights = draw_weights(samples, SamplingOptions(source_power=power))
        assert weights.sum() == pytest.approx(1)
        assert weights[:9].sum() == pytest.approx(share)
        np.testing.assert_allclose(weights[:9], weights[0])


def test_modalities_have_their_factor() -> None:
    labels = draw_grid(50)
    samples = [make_sample(labels, "a", "grey"), make_sample(labels, "a", "fluorescence")]
    weights = draw_weights(samples, SamplingOptions(modality_weights={"grey": 3.0}))
    np.testing.assert_allclose(weights, [0.75, 0.25])
    with pytest.raises(ValueError, match="no training image is left"):
        draw_weights(samples, SamplingOptions(modality_weights={"grey": 0.0, "fluorescence": 0.0}))


def test_held_out_sources_are_not_drawn() -> None:
    samples = [make_sample(draw_grid(50), source) for source in ("a/grey", "a/fluorescence", "b/grey")]
    np.testing.assert_allclose(draw_weights(samples, SamplingOptions(held_out=("a",))), [0, 0, 1])
    np.testing.assert_allclose(draw_weights(samples, SamplingOptions(held_out=("a/grey",))), [0, 0.5, 0.5])
    with pytest.raises(OptionError, match="held_out names sources without images: c"):
        draw_weights(samples, SamplingOptions(held_out=("b", "c")))
    with pytest.raises(OptionError, match="no training image is left"):
        draw_weights(samples, SamplingOptions(held_out=("a", "b")))


def test_images_of_other_classes_are_not_drawn() -> None:
    sample = make_sample(draw_grid(50))
    samples = [
        *(
            replace(sample, source=source, low_level_class=index)
            for source, index in zip("aaab", (0, 1, 1, 2), strict=True)
        ),
        replace(sample, source="new", pseudo=True, low_level_class=2),
        replace(sample, source="new", pseudo=True, low_level_class=3),
    ]
    for classes, expected in (
        ((0,), [1, 0, 0, 0, 0, 0]),
        ((1,), [0, 0.5, 0.5, 0, 0, 0]),
        ((2,), [0, 0, 0, 0.5, 0.5, 0]),
    ):
        options = SamplingOptions(classes=classes, pseudo_fraction=0.5)
        np.testing.assert_allclose(draw_weights(samples, options), expected)
    # a source counts by its images of the classes: one of a, one of b
    both = draw_weights(samples[:4], SamplingOptions(classes=(0, 2), source_power=1.0))
    np.testing.assert_allclose(both, [0.5, 0, 0, 0.5])
    with pytest.raises(OptionError, match=r"no training image is left .* the classes \(3,\)"):
        draw_weights(samples, SamplingOptions(classes=(3,)))
    with pytest.raises(OptionError, match=r"classes \(1, 4\); known are 0 to 3: one channel, grey"):
        draw_weights(samples, SamplingOptions(classes=(1, 4)))


def test_images_labelled_by_a_model_share_their_fraction() -> None:
    pseudo = replace(make_sample(draw_grid(50), "new"), pseudo=True)
    samples = [make_sample(draw_grid(50)), pseudo, pseudo]
    np.testing.assert_allclose(draw_weights(samples, SamplingOptions(pseudo_fraction=0.4)), [0.6, 0.2, 0.2])
    np.testing.assert_allclose(draw_weights(samples[:1], SamplingOptions(pseudo_fraction=0.4)), [1])


def test_mining_draws_by_loss_within_bounds() -> None:
    weights = np.array([0.4, 0.4, 0.1, 0.1])
    unknown = np.full(4, np.nan)
    np.testing.assert_array_equal(mine(weights, unknown, 1.0), weights)
    np.testing.assert_array_equal(mine(weights, np.arange(4.0), 0.0), weights)
    mined = mine(weights, np.array([2.0, 1.0, 1.5, np.nan]), 1.0)
    assert mined.sum() == pytest.approx(1)
    assert mined[0] / mined[1] == pytest.approx(2)
    # the mean loss is 1.5, so the third counts as one that was not drawn yet
    assert mined[2] == pytest.approx(mined[3])
    extreme = mine(np.full(3, 1 / 3), np.array([0.0, 1.0, 100.0]), 2.0)
    assert extreme[2] / extreme[0] == pytest.approx(MINING_RANGE[1] / MINING_RANGE[0])


def test_the_loss_of_an_image_is_a_running_mean() -> None:
    stream = make_stream()
    stream.note_losses(torch.tensor([1, DRAWN]), torch.tensor([2.0, 9.0]))
    assert stream.losses[0].isnan()
    assert stream.losses[1] == 2
    stream.note_losses(torch.tensor([1]), torch.tensor([1.0]))
    assert 1 < stream.losses[1] < 2


def test_a_hard_image_is_drawn_more_often() -> None:
    def count_first(power: float) -> int:
        stream = make_stream(source_power=1.0, mining_power=power)
        stream.note_losses(torch.tensor([0, 1]), torch.tensor([4.0, 1.0]))
        return sum(int((batch.indices == 0).sum()) for batch in islice(stream, 40))

    assert count_first(0.0) < 80 < count_first(1.0)


def make_targets(labels: np.ndarray, areas: np.ndarray) -> Targets:
    return read_recipe("awf-grey").make_targets(labels, areas)


def make_stream(seed: tuple[int, ...] = (1, 0), **sampling: object) -> CropStream:
    samples = [make_sample(draw_grid(200)), make_sample(np.zeros((80, 80), np.uint16), "b")]
    return CropStream(samples, SamplingOptions(**sampling), AugmentOptions(crop_px=64), make_targets, 3, seed)  # type: ignore[arg-type]


def test_batches_hold_images_maps_and_boxes_with_their_image() -> None:
    for images, targets, indices in islice(make_stream(), 4):
        pixels, boxes = targets["pixels"], targets["boxes"]
        assert images.shape == (3, 3, 64, 64)
        assert pixels.shape == (3, 2, 64, 64)
        assert boxes.shape[1] == 5
        assert set(indices.tolist()) <= {0, 1}
        assert {tensor.dtype for tensor in (images, pixels, boxes)} == {images.new_zeros(()).float().dtype}
        assert 0 <= images.min() <= images.max() <= 1
        for index in range(3):
            mine = boxes[boxes[:, 0] == index, 1:].long().tolist()
            assert all(pixels[index, 0, y0:y1, x0:x1].any() for y0, x0, y1, x1 in mine)
            if not pixels[index, 0].any():
                assert mine == []


def all_tensors(batch: Batch) -> list[Tensor]:
    return [batch.images, *batch.targets.values(), batch.indices]


@pytest.mark.parametrize("synthetic_fraction", [0.0, 0.5])
def test_the_seed_decides_the_batches(synthetic_fraction: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling_module, "SCENE_PX", 64)
    monkeypatch.setattr(sampling_module, "MIN_SCENES", 1)
    stream = make_stream((4, 100), synthetic_fraction=synthetic_fraction)
    first = list(islice(stream, 3))
    for repeated in (stream, make_stream((4, 100), synthetic_fraction=synthetic_fraction)):
        for one, two in zip(first, islice(repeated, 3), strict=True):
            for a, b in zip(all_tensors(one), all_tensors(two), strict=True):
                assert torch.equal(a, b)
    other = next(iter(make_stream((4, 101), synthetic_fraction=synthetic_fraction)))
    assert not (other[0] == first[0][0]).all()


def test_scenes_are_drawn_by_their_share_and_cropped_more_than_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def draw(kind: str, size: int, rng: np.random.Generator) -> Sample:
        drawn.append(kind)
        return make_sample(draw_grid(100))

    monkeypatch.setattr(sampling_module, "synthetic_sample", draw)
    monkeypatch.setattr(sampling_module, "MIN_SCENES", 5)
    scenes = ("dic_yeast", "phase_rods")
    next(iter(make_stream(synthetic_fraction=0.0, synthetic_scenes=scenes)))
    assert drawn == []
    for _ in islice(make_stream(synthetic_fraction=1.0, synthetic_scenes=scenes), 20):
        pass
    # 60 crops: all of the first 5, then about a third
    assert 10 < len(drawn) < 50
    assert set(drawn) == set(scenes)


def test_empty_fields_have_their_share_beside_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling_module, "SCENE_PX", 64)
    monkeypatch.setattr(sampling_module, "synthetic_sample", lambda kind, size, rng: make_sample(draw_grid(100)))
    stream = make_stream(empty_fraction=0.25, synthetic_fraction=0.25)
    rng = np.random.default_rng(5)
    drawn = [stream._draw_sample(stream.weights, rng) for _ in range(400)]
    shares = [sum(sample.source == "empty" for _, sample in drawn), sum(index != DRAWN for index, _ in drawn)]
    assert shares[0] == pytest.approx(100, abs=25)
    assert shares[1] == pytest.approx(200, abs=30)
    empty = [sample for _, sample in drawn if sample.source == "empty"]
    assert not any(sample.labels.any() or len(sample.boxes) for sample in empty)
    # the harder ones: noise over the whole range
    spans = np.array([np.ptp(np.percentile(sample.image, (2, 98))) for sample in empty])
    assert 0.2 < np.mean(spans > 200) < 0.9
