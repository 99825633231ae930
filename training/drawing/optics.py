"""What a microscope makes of drawn cells: the contrast methods.

Unstained cells are described by their `phase`, the optical path they add, in radians. All images are
float32 with an empty field at 1; `training.drawing.camera` turns them into bytes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

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


def phase_contrast(
    phase: Field, halo_px: float, absorption: float, *, negative: bool = False, defocus_px: float = 0.0
) -> Field:
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
    defocus_px : float
        Distance from focus as in `defocused`.

    Returns
    -------
    image : (y, x) float32, 1 where there is no cell.

    Notes
    -----
    |(E - D) + a exp(-i pi/2) D|^2 / a^2 for the wave E = exp(i phase) and its direct part D, a local mean
    of E. Thick cells reverse their contrast, as round cells do under a microscope.
    """
    # A direct part wider than a third of the image would leak around its border.
    halo_px = min(halo_px, max(phase.shape) / 3)
    shift = 1j * absorption if negative else -1j * absorption
    return _intensity(phase, defocus_px, sharpness_px=0.5, halo_px=halo_px, shift=shift) / np.float32(absorption**2)


def _intensity(
    phase: Field, defocus_px: float, *, sharpness_px: float = 0.0, halo_px: float = 0.0, shift: complex = 1.0
) -> Field:
    """Let the wave exp(i phase) travel, pass a lens, and have the direct part of it multiplied by `shift`.

    A reflected frame keeps what wraps around in the Fourier transform out of the image.
    """
    sides = [fft.next_fast_len(n + 2 * min(32, n - 1)) - n for n in phase.shape]
    frame = [(extra // 2, extra - extra // 2) for extra in sides]
    wide = cv2.copyMakeBorder(phase, *frame[0], *frame[1], cv2.BORDER_REFLECT)
    wave = np.empty(wide.shape, np.complex64)
    wave.real, wave.imag = np.cos(wide), np.sin(wide)
    # All three factors are products over the axes. Light that is not quite parallel washes out the outer fringes.
    reach = defocus_px * abs(defocus_px)
    decay = -1j * np.pi * reach - 0.8 * abs(reach) - 2 * np.pi**2 * sharpness_px**2
    squared = [fft.fftfreq(n) ** 2 for n in wide.shape]
    lens, direct = ([np.exp(k * f).astype(np.complex64) for f in squared] for k in (decay, -2 * (np.pi * halo_px) ** 2))
    spectrum = fft.fft2(wave, overwrite_x=True)
    spectrum *= np.outer(lens[0], lens[1])
    if shift != 1:
        spectrum *= 1 + np.outer(np.complex64(shift - 1) * direct[0], direct[1])
    wave = fft.ifft2(spectrum, overwrite_x=True)
    wave = wave[frame[0][0] :, frame[1][0] :][: phase.shape[0], : phase.shape[1]]
    return wave.real**2 + wave.imag**2


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


def defocused(phase: Field, defocus_px: float, sharpness_px: float = 0.6) -> Field:
    """Form a bright-field image of transparent cells out of focus: light and dark rims and rings.

    Parameters
    ----------
    phase : (y, x) float32
        Phase in radians.
    defocus_px : float
        Width of the first bright or dark rim, sqrt(wavelength * distance); its sign tells on which side of the
        focus the cells lie and so which rim is inside.
    sharpness_px : float
        Resolution of the lens, as the standard deviation of a Gaussian. What thick cells bend out of the lens is
        lost, which leaves dark edges even in focus.

    Returns
    -------
    image : (y, x) float32, 1 where there is no cell.

    Notes
    -----
    Fresnel propagation of the wave exp(i phase) between plane and lens (Goodman, Introduction to Fourier Optics,
    section 4.2), in coherent light but for a damping of the high frequencies.
    """
    return _intensity(phase, defocus_px, sharpness_px=sharpness_px)


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
