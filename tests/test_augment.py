"""Random crops: image and labels stay registered, photometry stays in range, seeds decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mosaicell.training.augment import AugmentOptions, change_photometry, crop_matrix, draw_scale, warp_crop

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
#: photometry that only changes contrast, brightness and gamma
SMOOTH = AugmentOptions(
    grey_probability=0,
    invert_probability=0,
    blur_probability=0,
    noise_probability=0,
    shuffle_probability=0,
    light_probability=0,
    haze_probability=0,
    coarse_probability=0,
)


def draw_discs(shape: tuple[int, int], pitch: int = 70, radius: int = 24) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    number = rows // pitch * (shape[1] // pitch + 1) + columns // pitch + 1
    inside = (rows % pitch - pitch // 2) ** 2 + (columns % pitch - pitch // 2) ** 2 < radius**2
    return np.where(inside, number, 0).astype(np.uint16)


def draw_image(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_identity_returns_image_and_labels(channels: int, rng: np.random.Generator) -> None:
    image, labels = draw_image((61, 61, channels), rng), draw_discs((61, 61), 20, 7)
    crop, cut = warp_crop(image, labels, IDENTITY, 61)
    np.testing.assert_array_equal(crop, image)
    np.testing.assert_array_equal(cut, labels)
    assert (crop.dtype, cut.dtype) == (np.uint8, np.uint16)


def test_a_shift_is_a_slice(rng: np.random.Generator) -> None:
    image, labels = draw_image((90, 120, 3), rng), draw_discs((90, 120), 20, 7)
    crop, cut = warp_crop(image, labels, np.array([[1.0, 0, 33], [0, 1, 17]]), 32)
    np.testing.assert_array_equal(crop, image[17:49, 33:65])
    np.testing.assert_array_equal(cut, labels[17:49, 33:65])


def test_a_quarter_turn_is_a_quarter_turn(rng: np.random.Generator) -> None:
    image, labels = draw_image((40, 40, 1), rng), draw_discs((40, 40), 13, 5)
    crop, cut = warp_crop(image, labels, np.array([[0.0, -1, 39], [1, 0, 0]]), 40)
    np.testing.assert_array_equal(crop, np.rot90(image))
    np.testing.assert_array_equal(cut, np.rot90(labels))


def test_beyond_the_border_the_image_is_mirrored_at_its_edge(rng: np.random.Generator) -> None:
    image, labels = draw_image((50, 50, 1), rng), draw_discs((50, 50), 20, 7)
    crop, cut = warp_crop(image, labels, np.array([[1.0, 0, -10], [0, 1, -6]]), 40)
    np.testing.assert_array_equal(crop, np.pad(image, ((6, 0), (10, 0), (0, 0)), "symmetric")[:40, :40])
    np.testing.assert_array_equal(cut, np.pad(labels, ((6, 0), (10, 0)), "symmetric")[:40, :40])


@pytest.mark.parametrize("seed", range(40))
def test_image_and_labels_stay_registered(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = draw_discs((int(rng.integers(150, 420)), int(rng.integers(150, 420))))
    image = ((labels > 0) * 255).astype(np.uint8)[..., None]
    centre = (rng.uniform(0, labels.shape[0]), rng.uniform(0, labels.shape[1]))
    scale = float(np.exp(rng.uniform(np.log(0.2), np.log(3))))
    matrix = crop_matrix(centre, scale, AugmentOptions(crop_px=128), rng)
    crop, cut = warp_crop(image, labels, matrix, 128)
    bright, cell = crop[..., 0] > 127, cut > 0
    neighbours = np.ones((3, 3))
    off_edge = ndimage.binary_erosion(cell, neighbours, border_value=1)
    off_edge |= ndimage.binary_erosion(~cell, neighbours, border_value=1)
    # a sharp corner where two mirrored discs meet may be averaged away
    assert np.count_nonzero((bright != cell) & off_edge) <= 2
    assert set(np.unique(cut)) <= set(np.unique(labels))


def test_half_the_size_is_the_mean_of_2_x_2_pixels(rng: np.random.Generator) -> None:
    image, labels = draw_image((60, 80, 3), rng), draw_discs((60, 80), 20, 7)
    crop, cut = warp_crop(image, labels, np.array([[2.0, 0, 10.5], [0, 2, 6.5]]), 20)
    means = image[6:46, 10:50].reshape(20, 2, 20, 2, 3).mean((1, 3))
    np.testing.assert_allclose(crop, means, atol=0.51)
    np.testing.assert_array_equal(np.unique(cut), np.unique(labels[6:46, 10:50]))


def test_strong_reduction_averages(rng: np.random.Generator) -> None:
    image = draw_image((403, 401, 1), rng)
    crop, _ = warp_crop(image, np.zeros((403, 401), np.uint16), np.array([[4.0, 0, 1], [0, 4, 1]]), 100)
    assert crop.mean() == pytest.approx(image.mean(), abs=2)
    assert crop.std() < image.std() / 3


@pytest.mark.parametrize("seed", range(8))
def test_the_matrix_keeps_centre_and_scale(seed: int) -> None:
    options = AugmentOptions(crop_px=96)
    matrix = crop_matrix((31.5, 70.0), 1.7, options, np.random.default_rng(seed))
    np.testing.assert_allclose(matrix @ [47.5, 47.5, 1], [70.0, 31.5])
    assert abs(np.linalg.det(matrix[:, :2])) == pytest.approx(1.7**-2)


def test_half_of_the_matrices_mirror() -> None:
    rng = np.random.default_rng(0)
    signs = [np.sign(np.linalg.det(crop_matrix((0, 0), 1, AugmentOptions(), rng)[:, :2])) for _ in range(400)]
    assert abs(np.mean(signs)) < 0.2


@pytest.mark.parametrize("diameter_px", [8.0, 25.0, 150.0])
def test_scales_bring_the_median_cell_into_range(diameter_px: float) -> None:
    options = AugmentOptions(diameter_px=(10.0, 90.0))
    rng = np.random.default_rng(1)
    scaled = np.array([draw_scale(diameter_px, options, rng) * diameter_px for _ in range(500)])
    assert scaled.min() >= 10 * (1 - 1e-9)
    assert scaled.max() <= 90 * (1 + 1e-9)
    # free scales reach what jitter alone does not
    assert scaled.max() / scaled.min() > options.scale_jitter**2


def test_without_free_scales_a_cell_keeps_its_size_up_to_the_jitter() -> None:
    options = AugmentOptions(free_scale_fraction=0, scale_jitter=1.3)
    rng = np.random.default_rng(1)
    scales = np.array([draw_scale(40, options, rng) for _ in range(300)])
    assert 1 / 1.3 <= scales.min() < 0.8
    assert 1.25 < scales.max() <= 1.3


@pytest.mark.parametrize("diameter_px", [0.5, 3000.0])
def test_no_scale_is_extreme(diameter_px: float) -> None:
    rng = np.random.default_rng(2)
    assert 0.2 <= draw_scale(diameter_px, AugmentOptions(), rng) <= 4


@pytest.mark.parametrize("colored", [False, True])
def test_photometry_stays_in_range_and_leaves_its_input_alone(colored: bool) -> None:
    extreme = AugmentOptions(gamma=1.5, color_jitter=2, invert_probability=0.5, noise_probability=1)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        image = rng.random((3, 24, 32), np.float32)
        before = image.copy()
        changed = change_photometry(image, colored, extreme, rng)
        assert changed.dtype == np.float32
        assert changed.shape == image.shape
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not np.array_equal(changed, image)
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("colored", [False, True])
def test_a_grey_image_stays_grey(colored: bool) -> None:
    options = AugmentOptions(blur_probability=0.5, noise_probability=0.5, shuffle_probability=1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        image = np.repeat(rng.random((1, 16, 16), np.float32), 3, 0)
        changed = change_photometry(image, colored, options, rng)
        np.testing.assert_array_equal(changed[0], changed[1])
        np.testing.assert_array_equal(changed[0], changed[2])


@pytest.mark.parametrize(("inverted", "sign"), [(0.0, 1), (1.0, -1)])
def test_contrast_and_gamma_keep_the_order_of_the_grey_levels(inverted: float, sign: int) -> None:
    ramp = np.repeat(np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 1, -1), 3, 0)
    options = replace(SMOOTH, invert_probability=inverted)
    for seed in range(20):
        changed = change_photometry(ramp, False, options, np.random.default_rng(seed))
        steps = sign * np.diff(changed[0, 0])
        assert steps.min() >= 0
        assert steps.sum() > 0.3


def test_only_images_without_stain_may_swap_their_channels() -> None:
    image = np.zeros((3, 8, 8), np.float32)
    image += np.array([0.9, 0.5, 0.1], np.float32).reshape(3, 1, 1)
    options = replace(SMOOTH, shuffle_probability=1, color_jitter=0)
    orders = {
        colored: {
            tuple(change_photometry(image, colored, options, np.random.default_rng(seed)).mean((1, 2)).argsort())
            for seed in range(20)
        }
        for colored in (False, True)
    }
    assert orders[True] == {(2, 1, 0)}
    assert len(orders[False]) == 6


def test_seeds_decide(rng: np.random.Generator) -> None:
    image = rng.random((3, 32, 32), np.float32)
    options = AugmentOptions()

    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        matrix = crop_matrix((5, 5), draw_scale(30, options, rng), options, rng)
        return matrix, change_photometry(image, True, options, rng)

    for first, again, other in zip(draw(1), draw(1), draw(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["light", "haze", "coarse"])
def test_light_haze_and_coarseness_change_what_they_say(name: str, rng: np.random.Generator) -> None:
    labels = draw_discs((128, 128), 30, 9)
    plain = np.repeat((0.3 + 0.4 * (labels > 0)).astype(np.float32)[None], 3, 0)
    changed = replace(SMOOTH, gamma=0, **{f"{name}_probability": 1.0})  # type: ignore[arg-type]
    images = [change_photometry(plain, False, changed, np.random.default_rng(seed)) for seed in range(8)]
    assert all(image.shape == plain.shape and image.dtype == np.float32 for image in images)
    assert all(np.ptp(image) > 0.05 for image in images)
    ground, edge = labels == 0, ndimage.binary_dilation(labels > 0) & (labels == 0)
    if name == "light":
        # the ground is no longer even, the outlines stay sharp
        assert np.median([image[0][ground].std() for image in images]) > 0.02
    else:
        assert np.median([np.abs(image[0][edge].mean() - image[0][ground].min()) for image in images]) > 0.02


def test_coloured_images_get_no_haze(rng: np.random.Generator) -> None:
    image = rng.random((3, 40, 40), dtype=np.float32)
    hazy = replace(SMOOTH, haze_probability=1.0)
    with_haze, without = (
        change_photometry(image, True, options, np.random.default_rng(3))
        for options in (hazy, replace(hazy, haze_probability=0.0))
    )
    np.testing.assert_array_equal(with_haze, without)
