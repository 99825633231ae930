"""How large an image may be."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from mosaicell.answers.scale_rules import choose_scale
from mosaicell.answers.scale_search import scales_around
from mosaicell.errors import ImageError
from mosaicell.machine.limits import MAX_ENLARGED_PX, TTA_TILE_BYTES, Limits, needed_bytes, seen_shape
from mosaicell.networks.views import Views
from mosaicell.reading.pixels import ArrayPixels
from tests.test_branches import make_card


def test_pixels_are_limited() -> None:
    Limits(max_pixels=12).check_image((3, 4), 12)
    with pytest.raises(ImageError, match=r"has 4 x 4 pixels; allowed are 12 in all \(--max-megapixels\)"):
        Limits(max_pixels=12).check_image((4, 4), 16)


def test_memory_is_limited() -> None:
    needed = needed_bytes((2500, 4000), 30_000_000)
    Limits(memory_bytes=needed).check_image((2500, 4000), 30_000_000)
    with pytest.raises(ImageError, match=r"needs about 1\.2 GB of memory, 0\.9 GB are available"):
        Limits(memory_bytes=900_000_000).check_image((2500, 4000), 30_000_000)


def test_fifty_megapixels_fit_into_two_gigabytes() -> None:
    """The container promises it; the program and its threads have to fit beside the image."""
    assert needed_bytes((5000, 10_000), 50_000_000 * 8) < 1.9e9


def test_no_image_needs_more_than_a_larger_one() -> None:
    """The step between the whole and bands is no more than a megapixel's own."""
    sides = [(1000, 1000 * megapixels) for megapixels in range(1, 40)]
    estimates = [needed_bytes(shape_px, 3 * math.prod(shape_px)) for shape_px in sides]
    steps = [after - before for before, after in pairwise(estimates)]
    assert min(steps) > 0
    assert max(steps) < 0.1e9


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_estimate_grows_with_the_image(workers: int, batch_size: int) -> None:
    for sides in ([1, 100, 1000, 2000, 2800], [2900, 4000, 10_000, 30_000]):
        estimates = [needed_bytes((n, n), n * n, batch_size=batch_size, workers=workers) for n in sides]
        assert estimates == sorted(estimates)
    assert needed_bytes((10**4, 10**4), 3 * 10**8) > needed_bytes((10**4, 10**4), 10**8)


@pytest.mark.parametrize(
    "shape_px", [(1, 1), (300, 400), (667, 666), (1000, 1000), (500, 7000), (2000, 2100), (2000, 3900)]
)
def test_no_search_for_a_scale_shows_the_networks_more_than_is_reckoned_with(shape_px: tuple[int, int]) -> None:
    card = make_card()
    scales = [choose_scale(diameter, shape_px, card) for diameter in (1.0, 5.0, 12.0, 20.0, 30.0, 60.0, math.nan)]
    scales += [found for scale in scales for found in scales_around(scale, shape_px)]
    height, width = seen_shape(shape_px)
    views = Views(ArrayPixels(np.zeros((*shape_px, 1), np.uint8)))
    held = [scale for scale in scales if views.hold(scale)]
    for scale in held:
        assert round(shape_px[0] * scale) <= height
        assert round(shape_px[1] * scale) <= width
    assert max(held) == 1 or height * width <= max(MAX_ENLARGED_PX * 1.01, 9)
    # at other scales a mosaic is seen, and then bands
    for scale in set(scales) - set(held):
        assert views.at(scale, (1.0, 99.0))[0].size * scale**2 <= MAX_ENLARGED_PX


#: peaks of `predict.py --report --threads 2` in GB, drawn nuclei 26 px across or, enlarged, 8 px, read by
#: evaluation.contestant: (height, width), tiles per network call, `--tta`
MEASURED_GB = {
    ((640, 640), 1, False): 0.41,
    ((600, 650), 8, False): 0.57,
    ((1000, 1000), 1, False): 0.53,
    ((1000, 1000), 4, False): 0.53,
    ((1000, 1000), 8, False): 1.16,
    ((640, 4000), 1, False): 0.48,
    ((640, 4000), 2, False): 0.69,
    ((640, 4000), 4, False): 1.01,
    ((640, 4000), 8, False): 1.34,
    ((2000, 2000), 1, False): 0.58,
    ((2000, 2000), 8, False): 1.21,
    ((2800, 2800), 1, False): 1.01,
    ((1000, 1000), 4, True): 1.27,
    ((2000, 2000), 1, True): 0.60,
    ((4100, 4100), 1, False): 0.56,
    ((4100, 4100), 8, False): 1.24,
}


@pytest.mark.parametrize(("shape_px", "batch_size", "tta"), MEASURED_GB)
def test_the_estimate_is_above_what_was_measured(shape_px: tuple[int, int], batch_size: int, tta: bool) -> None:
    needed = needed_bytes(shape_px, 3 * math.prod(shape_px), batch_size=batch_size, tta=tta, workers=2)
    assert needed > 1.1e9 * MEASURED_GB[shape_px, batch_size, tta]


def test_no_more_tiles_are_reckoned_with_than_a_row_has() -> None:
    low = (8000, 500)
    assert needed_bytes(low, 0, batch_size=8) == needed_bytes(low, 0, batch_size=1)
    row = needed_bytes((1000, 4000), 0, batch_size=64)
    assert row == needed_bytes((1000, 4000), 0, batch_size=8) > needed_bytes((1000, 4000), 0, batch_size=4)


@pytest.mark.parametrize("networks", [2, 4])
def test_the_limits_know_the_batch_size_and_the_networks(networks: int) -> None:
    shape_px = (2000, 2000)
    room = needed_bytes(shape_px, 0, batch_size=4, networks=networks)
    Limits(memory_bytes=room, batch_size=4, networks=networks).check_image(shape_px, 0)
    with pytest.raises(ImageError, match="GB of memory"):
        Limits(memory_bytes=room - 1, batch_size=4, networks=networks).check_image(shape_px, 0)


def test_augmentation_takes_memory_for_each_tile_of_a_call() -> None:
    for batch_size in (1, 4):
        plain, augmented = (needed_bytes((2000, 2000), 0, batch_size=batch_size, tta=tta) for tta in (False, True))
        assert augmented - plain == batch_size * TTA_TILE_BYTES


def test_every_network_keeps_the_memory_of_a_call() -> None:
    """Images of three modalities, 1000 px a side, four tiles at once: 0.92 GB measured, 0.53 for one modality."""
    few, many = (needed_bytes((1000, 1000), 3 * 10**6, batch_size=4, networks=n) for n in (2, 4))
    assert many - few > 0.39e9
    assert many > 1.1 * 0.92e9


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_slide_is_decoded_on_as_many_threads_as_memory_allows(batch_size: int) -> None:
    shape_px, samples = (10**4, 10**4), 3 * 10**8
    for most in (1, 2, 8):
        assert Limits().slide_workers(shape_px, samples, most) == most
        for spare in (0, 3):
            room = needed_bytes(shape_px, samples, batch_size=batch_size, workers=spare)
            limits = Limits(memory_bytes=room, batch_size=batch_size)
            assert limits.slide_workers(shape_px, samples, most) == max(1, min(spare, most))
