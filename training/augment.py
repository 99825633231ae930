"""Random crops: geometry and photometry of training images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class AugmentOptions:
    """Ranges and probabilities of the augmentation (paper section 3.2.2; sizes in px, angles in degrees).

    Attributes
    ----------
    diameter_px
        Range that the median cell diameter of a crop may take after scaling.
    free_scale_fraction
        Fraction of crops whose diameter is drawn log-uniformly from `diameter_px`; the others keep their own
        size up to `scale_jitter`.
    """

    crop_px: int = 256
    diameter_px: tuple[float, float] = (10.0, 90.0)
    free_scale_fraction: float = 0.4
    scale_jitter: float = 1.6
    shear: float = 0.1
    gamma: float = 0.35
    color_jitter: float = 0.25
    grey_probability: float = 0.1
    invert_probability: float = 0.05
    blur_probability: float = 0.2
    noise_probability: float = 0.3
    shuffle_probability: float = 0.15
    light_probability: float = 0.2
    haze_probability: float = 0.15
    coarse_probability: float = 0.15


def draw_scale(diameter_px: float, options: AugmentOptions, rng: np.random.Generator) -> float:
    """Draw the factor by which an image with this median cell diameter is scaled."""
    low, high = options.diameter_px
    if rng.random() < options.free_scale_fraction:
        wanted = np.exp(rng.uniform(np.log(low), np.log(high)))
    else:
        jitter = np.log(options.scale_jitter)
        wanted = np.clip(diameter_px * np.exp(rng.uniform(-jitter, jitter)), low, high)
    return float(np.clip(wanted / diameter_px, 0.2, 4.0))


def crop_matrix(
    centre: tuple[float, float], scale: float, options: AugmentOptions, rng: np.random.Generator
) -> np.ndarray:
    """Draw the affine map (2, 3) from crop to image coordinates (x, y), with centre (y, x) in the middle."""
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(4) * np.pi / 2
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, rng.uniform(-1, 1) * options.shear], [0, 1]])
    stretch = np.exp(rng.uniform(-0.1, 0.1))
    linear = linear @ np.diag([stretch, 1 / stretch])
    if rng.random() < 0.5:
        linear[:, 0] *= -1
    linear /= scale
    middle = (options.crop_px - 1) / 2
    offset = np.array([centre[1], centre[0]]) - linear @ np.array([middle, middle])
    return np.column_stack((linear, offset)).astype(np.float64)


def warp_crop(image: np.ndarray, labels: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a (size, size) crop of image (y, x, c) and labels (y, x) through `matrix`, mirrored at the borders.

    Strong reductions are averaged in steps of two first, so that thin structures do not alias. The mirror is
    the outer edge of the border pixels, which stays in place through these steps; their centres would not.
    """
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], float)
    low = np.maximum(np.floor(corners.min(1)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(corners.max(1)).astype(int) + 3, (image.shape[1], image.shape[0]))
    if (high - low > 8).all():
        image = image[low[1] : high[1], low[0] : high[0]]
        labels = labels[low[1] : high[1], low[0] : high[0]]
        matrix = matrix.copy()
        matrix[:, 2] -= low
    label_matrix = matrix
    while np.sqrt(abs(np.linalg.det(matrix[:, :2]))) > 1.8 and min(image.shape[:2]) > 16:
        height, width = image.shape[:2]
        image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        # not exactly one half for odd sides; pixel centres are half a pixel from the edge on both sides
        factors = np.array([(width // 2) / width, (height // 2) / height])
        matrix = matrix * factors[:, None]
        matrix[:, 2] += (factors - 1) / 2
    border, inverse = cv2.BORDER_REFLECT, cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR | inverse, borderMode=border)
    labels = cv2.warpAffine(labels, label_matrix, (size, size), flags=cv2.INTER_NEAREST | inverse, borderMode=border)
    return image.reshape(size, size, -1), labels


def change_photometry(
    image: np.ndarray, colored: bool, options: AugmentOptions, rng: np.random.Generator
) -> np.ndarray:
    """Draw contrast, gamma, colour, blur, noise of a float32 crop (3, y, x) in [0, 1]; return a new array."""
    image = image.copy()
    grey = bool((image[0] == image[1]).all() and (image[0] == image[2]).all())
    if not grey and rng.random() < options.grey_probability:
        image[:] = image.mean(0)
        grey = True
    if not grey and not colored and rng.random() < options.shuffle_probability:
        image = image[rng.permutation(3)]
    if colored and not grey and options.color_jitter:
        mix = np.eye(3) + rng.normal(0, options.color_jitter / 3, (3, 3))
        image = np.tensordot(mix.astype(np.float32), image - 0.5, 1) + 0.5
    if rng.random() < options.invert_probability:
        image = 1 - image
    if rng.random() < options.light_probability:
        image = _light_unevenly(image, rng)
    if not colored and rng.random() < options.haze_probability:
        image = _add_haze(image, rng)
    if rng.random() < options.coarse_probability:
        image = _coarsen(image, rng)
    gain = np.exp(rng.uniform(-0.3, 0.3, 1 if grey else (3, 1, 1))).astype(np.float32)
    image = np.clip((image - 0.5) * gain + 0.5 + np.float32(rng.uniform(-0.1, 0.1)), 0, 1)
    image = image ** np.float32(np.exp(rng.uniform(-options.gamma, options.gamma)))
    if rng.random() < options.blur_probability:
        sigma = rng.uniform(0.4, 1.5)
        image = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in image])
    if rng.random() < options.noise_probability:
        shape = image.shape[1:] if grey else image.shape
        noise = rng.standard_normal(shape, np.float32)
        image = image + noise * np.float32(rng.uniform(0.01, 0.08))
    return np.clip(image, 0, 1).astype(np.float32)


def _light_unevenly(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Multiply by a slope and add another one, as a tilted lamp and stray light do."""
    y, x = (np.linspace(-0.5, 0.5, side, dtype=np.float32) for side in image.shape[1:])

    def draw_slope() -> np.ndarray:
        turn = rng.uniform(0, 2 * np.pi)
        return np.float32(np.sin(turn)) * y[:, None] + np.float32(np.cos(turn)) * x

    lit = image * (1 + np.float32(rng.uniform(0, 0.8)) * draw_slope())
    return lit + np.float32(rng.uniform(0, 0.2)) * draw_slope()


def _add_haze(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix with a blurred copy, as light from cells above and below the focus does in thick specimens."""
    share, sigma = np.float32(rng.uniform(0.2, 0.7)), rng.uniform(4, 20)
    return np.stack([(1 - share) * plane + share * cv2.GaussianBlur(plane, (0, 0), sigma) for plane in image])


def _coarsen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reduce and enlarge again: the resolution of a weaker objective, or of an image that was enlarged."""
    height, width = image.shape[1:]
    factor = rng.uniform(1.3, 3)
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.stack(
        [cv2.resize(cv2.resize(p, small, interpolation=cv2.INTER_AREA), (width, height)) for p in image]
    ).astype(np.float32)
