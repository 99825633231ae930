"""Anchors: the sizes of the boxes as training sees them, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from mosaicell.training.anchors import cluster_anchors
from mosaicell.training.augment import AugmentOptions
from mosaicell.training.dataset import Sample
from mosaicell.training.sampling import SamplingOptions

#: every image in its own size
UNSCALED = AugmentOptions(free_scale_fraction=0, scale_jitter=1, diameter_px=(1.0, 1000.0))


def make_sample(sizes: list[tuple[float, float]], diameter_px: float = 30.0, modality: str = "grey") -> Sample:
    corners = np.arange(2 * len(sizes)).reshape(-1, 2)
    boxes = np.column_stack((corners, corners + np.asarray(sizes).reshape(-1, 2))).astype(np.int32)
    labels = np.zeros((1, 1), np.uint16)
    return Sample("a", modality, labels[..., None].astype(np.uint8), labels, boxes, np.ones(1), diameter_px)


def cluster(samples: list[Sample], augment: AugmentOptions = UNSCALED, seed: int = 1, **rest: int) -> np.ndarray:
    return cluster_anchors(samples, SamplingOptions(), augment, np.random.default_rng(seed), **rest)


def test_sizes_in_clear_groups_are_found_smallest_first() -> None:
    sizes = [(80, 60), (10, 20), (40, 40)]
    anchors = cluster([make_sample([size]) for size in sizes])
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(anchors, sorted(sizes), rtol=1e-5)


def test_an_anchor_is_the_geometric_mean_of_its_boxes() -> None:
    anchors = cluster([make_sample([(10, 10)]), make_sample([(40, 10)])], count=1, draws=4000)
    np.testing.assert_allclose(anchors, [[20, 10]], rtol=0.05)


def test_the_seed_decides(rng: np.random.Generator) -> None:
    samples = [make_sample(rng.uniform(8, 90, (30, 2)).tolist()) for _ in range(5)]
    options = AugmentOptions()
    first = cluster(samples, options)
    np.testing.assert_array_equal(first, cluster(samples, options))
    assert not np.array_equal(first, cluster(samples, options, seed=2))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_anchors_are_sorted_and_as_many_as_asked(count: int, rng: np.random.Generator) -> None:
    samples = [make_sample(rng.uniform(8, 90, (50, 2)).tolist())]
    anchors = cluster(samples, AugmentOptions(), count=count)
    assert anchors.shape == (count, 2)
    assert (np.diff(anchors.prod(1)) >= 0).all()
    assert anchors.min() > 0


def test_boxes_count_in_the_size_they_are_cropped_to() -> None:
    halved = AugmentOptions(free_scale_fraction=1, diameter_px=(15.0, 15.0))
    np.testing.assert_allclose(cluster([make_sample([(40, 20)])], halved), [[20, 10]] * 3, rtol=1e-5)


def test_images_that_are_never_drawn_do_not_count() -> None:
    samples = [make_sample([(40, 20)]), make_sample([(400, 200)], modality="brightfield")]
    sampling = SamplingOptions(modality_weights={"brightfield": 0.0})
    anchors = cluster_anchors(samples, sampling, UNSCALED, np.random.default_rng(1))
    np.testing.assert_allclose(anchors, [[40, 20]] * 3, rtol=1e-5)


def test_without_a_cell_there_is_no_anchor() -> None:
    with pytest.raises(ValueError, match="no cell"):
        cluster([make_sample([])])
