"""What a microscope and its camera make of drawn cells: contrast methods, light and noise.

Unstained cells are described by their `phase`, the optical path they add, in radians. All images are
float32 with an empty field at about 1 until `expose` turns them into bytes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.layouts import noise_field

Field = NDArray[np.float32]


def blur(image: Field, sigma_px: float) -> Field:
    """Blur with a Gaussian; a wide one is computed on a smaller grid, which changes it by under a percent."""
    if sigma_px < 0.3:
        return image
    if sigma_px <= 4:
        return cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    step = sigma_px / 2
    height, width = image.shape[:2]
    size = max(2, round(width / step)), max(2, round(height / step))
    small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 2)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def phase_contrast(phase: Field, halo_px: float, absorption: float, *, negative: bool = False) -> Field:
    """Form a Zernike phase contrast image, with its halo and shade-off.

    Parameters
    ----------
    phase : (y, x) float32
        Phase in radians.
    halo_px : float
        Width of the halo: the light within this distance counts as direct light and is shifted too, because
        the ring of the phase plate has a width.
    absorption : float
        Amplitude that the ring lets through, in (0, 1]; small values give a dark field and strong contrast.
    negative : bool
        Shows denser parts brighter instead of darker.

    Returns
    -------
    image : (y, x) float32, 1 where there is no cell.

    Notes
    -----
    |(E - D) + a exp(-i pi/2) D|^2 / a^2 for the wave E = exp(i phase) and its direct part D, a local mean of E.
    Thick cells reverse their contrast, as round cells do under a microscope.
    """
    wave = np.dstack([np.cos(phase), np.sin(phase)])
    direct = blur(wave, halo_px)
    bent = wave - direct
    shift = -absorption if negative else absorption
    # Multiplying by -i turns (re, im) into (im, -re).
    real = bent[..., 0] + shift * direct[..., 1]
    imaginary = bent[..., 1] - shift * direct[..., 0]
    return (real * real + imaginary * imaginary) / np.float32(absorption**2)


def differential_contrast(phase: Field, shear_px: float, angle: float, gain: float) -> Field:
    """Form a DIC image: the phase seen as relief lit from one side.

    Parameters
    ----------
    shear_px : float
        Distance between the two beams.
    angle : float
        Direction of the shear in radians.
    gain : float
        Contrast; the brightness follows the phase difference linearly while it is small.
    """
    dy, dx = shear_px / 2 * np.sin(angle), shear_px / 2 * np.cos(angle)
    difference = _shift(phase, dy, dx) - _shift(phase, -dy, -dx)
    return 1 + np.tanh(np.float32(gain) * difference)


def _shift(image: Field, dy: float, dx: float) -> Field:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    return cv2.warpAffine(
        image, matrix, image.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def defocused(phase: Field, ring_px: float, amount: float) -> Field:
    """Form a bright-field image of transparent cells slightly out of focus: light and dark rims.

    Parameters
    ----------
    ring_px : float
        Width of the rims.
    amount : float
        Strength and sign of the defocus; the sign tells which rim is inside.

    Notes
    -----
    The intensity follows the curvature of the phase (transport of intensity equation), here taken from two
    Gaussian means, which gives a second, weaker ring as diffraction does.
    """
    near, middle, far = blur(phase, 0.5 * ring_px), blur(phase, ring_px), blur(phase, 2 * ring_px)
    return np.maximum(1 + np.float32(amount) * ((near - middle) - 0.6 * (middle - far)), 0)


def absorbed(densities: Field, colours: NDArray[np.float64], light: NDArray[np.float64]) -> Field:
    """Form a colour image of stained matter (Beer and Lambert).

    Parameters
    ----------
    densities : (y, x, k) float32
        Amount of each stain.
    colours : (k, 3) float64
        Absorbance of one unit of each stain in red, green and blue.
    light : (3,) float64
        Colour of the empty field, 0 to 1.

    Returns
    -------
    image : (y, x, 3) float32
    """
    return np.exp(-densities @ colours.astype(np.float32)) * light.astype(np.float32)


def uneven_light(shape_px: tuple[int, int], rng: np.random.Generator, strength: float) -> Field:
    """Draw the illumination: a slope, a vignette off the centre and slow stains, about 1 on average."""
    height, width = shape_px
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] - np.float32(rng.uniform(-0.5, 0.5))
    x = np.linspace(-1, 1, width, dtype=np.float32) - np.float32(rng.uniform(-0.5, 0.5))
    slope, turn = rng.uniform(0, strength), rng.uniform(0, 2 * np.pi)
    light = 1 + slope * (np.float32(np.sin(turn)) * y + np.float32(np.cos(turn)) * x)
    light -= np.float32(rng.uniform(0, 0.6 * strength)) * (x * x + y * y)
    light += np.float32(rng.uniform(0, 0.25 * strength)) * noise_field(shape_px, max(shape_px) / 3, rng)
    return np.maximum(light, 0.15).astype(np.float32)


def scatter_dust(
    image: Field, rng: np.random.Generator, *, count: int, size_px: float, strength: float
) -> Field:
    """Multiply small soft spots into an image: dust, debris and out-of-focus rings, light or dark."""
    height, width = image.shape[:2]
    canvas = np.zeros((height, width), np.float32)
    for _ in range(count):
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = tuple(int(v) for v in np.ceil(size_px * rng.uniform(0.3, 1.3, 2)))
        thickness = -1 if rng.random() < 0.8 else 1
        value = strength * rng.uniform(-1, 0.5)
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), 0, 360, value, thickness)
    canvas = blur(canvas, rng.uniform(0.5, max(0.6, size_px / 2)))
    return image * np.exp(canvas if image.ndim == 2 else canvas[..., None])


def expose(
    image: Field,
    rng: np.random.Generator,
    *,
    level: float,
    photons: float,
    read_noise: float,
    grain_px: float = 0.0,
) -> NDArray[np.uint8]:
    """Record an image with a camera: shot noise, read noise, 8 bits, and sometimes JPEG compression.

    Parameters
    ----------
    image : (y, x) or (y, x, 3) float32
        Brightness; 1 becomes `level`.
    level : float
        Grey value, as a fraction of the range, of brightness 1.
    photons : float
        Photons at full scale; the variance of the shot noise is the brightness over this number.
    read_noise : float
        Standard deviation added everywhere, as a fraction of the range.
    grain_px : float
        Blur of the noise, as left by resizing or demosaicking; its strength is kept.

    Returns
    -------
    bytes : (y, x, c) uint8, c = 1 or 3 as `image` has.
    """
    signal = np.maximum(image * np.float32(level), 0)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    if grain_px > 0.3:
        noise = blur(noise, grain_px) * np.float32(max(1.0, 2 * np.sqrt(np.pi) * grain_px))
    noise *= np.sqrt(signal / np.float32(photons) + np.float32(read_noise**2))
    pixels = np.clip((signal + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = int(rng.integers(55, 97))
        pixels = cv2.imdecode(
            cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_UNCHANGED
        )
    return pixels if pixels.ndim == 3 else pixels[..., None]
