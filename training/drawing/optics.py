"""What a microscope makes of drawn cells: the contrast methods.

Unstained cells are described by their `phase`, the optical path they add, in radians. All images are
float32 with an empty field at 1; `training.drawing.camera` turns them into bytes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

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
    |(E - D) + a exp(-i pi/2) D|^2 / a^2 for the wave E = exp(i phase) and its direct part D, a local mean
    of E. Thick cells reverse their contrast, as round cells do under a microscope.
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
    return cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


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


def absorbed(densities: Field, colours: NDArray[np.float64], light: NDArray[np.floating]) -> Field:
    """Form a colour image of stained matter (Beer and Lambert).

    Parameters
    ----------
    densities : (y, x, k) float32
        Amount of each stain.
    colours : (k, 3) float64
        Absorbance of one unit of each stain in red, green and blue.
    light : (3,) floating
        Colour of the empty field, 0 to 1.

    Returns
    -------
    image : (y, x, 3) float32
    """
    return np.exp(-densities @ colours.astype(np.float32)) * light.astype(np.float32)
