"""What the samples of a TIFF mean: palette, inverted, CMYK and YCbCr values become grey or RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ImageError

if TYPE_CHECKING:
    import tifffile


def blacken_transparent(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return colours (y, x) or (y, x, c) with 0 where alpha (y, x) is 0: whatever a file has there is no picture."""
    hidden = alpha == 0
    if not hidden.any():
        return colours
    colours = colours.copy()
    colours[hidden] = 0
    return colours


def resolve_colour(
    array: np.ndarray, page: tifffile.TiffPage, notes: list[str], *, alpha_counts: bool | None = None
) -> np.ndarray:
    """Turn palette, inverted, CMYK and YCbCr samples into grey or RGB, and drop alpha; what is transparent becomes 0.

    Parameters
    ----------
    array:
        (y, x) or (y, x, c), the samples as stored.
    page:
        Whose tags say what they mean.
    notes:
        Gets every decision taken for the user, in words.
    alpha_counts:
        Whether the image has any pixel that is not transparent, without which alpha says nothing. None for an array
        that is the whole image.

    Raises
    ------
    ImageError
        If the colours are of a kind that is not read.
    """
    from tifffile import COMPRESSION, PHOTOMETRIC

    alpha = None
    if array.ndim == 3 and page.extrasamples and page.extrasamples[-1] != 0 and array.shape[2] > 1:
        notes.append("the alpha channel is dropped")
        array, alpha = array[..., :-1], array[..., -1]
    kind, white = page.photometric, 2**page.bitspersample - 1
    # JPEG data has become RGB while it was decoded.
    ycbcr = kind == PHOTOMETRIC.YCBCR and page.compression not in (COMPRESSION.JPEG, COMPRESSION.OJPEG)
    if kind == PHOTOMETRIC.PALETTE and page.colormap is not None:
        notes.append("the palette is replaced by its colours")
        colours = page.colormap.T if page.colormap.max() < 256 else page.colormap.T >> 8
        array = colours.astype(np.uint8)[array]
    elif kind == PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu" and "PhotometricInterpretation" in page.tags:
        notes.append("0 is white in this file: the values are inverted")
        array = ~array if array.dtype == bool else array.dtype.type(white) - array
    elif kind == PHOTOMETRIC.SEPARATED and array.ndim == 3 and array.shape[2] >= 4:
        notes.append("CMYK is converted to RGB")
        ink = array[..., :4].astype(np.float32) / white
        array = (white * (1 - ink[..., :3]) * (1 - ink[..., 3:])).round().astype(array.dtype)
    elif ycbcr and array.ndim == 3:
        import cv2

        notes.append("YCbCr is converted to RGB")
        array = cv2.cvtColor(np.ascontiguousarray(array[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    elif kind not in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        raise ImageError(f"has TIFF colours of kind {kind!s}; allowed are grey, palette, RGB, CMYK and YCbCr")
    if alpha is not None and (alpha.any() if alpha_counts is None else alpha_counts):
        array = blacken_transparent(array, alpha)
    return array
